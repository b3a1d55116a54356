"""Prepares the graph of a model for its derivative, or for inference.

The graph is specialised, stabilised and reordered, the derivatives that the model itself uses (`grad`) are written
out, and attention becomes one operation over packed rows.
"""

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value, apply
from netc.compiler.passes.attend import attended
from netc.compiler.passes.differentiate import adjoints
from netc.compiler.passes.pack import packed
from netc.compiler.passes.reorder import reorder
from netc.compiler.passes.scans import opened
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.specialise import specialise
from netc.compiler.passes.stabilise import stabilise


def prepared(graph: Graph, training: bool) -> Graph:
    """Returns the graph for training, or for inference."""
    return packed(with_attention(graph, training))


def with_attention(graph: Graph, training: bool) -> Graph:
    """Returns the same graph with attention as an operation that reads values as they are held at a bound."""
    return attended(derived(reorder(stabilise(specialise(graph, training)))))


def derived(graph: Graph) -> Graph:
    """Replaces each `grad(y, x)` by values that compute it: for each sample the gradient of y, summed over steps,
    with respect to x.

    The innermost derivatives are replaced first, so they can be of any order.
    """
    while graph.values(Role.DERIVATIVE):
        graph = _without_innermost(opened(graph))
    return graph


def _without_innermost(graph: Graph) -> Graph:
    """Replaces the innermost `grad` values by their derivatives."""
    inner = {
        value
        for value in graph.values(Role.DERIVATIVE)
        if not any(source.role is Role.DERIVATIVE for source in needed_by(value.operands))
    }

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value not in inner:
            return copy.add_copy(value, operands)
        y, x = operands
        unit = copy.constant(1.0, y.type)
        seed = apply("broadcast", unit, dims=y.type.dims) if y.type.dims else unit
        gradient = adjoints(copy, {y: seed}, [x]).get(x)
        if gradient is not None:
            return gradient
        zero = copy.constant(0.0, x.type)
        return apply("broadcast", zero, dims=x.type.dims) if x.type.dims else zero

    return rebuild(graph, rule)
