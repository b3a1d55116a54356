"""Reverse mode: add the gradient of the loss to the graph, for each parameter, by a walk from the loss back to the leaves."""

from collections.abc import Iterable, Sequence

from netc.compiler.graph import Graph
from netc.compiler.value import OPERATIONS, Value


def differentiate(graph: Graph, loss: Value, wrt: Iterable[Value]) -> dict[Value, Value]:
    """The gradient of a scalar with respect to each value of `wrt`, as values of the same graph.

    Adjoints: dL/dx = sum over the users u of x of dL/du * du/dx, in reverse order of computation. Each new value keeps the span of
    the value it was made for. A value that the loss does not depend on gets a gradient of zero.
    """
    wanted = list(wrt)
    gradients = adjoints(graph, loss, wanted)
    zero = {value: graph.constant(0.0, value.type) for value in wanted if value not in gradients}
    for value, constant in zero.items():
        gradients[value] = OPERATIONS["broadcast"](constant, dims=value.type.dims) if value.type.dims else constant
    return {value: gradients[value] for value in wanted}


def adjoints(graph: Graph, loss: Value, wanted: Sequence[Value]) -> dict[Value, Value]:
    """dL/dx of every value between the wanted ones and the loss, from the loss back."""
    assert loss.type.dims == (), loss
    forward = graph.values()
    matters = set(wanted)
    for value in forward:
        if any(operand in matters for operand in value.operands):
            matters.add(value)
    gradients: dict[Value, Value] = {loss: graph.constant(1.0, loss.type)}
    for value in reversed(forward):
        rule = OPERATIONS[value.operation].gradient if value.operands else None
        if value not in gradients or value not in matters or rule is None:
            continue
        with graph.at(value.span):
            parts = rule(gradients[value], value, *value.operands, **value.attributes)
            for operand, part in zip(value.operands, parts if isinstance(parts, tuple) else (parts,), strict=True):
                if part is not None and operand in matters:
                    gradients[operand] = gradients[operand] + part if operand in gradients else part
    return gradients
