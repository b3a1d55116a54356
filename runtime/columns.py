"""Predictions as the columns of a table, in the words of the data: labels of classes, texts of tokens.

Takes plain data about a model's outputs (target_outputs.py asks the graph for it), so that a saved prediction needs no
graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.dsl.quoting import json_text

Distances = Mapping[str, Mapping[str, int]]  # by target and output; a target that no loss compares has no entries
Labels = Callable[[str, int], tuple[str, ...]]  # of a field with so many classes


@dataclass(frozen=True, slots=True)
class OutputFacts:
    """What is known of a model's outputs before anything is predicted.

    `classes` are the numbers of classes of the targets that are classes, in declared order. `distances` are described
    in target_outputs.py; they are asked for only where several targets or outputs have equally many classes. `tokens`
    are the field and the number of classes of each output that holds tokens of a field. `units` is the target in whose
    units an output is, if there is one.
    """

    classes: dict[str, int]
    distances: Distances = field(default_factory=dict)
    tokens: dict[str, tuple[str, int]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def probability_outputs(
    classes: Mapping[str, int], distances: Distances, predicted: Mapping[str, Any]
) -> dict[str, str]:
    """The output that holds a probability for each class of a target, by target in declared order.

    Targets without such an output are left out. Where several outputs or targets have the same number of classes, an
    output belongs to the target whose loss compares a value close to it with that target:
    `loss cross_entropy(logits, y)` relates `softmax(logits)` to `y`.
    """
    matches: dict[str, str] = {}
    for count in dict.fromkeys(classes.values()):
        targets = [name for name, number in classes.items() if number == count]
        outputs = [name for name, values in predicted.items() if _are_probabilities(values, count)]
        if len(targets) == len(outputs) == 1:
            matches[targets[0]] = outputs[0]
        elif outputs:
            matches |= _matched(distances, targets, outputs)
    return {target: matches[target] for target in classes if target in matches}


def _are_probabilities(values: Any, classes: int) -> bool:
    """Whether each row (of a sample, or of each step of a sample) is a distribution over so many classes."""
    rows = np.concatenate(values) if isinstance(values, list) else values
    return bool(rows.shape[1:] == (classes,) and (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))


def _matched(distances: Distances, targets: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """The nearest output for each target, among those that are no nearer to another target."""
    matches = {}
    for target in targets:
        if not distances[target]:  # no loss says anything of this target
            matches[target] = outputs[0]
            continue
        candidates = [
            output
            for output in outputs
            if distances[target][output] == min(distances[other][output] for other in targets if distances[other])
        ]
        if candidates:
            matches[target] = min(candidates, key=distances[target].__getitem__)
    return matches


def columns_of(facts: OutputFacts, labels_of: Labels, predicted: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Predictions as the columns of a table with a row for each sample; a sequence is one cell, as JSON.

    The predicted label of each target comes first, then the outputs, with a column for each number of a sample.
    """
    columns: dict[str, list[Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}  # of the outputs that hold probabilities
    for target, output in probability_outputs(facts.classes, facts.distances, predicted).items():
        if output not in labels:
            labels[output] = labels_of(target, facts.classes[target])
            columns[target] = _likeliest(predicted[output], labels[output])
    for name, value in predicted.items():
        words = labels_of(*facts.tokens[name]) if name in facts.tokens else ()
        if isinstance(value, list):
            cells = [[words[i] for i in row] if words and row.ndim == 1 else row.tolist() for row in value]
            columns[name] = [json_text(cell, is_ascii=False) for cell in cells]
            continue
        if words and value.ndim == 1:
            columns[name] = [words[i] for i in value]
            continue
        flat = value.reshape(len(value), -1)
        for i in range(flat.shape[1]):
            index = labels[name][i] if name in labels else i
            columns[name if flat.shape[1] == 1 else f"{name}[{index}]"] = flat[:, i].tolist()
    return columns


def _likeliest(probabilities: Any, labels: tuple[str, ...]) -> list[str]:
    """The label with the largest probability for each sample; for sequences the labels of all steps, as JSON."""
    if isinstance(probabilities, list):
        steps = [[labels[i] for i in sample.argmax(axis=1)] for sample in probabilities]
        return [json_text(sample, is_ascii=False) for sample in steps]
    return [labels[i] for i in probabilities.argmax(axis=1)]
