"""A nest of loops as plain data: an iteration space with loads, scalar expressions, stores and folds.

Neighbouring axes that all accesses walk as one are joined here. A target writes the code. Knows no graph.
"""

import math
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.scalars import Binary, Expression, FunctionCall, Name, Number
from netc.dsl.structs import replace

Sums = Literal["in order", "in groups", "in one block", "in blocks", "in lanes"]
ADDITION = Binary("+", Name("a"), Name("b"))  # what `combine` of a sum is
GROUP = 8  # rows that a sum of rows adds up as a unit: additions of a group do not wait for those of the one before
BLOCK = 256  # elements that a sum adds up as a unit: a kilobyte of f32, so that a block stays in the first cache
LANES = {"f32": 16, "f64": 8}  # running sums of a sum in lanes, on any machine
_LONG_ROW = 64  # elements of a row from which on its length need not be known
_IN_ORDER = 16  # a sum of at most so many elements is computed in order, without blocks


class Access(Struct, frozen=True):
    """An element of a buffer for each point of the iteration space: sum of stride * index (+ stride * a loaded index).

    `pointer` is the number of the kernel's address; None means that the offset itself is the element (a range of
    numbers). `indirect` is the name of the line with the loaded index, and its stride.
    """

    pointer: int | None
    dtype: str
    strides: tuple[int, ...]
    indirect: tuple[str, int] | None = None


class Line(Struct, frozen=True):
    """`name = access`, or `name = expression` over the names of earlier lines."""

    name: str
    value: Access | Expression


class Reduction(Struct, frozen=True):
    """How a fold reduces the values of its line: from `initial` on, `combine` joins the result so far, `a`, with the
    next value, `b`, and may use other lines. `initial` is a number, or an element that does not move along the folded
    axes. `keyed` ("max" or "min") reduces integers that are ordered as floats are, with NaN before all."""

    initial: "Number | Access"
    combine: Expression
    keyed: str | None = None


class Output(Struct, frozen=True):
    """Stores the value of a line at `target`. With `fold`, the value is first reduced over the nest's folded axes."""

    line: str
    target: Access
    fold: Reduction | None = None

    @property
    def is_multiply_add(self) -> bool:
        """Whether it sums products, each rounded with the sum."""
        return (
            self.fold is not None
            and isinstance(self.fold.combine, FunctionCall)
            and self.fold.combine.function == "fma"
        )


# a nest may have thousands of lines, and is the key of tables
class Nest(Struct, frozen=True, cache_hash=True):
    """Loops over `extents`, with the lines and outputs inside. None is a count that the kernel takes as an argument.

    `folded` says which axes the folds reduce. `buffers` numbers the buffer that each pointer points into: pointers
    into different buffers do not overlap. `sums` says in which order sums of floats over the folded axes are taken.
    With `is_running`, a fold along the only folded axis stores the result so far at each point of it.
    `sizes` further arguments follow the counts: numbers of elements that lines compute with (`Size`).
    With `combine`, an expression of a and b, the only output is combined with the element at its target (a: that
    element, b: the line). With `argmax`, the only output is the index along the folded axis where the line is largest.
    """

    extents: tuple[int | None, ...]
    lines: tuple[Line, ...]
    outputs: tuple[Output, ...]
    buffers: tuple[int, ...]
    folded: tuple[bool, ...]
    sums: Sums = "in order"
    combine: Expression | None = None
    argmax: bool = False
    is_running: bool = False
    sizes: int = 0

    @property
    def folds_rows(self) -> bool:
        """Whether the innermost axis is not folded while others are: a row of the result is then a sum of rows."""
        return any(output.fold is not None for output in self.outputs) and True in self.folded and not self.folded[-1]

    @property
    def has_free_order(self) -> bool:
        """Whether points may be computed in any order, as far as stores matter: each store is of another element than
        each load, or of the same one at the same point."""
        loads = [load for load in self.loads() if load.pointer is not None]
        stores = [output.target for output in self.outputs if output.target.pointer is not None]
        return all(load == store for load in loads for store in stores if self._buffer(load) == self._buffer(store))

    def _buffer(self, access: Access) -> int:
        assert access.pointer is not None
        return self.buffers[access.pointer]

    def accesses(self) -> list[Access]:
        """All loads, then all stores."""
        return [*self.loads(), *(output.target for output in self.outputs)]

    def loads(self) -> list[Access]:
        """The loads of lines, then those of elements that folds begin with."""
        folds = [output.fold for output in self.outputs if output.fold is not None]
        return [
            *(line.value for line in self.lines if isinstance(line.value, Access)),
            *(fold.initial for fold in folds if isinstance(fold.initial, Access)),
        ]


class Extent(Struct, frozen=True):
    """The count of a loop: a factor times the extent of an `axis` of the nest (None: the factor alone)."""

    factor: int
    axis: int | None


def compact(nest: Nest) -> tuple[Nest, tuple[Extent, ...]]:
    """Decides the order of the sums, joins axes, and returns the smaller nest and the counts that it takes.

    A count becomes an argument if it is known only at the call, if it is the only one, or if it is that of a long
    sum, or of long rows that an index names: inputs of other widths are then gathered by the same kernel.

    The order of a sum is decided only by its own axes, before axes are joined, because which axes can be joined
    depends on everything in the nest. It does not depend on what else the loop computes, on how many rows a call has,
    or on the vector width. A sum in lanes runs along joined axes: its loop computes nothing else.

    A sum of rows in groups adds GROUP rows along its last axis as a tree, ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + ...),
    and then the result to the total; rows behind the last group are added one by one.
    """
    in_blocks, in_groups = _is_summed_in_blocks(nest), _is_summed_in_groups(nest)
    smaller, extents = collapse(nest, in_groups)
    last = len(extents) - 1
    is_of_rows = (
        bool(extents)
        and extents[last].factor >= _LONG_ROW
        and not any(smaller.folded)
        and any(access.indirect is not None and access.strides[last] for access in smaller.accesses())
    )
    arguments = {
        axis: extent
        for axis, extent in enumerate(extents)
        if extent.axis is not None or len(extents) == 1 or (axis == last and (in_blocks or is_of_rows))
    }
    sums: Sums = "in order"
    if in_blocks:
        is_one = smaller.folded.count(True) == 1 and extents[last].axis is None and extents[last].factor <= BLOCK
        sums = "in one block" if is_one else "in blocks"
    elif in_groups:
        sums = "in groups"
    elif _sums_products(smaller):
        sums = "in lanes"
    counts = tuple(None if axis in arguments else extent.factor for axis, extent in enumerate(extents))
    return replace(smaller, extents=counts, sums=sums), tuple(arguments.values())


def _is_summed_in_blocks(nest: Nest) -> bool:
    """Whether the nest's sums run along rows and are long enough to be computed block by block."""
    if nest.is_running:
        return False
    axes = [axis for axis, extent in enumerate(nest.extents) if extent != 1]
    folded = [nest.extents[axis] for axis in axes if nest.folded[axis]]
    if not folded or not nest.folded[axes[-1]] or any(output.is_multiply_add for output in nest.outputs):
        return False
    return None in folded or math.prod(extent for extent in folded if extent is not None) > _IN_ORDER


def _is_summed_in_groups(nest: Nest) -> bool:
    """Whether the nest sums rows of floats, and its last folded axis may be long enough for a group."""
    if nest.is_running or nest.argmax or nest.combine is not None:
        return False
    axes = [axis for axis, extent in enumerate(nest.extents) if extent != 1]
    folded = [nest.extents[axis] for axis in axes if nest.folded[axis]]
    if not folded or nest.folded[axes[-1]]:
        return False
    folds = [output for output in nest.outputs if output.fold is not None and output.fold.combine == ADDITION]
    return any(DTYPES[fold.target.dtype].is_float for fold in folds) and (folded[-1] is None or folded[-1] >= GROUP)


def _sums_products(nest: Nest) -> bool:
    """Whether a nest sums products of neighbouring elements along its last axis, whose length is known.

    Element i of a row then goes to running sum i % LANES, for all rows before the next LANES elements, and the running
    sums are added pairwise.
    """
    accesses = [line.value for line in nest.lines if isinstance(line.value, Access)]
    return (
        len(nest.outputs) == 1
        and nest.outputs[0].is_multiply_add
        and nest.folded[-1]
        and not all(nest.folded)
        and nest.extents[-1] is not None
        and len(accesses) == len(nest.lines)
        and all(access.dtype == nest.outputs[0].target.dtype for access in accesses)
        and all(access.strides[-1] == 1 and access.indirect is None for access in accesses)
    )


def collapse(nest: Nest, in_groups: bool) -> tuple[Nest, tuple[Extent, ...]]:
    """Joins neighbouring axes that every access can walk as one, and removes axes of one element.

    Of a nest that sums `in_groups`, the last folded axis is joined to the one before it only if groups fill it.
    Returns the smaller nest and the extent of each of its axes.
    """
    kept: list[list[int]] = []
    longer = _longer(nest)
    last = max((axis for axis, _ in longer if nest.folded[axis]), default=None)
    for axis, extent in longer:
        joined = (
            kept
            and extent is not None
            and not (in_groups and axis == last and extent % GROUP)
            and nest.folded[kept[-1][-1]] == nest.folded[axis]
            and not nest.argmax
            and all(access.strides[kept[-1][-1]] == access.strides[axis] * extent for access in nest.accesses())
        )
        if joined:
            kept[-1].append(axis)
        else:
            kept.append([axis])
    extents = tuple(
        Extent(
            math.prod(extent for extent in (nest.extents[axis] for axis in group) if extent is not None),
            next((axis for axis in group if nest.extents[axis] is None), None),
        )
        for group in kept
    )

    def pick(access: Access) -> Access:
        return replace(access, strides=tuple(access.strides[group[-1]] for group in kept))

    smaller = replace(
        nest,
        extents=tuple(extent.factor if extent.axis is None else None for extent in extents),
        lines=tuple(
            Line(line.name, pick(line.value) if isinstance(line.value, Access) else line.value) for line in nest.lines
        ),
        outputs=tuple(
            replace(output, target=pick(output.target), fold=_picked(output.fold, pick)) for output in nest.outputs
        ),
        folded=tuple(nest.folded[group[0]] for group in kept),
    )
    return smaller, extents


def _picked(fold: Reduction | None, pick: Callable[[Access], Access]) -> Reduction | None:
    if fold is None or not isinstance(fold.initial, Access):
        return fold
    return replace(fold, initial=pick(fold.initial))


def _longer(nest: Nest) -> list[tuple[int, int | None]]:
    """The axes of more than one element, and their extents. A nest that folds keeps at least one folded axis."""
    axes = list(enumerate(nest.extents))
    longer = [(axis, extent) for axis, extent in axes if extent != 1]
    if any(nest.folded) and not any(nest.folded[axis] for axis, _ in longer):
        longer = sorted([*longer, next((axis, extent) for axis, extent in axes if nest.folded[axis])])
    return longer or axes[-1:]
