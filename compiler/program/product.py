"""The arguments of the product kernel as a record, and their order in the kernel's machine-level signature.

A product has three operands and a result, and eight loops around one multiply-add:

    c[outer, middle, inner, row, column] = start[outer, middle, inner, row, column]
        + sum over turn, run, depth of a[outer, middle, inner, row, turn, run, depth]
                                     * b[outer, middle, inner, turn, run, depth, column]

A kernel of a gathered operand (`Contraction.gathered`) reads a[order[row], depth], or a[row, order[depth]].

float_product.py holds the kernel. Knows no buffers and no machine.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from netc.compiler.program import prefetched

P = TypeVar("P")  # what stands for an address: a Pointer, a Reference, an int
N = TypeVar("N")  # what stands for a number: a Count or an int

BATCHES = ("outer", "middle", "inner")  # the loops that a, b and c share, from the outside
DEPTHS = ("turns", "runs", "depth")  # the loops over which products are summed, from the outside
# the loops that each operand walks, from the outside
WALKS = {
    "a": (*BATCHES, "rows", *DEPTHS),
    "b": (*BATCHES, *DEPTHS, "columns"),
    "c": (*BATCHES, "rows", "columns"),
    "start": (*BATCHES, "rows", "columns"),
}
TOUCHED = 3  # buffers that a product can prefetch because they will be written next

# The order of arguments: addresses, then numbers, each as a loop and a field of it ("" for a field of the product).
POINTERS = (
    *("a", "b", "c", "start", "pack"),
    *(f"touch_{i + 1}" for i in range(TOUCHED)),
    "order",
    *prefetched.POINTERS,
)
_NUMBERS = (
    *(("rows", "a"), ("depth", "a"), ("depth", "b"), ("columns", "b"), ("rows", "c"), ("rows", "start")),
    *(("", "has_start"), ("rows", "count"), ("columns", "count"), ("depth", "count")),
    *((loop, field) for loop in ("runs", "turns") for field in ("count", "a", "b")),
    ("", "touches"),
    *((loop, field) for loop in BATCHES for field in ("count", "a", "b", "c", "start")),
)
WORDS = (*POINTERS, *(f"{loop}_{field}" if loop else field for loop, field in _NUMBERS), *prefetched.NUMBERS)


# without slots: before Python 3.12, Loop[int](...) would fail with them
class Loop(Struct, Generic[N], frozen=True):
    """A loop of `count` iterations, and by how many elements each operand moves in one of them.

    An operand that does not walk the loop (see WALKS) moves by 0. In `columns`, c and start always move by 1.
    """

    count: N
    a: N
    b: N
    c: N
    start: N


class Product(Struct, Generic[P, N], frozen=True, kw_only=True):
    """The arguments of a product. Strides are in elements.

    `start` is read if `has_start` is 1, else the sums begin with zero. `pack` is memory for copies of a panel of b
    and of a block of rows of a (`Machine.pack_elements`; runs must then be 1). It is needed if b's columns are not
    neighbours; else the kernel uses it if a has many rows. `touches` is how many of the buffers
    `touched` will be written next at the offsets of c, so that the kernel prefetches them. `order` has a number of 32
    bits for each row, or each step of depth, of a gathered operand a. The kernel also prefetches `prefetched_bytes`
    bytes behind each address of `prefetched` (prefetched.py). Pointers that are not used stand where c does.
    """

    a: P
    b: P
    c: P
    start: P
    pack: P
    touched: tuple[P, ...]
    order: P
    prefetched: tuple[P, ...]
    prefetched_bytes: tuple[N, ...]
    has_start: N
    touches: N
    rows: Loop[N]
    columns: Loop[N]
    depth: Loop[N]
    runs: Loop[N]
    turns: Loop[N]
    inner: Loop[N]
    middle: Loop[N]
    outer: Loop[N]

    @classmethod
    def of(cls, pointers: Sequence[P], numbers: Sequence[N], number: Callable[[int], N]) -> "Product[P, N]":
        """Returns the record of a kernel's arguments. `number` makes a constant of the type of the numbers."""
        values = dict(zip(_NUMBERS, numbers[: len(_NUMBERS)], strict=True))

        def loop(name: str) -> Loop[N]:
            implied = {"c": number(1), "start": number(1)} if name == "columns" else {}
            fields = ("count", "a", "b", "c", "start")
            return Loop(*(values.get((name, field), implied.get(field, number(0))) for field in fields))

        a, b, c, start, pack, *others = pointers
        return cls(
            a=a,
            b=b,
            c=c,
            start=start,
            pack=pack,
            touched=tuple(others[:TOUCHED]),
            order=others[TOUCHED],
            prefetched=tuple(others[TOUCHED + 1 :]),
            prefetched_bytes=tuple(numbers[len(_NUMBERS) :]),
            has_start=values["", "has_start"],
            touches=values["", "touches"],
            rows=loop("rows"),
            columns=loop("columns"),
            depth=loop("depth"),
            runs=loop("runs"),
            turns=loop("turns"),
            inner=loop("inner"),
            middle=loop("middle"),
            outer=loop("outer"),
        )

    @property
    def pointers(self) -> tuple[P, ...]:
        """The addresses in the order of the kernel's arguments."""
        return (self.a, self.b, self.c, self.start, self.pack, *self.touched, self.order, *self.prefetched)

    @property
    def numbers(self) -> tuple[N, ...]:
        """The numbers in the order of the kernel's arguments, behind the addresses."""
        numbers = (getattr(getattr(self, loop) if loop else self, field) for loop, field in _NUMBERS)
        return (*numbers, *self.prefetched_bytes)

    @property
    def loops(self) -> tuple[Loop[N], ...]:
        """The loops, from the outside."""
        return (self.outer, self.middle, self.inner, self.rows, self.turns, self.runs, self.depth, self.columns)

    def walk(self, operand: str) -> tuple[list[N], list[N]]:
        """Returns the counts of the loops that an operand walks, from the outside, and its strides in them."""
        loops = [getattr(self, name) for name in WALKS[operand]]
        return [loop.count for loop in loops], [getattr(loop, operand) for loop in loops]
