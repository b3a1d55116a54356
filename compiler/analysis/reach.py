"""The steps of an input that a step of a value reads: an interval of distances for each axis along the steps.

A distance 0 is the same step, -1 the one before, and an endless interval reads all steps on a side. A value that has
no axis of steps, such as the last state of a recurrent layer, is a bottleneck: what is computed from it alone is not
followed any further. So a model that reads a step on its way along the steps is told from one that has to remember it.
An operation without a rule ends the path too: an interval may be missing, and none is too wide without a reason.
"""

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.attributes import Axis, Dims, Over
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph, dependents, needed_by
from netc.compiler.ir.index_tables import IndexTable, TableKind, table_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Bounded, Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.convolution import Convolution, conv2d
from netc.compiler.operations.elementwise import greater, greater_equal, less, less_equal, where
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.random import RANDOM
from netc.compiler.operations.reduce import log_softmax, softmax
from netc.compiler.operations.reshaping import one_hot
from netc.compiler.operations.running import RunningSum
from netc.compiler.operations.scan import Part, Scan, SlotKind, pack, unpack
from netc.compiler.operations.shape import Order, Pad, Slice, reshape, reverse
from netc.dsl.structs import replace

_COMPARISONS = (greater, greater_equal, less, less_equal)


class Reach(Struct, frozen=True):
    """Step t reads the steps from t + first to t + last; where the axis is `turned`, t counts from the last step."""

    first: float = 0
    last: float = 0
    turned: bool = False

    @property
    def distance(self) -> int | None:
        """The one distance at which each step reads one step of the input; None for more or for none such."""
        return int(self.first) if self.first == self.last and math.isfinite(self.first) and not self.turned else None

    def includes(self, distance: int) -> bool:
        return not self.turned and self.first <= distance <= self.last

    def moved(self, first: float, last: float) -> "Reach":
        """The reach of a value whose step t reads the steps from t + first to t + last of one with this reach."""
        if self.turned:
            return replace(self, first=self.first - last, last=self.last - first)
        return replace(self, first=self.first + first, last=self.last + last)


Reaches = dict[int, Reach]  # by the axis of a value that runs along the steps
EARLIER, LATER = -math.inf, math.inf


def reaches(graph: Graph, source: Value) -> dict[Value, Reaches]:
    """The reach of each value whose steps read steps of a leaf, along the first axis of its samples, if it has one."""
    if not source.type.sample:
        return {}
    along: dict[Value, Reaches] = {source: {0 if source.type.is_varying else source.type.lead: Reach()}}
    for value in graph.values():
        if value is not source and (reaches := _reaches_of(value, along)):
            along[value] = reaches
    return along


def opening(along: Mapping[Value, Reaches], value: Value, distance: int) -> Value:
    """The value on the way to `value` that opens the step at a distance: the source of `along`, if `value` reads its
    same step without a shift in between, or else the first value that reads a step which its operands do not."""
    path, source = needed_by([value]), next(iter(along))
    unmoved: set[Value] = set()
    openings: list[Value] = []
    for operand, reaches in along.items():
        if operand in path and any(reach.includes(distance) for reach in reaches.values()):
            is_unmoved = operand is source or not unmoved.isdisjoint(_operands_of(operand))
            (unmoved.add if is_unmoved else openings.append)(operand)
    return source if value in unmoved else openings[0]


def _operands_of(value: Value) -> Sequence[Value]:
    """The operands of a value; for one of several results, those of the operation."""
    return value.operands[0].operands if value.role is Role.PART else value.operands


def _reaches_of(value: Value, along: Mapping[Value, Reaches]) -> Reaches:
    """The reach of a value from those of its operands."""
    if value.role is Role.PART:
        return _of_part(value, along)
    if not any(operand in along for operand in value.operands) or _is_hidden(value):
        return {}
    table = next((read for operand in value.operands if (read := table_of(operand)) is not None), None)
    first = along.get(value.operands[0], {})
    if value.definition in (pack, unpack):
        before, after = (1, 0) if value.definition is pack else (0, 1)
        return {after: first[before]} if before in first else {}
    if table is not None and value.definition is gather:
        return _gathered(table, first)
    reaches: Reaches = {}
    for number, operand in enumerate(value.operands):
        for axis, reach in along.get(operand, {}).items():
            for result_axis, moved in _through(value, number, axis, reach, along):
                _join(reaches, result_axis, moved)
    return reaches


def _join(reaches: Reaches, axis: int, reach: Reach) -> None:
    """Adds a reach along an axis. Of two that count from different ends, the one from the first step remains."""
    before = reaches.get(axis)
    if before is None or (before.turned and not reach.turned):
        reaches[axis] = reach
    elif before.turned == reach.turned:
        reaches[axis] = Reach(min(before.first, reach.first), max(before.last, reach.last), reach.turned)


def _is_hidden(value: Value) -> bool:
    """Whether random numbers choose the elements that remain: a denoising model may see the others."""
    if value.definition is not where:
        return False
    return any(source.operation in RANDOM for source in needed_by([value.operands[0]]))


def _of_part(value: Value, along: Mapping[Value, Reaches]) -> Reaches:
    """A value that a scan yields depends on all earlier steps, and on its own step if that is read before the yield."""
    scan, result = Scan.of(value.operands[0]), value.attributes_as(Part).result
    reaches: Reaches = {}
    if result.kind is not ResultKind.YIELD:
        return reaches
    leaves = scan.leaves()
    for index, sequence in enumerate(scan.sequences):
        leaf = leaves.get(SlotKind.STEP_INPUT.slot(index))
        reach = along.get(sequence, {}).get(0)
        if leaf is None or reach is None:
            continue
        nearest = 0 if scan.body.results[result] in dependents(scan.body, [leaf]) else 1
        farthest = LATER if scan.begins else nearest
        _join(reaches, 0, reach.moved(nearest, farthest) if scan.is_reversed else reach.moved(-farthest, -nearest))
    return reaches


def _gathered(table: IndexTable, first: Reaches) -> Reaches:
    """Rows that an index table moves along the steps."""
    reach, other = first.get(0), table.other
    if reach is None:
        return {}
    match table.kind:
        case TableKind.PADDED:
            return {1: reach}
        case TableKind.PREVIOUS:
            return {0: reach.moved(-1, -1)}
        case TableKind.REVERSE:
            return {0: replace(reach, turned=not reach.turned)}
        case TableKind.TO if other is not None and other.times == other.by == 1 and other.shift is None:
            return {0: reach.moved(other.offset, other.offset)}
    return {}


ReachedAxes = Sequence[tuple[int, Reach]]  # axes of a result, with the reach along them


def _through(value: Value, number: int, axis: int, reach: Reach, along: Mapping[Value, Reaches]) -> ReachedAxes:
    """The axes of a value that run along an axis of one of its operands."""
    operand = value.operands[number]
    match value.attributes:
        case Subscripts() as product:
            return _multiplied(value, product, number, axis, reach, along)
        case Order(order):
            return [(order.index(axis), reach)]
        case Over(over):
            return _reduced(value, axis, over, reach)
        case Slice() | Axis() | Pad():
            return _cut(value, number, axis, reach)
        case Convolution() as window if value.definition is conv2d:
            return _convolved(value, window, axis, reach) if number == 0 else []
        case Dims() if value.definition is reshape:
            return _reshaped(operand.type.dims, value.type.dims, axis, reach)
    if value.definition is gather:
        return [(axis, reach)] if number == 1 else []
    lower = value.lower
    result_axis = axis + value.type.rank - operand.type.rank
    if isinstance(lower, Scalar) or value.role is Role.SHAPE or value.type.dims == operand.type.dims:
        return [(result_axis, reach)] if value.type.dims[result_axis] == operand.type.dims[axis] else []
    return [(axis, reach)] if value.definition is one_hot else []


def _cut(value: Value, number: int, axis: int, reach: Reach) -> ReachedAxes:
    """A slice, a join or a padding, which moves the steps if it is along them."""
    match value.attributes:
        case Slice(axis=changed) as cut if changed == axis:
            is_one = value.type.dims[axis] == 1
            return [] if reach.turned or cut.stride != 1 or is_one else [(axis, reach.moved(cut.start, cut.start))]
        case Axis(axis=changed) if changed == axis:
            sizes = [operand.type.dims[axis] for operand in value.operands[:number]]
            if reach.turned or not all(isinstance(size, int) for size in sizes):
                return []
            before = -sum(map(int, sizes))
            return [(axis, reach.moved(before, before))]
        case Pad(axes=axes) as padding if axis in axes:
            index = axes.index(axis)
            before = -padding.before[index]
            return [] if reach.turned or padding.step[index] != 1 else [(axis, reach.moved(before, before))]
    return [(axis, reach)]


def _multiplied(
    value: Value, product: Subscripts, number: int, axis: int, reach: Reach, along: Mapping[Value, Reaches]
) -> ReachedAxes:
    """A product keeps an axis, or adds it up: with weights for each pair of steps it mixes all that no mask hides."""
    both = product.inputs.split(",")
    letter = both[number][axis]
    if letter in product.out:
        return [(product.out.index(letter), reach)]
    if len(both) != 2:
        return []
    weights = value.operands[1 - number]
    mixed = reach.moved(EARLIER, 0 if _is_masked(weights) else LATER)
    letters = [both[1 - number][other] for other in along.get(weights, {})]
    return [(product.out.index(other), mixed) for other in letters if other != letter and other in product.out]


def _is_masked(weights: Value) -> bool:
    """Whether weights of pairs of steps depend on which of them is later."""
    return any(
        value.definition in _COMPARISONS and all(map(_is_numbering, value.operands)) for value in needed_by([weights])
    )


def _is_numbering(value: Value) -> bool:
    """Whether a value follows from the numbers of steps, and not from data or the lengths of samples."""
    sources = [source for source in needed_by([value]) if not source.operands]
    tables = [table for source in sources if (table := table_of(source)) is not None]
    return not any(source.role in (Role.INPUT, Role.PARAMETER, Role.EXTENT) for source in sources) and not any(
        table.kind is TableKind.LENGTH for table in tables
    )


def _reduced(value: Value, axis: int, over: tuple[int, ...], reach: Reach) -> ReachedAxes:
    """A reduction of other axes, or an operation along the steps that keeps the shape."""
    if value.type.rank < value.operands[0].type.rank:
        return [] if axis in over else [(axis - sum(other < axis for other in over), reach)]
    if axis not in over:
        return [(axis, reach)]
    if value.definition is reverse:
        return [(axis, replace(reach, turned=not reach.turned))]
    if isinstance(value.attributes, RunningSum):
        return [(axis, reach.moved(0, LATER) if value.attributes.is_reversed else reach.moved(EARLIER, 0))]
    return [(axis, reach.moved(EARLIER, LATER))] if value.definition in (softmax, log_softmax) else []


def _convolved(value: Value, window: Convolution, axis: int, reach: Reach) -> ReachedAxes:
    """The windows of a convolution along the height or the width."""
    side = axis - (value.type.rank - 3)
    if side not in (0, 1) or window.stride[side] != 1:
        return []
    size, before = int(value.operands[1].type.dims[side]), window.pad[2 * side]
    return [(axis, reach.moved(-before, (size - 1) * window.dilation[side] - before))]


def _reshaped(before: tuple[Dim, ...], after: tuple[Dim, ...], axis: int, reach: Reach) -> ReachedAxes:
    """The axis of the new shape that has as many elements in front of it, and the same size."""
    for result_axis, dim in enumerate(after):
        if dim == before[axis] and _size(after[:result_axis]) == _size(before[:axis]):
            return [(result_axis, reach)]
    return []


def _size(dims: tuple[Dim, ...]) -> tuple[list[str], int]:
    """The names of the dimensions that vary, and the product of the others."""
    names = [dim.name if isinstance(dim, Bounded) else dim for dim in dims if isinstance(dim, str | Bounded)]
    return names, math.prod(dim for dim in dims if isinstance(dim, int) and not isinstance(dim, Bounded))
