"""The figures of the chapter on the LSTM."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from .scheme import BLUE, BLUE_FILL, GREEN, GREY, GREY_FILL, ORANGE, ORANGE_FILL
from .style import arrow, figure, picture, trained


@picture
def conveyor() -> Figure:
    """One step of an LSTM: the cell passes along the top, is multiplied and added to; gates read the step below."""
    canvas, ((panel,),) = figure(7, 3.2)
    panel.annotate("", (10.4, 4), (-0.4, 4), arrowprops={"arrowstyle": "-|>", "color": GREEN, "linewidth": 3})
    panel.text(-0.3, 4.3, "$c_{t-1}$", color=GREEN)
    panel.text(9.9, 4.3, "$c_t$", color=GREEN)
    for x, sign in ((1.6, "×"), (4.6, "+")):
        panel.add_patch(Circle((x, 4), 0.36, facecolor=BLUE_FILL, edgecolor=BLUE, zorder=3))
        panel.text(x, 4, sign, ha="center", va="center", zorder=4, fontsize=12)
    for x, name, words in ((1.6, "$f$", "keep?"), (3.6, "$i$", "write?"), (5.6, "$g$", "what?"), (7.6, "$o$", "show?")):
        panel.add_patch(
            FancyBboxPatch(
                (x - 0.55, 0.9), 1.1, 0.8, facecolor=ORANGE_FILL, edgecolor=ORANGE, boxstyle="round,pad=0.05"
            )
        )
        panel.text(x, 1.3, f"{name}  {words}", ha="center", va="center", fontsize=8)
        arrow(panel, (x, 0.2), (x, 0.85), head=8)
    arrow(panel, (1.6, 1.75), (1.6, 3.62), head=8)
    panel.add_patch(Circle((4.6, 2.7), 0.3, facecolor=BLUE_FILL, edgecolor=BLUE))
    panel.text(4.6, 2.7, "×", ha="center", va="center")
    arrow(panel, (3.6, 1.75), (4.4, 2.45), head=8)
    arrow(panel, (5.6, 1.75), (4.8, 2.45), head=8)
    arrow(panel, (4.6, 3.0), (4.6, 3.62), head=8)
    panel.add_patch(Circle((8.6, 2.7), 0.3, facecolor=BLUE_FILL, edgecolor=BLUE))
    panel.text(8.6, 2.7, "×", ha="center", va="center")
    arrow(panel, (7.6, 1.75), (8.4, 2.45), head=8)
    arrow(panel, (8.6, 4), (8.6, 3.0), head=8)
    panel.text(8.75, 3.4, "tanh", fontsize=8)
    arrow(panel, (8.9, 2.7), (10.4, 2.7), head=8)
    panel.text(9.9, 2.95, "$h_t$")
    panel.add_patch(
        FancyBboxPatch((0.9, -0.45), 7.4, 0.6, facecolor=GREY_FILL, edgecolor=GREY, boxstyle="round,pad=0.05")
    )
    panel.text(4.6, -0.15, "$x_t$ and $h_{t-1}$", ha="center", va="center")
    panel.set(xlim=(-0.6, 10.8), ylim=(-0.7, 4.8))
    panel.set_aspect("equal")
    panel.axis("off")
    return canvas


@picture
def gates() -> Figure:
    """The trace of two marked numbers in the cells of a trained LSTM, from the marks to the end of the sequence."""
    run = trained("course/adding_gates")
    x = np.asarray(run.load_data().parts["test"]["x"])
    x = x[np.flatnonzero(x[:, 8:, 1].any(1))[:1]]
    without = x * (1 - x[..., 1:])  # the marked numbers are 0, the marks stay
    without[..., 1] = x[..., 1]
    cells, others = (run.program.predict({"x": batch}, outputs=["cells"])["cells"][0] for batch in (x, without))
    left = cells - others
    canvas, ((above,), (below,)) = figure(7, 3.4, 2, 1)
    reach = float(np.abs(left).max())
    above.imshow(left.T, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    above.set(yticks=[], xticks=[], ylabel="32 cells", xlim=(-0.5, 59.5))
    below.plot(np.linalg.norm(left, axis=1), color=BLUE)
    below.set(xlabel="step", ylabel="length", xlim=(-0.5, 59.5), ylim=(0, None))
    for mark in np.flatnonzero(x[0, :, 1]):
        below.axvline(mark, color=ORANGE, linewidth=1, linestyle="--")
        below.text(mark, below.get_ylim()[1], " marked", color=ORANGE, fontsize=8, va="top")
    return canvas
