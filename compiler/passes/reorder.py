"""What is cheaper the other way round and means the same: an increasing function after a maximum, not before it.

Runs on the forward graph, before `differentiate`, so that gradients take the short way too.
"""

from netc.compiler.graph import Graph
from netc.compiler.passes.simplify import rebuild
from netc.compiler.value import Value, apply

_INCREASING = ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "softplus", "exp")


def reorder(graph: Graph) -> Graph:
    """maxpool(relu(x)) -> relu(maxpool(x)) where nothing else reads relu(x): a quarter of the work, for a window of 2 by 2."""
    users = {value: graph.users(value) for value in graph.values()}
    roots = set(graph.results.values())

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.operation == "maxpool2d":
            (before,) = value.operands
            if before.operation in _INCREASING and users[before] == [value] and before not in roots:
                return apply(before.operation, apply("maxpool2d", operands[0].operands[0], **value.attributes))
        return copy.add(value.operation, operands, value.attributes, value.type)

    return rebuild(graph, rule)
