"""Slices go through element-wise values: f(x)[1:] -> f(x[1:]), so that what windows read (a pool after a normalisation) needs no memory of its own.

Only where that computes nothing twice that is not as cheap as reading it: the value is read by slices alone, or is made of one large value by a
single cheap operation.
"""

from dataclasses import replace

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import OPERATIONS, Scalar, Value
from netc.compiler.operations.shape import Slice
from netc.compiler.passes.simplify import rebuild, simplify


def sink(graph: Graph) -> Graph:
    """One walk from the leaves; what nobody reads any more is left out, what is equal is shared."""
    users = {value: graph.users(value) for value in graph.values()}
    passes: set[Value] = set()  # values of the copy that a slice may go through

    def sliced(copy: Graph, x: Value, attributes: Slice, type_: Type) -> Value:
        axis = attributes.axis
        if x not in passes:
            return copy.add("slice", (x,), attributes, type_)
        parts = []
        for operand in x.operands:
            own = axis - (x.type.rank - operand.type.rank)
            if own < 0 or operand.type.dims[own] == 1:
                parts.append(operand)
                continue
            dims = (*operand.type.dims[:own], type_.dims[axis], *operand.type.dims[own + 1 :])
            parts.append(sliced(copy, operand, replace(attributes, axis=own), operand.type.with_dims(dims)))
        made = copy.add_copy(x, parts, type_=x.type.with_dims(type_.dims))
        passes.add(made)
        return made

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if isinstance(value.attributes, Slice):
            return sliced(copy, operands[0], value.attributes, value.type)
        made = copy.add_copy(value, operands)
        if _lets_through(value, users[value]):
            passes.add(made)
        return made

    if not any(_lets_through(one.operands[0], users[one.operands[0]]) for one in graph.values("slice")):
        return graph
    return simplify(rebuild(graph, rule))


def _lets_through(value: Value, users: list[Value]) -> bool:
    if not value.operands or not value.type.is_batched or not isinstance(OPERATIONS[value.operation].lower, Scalar):
        return False
    if any(one.role is Role.CONTRACTION for one in value.operands):  # a product begins with its bias
        return False
    return _is_cheap(value) or (bool(users) and all(isinstance(user.attributes, Slice) for user in users))


def _is_cheap(value: Value) -> bool:
    """Whether computing a value anew costs no more than reading it: one operation on one value of its size and on what is small beside it."""
    return is_light(value) and len({one for one in value.operands if _is_large(one)}) == 1


def is_light(value: Value) -> bool:
    """Whether a value is a single cheap operation on values of its size, and on what is small beside them."""
    if not value.operands or not value.type.is_batched:
        return False
    operation, large = OPERATIONS[value.operation], [one for one in value.operands if _is_large(one)]
    is_one = isinstance(operation.lower, Scalar) and operation.flops is not None and operation.flops(value.type) <= 1
    return is_one and bool(large) and all(one.type.dims == value.type.dims for one in large)


def _is_large(value: Value) -> bool:
    return value.type.is_batched and value.role is not Role.CONSTANT
