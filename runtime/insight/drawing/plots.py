"""Plots in SVG that are written by hand, so that they follow the colours of the page and can react to the mouse.

Classes and the variable `--q` say what a mark means, and the style sheet of the page gives them colours. `data-key`
names what a mark belongs to: the script of the page highlights all marks and rows with the same key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netc.dsl.quoting import bounded, svg_text
from netc.runtime.insight.drawing.scales import Categories, Scale

LEFT, RIGHT, TOP, BOTTOM = 62.0, 12.0, 10.0, 40.0  # around the axes, in pixels
_LETTER = 6.6  # pixels


@dataclass(frozen=True, slots=True)
class Mark:
    """How a mark looks: its class, the key that it is highlighted by, its tooltip, and how good it is in percent."""

    kind: str
    key: str = ""
    title: str = ""
    quality: int | None = None

    def around(self, markup: str) -> str:
        """The element of a mark."""
        key = f' data-key="{svg_text(self.key)}"' if self.key else ""
        style = f' style="--q:{self.quality}%"' if self.quality is not None else ""
        title = f"<title>{svg_text(self.title)}</title>" if self.title else ""
        return f'<g class="{self.kind}"{key}{style}>{title}{markup}</g>'


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot of this size in pixels, with a horizontal axis `x` and a vertical one `y`."""

    width: float
    height: float
    x: Scale
    y: Scale
    xlabel: str
    ylabel: str
    left: float = LEFT

    def at(self, x: object, y: object) -> tuple[float, float]:
        """The pixel of a point."""
        across = self.left + self.x.place(x) * (self.width - self.left - RIGHT)
        return across, self.height - BOTTOM - self.y.place(y) * (self.height - TOP - BOTTOM)

    def dot(self, mark: Mark, x: object, y: object) -> str:
        """A point: a cross for what has failed or was given up."""
        return mark.around(dot(*self.at(x, y), mark.kind))

    def line(self, mark: Mark, points: Iterable[tuple[object, object]]) -> str:
        """A line through points."""
        return mark.around(line([self.at(x, y) for x, y in points]))

    def svg(self, marks: Iterable[str]) -> str:
        """The whole plot."""
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        parts = list[str]()
        for place, text in self.x.ticks(max(2, int((right - self.left) / 60))):
            x = self.left + place * (right - self.left)
            parts.append(f'<path class="grid" d="M{x:.1f} {TOP:g}V{bottom:g}"/>')
            parts.append(words(text, x, bottom + 15, "middle", 12))
        room = 14 if isinstance(self.y, Categories) else 30
        for place, text in self.y.ticks(max(2, int((bottom - TOP) / room))):
            y = bottom - place * (bottom - TOP)
            parts.append(f'<path class="grid" d="M{self.left:g} {y:.1f}H{right:g}"/>')
            parts.append(words(text, self.left - 6, y + 4, "end", int((self.left - 14) / _LETTER)))
        parts.append(words(self.xlabel, (self.left + right) / 2, self.height - 6, "middle", 40))
        across = (TOP + bottom) / 2
        if self.ylabel:
            parts.append(
                f'<text text-anchor="middle" transform="translate(11 {across:g}) rotate(-90)">'
                f"{svg_text(bounded(self.ylabel, int((bottom - TOP) / _LETTER)))}</text>"
            )
        name = f"{self.ylabel} by {self.xlabel}" if self.ylabel else self.xlabel
        return svg(self.width, self.height, name, [*parts, *marks])


def svg(width: float, height: float, name: str, parts: Iterable[str]) -> str:
    """An `<svg>` element; `name` is for those who cannot see it."""
    inner = "\n".join(parts)
    return (
        f'<svg class="plot" role="img" aria-label="{svg_text(name)}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">\n{inner}\n</svg>'
    )


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
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="hit" d="{path}"/><path d="{path}"/>'
