"""What a run predicts, in the words of its data: the labels of classes, the units of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.ir.results import ResultKind
from netc.dsl.quoting import json_text
from netc.runtime.data.classes import classes_of_unread_field
from netc.runtime.data.pipeline import labels_of as field_labels
from netc.runtime.data.stored import Array
from netc.runtime.runs.run import Run
from netc.runtime.target_outputs import probability_outputs, target_of_tokens


@dataclass(frozen=True, slots=True)
class TargetPrediction:
    """The predictions for one target over a part of the data.

    `predicted` and `true` have an entry for each sample, in the units of the data, or the number of a class whose label
    is in `labels`. `error` is the absolute error, or for a class 1 minus the probability of the true class.
    """

    target: str
    output: str
    labels: tuple[str, ...]
    predicted: Array
    true: Array
    error: Array


@dataclass(frozen=True, slots=True)
class Classes:
    """The class of each sample of a part, as numbers into `labels`; `field` is the field of the data that says so."""

    field: str
    labels: tuple[str, ...]
    numbers: Array


def classes_of(run: Run, part: str, most: int) -> Classes | None:
    """The classes of a part's samples, for pictures by class.

    Taken from a target of the model, or else from a field of the data that the model does not read. Returns None if no
    field has between 2 and `most` classes.
    """
    for name, type_ in run.model.targets.items():
        if type_.classes is not None and type_.classes <= most and not type_.sample:
            numbers = np.asarray(run.load_data().parts[part][name])
            return Classes(name, labels_of(run, name, type_.classes), numbers)
    for name, field in run.spec.fields.items():
        if name not in run.model.inputs and name not in run.model.targets and run.model.data is not None:
            labelled = classes_of_unread_field(run.model, run.spec, field, part, most)
            if labelled is not None:
                return Classes(name, *labelled)
    return None


def predictions_of(run: Run, part: str) -> list[TargetPrediction]:
    """The predictions for each target that is one class or one number a sample and that an output stands for."""
    fields = run.load_data().parts[part]
    predicted = run.predict(fields)
    probabilities = probability_outputs(run.model, predicted)
    results = []
    for name, type_ in run.model.targets.items():
        if type_.is_varying or type_.sample:
            continue
        true = np.asarray(fields[name])
        if type_.classes is not None:
            if name in probabilities:
                chances = predicted[probabilities[name]]
                error = 1 - chances[np.arange(len(true)), true]
                labels = labels_of(run, name, type_.classes)
                results.append(TargetPrediction(name, probabilities[name], labels, chances.argmax(axis=1), true, error))
        elif type_.is_float and (prediction := _of_number(run, name, true, predicted)) is not None:
            results.append(prediction)
    return results


def _of_number(run: Run, target: str, true: Array, predicted: Mapping[str, Any]) -> TargetPrediction | None:
    """The prediction of a float target, by the first output that a loss or metric subtracts from it."""
    units, undone = values_in_units_of_targets(run.model.graph), run.undone()
    for output, values in predicted.items():
        if units.get(run.model.graph.results[ResultKind.OUTPUT.named(output)]) == target:
            in_units = undone[target](true) if target in undone else true
            return TargetPrediction(target, output, (), values, in_units, np.abs(values - in_units))
    return None


def columns_of(run: Run, predicted: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Predictions as the columns of a table with a row for each sample; a sequence is one cell, as JSON.

    The predicted label of each target comes first, then the outputs, with a column for each number of a sample.
    """
    columns: dict[str, list[Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}  # of the outputs that hold probabilities
    for target, output in probability_outputs(run.model, predicted).items():
        classes = run.model.targets[target].classes
        if output not in labels and classes is not None:
            labels[output] = labels_of(run, target, classes)
            columns[target] = _likeliest(predicted[output], labels[output])
    for name, value in predicted.items():
        words = words_of(run, name)
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


def words_of(run: Run, output: str) -> tuple[str, ...]:
    """The labels of an output that holds tokens: those of the one target, or else the one input, with as many classes.

    Of several such targets it is the one that the losses relate to the output. Returns () if the output holds no
    tokens, or if no field is the only one.
    """
    model = run.model
    classes = model.values[output].type.classes
    if classes is None:
        return ()
    targets, inputs = (
        [name for name, type_ in fields.items() if type_.classes == classes] for fields in (model.targets, model.inputs)
    )
    if len(targets) > 1 and (target := target_of_tokens(model, output, targets)) is not None:
        return labels_of(run, target, classes)
    for names in (targets, inputs):
        if len(names) == 1:
            return labels_of(run, names[0], classes)
    return ()


def labels_of(run: Run, name: str, classes: int) -> tuple[str, ...]:
    """The labels of a field's classes; their numbers if the data does not name them."""
    labels = field_labels(run.spec.fields[name], run.states[name])
    return tuple(labels) if labels else tuple(map(str, range(classes)))
