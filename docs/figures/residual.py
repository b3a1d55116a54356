"""The figures of the chapter on residual networks."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from .scheme import BLUE, BLUE_FILL, GREEN, GREEN_FILL, ORANGE, RED
from .style import arrow, figure, picture, trained


@picture
def residual_blocks() -> Figure:
    """Three blocks in a row, plain and with residual connections, and the way of the gradient back through both."""
    canvas, ((plain, residual),) = figure(7.4, 1.6, 1, 2)
    for panel, title in ((plain, "plain"), (residual, "with residual connections")):
        panel.text(-0.7, 0, "$x$", ha="center", va="center")
        for block in range(3):
            left = 2.7 * block
            _layers(panel, left + 0.95, 0)
            arrow(panel, (left - 0.5, 0), (left + 0.35, 0), head=8)
            arrow(panel, (left + 1.55, 0), (left + (1.88 if panel is residual else 2.2), 0), head=8)
            if panel is residual:
                _skip(panel, left)
        arrow(panel, (7.6, 0), (8.1, 0), head=8)
        panel.text(8.2, 0, "loss", ha="left", va="center")
        panel.set(title=title, xlim=(-1, 9.2), ylim=(-1.5, 1.2))
        panel.set_aspect("equal")
        panel.axis("off")
    for step, (start, end) in enumerate(((7.9, 5.4), (5.2, 2.7), (2.5, -0.5))):
        _gradient(plain, start, end, (2.6, 1.5, 0.6)[step])
    _gradient(residual, 7.9, -0.5, 2.6)
    return canvas


def _layers(panel: Axes, x: float, y: float) -> None:
    style = "round,pad=0,rounding_size=0.12"
    panel.add_patch(FancyBboxPatch((x - 0.6, y - 0.35), 1.2, 0.7, boxstyle=style, facecolor=BLUE_FILL, edgecolor=BLUE))
    panel.text(x, y, "$f$", ha="center", va="center")


def _skip(panel: Axes, left: float) -> None:
    """The way around one block that begins at `left`, and the sum in which it ends."""
    panel.plot([left - 0.1, left - 0.1, left + 2.05], [0, 0.8, 0.8], color=GREEN, linewidth=1.8, solid_capstyle="round")
    panel.add_patch(
        FancyArrowPatch((left + 2.05, 0.8), (left + 2.05, 0.17), arrowstyle="-|>", mutation_scale=9, color=GREEN,
                        linewidth=1.8, shrinkA=0, shrinkB=0)
    )  # fmt: skip
    panel.add_patch(Circle((left + 2.05, 0), 0.17, facecolor=GREEN_FILL, edgecolor=GREEN, zorder=3))
    panel.text(left + 2.05, -0.01, "+", ha="center", va="center", zorder=4)


def _gradient(panel: Axes, start: float, end: float, width: float) -> None:
    """A red arrow backwards below the blocks; its width stands for the size of the gradient."""
    panel.add_patch(
        FancyArrowPatch((start, -0.85), (end, -0.85), arrowstyle="-|>", mutation_scale=7 + 2 * width, color=RED,
                        linewidth=width, shrinkA=0, shrinkB=0)
    )  # fmt: skip
    if end < 1:
        panel.text(3.7, -1.3, "gradient", ha="center", va="center", color=RED, fontsize=8)


@picture
def degradation() -> Figure:
    """The training loss by epoch of twenty layers, and after the last epoch for depths from 2 to 40."""
    canvas, ((curves, depths),) = figure(7, 2.9, 1, 2)
    places = (2, 6, 10, 20, 40)
    for residual, colour in ((False, ORANGE), (True, BLUE)):
        for norm, style in (("none", "-"), ("batch", "--")):
            runs = [
                trained("course/deep_digits", depth=depth, residual=residual, norm=norm).metrics for depth in places
            ]
            label = ("residual" if residual else "plain") + (", batchnorm" if norm == "batch" else "")
            losses = [row["train.loss"] for row in runs[3]]
            curves.plot(range(1, len(losses) + 1), losses, style, color=colour, label=label)
            depths.plot(places, [run[-1]["train.loss"] for run in runs], f"{style}o", color=colour, markersize=3)
    curves.set(title="training loss of 20 layers", xlabel="epoch", ylim=(0, 2.6), xticks=[1, 5, 10, 15, 20])
    depths.set(title="training loss after 20 epochs", xlabel="layers", ylim=(0, 2.6), xticks=places)
    curves.legend(fontsize=7)
    return canvas
