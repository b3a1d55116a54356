"""The figures of the chapter on history."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from .scheme import BLUE, BLUE_FILL, GREEN, GREEN_FILL, GREY, GREY_FILL, INK, ORANGE
from .style import figure, picture

DATA = Path(__file__).parent / "data"
COLOUR = {"no hidden layer": GREY, "one hidden layer": BLUE, "convolutional": ORANGE}


@picture
def circles() -> Figure:
    """Artificial intelligence, machine learning and deep learning as circles in each other, with examples."""
    canvas, ((panel,),) = figure(6.4, 3.9)
    circles = (
        (0, 0, 10.0, 6.0, GREY_FILL, GREY, "Artificial intelligence",
         "rules and search: chess, planning,\nexpert systems"),
        (0, -0.72, 7.3, 4.3, GREEN_FILL, GREEN, "Machine learning",
         "rules from examples: decision trees,\nlinear models, nearest neighbours"),
        (0, -1.42, 4.6, 2.6, BLUE_FILL, BLUE, "Deep learning",
         "features from examples too:\nnetworks of many layers, as for\npictures, speech and text"),
    )  # fmt: skip
    for x, y, width, height, fill, edge, name, examples in circles:
        panel.add_patch(Ellipse((x, y), width, height, facecolor=fill, edgecolor=edge, linewidth=1.4))
        top = y + height / 2
        panel.text(x, top - 0.42, name, ha="center", va="center", fontsize=11, fontweight="bold")
        panel.text(x, top - 0.68, examples, ha="center", va="top", fontsize=8.5, color=INK)
    panel.set(xlim=(-5.1, 5.1), ylim=(-3.1, 3.1), aspect="equal")
    panel.axis("off")
    return canvas


def measured(name: str) -> dict[str, list[dict[str, float]]]:
    """The rows of a file of `docs/conditions.py`, for each network."""
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    with (DATA / f"{name}.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row.pop("model")].append({key: float(value) for key, value in row.items()})
    return rows


@picture
def conditions() -> Figure:
    """The error on MNIST by the number of samples and by seconds of compute, as measured by `docs/conditions.py`."""
    canvas, ((samples, seconds),) = figure(7.2, 3.1, 1, 2)
    for name, rows in measured("samples").items():
        counts = sorted({row["samples"] for row in rows})
        errors = [[1 - row["accuracy"] for row in rows if row["samples"] == count] for count in counts]
        samples.loglog(counts, [np.mean(of) for of in errors], ".-", color=COLOUR[name], label=name)
        samples.fill_between(counts, [min(of) for of in errors], [max(of) for of in errors], color=COLOUR[name],
                             alpha=0.2, linewidth=0)  # fmt: skip
    for name, rows in measured("seconds").items():
        seconds.loglog(
            [row["seconds"] for row in rows], [1 - row["accuracy"] for row in rows], ".-", color=COLOUR[name]
        )
    samples.set(xlabel="training samples", ylabel="wrong answers", title="more data")
    seconds.set(xlabel="seconds of compute", title="more compute")
    for panel in (samples, seconds):
        panel.set(ylim=(0.007, 1))
        panel.yaxis.set_major_locator(FixedLocator([1, 0.3, 0.1, 0.03, 0.01]))
        panel.yaxis.set_major_formatter(FixedFormatter(["100 %", "30 %", "10 %", "3 %", "1 %"]))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    samples.legend(fontsize=8)
    return canvas
