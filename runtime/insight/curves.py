"""The curves of a run as a picture: the losses, each metric and each watched value, by epoch."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from netc.dsl.quoting import plot_text
from netc.runtime.figures import Figure

_MOST_EPOCHS = 2_000
_MOST_PANELS = 24


def draw(metrics: Sequence[Mapping[str, Figure]]) -> bytes:
    """An SVG with a panel for the losses and one for each metric and watched value: of many epochs some, of many panels the first."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Picture

    every = -(-len(metrics) // _MOST_EPOCHS)
    epoch_rows = [metrics[i] for i in range(0, len(metrics) - 1, every)] + [metrics[-1]]
    names = dict.fromkeys(
        name for row in epoch_rows for name, value in row.items() if "." in name and not isinstance(value, list)
    )
    all_kinds = list(dict.fromkeys(_panel(name) for name in names))
    kinds = all_kinds[:_MOST_PANELS]
    columns = min(len(kinds), 4)
    rows = -(-len(kinds) // columns)
    picture = Picture(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasSVG(picture)
    epochs = [row["epoch"] for row in epoch_rows]
    beside = f", one of every {every}" if every > 1 else ""
    marker = "." if len(epochs) < 40 else ""
    for i, kind in enumerate(kinds, 1):
        axes = picture.add_subplot(rows, columns, i)
        axes.set(title=plot_text(kind), xlabel=f"epoch{beside}")
        # a metric may have come or gone where training went on with another file: there its curve has a gap
        series = {name: [_number(row.get(name)) for row in epoch_rows] for name in names if _panel(name) == kind}
        if "watch." in next(iter(series)):
            _band(axes, epochs, {name.rpartition(".")[2]: values for name, values in series.items()})
        else:
            for name, values in series.items():
                axes.plot(epochs, values, label=plot_text(name.partition(".")[0]), marker=marker)
        axes.legend()
    if len(all_kinds) > len(kinds):
        picture.supxlabel(f"{len(all_kinds) - len(kinds):,} more figures are in metrics.jsonl")
    buffer = io.BytesIO()
    picture.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _number(figure: Figure | None) -> float:
    """A figure as a point of a curve: NaN, which is a gap, where there is none or it is a matrix."""
    return figure if isinstance(figure, int | float) else math.nan


def _panel(name: str) -> str:
    """`valid.loss` -> `loss`, `valid.watch.h.mean` -> `h`."""
    own = name.partition(".")[2]
    return own.removeprefix("watch.").rpartition(".")[0] if own.startswith("watch.") else own


def _band(axes: Any, epochs: Sequence[Any], values: Mapping[str, Sequence[Any]]) -> None:
    """A watched value: its mean, its spread around it, its range."""
    pairs = list(zip(values["mean"], values["std"], strict=True))
    axes.fill_between(epochs, values["min"], values["max"], alpha=0.12, color="C0", label="range")
    axes.fill_between(
        epochs, [m - s for m, s in pairs], [m + s for m, s in pairs], alpha=0.3, color="C0", label="spread"
    )
    axes.plot(epochs, values["mean"], color="C0", label="mean")
