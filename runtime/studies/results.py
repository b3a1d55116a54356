"""The results of a cross-validation: the metrics of each fold with their mean, and the out-of-fold predictions.

Each row of the data, except those of the test part, is predicted by the model that was not trained on it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from netc.runtime.columns import columns_of
from netc.runtime.data.stored import Array
from netc.runtime.metric_names import single_numbers
from netc.runtime.metric_values import MetricValues
from netc.runtime.predictions import TargetPrediction, predictions_of
from netc.runtime.runs.run import Run


class FoldResult(Struct, frozen=True):
    """The metrics of a trained fold on its validation part, and its predictions there, as columns.

    `epochs` is how long it was trained. `positions` says where each predicted row stands in the data: the number of its
    file among those of the source, and its number in the file.
    """

    number: int
    epochs: int
    metrics: Mapping[str, float]
    columns: Mapping[str, list[Any]]
    positions: Array


class Mean(Struct, frozen=True):
    """The mean of a metric over the folds, and its standard error: the deviation of folds over the root of their
    number. It is NaN for a single fold."""

    value: float
    error: float


def fold_result(number: int, run: Run) -> FoldResult:
    """Evaluates the run of a fold, which is trained, on its validation part."""
    metrics: MetricValues = run.evaluate("valid")
    numbers = single_numbers(metrics)
    dataset = run.load_data()
    rows, files = dataset.rows["valid"], dataset.files.get("valid")
    positions = np.stack([np.zeros_like(rows) if files is None else files.numbers, rows], axis=1)
    return FoldResult(number, run.progress.epoch, numbers, _columns(number, run), positions)


def means(results: Sequence[FoldResult]) -> dict[str, Mean]:
    """The mean of each metric over the folds, by name."""
    return {name: mean_of([result.metrics[name] for result in results]) for name in results[0].metrics}


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of some numbers with its standard error."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Mean(mean, math.nan)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Mean(mean, math.sqrt(variance / count))


def out_of_fold(results: Sequence[FoldResult]) -> dict[str, list[Any]]:
    """The predictions of all folds as one table, in the order of the rows of the data."""
    positions = np.concatenate([result.positions for result in results])
    order = np.lexsort((positions[:, 1], positions[:, 0])).tolist()
    columns = {name: [cell for result in results for cell in result.columns[name]] for name in results[0].columns}
    return {name: [cells[position] for position in order] for name, cells in columns.items()}


def _columns(number: int, run: Run) -> dict[str, list[Any]]:
    """The predictions for the validation part: the row in the data, the fold, true values, then the predictions."""
    dataset = run.load_data()
    fields, rows = dataset.parts["valid"], dataset.rows["valid"]
    columns: dict[str, list[Any]] = {}
    if "valid" in dataset.files:
        columns["file"] = dataset.files["valid"].texts()
    columns |= {"row": rows.tolist(), "fold": [number] * len(rows)}
    columns |= {f"{prediction.target}_true": _true(prediction) for prediction in predictions_of(run, "valid")}
    outputs = run.predict_prepared(fields)
    for name, cells in columns_of(run.facts_of([*outputs]), run.labels_of, outputs).items():
        while name in columns:
            name += "_predicted"
        columns[name] = cells
    return columns


def _true(prediction: TargetPrediction) -> list[Any]:
    """The true values of a target: labels of classes, or numbers in the units of the data."""
    if prediction.labels:
        labels: list[Any] = np.array(prediction.labels, object)[prediction.true].tolist()
        return labels
    return list(prediction.true)
