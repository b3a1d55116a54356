"""The picture of a model as a file, SVG or PNG, with the outermost blocks unfolded."""

import io
from typing import Any

from netc.compiler.analysis.outline import Outline
from netc.compiler.model import Model
from netc.dsl.quoting import plot_text
from netc.runtime.insight.drawing.grids import is_lane
from netc.runtime.insight.drawing.inline import inline_picture
from netc.runtime.insight.drawing.layout import COLOURS, HEAD, LEADING, LINK, PAD, Layout, Placed, all_placed, font_size

_MOST_PIXELS = 30_000  # of a side
_STYLE = ":root { color-scheme: light dark; color: CanvasText; background: Canvas; }"


def picture(outline: Outline, model: Model, kind: str, unfold: int = 0) -> bytes:
    """A model as an `svg` or `png` file, with its blocks unfolded `unfold` levels deep.

    An svg file has the colours of the reader's scheme, light or dark.
    """
    if kind == "svg":
        head, _, rest = inline_picture(outline, model, unfold, scale=1.0).partition(">")
        return f"{head}><style>{_STYLE}</style>{rest}\n".encode()
    figure, buffer = _figure(outline, model, unfold), io.BytesIO()
    resolution = min(144.0, _MOST_PIXELS / max(figure.get_size_inches()))
    figure.savefig(buffer, format=kind, dpi=resolution, metadata={})
    return buffer.getvalue()


def _figure(outline: Outline, model: Model, unfold: int) -> Any:
    """A matplotlib figure, as large as it needs to be."""
    from matplotlib.figure import Figure

    layout = Layout(outline, model, unfold)
    width, height = layout.outermost.width, layout.outermost.height
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for placed in all_placed(layout.outermost):
        _draw_box(axes, placed)
    for placed in all_placed(layout.outermost):
        if placed.grid is not None:
            for link in placed.grid.links:
                _draw_link(axes, layout.path(placed, link), has_head=link.end in placed.inside)
                if is_lane(link.end):
                    x, y = layout.top(placed, link.end)
                    bottom = layout.bottom(placed, link.end)
                    axes.plot([x, x], [y, bottom], color=LINK, linewidth=0.9, zorder=2)
    return figure


def _draw_box(axes: Any, placed: Placed) -> None:
    """A rounded rectangle and its text, at the top if the box is unfolded; folded blocks have a thick edge."""
    from matplotlib.patches import FancyBboxPatch

    if placed.box is None:
        return
    fill, line = COLOURS[placed.box.kind]
    is_folded = bool(placed.box.inside) and placed.grid is None
    shape = FancyBboxPatch(
        (placed.x, placed.y),
        placed.width,
        placed.height,
        boxstyle="round,pad=0,rounding_size=4",
        facecolor=fill,
        edgecolor=line,
        linewidth=1.6 if is_folded else 0.8,
        zorder=1,
    )
    axes.add_patch(shape)
    x = placed.x + placed.width / 2
    if placed.grid is not None:
        axes.text(placed.x + PAD, placed.y + HEAD / 2, plot_text(placed.lines[0]), va="center", **_style(True))
        rest = plot_text("  ".join(placed.lines[1:]))
        axes.text(placed.x + placed.width - PAD, placed.y + HEAD / 2, rest, va="center", ha="right", **_style(False))
        return
    for i, text in enumerate(placed.lines):
        y = placed.y + PAD / 2 + (i + 0.5) * LEADING
        axes.text(x, y, plot_text(text), va="center", ha="center", **_style(i == 0))


def _style(is_title: bool) -> dict[str, Any]:
    return {
        "fontsize": font_size(is_title),
        "fontweight": "bold" if is_title else "normal",
        "color": "#0f172a" if is_title else "#475569",
        "zorder": 3,
    }


def _draw_link(axes: Any, path: list[tuple[float, float]], has_head: bool) -> None:
    """Straight down to the end of the row, then a curve to the next row; with an arrow head where a box is."""
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    begin, (x0, y0), (x1, y1) = path
    bend = (y1 - y0) / 2
    curve = [(x0, y0 + bend), (x1, y1 - bend), (x1, y1)]
    shape = Path([begin, (x0, y0), *curve], [Path.MOVETO, Path.LINETO, *[Path.CURVE4] * 3])
    axes.add_patch(PathPatch(shape, facecolor="none", edgecolor=LINK, linewidth=0.9, zorder=2))
    if has_head:
        axes.add_patch(Polygon([(x1, y1), (x1 - 2.6, y1 - 5), (x1 + 2.6, y1 - 5)], facecolor=LINK, zorder=2))
