"""The figures of the chapter on the neuron."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from .scheme import BLUE, BLUE_FILL, GREEN, GREEN_FILL, GREY, INK, ORANGE
from .style import arrow, chances, figure, picture, plane, trained

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


@picture
def parts() -> Figure:
    """The parts of a neuron with the weights that it learns for *and*, and the sigmoid at the sums of the four rows."""
    run = trained("neuron")
    w, b = (np.asarray(run.program.parameters[name]) for name in ("w", "b"))
    canvas, ((drawing, curve),) = figure(7.2, 2.7, 1, 2)
    _draw_neuron(drawing, w, float(b))
    z = np.linspace(-6, 3, 200)
    curve.plot(z, 1 / (1 + np.exp(-z)), color=GREY)
    curve.axhline(0.5, color=GREY, linewidth=0.6)
    curve.axvline(0, color=GREY, linewidth=0.6)
    for row, text in ((0, "0, 0"), (1, "0, 1 and 1, 0"), (3, "1, 1")):
        total = float(CORNERS[row] @ w + b)
        chance = 1 / (1 + np.exp(-total))
        curve.plot(total, chance, "o", color=BLUE if row == 3 else ORANGE, markersize=7, zorder=3)
        curve.annotate(f"a, b = {text}" if row == 0 else text, (total, chance), (-6, 8), textcoords="offset points",
                       ha="left" if row == 0 else "right")  # fmt: skip
    curve.set(xlabel="the sum z", ylabel="the output", ylim=(-0.03, 1.05), yticks=[0, 0.5, 1])
    return canvas


def _draw_neuron(panel: Axes, w: np.ndarray, b: float) -> None:
    """The inputs, the weighted sum and the sigmoid, with arrows between them."""
    inputs, total, bend = ((0, 2), (0, 0)), (3, 1), (4.9, 1)
    for name, place, fill, edge in (
        ("a", inputs[0], BLUE_FILL, BLUE),
        ("b", inputs[1], BLUE_FILL, BLUE),
        ("Σ", total, GREEN_FILL, GREEN),
        ("σ", bend, GREEN_FILL, GREEN),
    ):
        panel.add_patch(Circle(place, 0.4, facecolor=fill, edgecolor=edge))
        panel.text(*place, name, ha="center", va="center", fontsize=12)
    for start, end in (
        ((0.4, 1.87), (2.6, 1.13)),
        ((0.4, 0.13), (2.6, 0.87)),
        ((3, 2.1), (3, 1.45)),
        ((3.45, 1), (4.45, 1)),
        ((5.35, 1), (6.1, 1)),
    ):
        arrow(panel, start, end)
    for x, y, text, colour in (
        (1.75, 1.85, f"$w_1$ = {w[0]:.2f}", INK),
        (1.75, 0.15, f"$w_2$ = {w[1]:.2f}", INK),
        (3, 2.35, f"$b$ = {b:.2f}".replace("-", "−"), INK),
        (3.95, 1.22, "$z$", INK),
        (6.35, 1, "$\\hat{y}$", INK),
        (0, -0.62, "inputs", GREY),
        (3, 0.38, "sum", GREY),
        (4.9, 0.38, "sigmoid", GREY),
    ):
        panel.text(x, y, text, color=colour, ha="center", va="center", fontsize=9)
    panel.set(xlim=(-0.5, 6.6), ylim=(-0.8, 2.6), aspect="equal")
    panel.axis("off")


@picture
def neuron() -> Figure:
    """The predicted probability at each point of the plane, for a gate that it can learn and one that it cannot."""
    canvas, axes = figure(6.4, 3, 1, 2)
    x, y, points = plane(-0.4, 1.4, 60)
    for panel, gate in zip(axes[0], ("and", "xor"), strict=True):
        run = trained("neuron", gate=gate)
        chances(panel, x, y, run.predict_prepared({"inputs": points})["chance"].reshape(x.shape))
        truths = [a and b if gate == "and" else a != b for a, b in CORNERS]
        colours = [BLUE if truth else ORANGE for truth in truths]
        panel.scatter(*CORNERS.T, c=colours, edgecolors=INK, s=70, zorder=3)
        panel.set(title=f"a {gate} b", xlabel="a", ylabel="b", xticks=[0, 1], yticks=[0, 1])
    return canvas
