"""What a run says of its targets, in the data's own words: labels of classes, units of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.model import Model
from netc.dsl.quoting import json_text
from netc.runtime.data.classes import classes_of_unread_field
from netc.runtime.data.pipeline import labels_of as field_labels
from netc.runtime.data.stored import Array
from netc.runtime.run import Run


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run says of a target on one part: `given` and `true` in the data's units (labels for a class), `wrong` how far off each is."""

    target: str
    output: str
    labels: tuple[str, ...]
    given: Array
    true: Array
    wrong: Array


@dataclass(frozen=True, slots=True)
class Classes:
    """What class each sample of a part has, for pictures by class."""

    field: str
    labels: tuple[str, ...]
    numbers: Array


def classes_of(run: Run, part: str, most: int) -> Classes | None:
    """By the model's own target, or else by a field of the data that the model does not read; None if no field has 2 to `most` classes."""
    for name, type_ in run.model.targets.items():
        if type_.classes is not None and type_.classes <= most and not type_.sample:
            numbers = np.asarray(run.load_data().parts[part][name])
            return Classes(name, labels_of(run, name, type_.classes), numbers)
    for name, one in run.spec.fields.items():
        if name not in run.model.inputs and name not in run.model.targets and run.model.data is not None:
            found = classes_of_unread_field(run.model, run.spec, one, part, most)
            if found is not None:
                return Classes(name, *found)
    return None


def answers(run: Run, part: str) -> list[Answer]:
    """For each target the output that stands for it: a class's probabilities, or what a loss compares with the target."""
    dataset = run.load_data()
    fields = dataset.parts[part]
    predicted = run.predict(fields)
    units = values_in_units_of_targets(run.model.graph)
    undone, found = run.undone(), []
    for name, type_ in run.model.targets.items():
        if type_.is_varying:
            continue
        true = np.asarray(fields[name])
        if type_.classes is not None and not type_.sample:
            output = probabilities(run.model, predicted, type_.classes)
            if output is None:
                continue
            chances = predicted[output]
            labels = labels_of(run, name, type_.classes)
            missed = 1 - chances[np.arange(len(true)), true]
            found.append(Answer(name, output, labels, chances.argmax(axis=1), true, missed))
        elif type_.is_float and not type_.sample:
            output = next(
                (one for one in predicted if units.get(run.model.graph.results[f"output.{one}"]) == name), None
            )
            if output is not None:
                back = undone[name](true) if name in undone else true
                found.append(Answer(name, output, (), predicted[output], back, np.abs(predicted[output] - back)))
    return found


def columns_of(run: Run, predicted: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Outputs as the columns of a table, a row a sample: a target's label first, then what its chances are of; a sequence is a cell, as JSON."""
    columns: dict[str, list[Any]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for target, type_ in run.model.targets.items():
        likely = probabilities(run.model, predicted, type_.classes) if type_.classes is not None else None
        if likely is not None and likely not in parts:
            assert type_.classes is not None
            parts[likely], found = labels_of(run, target, type_.classes), predicted[likely]
            if isinstance(found, list):
                named = [[parts[likely][i] for i in one.argmax(axis=1)] for one in found]
                columns[target] = [json_text(one, is_ascii=False) for one in named]
            else:
                columns[target] = [parts[likely][i] for i in found.argmax(axis=1)]
    for name, value in predicted.items():
        words = words_of(run, name)
        if isinstance(value, list):
            told = [[words[i] for i in one] if words and one.ndim == 1 else one.tolist() for one in value]
            columns[name] = [json_text(one, is_ascii=False) for one in told]
            continue
        if words and value.ndim == 1:
            columns[name] = [words[i] for i in value]
            continue
        flat = value.reshape(len(value), -1)
        for i in range(flat.shape[1]):
            of = parts[name][i] if name in parts else i
            columns[name if flat.shape[1] == 1 else f"{name}[{of}]"] = flat[:, i].tolist()
    return columns


def probabilities(model: Model, predicted: Mapping[str, Any], classes: int) -> str | None:
    """The output that holds a probability for each class, of a sample or of each of its steps."""
    for name, found in predicted.items():
        values = np.concatenate(found) if isinstance(found, list) else found
        if values.shape[1:] == (classes,) and (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3):
            return name
    return None


def words_of(run: Run, output: str) -> tuple[str, ...]:
    """What the tokens of an output are called: as those of the target, or else the input, that has as many; none if two have, or it holds none."""
    classes = run.model.values[output].type.classes
    for fields in (run.model.targets, run.model.inputs):
        found = [name for name, type_ in fields.items() if classes is not None and type_.classes == classes]
        if len(found) == 1 and classes is not None:
            return labels_of(run, found[0], classes)
    return ()


def labels_of(run: Run, name: str, classes: int) -> tuple[str, ...]:
    known = field_labels(run.spec.fields[name], run.states[name])
    return tuple(known) if known else tuple(map(str, range(classes)))
