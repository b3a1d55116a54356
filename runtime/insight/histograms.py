"""Weights and gradients that a model watches, over the epochs: a histogram for each of some epochs, for a page."""

from collections.abc import Iterator, Sequence

import numpy as np

from netc.runtime.insight.curves import Rows
from netc.runtime.insight.drawing.plots import Frame, evenly
from netc.runtime.insight.drawing.scales import numbers_axis
from netc.runtime.insight.sections import Heading, Plot, Plots, Section, left_out
from netc.runtime.insight.words import shortened
from netc.runtime.metric_names import is_histogram, watched
from netc.runtime.metric_values import MetricValue

_MOST_PLOTS, _MOST_EPOCHS = 12, 14
_WIDTH, _HEIGHT = 340.0, 320.0  # of a plot, in pixels
_RIDGE = 1.6  # the height of a histogram, in distances between two of them


def histogram_sections(metrics: Rows) -> Iterator[Section]:
    """A plot for each watched array that belongs to no sample; nothing if there is none."""
    names = [*dict.fromkeys(name for row in metrics for name in row if is_histogram(name))]
    if not names:
        return
    yield Heading("Distributions by epoch")
    yield Plots([_plot(name, metrics) for name in names[:_MOST_PLOTS]])
    yield from left_out(len(names), _MOST_PLOTS, "watched values")


def _plot(name: str, metrics: Rows) -> Plot:
    """A ridge for each epoch, the first one at the bottom; all have the same area."""
    having = [row for row in metrics if name in row]
    rows = [having[i] for i in evenly(len(having), _MOST_EPOCHS)]
    ridges = [(row["epoch"], *_outline(row[name])) for row in rows]
    epochs = [float(epoch) for epoch, *_ in ridges if isinstance(epoch, int | float)]
    gap = (epochs[-1] - epochs[0]) / max(len(epochs) - 1, 1) or 1.0
    highest = max((density for *_, densities in ridges for density in densities), default=1.0) or 1.0
    values = numbers_axis([value for _, values, _ in ridges for value in values], False)
    frame = Frame(
        _WIDTH, _HEIGHT, values, numbers_axis([epochs[0], epochs[-1] + _RIDGE * gap], False, True), "value", "epoch"
    )
    title = shortened(watched(name) or name)
    marks = list[str]()
    for epoch, (_, at, densities) in reversed([*zip(epochs, ridges, strict=True)]):
        heights = [epoch + _RIDGE * gap * density / highest for density in densities]
        marks.append(frame.band("s0", [(x, epoch, height) for x, height in zip(at, heights, strict=True)]))
        marks.append(frame.trace("s0", zip(at, heights, strict=True), f"epoch {epoch:g}"))
    return Plot(frame.svg(marks, f"{title} by epoch"), title)


def _outline(metric: MetricValue) -> tuple[Sequence[float], Sequence[float]]:
    """The corners of the bars of a histogram: values, and the density at each."""
    assert isinstance(metric, list)
    lower, counts = (np.asarray(row, np.float64) for row in metric)
    width = lower[1] - lower[0]
    densities = counts / max(counts.sum() * width, 1e-300)
    corners = np.stack([lower, lower + width], axis=1).ravel()
    return corners.tolist(), np.repeat(densities, 2).tolist()
