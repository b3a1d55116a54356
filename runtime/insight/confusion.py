"""The confusion matrix of a target of classes, for a run's page: counts, and their shares of the true class."""

from collections.abc import Iterator

import numpy as np

from netc.runtime.data.stored import Array
from netc.runtime.insight.sections import Cell, Matrix, Note, Section
from netc.runtime.insight.words import shortened
from netc.runtime.predictions import TargetPrediction

_MOST_CLASSES = 30  # of a matrix: those with the most mistakes, and all others as one more


def confusion(prediction: TargetPrediction) -> Iterator[Section]:
    """The confusion matrix of all classes, or of the most mistaken ones and all others together."""
    labels, true, predicted = list(prediction.labels), prediction.true, prediction.predicted
    count = len(labels)
    if count > _MOST_CLASSES:
        kept = _most_mistaken(prediction)
        index = np.full(count, _MOST_CLASSES)
        index[kept] = np.arange(_MOST_CLASSES)
        labels, true, predicted = [*(labels[i] for i in kept), "others"], index[true], index[predicted]
    table = np.zeros((len(labels), len(labels)), int)
    np.add.at(table, (true, predicted), 1)
    rows = [
        [_cell(number, int(row.sum()), i == j) for j, number in enumerate(row.tolist())] for i, row in enumerate(table)
    ]
    yield Matrix([shortened(label) for label in labels], rows)
    if count > _MOST_CLASSES:
        yield Note(
            f"{_MOST_CLASSES} of {count:,} classes are shown, those that are in most mistakes; all others are one."
        )


def _most_mistaken(prediction: TargetPrediction) -> Array:
    """The classes that are the true or the predicted one in the most mistakes, in their order."""
    wrong, count = prediction.true != prediction.predicted, len(prediction.labels)
    mistakes = sum(np.bincount(side[wrong], minlength=count) for side in (prediction.true, prediction.predicted))
    return np.sort(np.argsort(-mistakes, kind="stable")[:_MOST_CLASSES])


def _cell(count: int, total: int, is_right: bool) -> Cell:
    """A count with its share of the row; it is as dark as the square root of that, so that rare mistakes show."""
    share = count / total if count else 0.0
    return Cell(count, round(75 * share**0.5), is_right, f"{share:.0%}" if share >= 0.005 or not count else "<1%")
