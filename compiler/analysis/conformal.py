"""Finds the outputs of a graph that are intervals or sets of conformal prediction, and the target of each.

Their states are fitted as a `conformal_quantile` of scores that compare the model with a target.
"""

from msgspec import Struct

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.calibration import Level
from netc.compiler.operations.elementwise import add, greater_equal, neg, subtract
from netc.compiler.operations.shape import concat, reshape


class Margin(Struct, frozen=True):
    """A state of conformal prediction: its name, its level, the target of its scores, and where the file has it."""

    state: str
    level: float
    target: str
    value: Value


class Covered(Struct, frozen=True):
    """An output that is to cover a target in a share of all samples: an interval, the lower and the upper bound along
    its first axis, or a set, with a bool for each class along its last axis."""

    output: str
    target: str
    level: float
    is_set: bool


def margins_of(graph: Graph) -> dict[str, Margin]:
    """The states of conformal prediction by name, except states whose scores read no target or several."""
    margins: dict[str, Margin] = {}
    for name, value in graph.results_of(ResultKind.FITTED).items():
        if value.operation == "conformal_quantile":
            targets = [leaf.name for leaf in needed_by([value]) if leaf.role is Role.TARGET]
            if len(targets) == 1:
                margins[name] = Margin(name, value.attributes_as(Level).level, targets[0], value)
    return margins


def margin_of_bound(value: Value, margins: dict[str, Margin]) -> Margin | None:
    """The margin that a value is moved by, if it is a bound: x - margin or x + margin."""
    is_moved = value.definition in (add, subtract)
    return margins.get(_unshaped(value.operands[1]).name) if is_moved else None


def covered(graph: Graph) -> list[Covered]:
    """The intervals and sets among the outputs of a graph, in its order."""
    margins, classes = margins_of(graph), {leaf.name: leaf.type.classes for leaf in graph.values(Role.TARGET)}
    results: list[Covered] = []
    for output, value in graph.results_of(ResultKind.OUTPUT).items():
        bounds = [_unshaped(operand) for operand in value.operands] if value.definition is concat else []
        sides = [margin_of_bound(bound, margins) for bound in bounds]
        margin = sides[0] if len(sides) == 2 and sides[0] is sides[1] else None
        if margin is not None and classes[margin.target] is None:
            results.append(Covered(output, margin.target, margin.level, False))
        if value.definition is greater_equal and (threshold := _unshaped(value.operands[1])).definition is neg:
            margin = margins.get(threshold.operands[0].name)
            if margin is not None and classes[margin.target] == value.type.dims[-1]:
                results.append(Covered(output, margin.target, margin.level, True))
    return results


def _unshaped(value: Value) -> Value:
    while value.definition is reshape:
        value = value.operands[0]
    return value
