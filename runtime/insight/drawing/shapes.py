"""The picture of a model as shapes, outermost first: boxes with their texts, and links. Knows no file format."""

from collections.abc import Iterator

from msgspec import Struct

from netc.compiler.analysis.outline import Box
from netc.runtime.insight.drawing.grids import Link, is_lane
from netc.runtime.insight.drawing.layout import HEAD, KINDS, LEADING, PAD, Layout, Placed, all_placed, font_size

Point = tuple[float, float]


class Words(Struct, frozen=True):
    """A line of text; `x` is its start, middle or end, as `anchor` says, and `y` its middle."""

    text: str
    x: float
    y: float
    anchor: str
    is_title: bool

    @property
    def size(self) -> float:
        """The size of the font in points."""
        return font_size(self.is_title)


class Rectangle(Struct, frozen=True):
    """A rounded rectangle for a box, and the texts in it. The edge of a folded block is thick."""

    box: Box
    corner: Point
    width: float
    height: float
    words: tuple[Words, ...]
    is_folded: bool

    @property
    def colour(self) -> str:
        """The name of its colour."""
        return KINDS[self.box.kind]

    @property
    def edge(self) -> float:
        """The width of its edge in points."""
        return 1.6 if self.is_folded else 0.8


class Curve(Struct, frozen=True):
    """A link: straight from `begin` to `turn`, and from there a Bezier curve with two control points to `end`."""

    begin: Point
    turn: Point
    controls: tuple[Point, Point]
    end: Point
    has_head: bool


class Lane(Struct, frozen=True):
    """A vertical line by which a link passes a row."""

    top: Point
    bottom: float


def rectangles(layout: Layout) -> Iterator[Rectangle]:
    """The boxes, each before those inside."""
    for placed in all_placed(layout.outermost):
        if placed.box is not None:
            is_folded = bool(placed.box.inside) and placed.grid is None
            words, corner = tuple(_words(placed)), (placed.x, placed.y)
            yield Rectangle(placed.box, corner, placed.width, placed.height, words, is_folded)


def _words(placed: Placed) -> Iterator[Words]:
    """The texts of a box: in its middle, or at its top if it is unfolded."""
    if placed.grid is not None:
        y = placed.y + HEAD / 2
        yield Words(placed.lines[0], placed.x + PAD, y, "start", is_title=True)
        yield Words("  ".join(placed.lines[1:]), placed.x + placed.width - PAD, y, "end", is_title=False)
        return
    for number, line in enumerate(placed.lines):
        y = placed.y + PAD / 2 + (number + 0.5) * LEADING
        yield Words(line, placed.x + placed.width / 2, y, "middle", is_title=number == 0)


def links(layout: Layout) -> Iterator[Curve | Lane]:
    """The links between the boxes of each grid, and the lanes in which some of them pass a row."""
    for placed in all_placed(layout.outermost):
        for link in placed.grid.links if placed.grid is not None else ():
            yield _curve(layout, placed, link)
            if is_lane(link.end):
                yield Lane(layout.top(placed, link.end), layout.bottom(placed, link.end))


def _curve(layout: Layout, placed: Placed, link: Link) -> Curve:
    """Straight down to the end of the row, then a curve to the next row; with an arrow head where a box is."""
    begin, (x0, y0), (x1, y1) = layout.path(placed, link)
    bend = (y1 - y0) / 2
    return Curve(begin, (x0, y0), ((x0, y0 + bend), (x1, y1 - bend)), (x1, y1), link.end in placed.inside)
