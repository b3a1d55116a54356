"""Chooses how many points of a nest the body of its innermost loop computes at once ("unroll and jam").

    for i0:                                  for i0 in steps of 2:
        for i1:                          ->      for i1:
            total += x[i0, i1] * w[i1]               total0 += x[i0, i1] * w[i1]         # w[i1] is loaded once
                                                     total1 += x[i0 + 1, i1] * w[i1]

Elements that several points read are then loaded once, and a total stays in a register while several elements are added
to it. The order in which a sum is taken does not change: a body has whole groups of rows. Knows only the nest, no text
and no machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

from msgspec import Struct, field

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import GROUP, Access, Nest
from netc.compiler.program.scalars import call_count
from netc.compiler.targets.cpu.nests.vector_rows import has_vector_rows, keeps_totals

Point = Mapping[int, int]  # by axis: the distance from the first point of the body
_MOST_TOTALS = 12  # totals of a body, which stay in registers
_MOST_IN_LANES = 4  # sums in lanes of a body
_WAIT = 1.0  # the time that a body of one sum waits for it, in loads for each multiply-add
_MOST_STEPS = 8  # points of a body along an axis that it does not cover completely
_MOST_WEIGHT = 320  # of a body: the time to compile a kernel grows with it
_CALL_WEIGHT = 24  # of a function such as exp; loads, sums and stores have a weight of 1
_UNROLLED = 384  # LLVM unrolls a loop of a smaller weight, and then finds no vectors in it
_PENALTY = 1.0  # the cost of such a loop, in loads for each point
_MOST_ROWS = 16  # long rows that a body reads side by side
_LONG = 512  # bytes of a long row
_FAR = 32 << 10  # bytes between the first and the last row of a sum that the first cache does not hold
_GAIN = 0.001  # the cost of a unit of weight, in loads for each point: a longer body must be worth it


class Jam(Struct, frozen=True):
    """The points that a body computes at once: all of the axes in `complete`, and `steps` of the axis `along`.

    `complete` has the extent of each of its axes. The steps are `apart` from one another.
    """

    complete: Mapping[int, int] = field(default_factory=dict)
    along: int | None = None
    steps: int = 1
    apart: int = 1

    def points(self, folded: Sequence[bool], steps: int) -> Iterator[Point]:
        """Yields the points of a body with so many steps. Each sum gets its elements in the order of the nest."""
        counts = {**self.complete, **({} if self.along is None else {self.along: steps})}
        axes = sorted(counts, key=lambda axis: (not folded[axis], axis))
        for index in product(*(range(counts[axis]) for axis in axes)):
            yield {axis: i * (self.apart if axis == self.along else 1) for axis, i in zip(axes, index, strict=True)}


def jam_of(nest: Nest, kept: Sequence[int], folded: Sequence[int]) -> Jam:
    """Returns the points that a body computes at once, if the innermost axis is not folded.

    `kept` are the other axes that are not folded. Either all folded axes are taken completely, and then several points
    of one other axis; or several points along the last folded axis, for all points of some others.
    """
    jams = [Jam({}, folded[-1], _steps(nest, folded[-1])[0])]
    extents = {axis: extent for axis, extent in enumerate(nest.extents) if extent is not None}
    if all(axis in extents for axis in folded):
        complete = {axis: extents[axis] for axis in folded}
        jams += [Jam(complete, along, steps) for along in kept[::-1] for steps in _steps(nest, along)] or [
            Jam(complete)
        ]
    for count in range(len(kept) + 1):
        for axes in combinations([axis for axis in kept if axis in extents], count):
            complete = {axis: extents[axis] for axis in axes}
            jams += [Jam(complete, folded[-1], steps) for steps in _steps(nest, folded[-1])]
    return min((jam for jam in jams if _fits(nest, jam)), key=lambda jam: _cost(nest, jam), default=jams[0])


def jam_in_lanes(nest: Nest, kept: Sequence[int], folded: Sequence[int]) -> Jam:
    """Returns the points that a body computes at once if each sum is taken in lanes: some along a kept axis, for all
    points of the folded axes but the last, or for one."""
    inner = {axis: extent for axis in folded[:-1] if (extent := nest.extents[axis]) is not None}
    choices: list[Mapping[int, int]] = [{}, inner] if len(inner) == len(folded) - 1 else [{}]
    jams = [Jam(complete, along, steps) for complete in choices for along in kept for steps in _steps(nest, along)]
    fitting = [jam for jam in jams if jam.steps <= _MOST_IN_LANES and _weight(nest, jam) <= _MOST_WEIGHT]
    return min(fitting, key=lambda jam: _cost_in_lanes(nest, jam))


def _cost_in_lanes(nest: Nest, jam: Jam) -> float:
    """The loads for each multiply-add of vectors. In a body of one sum, each multiply-add waits for the one before."""

    def cost(steps: int) -> float:
        counts = _counts(jam, steps)
        loads = sum(_elements(line.value, counts) for line in nest.lines if isinstance(line.value, Access))
        return loads / (_size(nest, counts, False) * _size(nest, counts, True)) + _WAIT / steps

    assert jam.along is not None
    extent = nest.extents[jam.along]
    rest = 0.0 if extent is None else extent % jam.steps / extent
    return cost(jam.steps) * (1 - rest) + cost(1) * rest + _GAIN * _weight(nest, jam)


def _steps(nest: Nest, axis: int) -> Sequence[int]:
    """The numbers of points that a body may compute along an axis. Along an axis that is summed in groups it has one
    group."""
    if nest.sums == "in groups" and axis == max(i for i, is_folded in enumerate(nest.folded) if is_folded):
        return (GROUP,)
    return range(1, min(nest.extents[axis] or _MOST_STEPS, _MOST_STEPS) + 1)


def _counts(jam: Jam, steps: int) -> dict[int, int]:
    return {**jam.complete, **({} if jam.along is None else {jam.along: steps})}


def _size(nest: Nest, counts: Mapping[int, int], is_folded: bool) -> int:
    """The number of points of a body along its folded axes, or along the others."""
    size = 1
    for axis, count in counts.items():
        size *= count if nest.folded[axis] == is_folded else 1
    return size


def _weight(nest: Nest, jam: Jam) -> int:
    """The weight of a body: about its number of instructions."""
    counts = _counts(jam, jam.steps)
    calls = sum(_CALL_WEIGHT * call_count(line.value) for line in nest.lines if not isinstance(line.value, Access))
    each = len(nest.lines) + len(nest.outputs) + calls
    return each * _size(nest, counts, True) * _size(nest, counts, False)


def _fits(nest: Nest, jam: Jam) -> bool:
    """Whether the totals of a body fit into registers, and its text is not too long."""
    totals = len(nest.outputs) * _size(nest, _counts(jam, jam.steps), False)
    return totals <= _MOST_TOTALS and _weight(nest, jam) <= _MOST_WEIGHT and not _is_spread(nest, jam)


def _is_spread(nest: Nest, jam: Jam) -> bool:
    """Whether a body reads so many long rows side by side that the CPU does not fetch them ahead.

    Rows of windows, whose products are summed, are read several times, and so from the first cache.
    """
    length = nest.extents[-1]
    are_apart = rows_apart(nest)
    if length is None or (not are_apart and any(output.is_multiply_add for output in nest.outputs)):
        return False
    loads = [line.value for line in nest.lines if isinstance(line.value, Access)]
    counts = _counts(jam, jam.steps)
    rows = [
        _elements(load, counts)
        for load in loads
        if load.strides[-1] and (are_apart or load.strides[-1] * length * DTYPES[load.dtype].bytes >= _LONG)
    ]
    return sum(rows) > _MOST_ROWS


def rows_apart(nest: Nest) -> bool:
    """Whether the rows of a sum are short and lie far apart, while rows of other results lie between them.

    So do the operands of a sum over the samples of [n, 16], if the last axis does not belong to all of them. Then the
    loop over the results belongs inside of that over a sum: an operand is read as it lies.
    """
    along = max(axis for axis, is_folded in enumerate(nest.folded) if is_folded)
    length, extent = nest.extents[-1], nest.extents[along]
    if length is None or nest.folded[-1]:
        return False
    kept = [axis for axis, is_folded in enumerate(nest.folded[:-1]) if not is_folded]

    def is_apart(load: Access) -> bool:
        nbytes = DTYPES[load.dtype].bytes
        apart = load.strides[along] * nbytes
        return (
            load.strides[-1] == 1
            and length * nbytes < _LONG
            and any(load.strides[axis] == length < load.strides[along] for axis in kept)
            and (extent is None or extent * apart > _FAR)
        )

    return any(is_apart(load) for load in nest.loads())


def _cost(nest: Nest, jam: Jam) -> float:
    """The loads and stores for each point, and penalties for the weight and for a loop that LLVM unrolls."""
    weight = _weight(nest, jam)
    extent = None if jam.along is None else nest.extents[jam.along]
    cost = _moves(nest, jam, jam.steps)
    if extent is not None and extent % jam.steps:
        rest = extent % jam.steps / extent
        cost = cost * (1 - rest) + _moves(nest, jam, 1) * rest
    is_unrolled = not has_vector_rows(nest) and (nest.extents[-1] or _UNROLLED) * weight < _UNROLLED
    return cost + _GAIN * weight + _PENALTY * is_unrolled


def _moves(nest: Nest, jam: Jam, steps: int) -> float:
    counts = _counts(jam, steps)
    loads = sum(_elements(line.value, counts) for line in nest.lines if isinstance(line.value, Access))
    is_done = all(axis in jam.complete for axis, is_folded in enumerate(nest.folded) if is_folded)
    totals = len(nest.outputs) * _size(nest, counts, False)
    points = _size(nest, counts, False) * _size(nest, counts, True)
    bodies = 1.0  # for each load and store of a total
    if jam.along is not None and not is_done and has_vector_rows(nest) and keeps_totals(nest):
        bodies = (nest.extents[jam.along] or 1) / steps
    return (loads + totals * (1 if is_done else 2) / bodies) / points


def _elements(access: Access, counts: Mapping[int, int]) -> int:
    """The number of elements that the points of a body load."""
    offsets = {0}
    for axis, count in counts.items():
        stride = access.strides[axis]
        if stride:
            offsets = {offset + stride * i for offset in offsets for i in range(count)}
    return len(offsets)
