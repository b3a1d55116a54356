"""The picture of a model as one figure, for SVG and PNG, with the outermost blocks unfolded.

A unit is a point; y goes down.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from netc.compiler.analysis.outline import Box, Outline
from netc.compiler.model import Model
from netc.dsl.quoting import plot_text
from netc.runtime.insight.drawing.grids import TOP, Grid, Item, Link, box_item, grids_of, is_lane, port_in, port_out
from netc.runtime.insight.drawing.words import lines_of

# fill, line
COLOURS = {
    "input": ("#dbeafe", "#3b82c4"),
    "target": ("#fde8d0", "#c27a2c"),
    "operation": ("#ffffff", "#94a3b8"),
    "block": ("#eef2f7", "#64748b"),
    "scan": ("#ecfdf5", "#0f9f6e"),
    "carry": ("#d1fae5", "#0f9f6e"),
    "state": ("#ede9fe", "#7c5cc4"),
    "output": ("#dcfce7", "#2e9e5b"),
    "loss": ("#fee2e2", "#d0453e"),
    "metric": ("#fef9c3", "#a58b13"),
    "watch": ("#fef9c3", "#a58b13"),
}
_LINK = "#64748b"
_SIZE, _LEADING, _PAD, _HEAD = 9.0, 12.5, 7.0, 20.0
_BETWEEN_ROWS, _BETWEEN_COLUMNS, _MARGIN, _LANE = 22.0, 16.0, 12.0, 6.0
_MOST_PIXELS = 30_000  # of a side


@dataclass(slots=True)
class _Placed:
    """A box with its size and its top left corner; if it is unfolded, with its grid and the boxes inside by item.

    `columns` and `rows` are the widths and heights of the grid's columns and rows.
    """

    box: Box | None
    width: float
    height: float
    lines: list[str] = field(default_factory=list)
    grid: Grid | None = None
    inside: dict[Item, "_Placed"] = field(default_factory=dict)
    columns: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0


class _Layout:
    """The boxes of a model with their sizes, computed from the inside out, and their positions, from the outside in."""

    def __init__(self, outline: Outline, model: Model, unfold: int) -> None:
        self.model, self.grids, self.unfold = model, grids_of(outline), unfold
        self.outermost = self._grid(None, outline.boxes, TOP, 0)
        self._place(self.outermost, 0.0, 0.0)

    def _measured(self, box: Box, depth: int) -> _Placed:
        """A box with its size, and its boxes inside if it is unfolded."""
        if box.inside and depth < self.unfold:
            return self._grid(box, box.inside, box.key, depth + 1)
        lines = lines_of(box, self.model)
        width = max(_width(line, i == 0) for i, line in enumerate(lines)) + 2 * _PAD
        return _Placed(box, width, len(lines) * _LEADING + _PAD, lines)

    def _grid(self, box: Box | None, boxes: tuple[Box, ...], key: int, depth: int) -> _Placed:
        """An unfolded box, as large as its grid of boxes."""
        grid = self.grids[key]
        inside = {box_item(inner.key): self._measured(inner, depth) for inner in boxes}
        columns = [0.0] * (1 + max((column for _, column in grid.positions.values()), default=0))
        rows = [0.0] * (1 + max((row for row, _ in grid.positions.values()), default=0))
        for item, (row, column) in grid.positions.items():
            placed = inside.get(item)
            columns[column] = max(columns[column], placed.width if placed else _LANE)
            rows[row] = max(rows[row], placed.height if placed else 0.0)
        lines = lines_of(box, self.model) if box is not None else []
        title = _width(" ".join(lines), True) + 2 * _PAD if lines else 0.0
        width = max(sum(columns) + _BETWEEN_COLUMNS * (len(columns) - 1) + 2 * _MARGIN, title)
        head = _HEAD if box is not None else 0.0
        height = head + sum(rows) + _BETWEEN_ROWS * (len(rows) - 1) + 2 * _MARGIN
        return _Placed(box, width, height, lines, grid, inside, columns, rows)

    def _place(self, placed: _Placed, x: float, y: float) -> None:
        """Sets the corner of a box and of all boxes inside."""
        placed.x, placed.y = x, y
        if placed.grid is None:
            return
        for item, inner in placed.inside.items():
            x, top = self.top(placed, item)
            self._place(inner, x - inner.width / 2, top)

    def top(self, around: _Placed, item: Item) -> tuple[float, float]:
        """The middle of an item's upper edge in the grid of a box. Ports are on the edge of that box."""
        assert around.grid is not None
        row, column = around.grid.positions[item]
        taken = sum(around.columns) + _BETWEEN_COLUMNS * (len(around.columns) - 1)
        left = around.x + (around.width - taken) / 2
        x = left + sum(around.columns[:column]) + _BETWEEN_COLUMNS * column + around.columns[column] / 2
        if item[0] == "i":
            return x, around.y
        if item[0] == "o":
            return x, around.y + around.height
        head = _HEAD if around.box is not None else 0.0
        return x, around.y + head + _MARGIN + sum(around.rows[:row]) + _BETWEEN_ROWS * row

    def path(self, around: _Placed, link: Link) -> list[tuple[float, float]]:
        """Where a link begins, leaves the row, and ends: at edges of boxes, or at ports of unfolded ones."""
        begin, end = self._end(around, link.begin, link.source, True), self._end(around, link.end, link.source, False)
        return [begin, (begin[0], max(begin[1], self.bottom(around, link.begin))), end]

    def bottom(self, around: _Placed, item: Item) -> float:
        """The lower end of the row that an item is in."""
        assert around.grid is not None
        return self.top(around, item)[1] + around.rows[around.grid.positions[item][0]]

    def _end(self, around: _Placed, item: Item, source: int, leaves: bool) -> tuple[float, float]:
        """Where a link of the box `source` leaves or enters an item."""
        placed = around.inside.get(item)
        if placed is None:
            x, y = self.top(around, item)
            return x, self.bottom(around, item) if leaves and is_lane(item) else y
        if placed.grid is not None:
            port = (port_out if leaves else port_in)(placed.box.key if placed.box else TOP, source)
            return self.top(placed, port)
        return placed.x + placed.width / 2, placed.y + (placed.height if leaves else 0.0)


def picture(outline: Outline, model: Model, kind: str, unfold: int = 0) -> bytes:
    """A model as an `svg` or `png` file, with its blocks unfolded `unfold` levels deep."""
    from matplotlib import rc_context

    figure, buffer = _figure(outline, model, unfold), io.BytesIO()
    resolution = min(144.0, _MOST_PIXELS / max(figure.get_size_inches()))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "netc"}):
        if kind == "png":
            figure.savefig(buffer, format=kind, dpi=resolution, metadata={})
        else:
            figure.savefig(buffer, format=kind, dpi=72, metadata={"Date": None})
    return buffer.getvalue()


def _figure(outline: Outline, model: Model, unfold: int) -> Any:
    """A matplotlib figure, as large as it needs to be."""
    from matplotlib.figure import Figure

    layout = _Layout(outline, model, unfold)
    width, height = layout.outermost.width, layout.outermost.height
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for placed in _all(layout.outermost):
        _draw_box(axes, placed)
    for placed in _all(layout.outermost):
        if placed.grid is not None:
            for link in placed.grid.links:
                _draw_link(axes, layout.path(placed, link), has_head=link.end in placed.inside)
                if is_lane(link.end):
                    x, y = layout.top(placed, link.end)
                    bottom = layout.bottom(placed, link.end)
                    axes.plot([x, x], [y, bottom], color=_LINK, linewidth=0.9, zorder=2)
    return figure


def _all(placed: _Placed) -> Iterator[_Placed]:
    """A box and all boxes inside."""
    yield placed
    for inner in placed.inside.values():
        yield from _all(inner)


def _draw_box(axes: Any, placed: _Placed) -> None:
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
        axes.text(placed.x + _PAD, placed.y + _HEAD / 2, plot_text(placed.lines[0]), va="center", **_style(True))
        rest = plot_text("  ".join(placed.lines[1:]))
        axes.text(placed.x + placed.width - _PAD, placed.y + _HEAD / 2, rest, va="center", ha="right", **_style(False))
        return
    for i, text in enumerate(placed.lines):
        y = placed.y + _PAD / 2 + (i + 0.5) * _LEADING
        axes.text(x, y, plot_text(text), va="center", ha="center", **_style(i == 0))


def _style(is_title: bool) -> dict[str, Any]:
    return {
        "fontsize": _SIZE if is_title else _SIZE - 1,
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
    axes.add_patch(PathPatch(shape, facecolor="none", edgecolor=_LINK, linewidth=0.9, zorder=2))
    if has_head:
        axes.add_patch(Polygon([(x1, y1), (x1 - 2.6, y1 - 5), (x1 + 2.6, y1 - 5)], facecolor=_LINK, zorder=2))


@cache
def _width(text: str, is_title: bool) -> float:
    """The width of a text in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    style = _style(is_title)
    font = FontProperties(weight=style["fontweight"])
    return float(TextPath((0, 0), plot_text(text), size=style["fontsize"], prop=font).get_extents().x1)
