"""Recognises values of a graph: masks, the class of a one-hot mask, counts of elements, the axes of a reduction."""

from netc.compiler.ir.attributes import Constant, Dims, Over
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.elementwise import COMPARISONS, cast, copied, equal
from netc.compiler.operations.pooling import maxplace2d
from netc.compiler.operations.shape import broadcast, reshape

SILENT = (reshape, broadcast, cast, copied)  # the same numbers in another shape or type


def shown(value: Value) -> Value:
    """The value whose numbers another one has in another shape or type."""
    while value.definition in SILENT:
        value = value.operands[0]
    return value


def axes(inner: Value, value: Value) -> tuple[str, ...]:
    """The axes of a reduction as words; none if it runs over all that a sample has."""
    over, lead = value.attributes_as(Over).over, int(inner.type.is_batched)
    is_whole_sample = min(over, default=0) >= lead and len(over) == inner.type.rank - lead
    return () if is_whole_sample else tuple(axis_name(inner, axis) for axis in over)


def axis_name(inner: Value, axis: int) -> str:
    lead = int(inner.type.is_batched)
    return str(inner.type.dims[axis]) if axis < lead else str(axis - lead)


def count(dims: list[Dim]) -> tuple[float, list[str]]:
    """The number of elements of some dimensions: the product of the fixed ones, and the names of the others."""
    size = 1.0
    for dim in dims:
        size *= dim if isinstance(dim, int) else 1
    return size, sorted(str(dim) for dim in dims if not isinstance(dim, int))


def count_of(value: Value) -> tuple[float, list[str]] | None:
    """The number of elements that a value stands for, as in `count`; None for a value that counts none."""
    if value.role is Role.EXTENT:
        return count(list(value.attributes_as(Dims).dims))
    return (float(value.attributes_as(Constant).value), []) if value.role is Role.CONSTANT else None


def label_of(value: Value) -> Value | None:
    """The class of a one-hot mask: whether the classes 0, 1, 2, ... equal it. None for any other value."""
    value = shown(value)
    if value.definition is not equal:
        return None
    label, positions = map(shown, value.operands)
    return label if positions.role is Role.RANGE and label.type.dtype == "i32" else None


def is_mask(value: Value) -> bool:
    value = shown(value)
    return value.type.dtype == "bool" or value.operation in COMPARISONS


def position_of(condition: Value) -> Value | None:
    """The value that says where each maximum was, of a condition that compares it with one place."""
    condition = shown(condition)
    position = shown(condition.operands[0]) if condition.definition is equal else None
    return position if position is not None and position.definition is maxplace2d else None
