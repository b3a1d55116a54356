"""The figures of the chapter on variational autoencoders."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from .scheme import BLUE, BLUE_FILL, COLOURS, GREEN_FILL, GREY, ORANGE, ORANGE_FILL, RED
from .style import EXAMPLES, figure, picture, trained

PAPER = LinearSegmentedColormap.from_list("paper", ["white", "black"])


def _sheet(digits: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Pictures of 8 by 8 side by side, each in a white border: [row * column, 64] to [10 row, 10 column]."""
    framed = np.pad(digits.reshape(rows, columns, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return framed.swapaxes(1, 2).reshape(10 * rows, 10 * columns)


def _frame(panel: Axes) -> None:
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.8)


@picture
def digit_plane() -> Figure:
    """The codes of 220 digits in the plane, and what the decoder makes of points of a grid."""
    run = trained("course/plane")
    table = np.loadtxt(EXAMPLES / "data" / "digits8x8" / "digits8x8.csv", np.float32, delimiter=",", skiprows=1)[:220]
    codes = run.predict_prepared({"image": table[:, :64] / 16})["code"]
    canvas, ((left, right),) = figure(7.2, 3.6, 1, 2)
    for digit in range(10):
        x, y = codes[table[:, 64] == digit].T
        left.plot(x, y, linestyle="none", marker=f"${digit}$", markersize=5, color=COLOURS[digit % 5], mew=0.3)
    left.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), xlabel="first number of the code", ylabel="second number")
    left.set_aspect("equal")
    places = np.linspace(-2.2, 2.2, 11)
    grid = np.stack(np.meshgrid(places, places[::-1]), axis=-1).reshape(-1, 2).astype(np.float32)
    digits = run.program.predict({"drawn": grid})["again"]
    edge = 2.2 + (places[1] - places[0]) / 2
    right.imshow(
        _sheet(digits, 11, 11), cmap=PAPER, vmin=0, vmax=1, interpolation="none", extent=(-edge, edge, -edge, edge)
    )
    right.set(xlabel="first number of the code", xticks=[-2, -1, 0, 1, 2], yticks=[-2, -1, 0, 1, 2])
    for spine in right.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.8)
    return canvas


@picture
def drawn_digits() -> Figure:
    """Digits decoded from codes that were drawn from the standard normal distribution, for three trainings."""
    canvas, axes = figure(7, 1.7, 3, 1)
    settings = (({}, "two numbers"), ({"numbers": 8}, "eight numbers"), ({"numbers": 8, "beta": 0}, "eight, β = 0"))
    for panel, (constants, title) in zip(axes[:, 0], settings, strict=True):
        run = trained("course/plane", **constants)
        drawn = np.random.default_rng(3).standard_normal((16, constants.get("numbers", 2))).astype(np.float32)
        panel.imshow(
            _sheet(run.program.predict({"drawn": drawn})["again"], 1, 16),
            cmap=PAPER,
            vmin=0,
            vmax=1,
            interpolation="none",
        )
        panel.set_ylabel(title, rotation=0, ha="right", va="center")
        _frame(panel)
    return canvas


@picture
def reparameterisation() -> Figure:
    """Two drawings of the same model: a draw in the path of the gradient, and the draw moved to an input."""
    canvas, ((left, right),) = figure(7.2, 2.8, 1, 2)
    _box(left, (0, 0), "μ, σ", BLUE, BLUE_FILL)
    _box(left, (0, 1.3), "draw z", ORANGE, ORANGE_FILL)
    _box(left, (0, 2.6), "loss", GREY, GREEN_FILL)
    _arrow(left, (0, 0.3), (0, 1.0))
    _arrow(left, (0, 1.6), (0, 2.3))
    _arrow(left, (0.5, 2.3), (0.5, 1.6), RED)
    left.text(0.62, 0.65, "no derivative", color=RED, va="center")
    left.text(0.5, 0.65, "×", color=RED, ha="center", va="center", fontsize=14)
    left.set_title("the draw is in the way")
    _box(right, (-0.9, 0), "μ, σ", BLUE, BLUE_FILL)
    _box(right, (1.1, 0), "draw ε", ORANGE, ORANGE_FILL)
    _box(right, (0, 1.3), "z = μ + σ ε", GREY, GREEN_FILL, 0.85)
    _box(right, (0, 2.6), "loss", GREY, GREEN_FILL)
    _arrow(right, (-0.75, 0.3), (-0.3, 1.0))
    _arrow(right, (0.95, 0.3), (0.4, 1.0))
    _arrow(right, (0, 1.6), (0, 2.3))
    _arrow(right, (0.5, 2.3), (0.5, 1.6), RED)
    _arrow(right, (-0.6, 1.0), (-1.05, 0.3), RED)
    right.set_title("the draw is an input")
    for panel in (left, right):
        panel.set(xlim=(-2, 2), ylim=(-0.4, 3))
        panel.set_aspect("equal")
        panel.axis("off")
    return canvas


def _box(panel: Axes, centre: tuple[float, float], text: str, edge: str, fill: str, half: float = 0.6) -> None:
    x, y = centre
    style = "round,pad=0,rounding_size=0.12"
    panel.add_patch(FancyBboxPatch((x - half, y - 0.3), 2 * half, 0.6, boxstyle=style, facecolor=fill, edgecolor=edge))
    panel.text(x, y, text, ha="center", va="center")


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = GREY) -> None:
    panel.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, shrinkA=0, shrinkB=0))
