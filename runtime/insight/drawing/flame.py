"""A training step as a flame graph in SVG: the width of a box is its time.

From below: the step; forward, backward and update; the lines of the file; kernels.
"""

from collections.abc import Sequence

from msgspec import Struct

from netc.dsl.quoting import svg_text
from netc.runtime.insight.drawing.colours import COLOURS, FILE_STYLE

_WIDTH, _ROW, _MARGIN, _LETTER = 1200.0, 22.0, 8.0, 6.4
_COLOURS = {"step": "slate", "forward": "blue", "backward": "orange", "update": "purple", "waiting": "grey"}
_TINTS = (
    0.25,
    0.5,
    0.38,
    0.28,
)  # how much of its colour fills a box of a row, from below; that of rows above is the last


class Flame(Struct, frozen=True):
    """A box: its name, its time in seconds, what a reader should know of it, and the boxes that share its time.

    `kind` decides its colour: `step`, `forward`, `backward`, `update` or `waiting`.
    """

    name: str
    seconds: float
    description: str
    kind: str
    inside: tuple["Flame", ...] = ()


def flame_svg(flame: Flame) -> str:
    """The picture, as wide as the outermost box; a box shows its description when the mouse is over it."""
    depth = _depth(flame)
    height = depth * _ROW + 2 * _MARGIN
    boxes = "\n".join(_boxes(flame, 0.0, 0, depth, _WIDTH / flame.seconds))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 2 * _MARGIN:g} {height:g}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11" fill="currentColor">'
        f"<style>{FILE_STYLE}</style>\n{boxes}\n</svg>\n"
    )


def _depth(flame: Flame) -> int:
    return 1 + max(map(_depth, flame.inside), default=0)


def _boxes(flame: Flame, start: float, level: int, depth: int, scale: float) -> Sequence[str]:
    """A box that begins at `start` seconds in row `level`, and the boxes on it; `scale` is in points a second."""
    width = flame.seconds * scale
    if width < 0.3:
        return []
    x, y = _MARGIN + start * scale, _MARGIN + (depth - 1 - level) * _ROW
    boxes = [
        f"<g><title>{svg_text(f'{flame.name}: {flame.description}')}</title>"
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(width - 1, 0.3):.2f}" height="{_ROW - 1:g}" '
        f'fill="{COLOURS[_COLOURS[flame.kind]].either}" fill-opacity="{_TINTS[min(level, len(_TINTS) - 1)]:g}" rx="2"/>'
        f'<text x="{x + 4:.2f}" y="{y + 15:.2f}">{svg_text(_fitting(flame.name, width))}</text></g>'
    ]
    for inner in flame.inside:
        boxes += _boxes(inner, start, level + 1, depth, scale)
        start += inner.seconds
    return boxes


def _fitting(name: str, width: float) -> str:
    """A name, cut to what a box of this width has room for."""
    letters = int((width - 6) / _LETTER)
    if len(name) <= letters:
        return name
    return name[: letters - 1] + "…" if letters > 3 else ""
