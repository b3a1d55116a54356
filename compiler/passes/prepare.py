"""A model's graph made ready for its derivative, or for use: settled, stable, in a good order, and with the derivatives that the file itself asks for."""

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value, apply
from netc.compiler.passes.differentiate import adjoints
from netc.compiler.passes.reorder import reorder
from netc.compiler.passes.scans import opened
from netc.compiler.passes.settle import settle
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.stabilise import stabilise


def prepared(graph: Graph, training: bool) -> Graph:
    """The graph for training, or for use."""
    return derived(reorder(stabilise(settle(graph, training))))


def derived(graph: Graph) -> Graph:
    """Each `grad(y, x)` as the values that compute it: the gradient with respect to x of y, each sample's own (of a sequence's steps their sum). One in
    another is written out first, so that it may be of any order."""
    while graph.values("grad"):
        graph = _one_more(opened(graph))
    return graph


def _one_more(graph: Graph) -> Graph:
    """Without those derivatives that hold no other one."""
    inner = {
        value
        for value in graph.values("grad")
        if not any(one.role is Role.DERIVATIVE for one in needed_by(value.operands))
    }

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value not in inner:
            return copy.add_copy(value, operands)
        y, x = operands
        one = copy.constant(1.0, y.type)
        seed = apply("broadcast", one, dims=y.type.dims) if y.type.dims else one
        found = adjoints(copy, {y: seed}, [x]).get(x)
        if found is not None:
            return found
        zero = copy.constant(0.0, x.type)
        return apply("broadcast", zero, dims=x.type.dims) if x.type.dims else zero

    return rebuild(graph, rule)
