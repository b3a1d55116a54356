"""Finds the values of a graph that are in the units of a target, so that the preparation of the target is undone for
them too.

Read from the graph: an output that is subtracted from a target is in its units, and so are values that are computed
alike, and the bounds that conformal prediction puts around a value.
"""

from collections.abc import Mapping

from netc.compiler.analysis.conformal import margin_of_bound, margins_of
from netc.compiler.analysis.equal_values import unified
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.operations.elementwise import (
    COMPARISONS,
    add,
    divide,
    maximum,
    minimum,
    multiply,
    subtract,
    where,
)
from netc.compiler.operations.shape import concat, reshape, slice_

_REARRANGING = (reshape, slice_, concat)  # operations whose results have the elements of their operands
_LINEAR = (*_REARRANGING, add, subtract, multiply, divide)
_ADDING = (add, subtract, maximum, minimum, where)
_OF_MODEL = (Role.INPUT, Role.PARAMETER, Role.STATE)
Units = Mapping[Value, str]  # the target of each value that is in the units of one


def values_in_units_of_targets(graph: Graph) -> dict[Value, str]:
    """Returns the target whose units a value has: for targets, for outputs that are subtracted from or by a target,
    for bounds of conformal prediction, and for parts of these.

    Such a value has the dimensions of a sample of the target, perhaps with others before them.
    """
    targets = spread(graph, {leaf: leaf.name for leaf in graph.values(Role.TARGET)})
    first, units = unified(graph), dict(targets)
    outputs = {first[value] for value in graph.results_of(ResultKind.OUTPUT).values()}
    subtracted: dict[Value, str] = {}
    for value in graph.values(subtract):
        for operand, other in (value.operands, value.operands[::-1]):
            if first[operand] in outputs and other in targets:
                subtracted[first[operand]] = targets[other]
    units |= {value: subtracted[first[value]] for value in graph.values() if first[value] in subtracted}
    margins = margins_of(graph)
    for value in graph.values():
        margin = margin_of_bound(value, margins)
        if margin is not None:
            units[value] = margin.target
    return spread(graph, units)


def spread(graph: Graph, units: Units) -> dict[Value, str]:
    """Adds the values that consist of elements of values with the units of one target."""
    samples = {leaf.name: leaf.type.sample for leaf in graph.values(Role.TARGET)}
    result = {value: target for value, target in units.items() if _ends_in(value, samples.get(target, ()))}
    for value in graph.values():
        if value not in result and value.definition in _REARRANGING and value.type.is_float:
            names = {result.get(operand) for operand in value.operands}
            target = names.pop() if len(names) == 1 else None
            if target is not None and _ends_in(value, samples.get(target, ())):
                result[value] = target
    return result


def mixes_units(graph: Graph, value: Value, target: str, units: Units) -> bool:
    """Whether `value` adds a target to something that the model computes, or compares what depends on the target with
    it, and that is not in the units of the target."""
    live, dependents, linear = needed_by([value]), set[Value](), set[Value]()
    for inner in graph.values():
        if inner not in live or (dependents.isdisjoint(inner.operands) and inner.name != target):
            continue
        dependents.add(inner)
        operands = inner.operands[1:] if inner.definition is where else inner.operands  # without the condition
        others = [operand for operand in operands if operand not in dependents and units.get(operand) != target]
        is_of_model = any(leaf.role in _OF_MODEL for leaf in needed_by(others))
        adds = inner.definition in _ADDING and not linear.isdisjoint(inner.operands)
        if is_of_model and (adds or inner.operation in COMPARISONS):
            return True
        if inner.role is Role.TARGET or (
            inner.definition in _LINEAR
            and not is_of_model
            and all(operand in linear or operand not in dependents for operand in operands)
            and not any(units.get(operand) == target and operand not in dependents for operand in operands)
        ):
            linear.add(inner)
    return False


def _ends_in(value: Value, sample: tuple[object, ...]) -> bool:
    """Whether the dimensions of a value end with those of a sample."""
    dims = value.type.sample
    return dims[len(dims) - len(sample) :] == sample


def units_of_values(model: Model) -> dict[str, str]:
    """Returns the target whose units a named value of a model has, for the values that have those of a target."""
    described = model.described
    units = values_in_units_of_targets(described.graph)
    return {name: units[value] for name, value in described.values.items() if value in units}
