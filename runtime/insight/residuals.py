"""The errors of a target that is a number, for a run's page: predicted against true, and the residuals."""

from collections.abc import Iterator

import numpy as np

from netc.runtime.insight.drawing.plots import Frame, Mark
from netc.runtime.insight.drawing.scales import numbers_axis
from netc.runtime.insight.sections import Note, Paragraph, Plot, Plots, Section, one_of_every
from netc.runtime.insight.words import shortened
from netc.runtime.predictions import TargetPrediction

_MOST_POINTS = 2_000
_BINS = 30
_SIDE = 340.0  # of a plot, in pixels


def residual_sections(prediction: TargetPrediction) -> Iterator[Section]:
    """Predicted against true numbers, residuals (true - predicted) by prediction, and their distribution."""
    true, predicted = (np.asarray(values, np.float64) for values in (prediction.true, prediction.predicted))
    is_finite = np.isfinite(true) & np.isfinite(predicted)
    if not is_finite.all():
        yield Note(f"{int((~is_finite).sum()):,} predictions are not finite, and are not drawn.")
    true, predicted = true[is_finite], predicted[is_finite]
    if not len(true):
        return
    residuals, name = true - predicted, shortened(prediction.target)
    step = -(-len(true) // _MOST_POINTS)
    values = numbers_axis((float(ends) for each in (true, predicted) for ends in (each.min(), each.max())), False)
    by_true = Frame(_SIDE, _SIDE, values, values, f"true {name}", f"predicted ({shortened(prediction.output)})")
    cloud = by_true.cloud("s0", zip(true[::step].tolist(), predicted[::step].tolist(), strict=True))
    diagonal = by_true.trace("guide", [(values.low, values.low), (values.high, values.high)])
    axes = numbers_axis(predicted.tolist(), False), numbers_axis((0.0, *residuals.tolist()), False)
    by_prediction = Frame(_SIDE, _SIDE, *axes, f"predicted {name}", "true - predicted")
    rest = by_prediction.cloud("s0", zip(predicted[::step].tolist(), residuals[::step].tolist(), strict=True))
    level = by_prediction.trace("guide", [(axes[0].low, 0.0), (axes[0].high, 0.0)])
    yield Plots(
        [
            Plot(by_true.svg([diagonal, cloud])),
            Plot(by_prediction.svg([level, rest], "residuals by prediction")),
            _histogram(residuals),
        ]
    )
    yield from one_of_every(step, "samples")
    yield Paragraph(
        f"The residuals, true - predicted, have the mean {residuals.mean():.3g} and the standard deviation "
        f"{residuals.std():.3g}; half of them are between {np.quantile(residuals, 0.25):.3g} and "
        f"{np.quantile(residuals, 0.75):.3g}."
    )


def _histogram(residuals: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Plot:
    counts, edges = np.histogram(residuals, min(_BINS, max(5, round(len(residuals) ** 0.5))))
    axes = numbers_axis((0.0, *edges.tolist()), False), numbers_axis((0, *counts.tolist()), False, is_whole=True)
    frame = Frame(_SIDE, _SIDE, *axes, "true - predicted", "samples")
    bars = [
        frame.bar(Mark("s0", title=f"{low:.3g} to {high:.3g}: {count:,}"), (low, high), (0, count))
        for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    ]
    guide = frame.trace("guide", [(0.0, axes[1].low), (0.0, axes[1].high)])
    return Plot(frame.svg([*bars, guide], "distribution of the residuals"))
