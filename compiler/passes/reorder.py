"""Reorders operations, which are then cheaper: an increasing function goes after a maximum, a factor out of a sum, and
a sum into a product."""

import math
from collections.abc import Mapping

from msgspec import Struct

from netc.compiler.ir.attributes import Constant, Over
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.derivative import variables
from netc.compiler.operations.elementwise import multiply, neg
from netc.compiler.operations.functions import elu, exp, leaky_relu, relu, sigmoid, softplus, tanh
from netc.compiler.operations.linear import Subscripts, einsum
from netc.compiler.operations.pooling import maxpool2d
from netc.compiler.operations.reduce import sum_
from netc.compiler.passes.simplify import rebuild, simplify

_INCREASING = (relu, leaky_relu, elu, tanh, sigmoid, softplus, exp)


def reorder(graph: Graph) -> Graph:
    """maxpool(relu(x)) -> relu(maxpool(x)) if nothing else reads relu(x): a quarter of the work for a window of 2 by 2.

    Runs on the forward graph, before `differentiate`, so that gradients take the short way too.
    """
    users = graph.all_users()
    roots = set(graph.results.values()) | variables(graph)

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.definition is maxpool2d:
            (before,) = value.operands
            if before.definition in _INCREASING and users[before] == [value] and before not in roots:
                return apply(before.operation, apply("maxpool2d", operands[0].operands[0], **value.keywords))
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


def factor(graph: Graph) -> Graph:
    """sum(x * c) -> sum(x) * c and sum(-x) -> -sum(x), if c does not vary along the axes of the sum.

    The gradients of a mean and of a bias can then share a sum. A power of two stays inside if a product reads x * c:
    both sums have the same bits, and x need not be in memory as well. The sum of a product over an index of both
    operands, such as einsum("bi,bj->bij") over b, is the product without that index, if nothing else reads the wider
    one.
    """
    users, roots = graph.all_users(), set(graph.results.values())

    def summed(copy: Graph, x: Value, over: tuple[int, ...]) -> Value:
        if x.definition is neg:
            return -summed(copy, x.operands[0], over)
        if (parts := _parts(x, over)) is not None:
            return summed(copy, parts.summand, over) * apply("reshape", parts.factor, dims=parts.kept)
        return apply("sum", x, over=over)

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.definition is sum_ and operands[0].type.is_float:
            over = value.attributes_as(Over).over
            product = value.operands[0]
            if product.definition is einsum and users[product] == [value] and product not in roots:
                shorter = _summed_product(operands[0], over)
                return copy.add_copy(value, operands) if shorter is None else shorter
            if _doubles_what_products_read(product, over, users):
                return copy.add_copy(value, operands)
            return summed(copy, operands[0], over)
        return copy.add_copy(value, operands)

    return simplify(rebuild(graph, rule)) if graph.values(sum_) else graph


def _summed_product(product: Value, over: tuple[int, ...]) -> Value | None:
    """The sum of a product over some axes as one product; None if an operand does not have all their indices."""
    subscripts = product.attributes_as(Subscripts)
    summed = {subscripts.out[axis] for axis in over}
    if any(not summed <= set(letters) for letters in subscripts.inputs.split(",")):
        return None
    out = "".join(letter for letter in subscripts.out if letter not in summed)
    return apply("einsum", *product.operands, subscripts=f"{subscripts.inputs}->{out}")


class _Parts(Struct, frozen=True):
    """A product of a summand and a factor that does not vary along the axes of a sum; `kept` are the factor's other
    dimensions."""

    summand: Value
    factor: Value
    kept: tuple[Dim, ...]


def _parts(x: Value, over: tuple[int, ...]) -> _Parts | None:
    """Returns the parts of a value whose sum is to be taken; None if it has no factor that the sum can leave out."""
    if x.definition is multiply:
        for summand, other in (x.operands, x.operands[::-1]):
            kept = _without(other, x, over)
            if kept is not None and summand.type.dims == x.type.dims:
                return _Parts(summand, other, kept)
    return None


def _doubles_what_products_read(x: Value, over: tuple[int, ...], users: Mapping[Value, list[Value]]) -> bool:
    """Whether a value is another one times 2, 4, 8, ..., from which no further factor goes out of the sum, and a
    product reads it."""
    parts = _parts(x, over)
    if parts is None or parts.factor.role is not Role.CONSTANT:
        return False
    mantissa, exponent = math.frexp(float(parts.factor.attributes_as(Constant).value))
    has_more = parts.summand.definition is neg or _parts(parts.summand, over) is not None
    is_read = any(user.role is Role.CONTRACTION for user in users[x])
    return mantissa == 0.5 and exponent > 0 and not has_more and is_read


def _without(factor: Value, x: Value, over: tuple[int, ...]) -> tuple[Dim, ...] | None:
    """The dimensions of a factor of x without the axes of a sum, along which it must not change; None if it does."""
    lead = x.type.rank - factor.type.rank
    if any(axis >= lead and factor.type.dims[axis - lead] != 1 for axis in over):
        return None
    return tuple(dim for axis, dim in enumerate(factor.type.dims, lead) if axis not in over)
