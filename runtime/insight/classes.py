"""The quality of a classifier for each class of a target, on a run's page: ROC and precision-recall curves, a table."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array
from netc.runtime.insight.drawing.plots import Frame, Mark, evenly, legend, line, series
from netc.runtime.insight.drawing.scales import numbers_axis
from netc.runtime.insight.ranking import Ranking, ranking
from netc.runtime.insight.sections import Heading, Note, Plot, Plots, Section, Table
from netc.runtime.insight.words import number_text, shortened
from netc.runtime.predictions import TargetPrediction

_MOST_CURVES, _MOST_ROWS, _MOST_RANKED = 8, 100, 200
_MOST_POINTS = 250  # of a curve
_SIDE = 360.0  # of a plot, in pixels


class ClassScores(Struct, frozen=True):
    """The scores of class number `number`; they are NaN where they would be divided by 0.

    `support` is how many samples are of the class, and `predicted` how many are said to be. `ranking` is None if all or
    no samples are of the class.
    """

    number: int
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float
    ranking: Ranking | None


def scores_of(prediction: TargetPrediction, numbers: Sequence[int]) -> list[ClassScores]:
    """The scores of these classes, each against all others."""
    true, predicted, count = prediction.true, prediction.predicted, len(prediction.labels)
    support, said = np.bincount(true, minlength=count), np.bincount(predicted, minlength=count)
    hits = np.bincount(true[true == predicted], minlength=count)
    return [
        ClassScores(
            i,
            int(support[i]),
            int(said[i]),
            _share(hits[i], said[i]),
            _share(hits[i], support[i]),
            _share(2 * hits[i], support[i] + said[i]),
            ranking(prediction.chances[:, i], true == i) if len(prediction.chances) else None,
        )
        for i in numbers
    ]


def _share(count: int, total: int) -> float:
    return float(count / total) if total else math.nan


def class_sections(prediction: TargetPrediction, part: str) -> Iterator[Section]:
    """The curves of each class, or of those that are told apart worst, and a row for each class."""
    scores = scores_of(prediction, _chosen(prediction))
    ranked = [score for score in scores if score.ranking is not None]
    if len(prediction.labels) == 2:
        ranked = [score for score in ranked if score.number == 1]
    drawn = sorted(ranked, key=lambda score: score.ranking.average_precision if score.ranking else 0.0)[:_MOST_CURVES]
    drawn.sort(key=lambda score: score.number)
    if drawn:
        yield Heading(f"{shortened(prediction.target)}: precision and recall, ROC, {part}", 3)
        yield Plots([*_plots(prediction, drawn)])
        if len(drawn) < len(ranked):
            yield Note(f"The {len(drawn)} classes with the lowest average precision are drawn.")
    yield Heading(f"{shortened(prediction.target)}: each class, {part}", 3)
    yield _table(prediction, scores[:_MOST_ROWS])
    if len(prediction.labels) > _MOST_ROWS:
        yield Note(f"{_MOST_ROWS} of {len(prediction.labels):,} classes are shown, those with the lowest F1.")


def _chosen(prediction: TargetPrediction) -> list[int]:
    """All classes in their order, or of many those that occur, with the lowest F1 first."""
    count = len(prediction.labels)
    if count <= _MOST_ROWS:
        return [*range(count)]
    support, said = (np.bincount(side, minlength=count) for side in (prediction.true, prediction.predicted))
    hits = np.bincount(prediction.true[prediction.true == prediction.predicted], minlength=count)
    f1: Array = np.where(support > 0, 2 * hits / np.maximum(support + said, 1), np.inf)
    return [int(i) for i in np.argsort(f1, kind="stable")[:_MOST_ROWS]]


def _plots(prediction: TargetPrediction, scores: Sequence[ClassScores]) -> Iterator[Plot]:
    """The precision-recall curves and the ROC curves."""
    named = [(score, shortened(prediction.labels[score.number])) for score in scores]
    entries, top = legend([(series(i), label) for i, (_, label) in enumerate(named)], _SIDE)
    axes = numbers_axis((0, 1), False), numbers_axis((0, 1), False)
    for xlabel, ylabel in (("recall", "precision"), ("false positive rate", "true positive rate")):
        frame = Frame(_SIDE, _SIDE + top - 10, *axes, xlabel, ylabel, top=top)
        parts = [*entries] if len(named) > 1 else []
        if xlabel != "recall":
            parts.append(frame.trace("guide", [(0, 0), (1, 1)]))
        for i, (score, label) in enumerate(named):
            curve = score.ranking
            assert curve is not None
            x, y = (curve.recall, curve.precision) if xlabel == "recall" else (curve.false_positives, curve.recall)
            area = (
                f"average precision {curve.average_precision:.3g}" if xlabel == "recall" else f"area {curve.area:.3g}"
            )
            points = [frame.at(float(x[n]), float(y[n])) for n in evenly(len(x), _MOST_POINTS)]
            parts.append(Mark(series(i), f"class {score.number}", f"{label}: {area}").around(line(points)))
        yield Plot(frame.svg(parts, f"{ylabel} by {xlabel}"))


def _table(prediction: TargetPrediction, scores: Sequence[ClassScores]) -> Table:
    head = ("class", "samples", "predicted", "precision", "recall", "F1", "average precision", "area under ROC")
    rows = [
        (
            shortened(prediction.labels[score.number]),
            f"{score.support:,}",
            f"{score.predicted:,}",
            *map(number_text, (score.precision, score.recall, score.f1)),
            *map(number_text, (score.ranking.average_precision, score.ranking.area) if score.ranking else ()),
        )
        for score in scores
    ]
    return Table(head, rows, [f"class {score.number}" for score in scores])
