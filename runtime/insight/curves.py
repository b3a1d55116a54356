"""The curves of a run as a picture: the losses, each metric and each watched value, by epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from netc.dsl.quoting import plot_text
from netc.runtime.data.stored import Array
from netc.runtime.insight.pictures import svg_bytes
from netc.runtime.metric_names import watched
from netc.runtime.metric_values import MetricValue

_MOST_EPOCHS = 2_000
_MOST_PANELS = 24
_MOST_MARKED_EPOCHS = 40  # with fewer epochs than this, a curve has a dot for each
_PANEL = (4.5, 3.2)  # width and height, in inches
# around the axes of a panel, in inches: room for the labels of the ticks and for the title. matplotlib's layouts
# measure these instead, which takes longer than drawing
_MARGINS = {"left": 0.75, "right": 0.15, "bottom": 0.5, "top": 0.35}
_STEPS = (1, 2, 5, 10)  # ticks are so far apart, times a power of ten
_FOOTER = 0.3  # height of the line below all panels, in inches


def draw(metrics: Sequence[Mapping[str, MetricValue]]) -> bytes:
    """An SVG file with a panel for the losses, one for each metric and one for each watched value.

    `metrics` has a row for each epoch. Of many epochs evenly spaced ones are drawn, of many panels the first ones.
    """
    from matplotlib.figure import Figure as Picture

    step = -(-len(metrics) // _MOST_EPOCHS)
    epoch_rows = [metrics[i] for i in range(0, len(metrics) - 1, step)] + [metrics[-1]]
    panels = _panels(epoch_rows)
    shown = dict(list(panels.items())[:_MOST_PANELS])
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    footer = _FOOTER if len(panels) > len(shown) else 0.0
    width, height = _PANEL[0] * columns, _PANEL[1] * rows + footer
    picture = Picture(figsize=(width, height))
    xlabel = f"epoch, one of every {step}" if step > 1 else "epoch"
    for i, (title, names) in enumerate(shown.items()):
        left, bottom = _PANEL[0] * (i % columns), height - _PANEL[1] * (i // columns + 1)
        axes = _add_axes(picture, left, bottom)
        axes.set_title(plot_text(title), y=1.0)  # a position that is stated is not searched for
        axes.set_xlabel(xlabel)
        _draw_panel(axes, epoch_rows, names)
    if footer:
        text = f"{len(panels) - len(shown):,} more metrics are in metrics.jsonl"
        picture.text(0.5, footer / 2 / height, text, ha="center", va="center")
    return svg_bytes(picture)


def draw_rates(rates: Array, losses: Array, means: Array, steepest: float) -> bytes:
    """An SVG file with the losses of a learning-rate range test and their running mean, by the logarithm of the rate.

    A line marks the rate at which the loss falls fastest.
    """
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(6, 4), layout="constrained")
    axes = picture.add_subplot()
    axes.plot(rates, losses, color="0.75", linewidth=1, label="loss of a step")
    axes.plot(rates, means, color="C0", label="running mean")
    axes.axvline(steepest, color="C3", linewidth=1, linestyle="--", label=f"falls fastest: {steepest:.1g}")
    low, high = means.min(), means.max()
    room = 0.1 * (high - low) or 1.0
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - room, high + room))
    axes.legend()
    return svg_bytes(picture)


def _add_axes(picture: Any, left: float, bottom: float) -> Any:
    """Adds the axes of a panel whose lower left corner is at this place, in inches. It has few ticks, because most of
    the time of drawing goes into them."""
    from matplotlib.ticker import MaxNLocator

    width, height = picture.get_size_inches()
    inner_width = _PANEL[0] - _MARGINS["left"] - _MARGINS["right"]
    inner_height = _PANEL[1] - _MARGINS["bottom"] - _MARGINS["top"]
    x, y = (left + _MARGINS["left"]) / width, (bottom + _MARGINS["bottom"]) / height
    axes = picture.add_axes((x, y, inner_width / width, inner_height / height))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))  # longer labels would not fit beside the axis
    return axes


def _panels(epoch_rows: Sequence[Mapping[str, MetricValue]]) -> dict[str, list[str]]:
    """The names of metrics that share a panel, by the panel's title."""
    names = dict.fromkeys(
        name for row in epoch_rows for name, value in row.items() if "." in name and not isinstance(value, list)
    )
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(_title(name), []).append(name)
    return panels


def _title(name: str) -> str:
    """`loss` for `valid.loss`, `h` for `valid.watch.h.mean`."""
    return watched(name) or name.partition(".")[2]


def _draw_panel(axes: Any, epoch_rows: Sequence[Mapping[str, MetricValue]], names: Sequence[str]) -> None:
    """A curve for each metric, with a gap where a row does not have it, or the range of a watched value."""
    epochs = [row["epoch"] for row in epoch_rows]
    curves = {name: [_point(row.get(name)) for row in epoch_rows] for name in names}
    if watched(names[0]) is not None:
        _draw_range(axes, epochs, {name.rpartition(".")[2]: values for name, values in curves.items()})
    else:
        for name, values in curves.items():
            marker = "." if len(epochs) < _MOST_MARKED_EPOCHS else ""
            axes.plot(epochs, values, label=plot_text(name.partition(".")[0]), marker=marker)
    axes.legend()


def _point(metric: MetricValue | None) -> float:
    """A metric as a point of a curve; NaN if it is missing or a matrix."""
    return metric if isinstance(metric, int | float) else math.nan


def _draw_range(axes: Any, epochs: Sequence[Any], values: Mapping[str, Sequence[Any]]) -> None:
    """A watched value: its mean, one standard deviation around it, its range."""
    pairs = list(zip(values["mean"], values["std"], strict=True))
    axes.fill_between(epochs, values["min"], values["max"], alpha=0.12, color="C0", label="range")
    below, above = [mean - std for mean, std in pairs], [mean + std for mean, std in pairs]
    axes.fill_between(epochs, below, above, alpha=0.3, color="C0", label="spread")
    axes.plot(epochs, values["mean"], color="C0", label="mean")
