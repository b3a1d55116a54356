"""Which output of a model belongs to which target: asked of the graph, since class counts alone are ambiguous.

Takes a model and predicted arrays. Knows nothing of runs, labels or files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.value import Value
from netc.compiler.model import Model


def probability_outputs(model: Model, predicted: Mapping[str, Any]) -> dict[str, str]:
    """The output that holds a probability for each class of a target, by target in declared order.

    Targets without such an output are left out. Where several outputs or targets have the same number of classes, an
    output belongs to the target whose loss compares a value close to it with that target: `loss cross_entropy(logits, y)`
    relates `softmax(logits)` to `y`.
    """
    counts = {name: type_.classes for name, type_ in model.targets.items() if type_.classes is not None}
    matches: dict[str, str] = {}
    for classes in dict.fromkeys(counts.values()):
        targets = [name for name, count in counts.items() if count == classes]
        outputs = [name for name, values in predicted.items() if _are_probabilities(values, classes)]
        if len(targets) == len(outputs) == 1:
            matches[targets[0]] = outputs[0]
        elif outputs:
            matches |= _matched(model, targets, outputs)
    return {target: matches[target] for target in counts if target in matches}


def _are_probabilities(values: Any, classes: int) -> bool:
    """Whether each row (of a sample, or of each step of a sample) is a distribution over so many classes."""
    rows = np.concatenate(values) if isinstance(values, list) else values
    return bool(rows.shape[1:] == (classes,) and (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))


def _matched(model: Model, targets: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """The nearest output for each target, among those that are no nearer to another target."""
    distances = {target: _distances(model, target, outputs) for target in targets}
    matches = {}
    for target in targets:
        if not distances[target]:  # no loss says anything of this target
            matches[target] = outputs[0]
            continue
        candidates = [
            output
            for output in outputs
            if distances[target][output] == min(row[output] for row in distances.values() if row)
        ]
        if candidates:
            matches[target] = min(candidates, key=distances[target].__getitem__)
    return matches


def _distances(model: Model, target: str, outputs: Sequence[str]) -> dict[str, int]:
    """How many values an output and the nearest value compared with the target do not share; empty if there is none."""
    ancestors = [needed_by([value]) for value in compared_with(model.graph, target)]
    if not ancestors:
        return {}
    values = model.values
    return {output: min(len(needed_by([values[output]]) ^ other) for other in ancestors) for output in outputs}


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
    depends_on_target |= {leaf for leaf in graph.values("target") if leaf.name == target}
    depends_on_input |= {*graph.values("input")}
    depends_on_others |= {*graph.values("target"), *graph.values("parameter"), *graph.values("state")}
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
