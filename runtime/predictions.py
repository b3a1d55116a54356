"""The predictions of a run in the words of its data: the labels of classes, the units of numbers."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from netc.compiler.analysis.units import units_of_values
from netc.compiler.ir.results import ResultKind
from netc.runtime.columns import Distribution
from netc.runtime.data.classes import classes_of_unread_field
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.runs.run import Run
from netc.runtime.target_outputs import field_of_tokens


class TargetPrediction(msgspec.Struct, frozen=True):
    """The predictions for one target, or one column or class of it, over a part of the data.

    `predicted` and `true` have an entry for each sample, in the units of the data, or the number of a class whose label
    is in `labels`. `error` is the absolute error, or for a class 1 minus the probability of the true class.
    `confidence` is the largest probability of each sample, and `is_right` whether it is that of the true class; where
    one probability stands for two classes, that of the second, and whether this is the true one. `chances` are the
    probabilities [sample, class]. These three are empty for numbers.
    """

    target: str
    output: str
    labels: tuple[str, ...]
    predicted: Array
    true: Array
    error: Array
    confidence: Array = msgspec.field(default_factory=lambda: np.zeros(0))
    is_right: Array = msgspec.field(default_factory=lambda: np.zeros(0, bool))
    chances: Array = msgspec.field(default_factory=lambda: np.zeros((0, 0)))


class Classes(msgspec.Struct, frozen=True):
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
    """The predictions for each target that an output stands for: of one class or one number a sample, or of several
    columns, which have a prediction each, as the classes have where a sample has any number of them.
    """
    fields = run.load_data().parts[part]
    predicted = run.predict_prepared(fields)
    by_target = {distribution.target: distribution for distribution in run.facts_of([*predicted]).distributions}
    results: list[TargetPrediction] = []
    for name, type_ in run.model.targets.items():
        if (distribution := by_target.get(name)) is not None:
            results += predictions_of_classes(run, distribution, fields[name], predicted[distribution.output])
        elif type_.is_float and not type_.is_varying and not type_.sample:
            prediction = _of_number(run, name, np.asarray(fields[name]), predicted)
            results += [prediction] if prediction is not None else []
    return results


def predictions_of_classes(
    run: Run, distribution: Distribution, field: Field, values: Any
) -> Iterator[TargetPrediction]:
    """Yields the predictions for a target of classes: none if a sample has several that are not columns."""
    target, output = distribution.target, distribution.output
    labels = distribution.names if distribution.is_multiple else ()
    labels = labels or run.labels_of(target, distribution.classes)
    if distribution.is_multiple:
        true = _marks(field, len(labels)) if isinstance(field, Ragged) else np.asarray(field)
        for i, name in enumerate(labels if np.isin(true, (0, 1)).all() else ()):
            chances = np.stack([1 - values[:, i], values[:, i]], axis=1)
            yield _of_class(f"{target}[{name}]", output, ("no", "yes"), true[:, i], chances, True)
    elif not isinstance(field, Ragged):
        true, chances = np.asarray(field), distribution.chances(values)
        if not distribution.entries:
            yield _of_class(target, output, labels, true, chances, distribution.is_binary)
        for i, name in enumerate(distribution.names if distribution.entries else ()):
            yield _of_class(f"{target}[{name}]", output, labels, true[:, i], chances[:, i], distribution.is_binary)


def _of_class(
    name: str, output: str, labels: tuple[str, ...], true: Array, chances: Array, is_binary: bool
) -> TargetPrediction:
    classes, predicted = true.astype(np.int64), chances.argmax(axis=1)
    error = 1 - chances[np.arange(len(classes)), classes]
    confidence, is_right = (chances[:, 1], classes == 1) if is_binary else (chances.max(axis=1), predicted == classes)
    return TargetPrediction(name, output, labels, predicted, classes, error, confidence, is_right, chances)


def _marks(sequences: Ragged, classes: int) -> Array:
    """A row for each sequence, with a 1 for each class that occurs in it."""
    marks = np.zeros((len(sequences), classes), np.int64)
    marks[np.repeat(np.arange(len(sequences)), sequences.lengths), sequences.rows] = 1
    return marks


def _of_number(run: Run, target: str, true: Array, predicted: Mapping[str, Any]) -> TargetPrediction | None:
    """The prediction of a float target, by the first output that a loss or metric subtracts from it."""
    units, undone = units_of_values(run.model), run.undone()
    for output, values in predicted.items():
        value = run.model.graph.results[ResultKind.OUTPUT.named(output)]
        if units.get(output) == target and value.type.dims == run.model.targets[target].dims:
            in_units = undone[target](true) if target in undone else true
            return TargetPrediction(target, output, (), values, in_units, np.abs(values - in_units))
    return None


def words_of(run: Run, output: str) -> tuple[str, ...]:
    """The labels of an output that holds tokens of a field (see target_outputs.field_of_tokens), or () otherwise."""
    field = field_of_tokens(run.model, output)
    return () if field is None else run.labels_of(*field)
