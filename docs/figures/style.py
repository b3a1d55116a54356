"""The style of the course's figures: colours that follow the reader's colour scheme, real text, small files.

A figure is a function without arguments that returns a matplotlib figure or an SVG as bytes. `picture` registers it
under its name, and `write` saves it. In the saved file each colour of `SCHEME` is a CSS variable: a `<style>` element
gives it a light and a dark value, and the site replaces that element by its own colours (`docs/hooks.py`).
"""

import re
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import netc
from netc.compiler.analysis.outline import outline_of
from netc.runtime.insight.drawing.figure import picture as drawn_model

from .scheme import BLUE, COLOURS, GREY, INK, ORANGE, SCHEME, style_element

EXAMPLES = Path(__file__).parents[2] / "examples"
PICTURES = Path(__file__).parents[1] / "pictures"

rcParams.update(
    {
        "svg.hashsalt": "netc",
        "svg.fonttype": "none",  # text stays text, in the reader's font
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.facecolor": "none",
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 10,
        "axes.prop_cycle": f"cycler('color', {[*COLOURS]})",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "legend.labelcolor": INK,
        "text.color": INK,
        "xtick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.color": GREY,
        "ytick.labelcolor": INK,
    }
)

Array = np.ndarray[Any, Any]
Point = tuple[float, float]
Drawing = Callable[[], Figure | bytes]
DRAWINGS: dict[str, Drawing] = {}


def picture(function: Drawing) -> Drawing:
    """Registers a figure of the course under the name of its function."""
    assert function.__name__ not in DRAWINGS, f"two figures are named {function.__name__}"
    DRAWINGS[function.__name__] = function
    return function


def figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """An empty figure of `width` by `height` inches and its panels, as an array of [rows, columns]."""
    canvas = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(canvas)
    return canvas, canvas.subplots(rows, columns, squeeze=False)


def arrow(panel: Axes, start: Point, end: Point, head: float = 9, bend: str = "arc3") -> None:
    """A grey arrow from one point to another with a head of this size; `bend` is a connection style of matplotlib."""
    panel.add_patch(
        FancyArrowPatch(start, end, connectionstyle=bend, arrowstyle="-|>", mutation_scale=head, color=GREY,
                        shrinkA=0, shrinkB=0)
    )  # fmt: skip


def framed(panel: Axes) -> None:
    """Gives a picture a thin frame on all sides, without ticks."""
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.8)


def plane(low: float, high: float, count: int) -> tuple[Array, Array, Array]:
    """A square of `count` by `count` points: both coordinates as [row, column], and all points as [point, 2]."""
    side = np.linspace(low, high, count, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    return x, y, np.stack([x, y], -1).reshape(-1, 2)


def chances(panel: Axes, x: Array, y: Array, chance: Array) -> None:
    """Colours a plane by a probability: blue towards 1, orange towards 0, nothing at one half, where a line is drawn.

    `x`, `y` and `chance` are [row, column], as from `plane`.
    """
    levels = np.linspace(0, 1, 14)
    strengths = np.abs(levels[:-1] + levels[1:] - 1)
    sides = [ORANGE if level < 0.5 else BLUE for level in levels[:-1]]
    colours = [to_rgba(side, 0.75 * strength) for side, strength in zip(sides, strengths, strict=True)]
    panel.contourf(x, y, chance, levels, colors=colours)
    panel.contour(x, y, chance, [0.5], colors=INK, linewidths=1)


def trained(name: str, epochs: int | None = None, **constants: Any) -> netc.Run:
    """Trains an example (`"iris"`, `"course/xor"`), in a temporary folder."""
    folder = Path(tempfile.mkdtemp()) / Path(name).name
    return netc.train(netc.load(EXAMPLES / f"{name}.net", **constants), out=folder, epochs=epochs)


def model_picture(path: Path, unfold: int = 0) -> bytes:
    """The picture that `netc show` draws of a file, with so many levels of its blocks unfolded."""
    model = netc.load(path)
    return drawn_model(outline_of(model), model, "svg", unfold)


def write(name: str) -> Path:
    """Draws a figure and saves it; returns the file."""
    drawing = DRAWINGS[name]()
    path = PICTURES / f"{name}.svg"
    if isinstance(drawing, Figure):
        stream = BytesIO()
        drawing.savefig(stream, format="svg", metadata={"Date": None})
        path.write_text(_in_scheme(stream.getvalue().decode("utf-8")), encoding="utf-8")
    else:
        path.write_bytes(drawing)  # follows the reader's colour scheme by itself
    return path


def _in_scheme(svg: str) -> str:
    """An SVG of matplotlib with CSS variables for colours, without prologue, metadata and superfluous digits."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)  # for all of a page, if inlined
    head, body = svg.split(">", 1)
    body = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)  # hundredths of a point
    used = {colour for colour in SCHEME if colour in body}
    for colour in used:
        body = body.replace(colour, f"var(--{SCHEME[colour]})")
    return f'{head} stroke-linejoin="round">{style_element(used)}{body}'
