"""The curves of a run as a picture: the losses, and each metric, by epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def draw(metrics: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write an SVG with a panel for the losses and one for each metric."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    if not metrics:
        return
    names = [name for name in metrics[0] if "." in name]
    kinds = list(dict.fromkeys(name.partition(".")[2] for name in names))
    figure = Figure(figsize=(4.5 * len(kinds), 3.2), layout="constrained")
    FigureCanvasSVG(figure)
    epochs = [row["epoch"] for row in metrics]
    for i, kind in enumerate(kinds, 1):
        axes = figure.add_subplot(1, len(kinds), i)
        for name in names:
            if name.partition(".")[2] == kind:
                axes.plot(
                    epochs,
                    [row[name] for row in metrics],
                    label=name.partition(".")[0],
                    marker="." if len(epochs) < 40 else "",
                )
        axes.set(title=kind, xlabel="epoch")
        axes.legend()
    figure.savefig(path, format="svg")
