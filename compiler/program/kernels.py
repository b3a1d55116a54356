"""Kernels as plain data: each describes what one call computes from the addresses and counts that it is called with.

A kernel is a loop nest, a contraction, attention, a convolution by Winograd's filtering or in narrow groups, a custom
kernel, the size of a dimension, or equal elements of an index. Equal kernels are compiled once. Those with a tag are
sent to other processes as JSON. Knows no buffers, no machine and no kernel text.
"""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from netc.compiler.program import attention
from netc.compiler.program.grouped import GroupedPart, Groups
from netc.compiler.program.nests import Nest
from netc.compiler.program.winograd import Part

Gathered = Literal["", "rows", "depth", "copied depth"]


class Contraction(Struct, frozen=True, tag=True):
    """The generic product of an element type; its arguments are the fields of a Product (product.py).

    With `of_pairs`, its operands are in bf16, so that a target may multiply two of their numbers at once; with
    `in_tiles` too, the product is so large that tiles of AMX compute it. Strides count elements of each operand's own
    type.

    Of a `gathered` operand a, rows of memory are read in the order of `Product.order`: these are its "rows", or those
    of the "depth". Such a product has no loops but rows, columns and depth. The kernel copies those of a "copied depth"
    in order before it multiplies them; they must be neighbours in a.
    """

    dtype: str
    of_pairs: bool = False
    in_tiles: bool = False
    gathered: Gathered = ""

    @property
    def gathered_loop(self) -> Literal["", "rows", "depth"]:
        """The loop along which rows of a are gathered, if any."""
        return "depth" if self.gathered == "copied depth" else self.gathered


class AttentionKernel(Struct, frozen=True, tag=True):
    """The generic attention of an element type, or its gradient; attention.py names its pointers and counts.

    `lengths` is how many of attention.LENGTHS it uses. The kernel of a single query (`has_one_query`) reads columns of
    keys and values that are neighbours. Packed keys and queries are found by tables.
    """

    dtype: str
    is_gradient: bool
    lengths: int
    has_one_query: bool = False
    packs_keys: bool = False
    packs_queries: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The index tables that it uses, by their names in attention.py."""
        return attention.tables(self.lengths, self.packs_keys, self.packs_queries)

    @property
    def pointers(self) -> tuple[str, ...]:
        """The names of the addresses that it uses, except its scratch memory."""
        return (*attention.tensors(self.is_gradient), "sums", *self.tables)

    def axes_of(self, pointer: str) -> tuple[str, ...]:
        """The axes of what lies at a pointer, by their names in attention.py."""
        axes = tuple(axis for axis, _ in attention.axes_of(pointer))
        if pointer in self.tables or not self.packs(pointer):
            return axes
        return ("row", "head") if pointer == "sums" else axes[1:]

    def packs(self, pointer: str) -> bool:
        """Whether a tensor, or the sums, has the rows of all samples, found by tables."""
        return self.packs_keys if attention.side_of(pointer) == "key" else self.packs_queries


class WinogradKernel(Struct, frozen=True, tag=True):
    """A generic kernel of Winograd's convolution; winograd.py names its pointers and counts.

    With `has_start`, a convolution adds an image to its result.
    """

    dtype: str
    part: Part
    has_start: bool = False


class GroupedKernel(Struct, frozen=True, tag=True):
    """A kernel of convolutions in narrow groups; grouped.py names its pointers and counts.

    With `has_start`, a convolution adds an image to its result.
    """

    dtype: str
    part: GroupedPart
    groups: Groups
    has_start: bool = False


class StoredCount(Struct, frozen=True):
    """Stores the count that it is called with: the size of a dimension, as a number of the graph."""

    dtype: str


FIRST_EQUAL_ACCESSES = 5  # of each element: itself, a slot of the table, the element named there, the slot, the result


class FirstEqual(Struct, frozen=True):
    """Stores for each element of an index the number of the first element that is equal to it.

    Its pointers are the result, the index and memory for twice as many numbers; it is called with their count.
    """


class ArrayArgument(Struct, frozen=True):
    """One sample of a buffer: its shape and strides in elements, the number of its pointer, and that of its buffer.

    Samples are `apart` elements apart; 0 if all samples share the array.
    """

    pointer: int
    buffer: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    apart: int


class CustomKernel(Struct, frozen=True):
    """A custom kernel: the function that an operation declares, with the arrays of its result and its operands.

    `attributes` are those of the value. If it `is_batched`, it is called sample by sample and takes their number.
    """

    operation: str
    function: Callable[..., None]
    arrays: tuple[ArrayArgument, ...]
    attributes: tuple[tuple[str, Any], ...]
    is_batched: bool


VectorKernel = Contraction | AttentionKernel | WinogradKernel | GroupedKernel  # targets write their vectors themselves
Kernel = Nest | VectorKernel | CustomKernel | StoredCount | FirstEqual


def prefetches(kernel: Kernel) -> bool:
    """Whether the last arguments of a kernel are stretches of memory that it prefetches (prefetched.py)."""
    return isinstance(kernel, Contraction) or (isinstance(kernel, WinogradKernel) and kernel.part != "transform")


def form_of(kernel: Kernel) -> str:
    """Returns the word for the kind of a kernel: "product" for contractions, "attention", "winograd", "grouped", or
    "loop"."""
    match kernel:
        case Contraction():
            return "product"
        case AttentionKernel():
            return "attention"
        case WinogradKernel():
            return "winograd"
        case GroupedKernel():
            return "grouped"
    return "loop"
