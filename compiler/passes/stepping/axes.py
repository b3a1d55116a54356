"""Finds the axis of each value that runs along the steps, where a graph is reduced to one step (step.py).

    axis 0     the rows of a packed value: the step needs the row of this step
    axis 1...  an axis of a value that is held at its bound: the step needs its element of this step
    NONE       the step needs all elements, among them those of every earlier step
    EVERY      the rows of a value that follows from the number of the step alone: the step needs those of all steps

A value may be needed at several axes. Knows nothing of states.
"""

from netc.compiler.ir.attributes import Axis, Dims, Over
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.index_tables import IndexTable, TableKind, table_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Bounded
from netc.compiler.ir.value import Value
from netc.compiler.operations.attention import Attending
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.scan import Scan
from netc.compiler.operations.scan import pack as to_steps
from netc.compiler.operations.shape import Order, Pad, Slice, reshape

NONE, EVERY = -1, -2
_HINT = "what generates goes from the first step to the last"
Axes = tuple[int | None, ...]  # for each operand; None if the step does not need it


class NeedsAll(Exception):
    """A value takes all steps together; `reason` and `hint` are for a diagnostic."""

    def __init__(self, value: Value, reason: str = "it takes all steps together", hint: str = _HINT) -> None:
        super().__init__(reason)
        self.value, self.reason, self.hint = value, reason, hint


def needed_axes(graph: Graph) -> dict[Value, list[int]]:
    """The axes at which one step needs each value, for the values that it needs. Raises NeedsAll."""
    axes: dict[Value, list[int]] = {}

    def need(value: Value, axis: int) -> None:
        axes_of_value = axes.setdefault(value, [])
        if axis not in axes_of_value:
            axes_of_value.append(axis)

    for value in graph.results.values():
        need(value, rows_axis(value))
    for value in reversed(graph.values()):
        for axis in axes.get(value, ()):
            for operand, of_operand in zip(value.operands, operand_axes(value, axis), strict=True):
                if of_operand is not None:
                    need(operand, of_operand)
    return axes


def rows_axis(value: Value) -> int:
    """The axis of a value's rows, if it has a row for each step."""
    return 0 if value.type.is_varying else NONE


def is_along_steps(value: Value, axis: int) -> bool:
    """Whether an axis of a value has an element for each step."""
    return isinstance(value.type.dims[axis], Bounded) or (axis == 0 and value.type.is_varying)


def other_steps(value: Value, axis: int) -> list[int]:
    """The axes along the steps other than the one that the value is needed at."""
    return [other for other in range(value.type.rank) if other != axis and is_along_steps(value, other)]


def operand_axes(value: Value, axis: int) -> Axes:
    """The axis at which each operand of a value is needed, where the value is needed at `axis`. Raises NeedsAll."""
    if value.role in (Role.SCAN, Role.PART):
        return _of_scan(value)
    table = next((read for operand in value.operands if (read := table_of(operand)) is not None), None)
    if table is not None and not follows_from_step(table):
        return _of_moved(value, axis, table)
    if axis == NONE:
        is_merged = value.definition is reshape and len(set(map(_number_of_axes, (value, *value.operands)))) > 1
        if is_merged or any(operand.type.is_varying for operand in value.operands):
            raise NeedsAll(value)
        return (NONE,) * len(value.operands)
    axes = tuple(_operand_axis(value, axis, number) for number in range(len(value.operands)))
    if axis == EVERY:
        return tuple(EVERY if of_operand == 0 else of_operand for of_operand in axes)
    return axes


def _of_scan(value: Value) -> Axes:
    """A part of a scan needs the scan's step, which needs a row of each sequence. First carries are computed once."""
    if value.role is Role.PART:
        return (0,)
    scan = Scan.of(value)
    for operand in scan.captured:
        if operand.type.is_varying or operand.type.is_held:
            raise NeedsAll(value, "its body takes all steps of another sequence")
    return tuple(None if operand in scan.begins else rows_axis(operand) for operand in value.operands)


def follows_from_step(table: IndexTable) -> bool:
    """Whether the number of the step says what a table has there: the step, how many there are, or whether an earlier
    one exists."""
    return table.kind in (TableKind.STEP, TableKind.LENGTH) or (table.kind is TableKind.IN and table.delay is not None)


def _of_moved(value: Value, axis: int, table: IndexTable) -> Axes:
    """The axes for a value whose rows an index table names."""
    operand, kind = value.operands[0], table.kind
    if value.definition is gather and kind is TableKind.PADDED:
        if axis == NONE and follows_from_number(operand):
            return (EVERY, NONE)
        return (0, NONE)
    if value.definition is gather and kind is TableKind.SAMPLE:
        return (NONE, NONE)
    if value.definition is gather and (kind in (TableKind.PREVIOUS, TableKind.FIRST) or table.delay is not None):
        return (0, NONE)
    if value.definition is to_steps:
        return (1, NONE)
    reasons = {
        TableKind.REVERSE: "it goes from the last step to the first",
        TableKind.LAST: "it waits for the last step",
    }
    if table.offset is not None:
        raise NeedsAll(value, "its window reads later steps", "in a convolution: pad = causal")
    raise NeedsAll(value, reasons.get(kind, "it takes all steps together"))


def follows_from_number(value: Value) -> bool:
    """Whether a value with rows is element-wise in the number of the step, parameters and constants."""
    for source in needed_by([value]):
        table = table_of(source)
        if table is not None and table.kind is not TableKind.STEP:
            return False
        if source.role in (Role.INPUT, Role.TARGET, Role.STATE):
            return False
        if source.type.is_varying and source.operands and not _is_pointwise(source):
            return False
    return True


def _is_pointwise(value: Value) -> bool:
    return isinstance(value.lower, Scalar) or value.role is Role.SHAPE


def _operand_axis(value: Value, axis: int, number: int) -> int:
    """The axis at which an operand is needed, where its value is needed at the axis of a step."""
    operand, operand_axis = value.operands[number], max(axis, 0)
    of_operand = _same_axis(value, operand_axis, number)
    if of_operand is None or not 0 <= of_operand < operand.type.rank or not is_along_steps(operand, of_operand):
        if operand.type.is_varying:
            raise NeedsAll(value)
        return NONE
    return of_operand


def _same_axis(value: Value, axis: int, number: int) -> int | None:
    """The axis of an operand that corresponds to an axis of the result; None if there is none. Raises NeedsAll."""
    operand = value.operands[number]
    match value.attributes:
        case Attending():
            return axis if number == 0 else None
        case Subscripts() as product:
            return product.inputs.split(",")[number].find(product.out[axis])
        case Order(order):
            return order[axis]
        case Over(over):
            return _reduced(value, axis, over)
        case Slice(axis=changed) | Axis(axis=changed) if changed == axis:
            raise NeedsAll(value)
        case Pad(axes=changes) if axis in changes:
            raise NeedsAll(value)
        case Slice() | Axis() | Pad():
            return axis
        case Dims() if value.definition is reshape:
            return _reshaped(value, axis)
    if value.definition is gather:
        return axis if number == 1 and axis < operand.type.rank else None
    if isinstance(value.lower, Scalar) or value.role is Role.SHAPE:
        return axis - (value.type.rank - operand.type.rank)
    if axis > 0:
        raise NeedsAll(value)
    return 0 if operand.type.is_varying else None


def _reduced(value: Value, axis: int, over: tuple[int, ...]) -> int:
    """The axis of a reduction's operand, or of one that keeps the shape, such as a softmax. Raises NeedsAll."""
    rank = value.operands[0].type.rank
    if value.type.rank < rank:
        return [other for other in range(rank) if other not in over][axis]
    if axis in over:
        raise NeedsAll(value)
    return axis


def _number_of_axes(value: Value) -> int:
    """The number of a value's axes along steps."""
    return len(other_steps(value, NONE))


def _reshaped(value: Value, axis: int) -> int:
    """The axis of a reshape's operand that is the axis of its result: axes along steps keep their order."""
    (operand,) = value.operands
    before, after = (
        [number for number in range(side.type.rank) if is_along_steps(side, number)] for side in (operand, value)
    )
    if len(before) != len(after):
        raise NeedsAll(value)
    return before[after.index(axis)]


def names_of_steps(value: Value) -> set[str]:
    """The names of the varying dimensions of a value."""
    names = {dim.name for dim in value.type.dims if isinstance(dim, Bounded)}
    return names | ({str(value.type.rows)} if value.type.is_varying else set())


__all__ = [
    "EVERY",
    "NONE",
    "NeedsAll",
    "follows_from_number",
    "follows_from_step",
    "names_of_steps",
    "needed_axes",
    "operand_axes",
    "other_steps",
    "rows_axis",
]
