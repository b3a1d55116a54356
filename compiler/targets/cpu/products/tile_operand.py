"""The addresses of the rows of a that a register tile reads while it walks the depth.

- Plain rows: groups of GROUP rows share a pointer, so that addresses need few registers, and the loop over the depth
  few instructions beside its multiply-adds.
- Rows gathered by an index table: their numbers are read before the loop, and each row has a pointer.
- Rows of the depth gathered by an index table: the number of each step of depth is read in the loop.

Loading a pointer or a number takes no time beside the multiply-adds of a step. Knows no sums and no b.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.program.kernels import Gathered
from netc.compiler.targets.cpu.llvm.function import I64, Function, Word, pinned
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.machine import GROUP

NUMBER = 4  # bytes of a row number in an index table
Address = tuple[Any, Any]  # a pointer, and an offset from it in elements


class Rows(Struct, frozen=True):
    """The rows of a tile: their number, the first row of each group (`heads`), and the offsets of rows in a group.

    Groups overlap, or rows are repeated, if a call has fewer rows than the tile.
    """

    height: int
    heads: Sequence[Word]
    in_group: Sequence[Word]

    def __iter__(self) -> Any:
        return ((self.heads[i // GROUP], self.in_group[i % GROUP]) for i in range(self.height))


class Operand:
    """Rows that are `a_row` elements apart. Each moves by `a_step` elements at a step of depth."""

    fields: tuple[str, ...] = ()  # the fields of the record that it reads, beside `a_row`

    def __init__(self, function: Function, lanes: Lanes, words: Mapping[str, Word], rows: Rows, a_step: Word) -> None:
        self.function, self.builder, self.words, self.rows = function, function.builder, words, rows
        self.unit, self.a_step = lanes.unit, a_step

    def prepare(self) -> None:
        """Computes what all tiles and runs share, before the loops over them."""
        first, *others = (self.words["a_row"] * row for row in self.rows.in_group)
        # else LLVM would compute multiples again at each step of depth where registers are few
        self.row_at = [first.value, *(pinned(row).value for row in others)]
        self.heads = [self.words["a_row"] * head for head in self.rows.heads]

    def begin(self, a: Word) -> list[tuple[Any, Word]]:
        """Returns the pointers (or numbers) that move in the loop over the depth of a run.

        Each comes with its first value and its step in elements. `a` is the address of the run's a.
        """
        return [(group, self.a_step) for group in self.groups(a)]

    def addresses(self, moved: Sequence[Any]) -> list[Address]:
        """Returns the address of each row's element at a step of depth, from the values of what `begin` returned."""
        return [(moved[i // GROUP], self.row_at[i % GROUP]) for i in range(self.rows.height)]

    def groups(self, a: Word) -> list[Any]:
        """Returns a pointer to the first row of each group."""
        return [self.pointer(a + head * self.unit) for head in self.heads]

    def pointer(self, address: Word) -> Any:
        return self.builder.inttoptr(address.value, ir.IntType(8 * self.unit).as_pointer())


class GatheredDepth(Operand):
    """The steps of depth are gathered rows of memory, whose numbers are at `strip_order`."""

    fields = ("strip_order",)

    def begin(self, a: Word) -> list[tuple[Any, Word]]:
        self.first = self.groups(a)
        return [(self.words["strip_order"].value, self.function.number(NUMBER))]

    def addresses(self, moved: Sequence[Any]) -> list[Address]:
        (number,) = moved
        row = (self.function.index_at(Word(self.builder, number)) * self.a_step).value
        return super().addresses([self.builder.gep(group, [row]) for group in self.first])


class GatheredRows(Operand):
    """The rows are gathered rows of memory: a is the address of their numbers, and row 0 is at `strip_a`."""

    fields = ("strip_a",)

    def begin(self, a: Word) -> list[tuple[Any, Word]]:
        table, row_bytes = self.words["strip_a"], self.words["a_row"] * self.unit
        numbers = [self.function.index_at(a + (head + row) * NUMBER) for head, row in self.rows]
        self.pointers = [self.pointer(pinned(table + number * row_bytes)) for number in numbers]
        return [(ir.Constant(I64, 0), self.a_step)]

    def addresses(self, moved: Sequence[Any]) -> list[Address]:
        (at,) = moved
        return [(pointer, at) for pointer in self.pointers]


OPERANDS: Mapping[Gathered, type[Operand]] = {"": Operand, "depth": GatheredDepth, "rows": GatheredRows}


def moved(builder: Any, pointer: Any, step: Word) -> Any:
    """Returns a pointer or a number, `step` further."""
    return builder.gep(pointer, [step.value]) if pointer.type != I64 else builder.add(pointer, step.value)
