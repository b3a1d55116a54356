"""Lets the products of a model with `precision = bf16` read operands that are rounded to bf16."""

from collections.abc import Collection

from netc.compiler.ir.forms import View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Precision
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.attention import attend, attend_gradient, attend_sums
from netc.compiler.operations.convolution import conv2d, conv2d_input, conv2d_weights
from netc.compiler.operations.elementwise import cast
from netc.compiler.operations.linear import einsum
from netc.compiler.operations.scan import Scan
from netc.compiler.passes.scans import with_body
from netc.compiler.passes.simplify import rebuild

# the operands that are rounded, by operation
_FACTORS = {
    **dict.fromkeys((einsum, conv2d, conv2d_input, conv2d_weights), (0, 1)),
    **{attend: (0, 1, 2), attend_sums: (1, 2), attend_gradient: (0, 1, 2, 3)},
}


def narrow(graph: Graph, precision: Precision = "bf16") -> Graph:
    """Rounds both operands of every product and convolution, in the bodies of scans too; sums stay in f32.

    Attention that is one operation reads rounded queries, keys and values; its scores and weights are in f32.
    A value that several products read is rounded once. A product with a mask (a one-hot vector) only adds
    elements up, so it stays as it is. Runs when the graph of a program is complete: gradients are taken as if nothing
    were rounded, and their own products read rounded operands too. Returns the graph itself for other precisions.
    """
    return _narrowed(graph, ()) if precision == "bf16" else graph


def _narrowed(graph: Graph, mask_leaves: Collection[str]) -> Graph:
    """Returns the graph with rounded operands. `mask_leaves` are the leaves that stand for masks around a body."""
    masks = _masks(graph, mask_leaves)
    rounded: dict[Value, Value] = {}

    def as_bf16(operand: Value) -> Value:
        if operand not in rounded:
            if _repeats_or_moves(operand):
                (source,) = operand.operands
                rounded[operand] = operand.graph.add_copy(operand, [as_bf16(source)])
            else:
                rounded[operand] = apply("as_bf16", operand)
        return rounded[operand]

    def in_body(value: Value, body: Graph) -> Graph:
        slots = zip(Scan.of(value).operand_of(), value.operands, strict=True)
        return _narrowed(body, {str(slot) for slot, operand in slots if operand in masks})

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        factors = _FACTORS.get(value.definition, ()) if value.definition is not None else ()
        if value.type.dtype == "f32" and masks.isdisjoint(value.operands):
            operands = [as_bf16(operand) if i in factors else operand for i, operand in enumerate(operands)]
        return copy.add_copy(value, operands, with_body(value, lambda body: in_body(value, body)))

    return rebuild(graph, rule)


def _repeats_or_moves(value: Value) -> bool:
    """Whether a value is a view of all elements of its operand: these are then rounded once for all such views."""
    return is_view(value) and value.operands[0].type.size(1) <= value.type.size(1)


def is_view(value: Value) -> bool:
    """Whether a value is its operand's elements, seen with other strides."""
    is_moved = isinstance(value.lower, View)
    return is_moved and value.role is not Role.PART


def _masks(graph: Graph, leaves: Collection[str]) -> set[Value]:
    """Returns the values that consist of truths as numbers, 0 and 1."""
    masks = set[Value]()
    for value in graph.values():
        is_cast = value.definition is cast and value.operands[0].type.dtype == "bool"
        if is_cast or value.name in leaves or (is_view(value) and value.operands[0] in masks):
            masks.add(value)
    return masks
