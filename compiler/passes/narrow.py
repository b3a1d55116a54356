"""Lets the products of a model with `precision = bf16` read operands that are rounded to bf16."""

from collections.abc import Collection

from netc.compiler.ir.forms import View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Precision
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.attention import attend, attend_gradient, attend_sums
from netc.compiler.operations.convolution import conv2d, conv2d_input, conv2d_weights
from netc.compiler.operations.elementwise import as_bf16, cast
from netc.compiler.operations.linear import einsum
from netc.compiler.operations.scan import Part, Scan
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
    A value that several products read is rounded once, also if some of them are in a scan that yields it. A product
    with a mask (a one-hot vector) only adds elements up, so it stays as it is. Runs when the graph of a program is
    complete: gradients are taken as if nothing were rounded, and their own products read rounded operands too. Returns
    the graph itself for other precisions.
    """
    return _narrowed(graph, ()) if precision == "bf16" else graph


def _narrowed(graph: Graph, mask_leaves: Collection[str]) -> Graph:
    """Returns the graph with rounded operands. `mask_leaves` are the leaves that stand for masks around a body."""
    masks = _masks(graph, mask_leaves)
    rounded: dict[Value, Value] = {}

    def read_rounded(operand: Value) -> Value:
        if operand not in rounded:
            if _repeats_or_moves(operand):
                (source,) = operand.operands
                rounded[operand] = operand.graph.add_copy(operand, [read_rounded(source)])
            else:
                rounded[operand] = apply("as_bf16", operand)
        return rounded[operand]

    def in_body(value: Value, body: Graph) -> Graph:
        slots = zip(Scan.of(value).operand_of(), value.operands, strict=True)
        return _narrowed(body, {str(slot) for slot, operand in slots if operand in masks})

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        factors = _FACTORS.get(value.definition, ()) if value.definition is not None else ()
        if value.type.dtype == "f32" and masks.isdisjoint(value.operands):
            operands = [read_rounded(operand) if i in factors else operand for i, operand in enumerate(operands)]
        return copy.add_copy(value, operands, with_body(value, lambda body: in_body(value, body)))

    return _rounded_once(rebuild(graph, rule))


def _rounded_once(graph: Graph) -> Graph:
    """Makes a scan yield a value rounded, if its body rounds it and the rows of its part are rounded as well.

    So a product over all steps reads what the product of a step reads, such as the gradients of an LSTM's gates.
    """
    rounded_parts: dict[Value, Part] = {}
    bodies: dict[Value, Graph] = {}
    for value in graph.values():
        if value.definition is not as_bf16 or value.operands[0].role is not Role.PART:
            continue
        (row,) = value.operands
        part, (source,) = row.attributes_as(Part), row.operands
        body = bodies.get(source, Scan.of(source).body)
        rounding = _rounding_of(body.results.get(part.result), body)
        if rounding is None:
            continue
        if source not in bodies:
            body, copies = body.subgraph(body.results)
            rounding, bodies[source] = copies[rounding], body
        key = next((key for key, result in body.results_of(ResultKind.YIELD).items() if result is rounding), None)
        name = ResultKind.YIELD.named(f"{part.result.name}.bf16") if key is None else ResultKind.YIELD.named(key)
        body.results[name] = rounding
        rounded_parts[value] = Part(str(name), part.type)

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in bodies:
            return copy.add_copy(value, operands, with_body(value, lambda _: bodies[value]))
        if value in rounded_parts:
            source = operands[0].operands[0]
            return copy.add("part", (source,), rounded_parts[value], value.type)
        return copy.add_copy(value, operands)

    return rebuild(graph, rule) if bodies else graph


def _rounding_of(value: Value | None, body: Graph) -> Value | None:
    """The value of a body that is another one rounded, if there is one."""
    return next((user for user in body.values() if user.definition is as_bf16 and user.operands == (value,)), None)


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
