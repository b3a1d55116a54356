"""Moves slices through element-wise values: f(x)[1:] -> f(x[1:]).

A value that only windows read, in a pool for example, then needs no memory: each window computes its elements.

A slice is moved only if nothing is computed twice that costs more than reading it: either only slices read the value,
or a single cheap operation computes it from one large value, which is in memory anyway.
"""

from netc.compiler.ir.arithmetic import arithmetic_of
from netc.compiler.ir.attributes import ElementType
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations.shape import Slice, slice_
from netc.compiler.passes.simplify import rebuild, simplify
from netc.dsl.structs import replace

_CHEAP = 8  # floating-point operations of an element, which take about as long as reading it


def sink(graph: Graph) -> Graph:
    """Moves slices in one walk from the leaves, then simplifies: unread values are dropped and equal ones shared."""
    passes: set[Value] = set()  # values of the copy that a slice may go through

    def sliced(copy: Graph, x: Value, attributes: Slice, type_: Type) -> Value:
        axis = attributes.axis
        if x not in passes:
            return copy.add("slice", (x,), attributes, type_)
        parts = []
        for operand in x.operands:
            operand_axis = axis - (x.type.rank - operand.type.rank)
            if operand_axis < 0 or operand.type.dims[operand_axis] == 1:
                parts.append(operand)
                continue
            dims = (*operand.type.dims[:operand_axis], type_.dims[axis], *operand.type.dims[operand_axis + 1 :])
            parts.append(sliced(copy, operand, replace(attributes, axis=operand_axis), operand.type.with_dims(dims)))
        copied = copy.add_copy(x, parts, type_=x.type.with_dims(type_.dims))
        passes.add(copied)
        return copied

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if isinstance(value.attributes, Slice):
            return sliced(copy, operands[0], value.attributes, value.type)
        copied = copy.add_copy(value, operands)
        if value in through:
            passes.add(copied)
        return copied

    through = _through(graph)
    if not any(slice_.operands[0] in through for slice_ in graph.values(slice_)):
        return graph
    return simplify(rebuild(graph, rule))


def _through(graph: Graph) -> set[Value]:
    """Returns the values that slices go through."""
    users, roots, through = graph.all_users(), set(graph.results.values()), set[Value]()
    for value in graph.values():
        if not is_scalar(value) or not value.type.is_batched or _begins_with_product(value):
            continue
        large = {operand for operand in value.operands if is_large(operand)}
        if users[value] and all(isinstance(user.attributes, Slice) for user in users[value]):
            through.add(value)
        elif is_light(value) and len(large) == 1:
            (source,) = large
            has_no_loop = not is_scalar(source) or _begins_with_product(source)
            is_kept = has_no_loop or source in roots or len(users[source]) > 1  # else only this value's loop has it
            if is_kept or source in through:
                through.add(value)
    return through


def is_scalar(value: Value) -> bool:
    """Whether a value is computed element by element."""
    return isinstance(value.lower, Scalar)


def _begins_with_product(value: Value) -> bool:
    """Whether a value is the sum of a product and another term, with which the register tile begins."""
    return any(operand.role is Role.CONTRACTION for operand in value.operands)


def is_light(value: Value) -> bool:
    """Whether a value is a single cheap operation on batched values of its shape, and on small values."""
    if not value.operands or not value.type.is_batched:
        return False
    operation, large = OPERATIONS[value.operation], [operand for operand in value.operands if is_large(operand)]
    is_one = isinstance(operation.lower, Scalar) and steps_of(value) == 1
    return is_one and bool(large) and all(operand.type.dims == value.type.dims for operand in large)


def is_spread(value: Value) -> bool:
    """Whether a value is a single cheap operation on values that all have fewer elements, such as `label == classes`.

    To compute it again reads less than to read it.
    """
    if not value.operands or not value.type.is_batched:
        return False
    is_one = isinstance(value.lower, Scalar) and steps_of(value) == 1
    return is_one and all(operand.type.dims != value.type.dims for operand in value.operands)


def steps_of(value: Value) -> int:
    """The cheap operations that an element of a scalar value takes: none for a conversion, one for arithmetic, and for
    a function, such as exp, as many as it has floating-point operations."""
    if isinstance(value.attributes, ElementType):
        return 0
    flops = arithmetic_of(value.lowered_as(Scalar).expression, value.type.dtype).flops
    return flops if flops > _CHEAP else 1


def is_large(value: Value) -> bool:
    """Whether a value has elements for each sample."""
    return value.type.is_batched and value.role is not Role.CONSTANT
