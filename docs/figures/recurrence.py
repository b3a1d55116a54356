"""The figures of the chapter on recurrent networks."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from .scheme import BLUE, BLUE_FILL, GREEN, GREEN_FILL, GREY, ORANGE, ORANGE_FILL
from .style import arrow, figure, picture, trained


@picture
def recurrence() -> Figure:
    """The sunspots of each year of the test part, and the network's prediction from the years before."""
    run = trained("course/sunspots_scan")
    test = run.load_data().parts["test"]
    predicted, true = run.predict_prepared(test)["spots"], run.undone()["following"](np.asarray(test["following"]))
    canvas, ((panel,),) = figure(6.4, 2.6)
    years = 2009 - np.arange(len(true), 0, -1)  # the table ends with 2008
    panel.plot(years, true, color=GREY, label="true", linewidth=2)
    panel.plot(years, predicted, color=BLUE, label="predicted a year before")
    panel.set(xlabel="year", ylabel="sunspots")
    panel.legend()
    return canvas


@picture
def unrolled() -> Figure:
    """A recurrent network as a loop, and the same network unrolled into a feed-forward network that shares weights."""
    canvas, ((panel,),) = figure(7.2, 2.9)
    _column(panel, 0.6, "x_t", "h_t", "y_t")
    arrow(panel, (0.93, 1.85), (0.93, 1.35), bend="arc3,rad=-2.2")
    panel.text(1.68, 1.6, "$U$", ha="center", va="center", color=GREEN)
    panel.text(2.2, 1.6, "=", ha="center", va="center", fontsize=18)
    columns = [("x_1", "h_1", "y_1"), ("x_2", "h_2", "y_2"), ("x_3", "h_3", "y_3"), ("x_T", "h_T", "y_T")]
    places = [4.2, 5.8, 7.4, 9.8]
    panel.text(2.9, 1.6, "$h_0$", ha="center", va="center")
    arrow(panel, (3.15, 1.6), (3.8, 1.6))
    for x, names in zip(places, columns, strict=True):
        _column(panel, x, *names)
    for left, right in ((4.2, 5.8), (5.8, 7.4)):
        arrow(panel, (left + 0.4, 1.6), (right - 0.4, 1.6))
        panel.text((left + right) / 2, 1.72, "$U$", ha="center", color=GREEN)
    panel.text(8.6, 1.6, "...", ha="center", va="center", fontsize=14)
    arrow(panel, (7.8, 1.6), (8.3, 1.6))
    arrow(panel, (8.9, 1.6), (9.4, 1.6))
    panel.set(xlim=(-0.2, 10.4), ylim=(-0.5, 3.7))
    panel.set_aspect("equal")
    panel.axis("off")
    return canvas


def _column(panel, x: float, below: str, state: str, above: str) -> None:
    """An input, the state that reads it, and the output, one above the other."""
    for y, name, edge, fill in (
        (0, below, BLUE, BLUE_FILL),
        (1.6, state, GREEN, GREEN_FILL),
        (3.2, above, ORANGE, ORANGE_FILL),
    ):
        panel.add_patch(Circle((x, y), 0.4, facecolor=fill, edgecolor=edge))
        panel.text(x, y, f"${name}$", ha="center", va="center")
    arrow(panel, (x, 0.4), (x, 1.2))
    arrow(panel, (x, 2.0), (x, 2.8))
    panel.text(x + 0.12, 0.72, "$W$", color=BLUE, va="center")
    panel.text(x + 0.12, 2.36, "$V$", color=ORANGE, va="center")
