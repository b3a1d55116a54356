"""Plots in SVG that are written by hand, so that they follow the colours of the page and can react to the mouse.

Classes and the variable `--q` say what a mark means, and the style sheet of the page gives them colours. Curves have
attributes too, which count where there is no style sheet, as in a notebook: it may be light or dark. `data-key` names
what a mark belongs to: the script of the page highlights all marks and rows with the same key.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import Generic, TypeVar

from msgspec import Struct

from netc.dsl.quoting import bounded, svg_text
from netc.runtime.insight.drawing.colours import COLOURS, SERIES, scheme_css
from netc.runtime.insight.drawing.scales import Categories, Scale

LEFT, RIGHT, TOP, BOTTOM = 62.0, 12.0, 10.0, 40.0  # around the axes, in pixels
LETTER = 6.6  # pixels
_LEGEND_ROW, _SAMPLE = 17.0, 18.0  # the height of a row of a legend, and the width of a sample of a colour, in pixels
_LINE = 'fill="none" stroke="currentColor"'  # of a path where there is no style sheet
Point = tuple[float, float]


class Mark(Struct, frozen=True):
    """The look of a mark: its class, the key that it is highlighted by, its tooltip, and how good it is in percent."""

    kind: str
    key: str = ""
    title: str = ""
    quality: int | None = None

    def around(self, markup: str) -> str:
        """The element of a mark."""
        key = f' data-key="{svg_text(self.key)}"' if self.key else ""
        style = f' style="--q:{self.quality}%"' if self.quality is not None else ""
        title = f"<title>{svg_text(self.title)}</title>" if self.title else ""
        return f'<g class="{self.kind}"{_attributes(self.kind)}{key}{style}>{title}{markup}</g>'


def _attributes(kind: str) -> str:
    """The look of a series or a guide where there is no style sheet."""
    first, *others = kind.split()
    name = "grey" if first == "guide" else SERIES[int(first[1:])] if first[1:].isdigit() else ""
    dashes = ' stroke-dasharray="5 3"' if "dashed" in others or first == "guide" else ""
    return f' color="{COLOURS[name].either}"{dashes}' if name else ""


X = TypeVar("X", bound=Scale)
Y = TypeVar("Y", bound=Scale)


class Frame(Struct, Generic[X, Y], frozen=True):
    """A plot of this size in pixels, with a horizontal axis `x` and a vertical one `y`."""

    width: float
    height: float
    x: X
    y: Y
    xlabel: str
    ylabel: str
    left: float = LEFT
    top: float = TOP

    def at(self, x: object, y: object) -> tuple[float, float]:
        """The pixel of a point."""
        across = self.left + self.x.position(x) * (self.width - self.left - RIGHT)
        return across, self.height - BOTTOM - self.y.position(y) * (self.height - self.top - BOTTOM)

    def dot(self, mark: Mark, x: object, y: object) -> str:
        """A point: a cross for what has failed or was given up."""
        return mark.around(dot(*self.at(x, y), mark.kind))

    def line(self, mark: Mark, points: Iterable[tuple[object, object]]) -> str:
        """A line through points."""
        return mark.around(line([self.at(x, y) for x, y in points]))

    def trace(self, kind: str, points: Iterable[Point], title: str = "") -> str:
        """A line that breaks where a number is not finite, with a dot for a point that has no neighbours."""
        pieces = list[list[Point]]([[]])
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                pieces[-1].append(self.at(x, y))
            elif pieces[-1]:
                pieces.append([])
        path = "".join(_path(piece) for piece in pieces if len(piece) > 1)
        dots = "".join(dot(*piece[0], "") for piece in pieces if len(piece) == 1)
        return Mark(kind, title=title).around(
            (f'<path class="trace" d="{path}" {_LINE} stroke-width="1.7"/>' if path else "") + dots
        )

    def band(self, kind: str, points: Iterable[tuple[float, float, float]]) -> str:
        """The area between two lines: each point is x and the ends of y; those that are not finite are left out."""
        rows = [point for point in points if all(map(math.isfinite, point))]
        outline = [self.at(x, low) for x, low, _ in rows] + [self.at(x, high) for x, _, high in reversed(rows)]
        return Mark(kind).around(f'<path class="area" d="{_path(outline)}Z"/>' if rows else "")

    def cloud(self, kind: str, points: Iterable[Point], key: str = "") -> str:
        """Many points as one mark, which is small: a path of lines without length."""
        dots = dict.fromkeys(f"M{x:.0f} {y:.0f}h0" for x, y in (self.at(*point) for point in points))
        return Mark(kind, key).around(f'<path class="cloud" d="{"".join(dots)}"/>')

    def bar(self, mark: Mark, xs: Point, ys: Point) -> str:
        """A rectangle from `xs[0]` to `xs[1]` and from `ys[0]` to `ys[1]`."""
        (left, low), (right, high) = self.at(xs[0], ys[0]), self.at(xs[1], ys[1])
        x, y, width, height = min(left, right), min(low, high), abs(right - left), abs(high - low)
        return mark.around(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}"/>')

    def svg(self, marks: Iterable[str], title: str = "") -> str:
        """The whole plot; `title` says what it is to those who cannot see it, by default what is on its axes."""
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        parts = list[str]()
        for share, text in self.x.ticks(max(2, int((right - self.left) / 60))):
            x = self.left + share * (right - self.left)
            parts.append(_grid_line(f"M{x:.1f} {self.top:g}V{bottom:g}"))
            parts.append(words(text, x, bottom + 15, "middle", 12))
        spacing = 14 if isinstance(self.y, Categories) else 30
        for share, text in self.y.ticks(max(2, int((bottom - self.top) / spacing))):
            y = bottom - share * (bottom - self.top)
            parts.append(_grid_line(f"M{self.left:g} {y:.1f}H{right:g}"))
            parts.append(words(text, self.left - 6, y + 4, "end", int((self.left - 14) / LETTER)))
        parts.append(words(self.xlabel, (self.left + right) / 2, self.height - 6, "middle", 40))
        across = (self.top + bottom) / 2
        if self.ylabel:
            parts.append(
                f'<text text-anchor="middle" transform="translate(11 {across:g}) rotate(-90)">'
                f"{svg_text(bounded(self.ylabel, int((bottom - self.top) / LETTER)))}</text>"
            )
        name = title or (f"{self.ylabel} by {self.xlabel}" if self.ylabel else self.xlabel)
        return svg(self.width, self.height, name, [*parts, *marks])


def svg(width: float, height: float, name: str, parts: Iterable[str]) -> str:
    """An `<svg>` element; `name` is for those who cannot see it."""
    inner = "\n".join(parts)
    return (
        f'<svg class="plot" role="img" aria-label="{svg_text(name)}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" fill="currentColor" font-family="system-ui, sans-serif" font-size="12" '
        f'style="min-width: {0.7 * width:.0f}px">\n{inner}\n</svg>'
    )


def svg_file(width: float, height: float, parts: Iterable[str]) -> bytes:
    """An SVG file of its own that has the colours of the reader's scheme, light or dark. `parts` are plots, say."""
    inner = "\n".join(parts)
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="file" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">\n<style>{style_sheet()}</style>\n'
        f'<rect class="paper" width="100%" height="100%" fill="{COLOURS["paper"].light}"/>\n{inner}\n</svg>\n'
    )
    return text.encode()


def style_sheet() -> str:
    """The style sheet of plots, with the colours of the reader's scheme."""
    series = "\n".join(f".plot .s{i} {{ color: var(--{name}) }}" for i, name in enumerate(SERIES))
    return "\n".join((scheme_css(), resources.files(__package__).joinpath("plot.css").read_text("utf-8") + series))


def moved(markup: str, x: float, y: float) -> str:
    """Markup at another position."""
    return f'<g transform="translate({x:g} {y:g})">{markup}</g>'


def legend(entries: Iterable[tuple[str, str]], width: float) -> tuple[list[str], float]:
    """The legend of series, in rows of this width, and its height. `entries` are the `kind` and the text of each."""
    parts, x, y = list[str](), LEFT, 6.0
    for kind, text in entries:
        item_width = _SAMPLE + min(len(text), 30) * LETTER + 14
        if x + item_width > width and x > LEFT:
            x, y = LEFT, y + _LEGEND_ROW
        parts.append(Mark(kind).around(f'<path class="sample" d="M{x:.0f} {y + 4:g}h12" {_LINE} stroke-width="3"/>'))
        parts.append(words(text, x + _SAMPLE, y + 8, "start", 30))
        x += item_width
    return parts, y + _LEGEND_ROW + 2 if parts else TOP


def series(number: int) -> str:
    """The class of a series, which decides its colour."""
    return f"s{number % len(SERIES)}"


def _grid_line(path: str) -> str:
    return f'<path class="grid" d="{path}" {_LINE} stroke-opacity="0.2"/>'


def _path(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def evenly(count: int, most: int) -> Iterator[int]:
    """At most about `most` of the numbers below `count`, evenly spaced, the last one always."""
    step = max(1, -(-count // most))
    yield from range(0, count - 1, step)
    if count:
        yield count - 1


def words(text: str, x: float, y: float, anchor: str, most: int, kind: str = "") -> str:
    """A text of at most `most` letters, whole as a tooltip if it is longer."""
    shown = bounded(text, most)
    title = f"<title>{svg_text(text)}</title>" if shown != text else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{svg_text(shown)}{title}</text>'


def dot(x: float, y: float, kind: str) -> str:
    """A circle, or a cross for what has failed or was given up."""
    if kind in ("pruned", "failed"):
        return f'<path d="M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0-7l-7 7"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if kind == "winner" else 4}"/>'


def line(points: Sequence[tuple[float, float]]) -> str:
    """A line through pixels, below it a wider one that is not seen but easily hit."""
    path = _path(points)
    return f'<path class="hit" d="{path}"/><path d="{path}"/>'
