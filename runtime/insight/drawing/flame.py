"""A training step as a flame graph, one SVG: how wide a box is, is how long it takes. From below: the step; forward, backward and update; lines; kernels."""

from collections.abc import Sequence
from dataclasses import dataclass

from netc.dsl.quoting import svg_text

_WIDTH, _ROW, _MARGIN, _LETTER = 1200.0, 22.0, 8.0, 6.4
_COLOURS = {"step": "#cbd5e1", "forward": "#93c5fd", "backward": "#fdba74", "update": "#c4b5fd", "waiting": "#e2e8f0"}


@dataclass(frozen=True, slots=True)
class Flame:
    """Something that takes time: its name, its seconds, what is told of it, and what is in it. `kind` decides its colour."""

    name: str
    seconds: float
    told: str
    kind: str
    inside: tuple["Flame", ...] = ()


def flame_svg(whole: Flame) -> str:
    """The picture; a box tells more when the mouse is over it."""
    depth = _depth(whole)
    height = depth * _ROW + 2 * _MARGIN
    boxes = "\n".join(_boxes(whole, 0.0, 0, depth, _WIDTH / whole.seconds))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 2 * _MARGIN:g} {height:g}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{boxes}\n</svg>\n'
    )


def _depth(one: Flame) -> int:
    return 1 + max(map(_depth, one.inside), default=0)


def _boxes(one: Flame, start: float, level: int, depth: int, scale: float) -> Sequence[str]:
    width = one.seconds * scale
    if width < 0.3:
        return []
    x, y = _MARGIN + start * scale, _MARGIN + (depth - 1 - level) * _ROW
    letters = int((width - 6) / _LETTER)
    shown = one.name if len(one.name) <= letters else one.name[: letters - 1] + "…" if letters > 3 else ""
    found = [
        f"<g><title>{svg_text(f'{one.name}: {one.told}')}</title>"
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{_ROW - 1:g}" fill="{_COLOURS[one.kind]}" '
        f'fill-opacity="{1 - 0.18 * max(level - 1, 0):g}" stroke="#ffffff" rx="2"/>'
        f'<text x="{x + 4:.2f}" y="{y + 15:.2f}" fill="#0f172a">{svg_text(shown)}</text></g>'
    ]
    for inner in one.inside:
        found += _boxes(inner, start, level + 1, depth, scale)
        start += inner.seconds
    return found
