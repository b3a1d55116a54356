"""The curves of a run as a picture: the losses, each metric and each watched value, by epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from netc.dsl.quoting import plot_text
from netc.runtime.figures import Figure
from netc.runtime.insight.pictures import svg_bytes
from netc.runtime.metric_names import watched

_MOST_EPOCHS = 2_000
_MOST_PANELS = 24
_MOST_MARKED_EPOCHS = 40  # with fewer epochs than this, a curve has a dot for each


def draw(metrics: Sequence[Mapping[str, Figure]]) -> bytes:
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
    picture = Picture(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    xlabel = f"epoch, one of every {step}" if step > 1 else "epoch"
    for i, (title, names) in enumerate(shown.items(), 1):
        axes = picture.add_subplot(rows, columns, i)
        axes.set(title=plot_text(title), xlabel=xlabel)
        _draw_panel(axes, epoch_rows, names)
    if len(panels) > len(shown):
        picture.supxlabel(f"{len(panels) - len(shown):,} more metrics are in metrics.jsonl")
    return svg_bytes(picture)


def _panels(epoch_rows: Sequence[Mapping[str, Figure]]) -> dict[str, list[str]]:
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


def _draw_panel(axes: Any, epoch_rows: Sequence[Mapping[str, Figure]], names: Sequence[str]) -> None:
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


def _point(metric: Figure | None) -> float:
    """A metric as a point of a curve; NaN if it is missing or a matrix."""
    return metric if isinstance(metric, int | float) else math.nan


def _draw_range(axes: Any, epochs: Sequence[Any], values: Mapping[str, Sequence[Any]]) -> None:
    """A watched value: its mean, one standard deviation around it, its range."""
    pairs = list(zip(values["mean"], values["std"], strict=True))
    axes.fill_between(epochs, values["min"], values["max"], alpha=0.12, color="C0", label="range")
    below, above = [mean - std for mean, std in pairs], [mean + std for mean, std in pairs]
    axes.fill_between(epochs, below, above, alpha=0.3, color="C0", label="spread")
    axes.plot(epochs, values["mean"], color="C0", label="mean")
