"""The predictions of a run in the words of its data: the labels of classes, the units of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.ir.results import ResultKind
from netc.runtime.data.classes import classes_of_unread_field
from netc.runtime.data.stored import Array
from netc.runtime.runs.run import Run
from netc.runtime.target_outputs import field_of_tokens


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
            return Classes(name, run.labels_of(name, type_.classes), numbers)
    for name, field in run.spec.fields.items():
        if name not in run.model.inputs and name not in run.model.targets and run.model.data is not None:
            labelled = classes_of_unread_field(run.model, run.spec, field, part, most)
            if labelled is not None:
                return Classes(name, *labelled)
    return None


def predictions_of(run: Run, part: str) -> list[TargetPrediction]:
    """The predictions for each target that is one class or one number a sample and that an output stands for."""
    fields = run.load_data().parts[part]
    predicted = run.predict_prepared(fields)
    by_target = {distribution.target: distribution for distribution in run.facts_of([*predicted]).distributions}
    results = []
    for name, type_ in run.model.targets.items():
        if type_.is_varying or type_.sample:
            continue
        true = np.asarray(fields[name])
        if (distribution := by_target.get(name)) is not None:
            chances = distribution.chances(predicted[distribution.output])
            classes = true.astype(np.int64)
            error = 1 - chances[np.arange(len(classes)), classes]
            labels = run.labels_of(name, distribution.classes)
            output, likeliest = distribution.output, chances.argmax(axis=1)
            results.append(TargetPrediction(name, output, labels, likeliest, classes, error))
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


def words_of(run: Run, output: str) -> tuple[str, ...]:
    """The labels of an output that holds tokens of a field (see target_outputs.field_of_tokens), or () otherwise."""
    field = field_of_tokens(run.model, output)
    return () if field is None else run.labels_of(*field)
