"""The figures of the chapter on back-propagation."""

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

import netc

from .scheme import BLUE, BLUE_FILL, GREEN, GREEN_FILL, GREY, GREY_FILL, INK, ORANGE, ORANGE_FILL
from .style import EXAMPLES, arrow, figure, model_picture, picture

RADIUS = 0.33


@picture
def backprop() -> bytes:
    return model_picture(EXAMPLES / "iris.net")


@picture
def three_neurons() -> Figure:
    """The graph of three neurons: values above each node, derivatives below it, the slope of each step between."""
    program = netc.compile(netc.load(EXAMPLES / "course" / "three_neurons.net"))
    value = {name: program.predict({"x": [[2.0, 1.0]]}, outputs=[name])[name].item() for name in ("h1", "h2", "z")}
    loss, slope = (value["z"] - 1) ** 2, 2 * (value["z"] - 1)
    back = {"h1": slope * 2, "h2": slope * -1}
    local = {name: 1 - value[name] ** 2 for name in ("h1", "h2")}
    canvas, ((panel,),) = figure(6.4, 3.3)
    places = {"a": (0, 2.6), "b": (0, 0), "z1": (2, 2.6), "z2": (2, 0), "h1": (4, 2.6), "h2": (4, 0)}
    places |= {"z": (5.7, 1.3), "L": (7.7, 1.3)}
    for name, text, number, derivative in (
        ("a", "$x_1$", "2", None),
        ("b", "$x_2$", "1", None),
        ("z1", "$z_1$", "0.5", back["h1"] * local["h1"]),
        ("z2", "$z_2$", "1", back["h2"] * local["h2"]),
        ("h1", "$h_1$", f"{value['h1']:.4f}", back["h1"]),
        ("h2", "$h_2$", f"{value['h2']:.4f}", back["h2"]),
        ("z", "$z$", f"{value['z']:.4f}", slope),
        ("L", "$L$", f"{loss:.4f}", 1.0),
    ):
        _node(
            panel, places[name], text, number, "" if derivative is None else f"{derivative:.4f}".removesuffix(".0000")
        )
    for start, end, text, along in (
        ("a", "z1", "0.5", 0.5),
        ("a", "z2", "1", 0.3),
        ("b", "z1", "−1", 0.3),
        ("b", "z2", "0.5", 0.5),
        ("z1", "h1", f"{local['h1']:.4f}", 0.5),
        ("z2", "h2", f"{local['h2']:.4f}", 0.5),
        ("h1", "z", "2", 0.5),
        ("h2", "z", "−1", 0.5),
        ("z", "L", f"{slope:.4f}", 0.5),
    ):
        _edge(panel, places[start], places[end], text.replace("-", "−"), along)
    panel.set(xlim=(-0.45, 8.2), ylim=(-0.95, 3.55))
    panel.set_aspect("equal")
    panel.axis("off")
    return canvas


def _node(panel, place: tuple[float, float], name: str, value: str, derivative: str) -> None:
    """A value of the graph: its number above, the derivative of the loss below."""
    x, y = place
    edge, fill = {"x": (BLUE, BLUE_FILL), "L": (ORANGE, ORANGE_FILL)}.get(name[1], (GREEN, GREEN_FILL))
    panel.add_patch(Circle(place, RADIUS, facecolor=fill, edgecolor=edge))
    panel.text(x, y, name, ha="center", va="center", color=INK, fontsize=11)
    panel.text(x, y + RADIUS + 0.12, value, ha="center", va="bottom", color=BLUE, fontsize=10)
    aside = {"z": 0.3, "h": -0.12}.get(name[1], 0)  # past the arrows
    below = derivative.replace("-", "−")
    panel.text(x + aside, y - RADIUS - 0.12, below, ha="center", va="top", color=ORANGE, fontsize=10)


def _edge(panel, start: tuple[float, float], end: tuple[float, float], slope: str, along: float) -> None:
    """An arrow from one node to the next, with the local derivative beside it."""
    (x0, y0), (x1, y1) = start, end
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    gap = RADIUS + 0.06
    tail, head = (x0 + gap * dx, y0 + gap * dy), (x1 - gap * dx, y1 - gap * dy)
    arrow(panel, tail, head)
    panel.text(x0 + along * (x1 - x0) - 0.16 * dy, y0 + along * (y1 - y0) + 0.16 * dx, slope,
               ha="center", va="bottom" if dy == 0 else "center", color=GREY)  # fmt: skip


@picture
def local_rule() -> Figure:
    """Back-propagation at one operation, and at a value that two operations read."""
    canvas, ((product, fork),) = figure(7.2, 2.7, 1, 2)
    _box(product, (2.2, 1), "×")
    for place, name, value, back in (
        ((0, 2), "$a$", "3", "5 · 2 = 10"),
        ((0, 0), "$c$", "2", "5 · 3 = 15"),
    ):
        _labelled(product, place, name, value)
        _there_and_back(product, place, (2.2, 1), back, above=place[1] > 1)
    _labelled(product, (4.4, 1), "$b$", "6")
    _there_and_back(product, (2.2, 1), (4.4, 1), "5", above=True)
    _labelled(fork, (0, 1), "$a$", "")
    for place, name in (((2.6, 2), "$b_1$"), ((2.6, 0), "$b_2$")):
        _labelled(fork, place, name, "")
    _there_and_back(fork, (0, 1), (2.6, 2), "−2", above=True)
    _there_and_back(fork, (0, 1), (2.6, 0), "7", above=False)
    fork.text(-0.5, 1, "−2 + 7 = 5", color=ORANGE, ha="right", va="center", fontsize=10)
    product.set(title="one operation", xlim=(-0.9, 5), ylim=(-0.7, 2.9), aspect="equal")
    fork.set(title="a value that is read twice", xlim=(-2.6, 3.3), ylim=(-0.7, 2.9), aspect="equal")
    for panel in (product, fork):
        panel.axis("off")
    return canvas


def _labelled(panel, place: tuple[float, float], name: str, value: str) -> None:
    """A value with its name in a circle and its number above."""
    panel.add_patch(Circle(place, RADIUS, facecolor=GREEN_FILL, edgecolor=GREEN))
    panel.text(*place, name, ha="center", va="center", color=INK, fontsize=11)
    panel.text(place[0], place[1] + RADIUS + 0.1, value, ha="center", va="bottom", color=BLUE, fontsize=10)


def _box(panel, place: tuple[float, float], name: str) -> None:
    """An operation."""
    side = 2 * RADIUS
    corner = (place[0] - RADIUS, place[1] - RADIUS)
    panel.add_patch(Rectangle(corner, side, side, facecolor=GREY_FILL, edgecolor=GREY))
    panel.text(*place, name, ha="center", va="center", color=INK, fontsize=12)


def _there_and_back(panel, start: tuple[float, float], end: tuple[float, float], derivative: str, above: bool) -> None:
    """A blue arrow from a value to its reader, and an orange one beside it that brings a derivative back."""
    (x0, y0), (x1, y1) = start, end
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    gap, apart = RADIUS + 0.08, -0.09 if above else 0.09
    ends = [(x0 + gap * dx, y0 + gap * dy), (x1 - gap * dx, y1 - gap * dy)]
    forward = [(x + apart * dy, y - apart * dx) for x, y in ends]
    backward = [(x - apart * dy, y + apart * dx) for x, y in reversed(ends)]
    for (tail, head), colour in ((forward, BLUE), (backward, ORANGE)):
        panel.add_patch(FancyArrowPatch(tail, head, arrowstyle="-|>", mutation_scale=9, color=colour, shrinkA=0,
                                        shrinkB=0))  # fmt: skip
    side = -1 if (dy > 0) == above else 1  # to the left of an arrow that leads away from the middle line
    x, y = (x0 + x1) / 2 + side * abs(dy) * 0.25, (y0 + y1) / 2 + (0.3 if above else -0.3)
    align = "center" if dy == 0 else "left" if side > 0 else "right"
    panel.text(x, y, derivative, ha=align, va="center", color=ORANGE, fontsize=10)
