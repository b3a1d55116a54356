"""Reverse-mode differentiation: adds the gradients of a scalar to its graph, by a walk from the scalar to the
leaves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations.scan import Part
from netc.compiler.operations.scan_gradient import scan_gradient


def differentiate(graph: Graph, loss: Value, wrt: Iterable[Value]) -> dict[Value, Value]:
    """The gradient of a scalar with respect to each value of `wrt`, as values of the same graph.

    Adjoints: dL/dx = sum over the users u of x of dL/du * du/dx, in reverse order of computation. Each new value
    keeps the span of the value it was made for. A value that the loss does not depend on gets a gradient of zero.
    """
    values = list(wrt)
    assert loss.type.dims == (), loss
    gradients = adjoints(graph, {loss: graph.constant(1.0, loss.type)}, values)
    zero = {value: graph.constant(0.0, value.type) for value in values if value not in gradients}
    for value, constant in zero.items():
        gradients[value] = OPERATIONS["broadcast"](constant, dims=value.type.dims) if value.type.dims else constant
    return {value: gradients[value] for value in values}


def adjoints(graph: Graph, seeds: Mapping[Value, Value], targets: Sequence[Value]) -> dict[Value, Value]:
    """Returns dL/dx of every value between `seeds`, whose dL/dx is given, and `targets`.

    The gradient of a scan is computed when all its parts have theirs, since they come after it.
    """
    forward = graph.values()
    matters = set(targets)
    for value in forward:
        if any(operand in matters for operand in value.operands):
            matters.add(value)
    gradients = dict(seeds)
    of_parts: dict[Value, dict[Result, Value]] = {}
    for value in reversed(forward):
        if value.role is Role.PART and value in gradients and value.type.is_float:
            part_gradients, result = of_parts.setdefault(value.operands[0], {}), value.attributes_as(Part).result
            part_gradients[result] = (
                part_gradients[result] + gradients[value] if result in part_gradients else gradients[value]
            )
        rule = OPERATIONS[value.operation].gradient if value.operands else None
        if value not in matters or ((value not in gradients or rule is None) and value not in of_parts):
            continue
        with graph.at(value.span):
            if value in of_parts:
                parts: Any = tuple(scan_gradient(of_parts[value], value, adjoints))
            elif rule is not None:
                parts = rule(gradients[value], value, *value.operands, **value.keywords)
            for operand, part in zip(value.operands, parts if isinstance(parts, tuple) else (parts,), strict=True):
                if part is not None and operand in matters:
                    gradients[operand] = gradients[operand] + part if operand in gradients else part
    return gradients
