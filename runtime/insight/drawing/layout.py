"""The positions of the boxes in a model's picture, with the outermost blocks unfolded. Knows no file format.

A unit is a point; y goes down.
"""

from collections.abc import Iterator

from msgspec import Struct, field

from netc.compiler.analysis.outline import Box, Outline
from netc.compiler.model import Model
from netc.runtime.insight.drawing.grids import TOP, Grid, Item, Link, box_item, grids_of, is_lane, port_in, port_out
from netc.runtime.insight.drawing.letters import width_of
from netc.runtime.insight.drawing.words import lines_of

# The colour of each kind of box; `colours.py` has their values.
KINDS = {
    "input": "blue",
    "target": "orange",
    "operation": "faint",
    "block": "slate",
    "scan": "teal",
    "carry": "teal",
    "state": "purple",
    "output": "green",
    "loss": "red",
    "metric": "gold",
    "watch": "gold",
}
LINK = "slate"  # the colour of links
TINT = 0.14  # how much of its colour fills a box
SIZE, LEADING, PAD, HEAD = 9.0, 12.5, 7.0, 20.0  # of the font, a line, the border in a box, the title of an open one
_BETWEEN_ROWS, _BETWEEN_COLUMNS, _MARGIN, _LANE = 22.0, 16.0, 12.0, 6.0


class Placed(Struct):
    """A box with its size and its top left corner; if it is unfolded, with its grid and the boxes inside by item.

    `columns` and `rows` are the widths and heights of the grid's columns and rows.
    """

    box: Box | None
    width: float
    height: float
    lines: list[str] = field(default_factory=list)
    grid: Grid | None = None
    inside: dict[Item, "Placed"] = field(default_factory=dict)
    columns: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0


class Layout:
    """The boxes of a model with their sizes, computed from the inside out, and their positions, from the outside in."""

    def __init__(self, outline: Outline, model: Model, unfold: int) -> None:
        self.model, self.grids, self.unfold = model, grids_of(outline), unfold
        self.outermost = self._grid(None, outline.boxes, TOP, 0)
        self._position(self.outermost, 0.0, 0.0)

    def _measured(self, box: Box, depth: int) -> Placed:
        """A box with its size, and its boxes inside if it is unfolded."""
        if box.inside and depth < self.unfold:
            return self._grid(box, box.inside, box.key, depth + 1)
        lines = lines_of(box, self.model)
        width = max(_width(line, i == 0) for i, line in enumerate(lines)) + 2 * PAD
        return Placed(box, width, len(lines) * LEADING + PAD, lines)

    def _grid(self, box: Box | None, boxes: tuple[Box, ...], key: int, depth: int) -> Placed:
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
        title = _width(" ".join(lines), True) + 2 * PAD if lines else 0.0
        width = max(sum(columns) + _BETWEEN_COLUMNS * (len(columns) - 1) + 2 * _MARGIN, title)
        head = HEAD if box is not None else 0.0
        height = head + sum(rows) + _BETWEEN_ROWS * (len(rows) - 1) + 2 * _MARGIN
        return Placed(box, width, height, lines, grid, inside, columns, rows)

    def _position(self, placed: Placed, x: float, y: float) -> None:
        """Sets the corner of a box and of all boxes inside."""
        placed.x, placed.y = x, y
        if placed.grid is None:
            return
        for item, inner in placed.inside.items():
            x, top = self.top(placed, item)
            self._position(inner, x - inner.width / 2, top)

    def top(self, around: Placed, item: Item) -> tuple[float, float]:
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
        head = HEAD if around.box is not None else 0.0
        return x, around.y + head + _MARGIN + sum(around.rows[:row]) + _BETWEEN_ROWS * row

    def path(self, around: Placed, link: Link) -> list[tuple[float, float]]:
        """The points where a link begins, leaves the row, and ends: at edges of boxes, or at ports of unfolded ones."""
        begin, end = self._end(around, link.begin, link.source, True), self._end(around, link.end, link.source, False)
        return [begin, (begin[0], max(begin[1], self.bottom(around, link.begin))), end]

    def bottom(self, around: Placed, item: Item) -> float:
        """The lower end of the row that an item is in."""
        assert around.grid is not None
        return self.top(around, item)[1] + around.rows[around.grid.positions[item][0]]

    def _end(self, around: Placed, item: Item, source: int, leaves: bool) -> tuple[float, float]:
        """The point where a link of the box `source` leaves or enters an item."""
        placed = around.inside.get(item)
        if placed is None:
            x, y = self.top(around, item)
            return x, self.bottom(around, item) if leaves and is_lane(item) else y
        if placed.grid is not None:
            port = (port_out if leaves else port_in)(placed.box.key if placed.box else TOP, source)
            return self.top(placed, port)
        return placed.x + placed.width / 2, placed.y + (placed.height if leaves else 0.0)


def all_placed(placed: Placed) -> Iterator[Placed]:
    """A box and all boxes inside."""
    yield placed
    for inner in placed.inside.values():
        yield from all_placed(inner)


def font_size(is_title: bool) -> float:
    """The size of the title of a box, or of the lines below it, in points."""
    return SIZE if is_title else SIZE - 1


def _width(text: str, is_title: bool) -> float:
    return font_size(is_title) * width_of(text, is_bold=is_title)
