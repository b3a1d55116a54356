"""Which output of a model belongs to which target: asked of the graph, since class counts alone are ambiguous.

Takes a model and predicted arrays. Knows nothing of runs, labels or files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.runtime import columns
from netc.runtime.columns import OutputFacts


def probability_outputs(model: Model, predicted: Mapping[str, Any]) -> dict[str, str]:
    """The output that holds a probability for each class of a target: see columns.probability_outputs."""
    return columns.probability_outputs(_classes(model), _all_distances(model, [*predicted]), predicted)


def output_facts(model: Model, outputs: Sequence[str]) -> OutputFacts:
    """What is known of these outputs of a model, or other values that it gives a name."""
    units, values = values_in_units_of_targets(model.graph), model.values
    tokens = {name: field for name in outputs if (field := field_of_tokens(model, name)) is not None}
    in_units = {name: target for name in outputs if (target := units.get(values[name])) is not None}
    return OutputFacts(_classes(model), _all_distances(model, outputs), tokens, in_units)


def _classes(model: Model) -> dict[str, int]:
    """The numbers of classes of the targets that are classes."""
    return {name: type_.classes for name, type_ in model.targets.items() if type_.classes is not None}


def _all_distances(model: Model, outputs: Sequence[str]) -> dict[str, dict[str, int]]:
    """The distances of all targets that are classes; none are computed if there can be no choice between outputs."""
    classes = _classes(model)
    if len(outputs) == 1 and len({*classes.values()}) == len(classes):
        return {}
    return {target: _distances(model, target, outputs) for target in classes}


def _distances(model: Model, target: str, outputs: Sequence[str]) -> dict[str, int]:
    """How many values an output and the nearest value compared with the target do not share; empty if there is none."""
    ancestors = [needed_by([value]) for value in compared_with(model.graph, target)]
    if not ancestors:
        return {}
    values = model.values
    return {output: min(len(needed_by([values[output]]) ^ other) for other in ancestors) for output in outputs}


def field_of_tokens(model: Model, output: str) -> tuple[str, int] | None:
    """The field whose tokens an output holds, and its number of classes.

    It is the one target, or else the one input, with as many classes; of several such targets the one that the losses
    relate to the output. Returns None if the output holds no tokens, or if no field is the only one.
    """
    classes = model.values[output].type.classes
    if classes is None:
        return None
    targets, inputs = (
        [name for name, type_ in fields.items() if type_.classes == classes] for fields in (model.targets, model.inputs)
    )
    if len(targets) > 1 and (target := target_of_tokens(model, output, targets)) is not None:
        return target, classes
    return next(((names[0], classes) for names in (targets, inputs) if len(names) == 1), None)


def target_of_tokens(model: Model, output: str, targets: Sequence[str]) -> str | None:
    """The one of these targets whose tokens an output predicts, `argmax(logits)` say.

    Returns None unless the losses compare a value that the output is computed from with one target alone, or a nearer
    value than with the others.
    """
    sources = needed_by([model.values[output]])
    related = [target for target in targets if not sources.isdisjoint(compared_with(model.graph, target))]
    distances = {target: _distances(model, target, [output])[output] for target in related}
    nearest = [target for target in related if distances[target] == min(distances.values())]
    return nearest[0] if len(nearest) == 1 else None


def compared_with(graph: Graph, target: str) -> list[Value]:
    """The values that the losses (or, if none reads it, the metrics) compare with a target.

    A value is compared with the target if it depends on an input and some operation combines it with a value that
    is computed from the target alone.
    """
    depends_on_target, depends_on_input, depends_on_others = (set[Value]() for _ in range(3))
    depends_on_target |= {leaf for leaf in graph.values(Role.TARGET) if leaf.name == target}
    depends_on_input |= {*graph.values(Role.INPUT)}
    depends_on_others |= {*graph.values(Role.TARGET), *graph.values(Role.PARAMETER), *graph.values(Role.STATE)}
    depends_on_others -= depends_on_target
    for value in graph.values():
        for dependents in (depends_on_target, depends_on_input, depends_on_others):
            if not dependents.isdisjoint(value.operands):
                dependents.add(value)
    of_target_alone = depends_on_target - depends_on_input - depends_on_others
    for kind in (ResultKind.LOSS, ResultKind.METRIC):
        live = needed_by(graph.results_of(kind).values())
        compared = {
            operand: None
            for value in graph.values()
            if value in live and not of_target_alone.isdisjoint(value.operands)
            for operand in value.operands
            if operand in depends_on_input
        }
        if compared:
            return list(compared)
    return []
