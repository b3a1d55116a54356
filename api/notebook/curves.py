"""The curves of a run as SVG for the output of a cell: a panel for the losses, and one for each metric.

Its texts have the colour of the page, and everything is an attribute (see html.py).
"""

import math
from collections.abc import Mapping, Sequence

from netc.commands.quantities import number
from netc.dsl.quoting import bounded, svg_text
from netc.runtime.insight.drawing.plots import evenly
from netc.runtime.insight.drawing.scales import Numbers, numbers_axis
from netc.runtime.metric_names import epoch_numbers
from netc.runtime.metric_values import MetricValue, number_of

_WIDTH, _HEIGHT = 290.0, 180.0  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 18.0, 24.0, 26.0  # around its axes
_MOST_PANELS, _MOST_POINTS = 6, 300
_COLOURS = {"train": "#3b82c4", "valid": "#d9822b"}  # of parts of the data, seen on white and on black
_OTHER = "#2e9e5b"
_Rows = Sequence[Mapping[str, MetricValue]]


def curves(rows: _Rows, kept: int | None = None, epochs: int | None = None) -> str:
    """`<svg>` elements, one for each panel. `rows` has a row for each epoch; a dashed line marks the epoch `kept`.

    The horizontal axis ends at `epochs`, or at the last epoch.
    """
    panels = list(_panels(rows).items())[:_MOST_PANELS]
    last = epochs or len(rows)
    inner = "".join(_panel(title, names, rows, kept, last) for title, names in panels)
    columns = min(len(panels), 3)
    return f"<div style='display:flex;flex-wrap:wrap;gap:4px;max-width:{columns * (_WIDTH + 6):.0f}px'>{inner}</div>"


def _panels(rows: _Rows) -> dict[str, list[str]]:
    """The names of the metrics of a panel, by its title: `train.loss` and `valid.loss` share one."""
    panels: dict[str, list[str]] = {}
    for name in epoch_numbers(rows[-1]):
        panels.setdefault(name.partition(".")[2], []).append(name)
    return panels


def _panel(title: str, names: Sequence[str], rows: _Rows, kept: int | None, last: int) -> str:
    chosen = [rows[i] for i in evenly(len(rows), _MOST_POINTS)]
    points = {name: [(number_of(row["epoch"]), number_of(row.get(name))) for row in chosen] for name in names}
    y = numbers_axis((value for curve in points.values() for _, value in curve))
    x = Numbers(1, max(last, 2), is_whole=True)
    parts = [*_axes(x, y), f'<text x="{_LEFT:g}" y="14" font-weight="bold">{svg_text(bounded(title, 28))}</text>']
    if kept is not None:
        across = _across(x, kept)
        parts.append(_path(f"M{across:.1f} {_TOP:g}V{_HEIGHT - _BOTTOM:g}", "currentColor", 'stroke-dasharray="3 3"'))
    for i, (name, curve) in enumerate(points.items()):
        part = name.partition(".")[0]
        colour = _COLOURS.get(part, _OTHER)
        parts += [_path(line, colour, 'stroke-width="1.6"') for line in _lines(curve, x, y)]
        if len(curve) == 1:
            parts.append(f'<circle cx="{_across(x, 1):.1f}" cy="{_down(y, curve[0][1]):.1f}" r="3" fill="{colour}"/>')
        at = _WIDTH - _RIGHT - 105 * (len(points) - 1 - i)
        value = svg_text(number(curve[-1][1]))
        parts.append(f'<text x="{at:.1f}" y="14" text-anchor="end" fill="{colour}">{svg_text(part)} {value}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{svg_text(title)} by epoch" '
        f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" width="{_WIDTH:g}" height="{_HEIGHT:g}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="currentColor">{"".join(parts)}</svg>'
    )


def _axes(x: Numbers, y: Numbers) -> list[str]:
    """The lines and numbers of both axes."""
    parts = []
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for place, text in y.ticks(4):
        down = bottom - place * (bottom - _TOP)
        parts.append(_path(f"M{_LEFT:g} {down:.1f}H{right:g}", "currentColor", 'stroke-opacity="0.15"'))
        parts.append(
            f'<text x="{_LEFT - 5:g}" y="{down + 4:.1f}" text-anchor="end" fill-opacity="0.7">{svg_text(text)}</text>'
        )
    for place, text in x.ticks(5):
        across = _LEFT + place * (right - _LEFT)
        at = f'x="{across:.1f}" y="{bottom + 15:g}"'
        parts.append(f'<text {at} text-anchor="middle" fill-opacity="0.7">{svg_text(text)}</text>')
    return parts


def _lines(curve: Sequence[tuple[float, float]], x: Numbers, y: Numbers) -> list[str]:
    """The paths of a curve, which has a gap where a metric is not a number."""
    pieces: list[list[str]] = [[]]
    for epoch, value in curve:
        if math.isfinite(value) and (value > 0 or not y.is_log):
            pieces[-1].append(f"{_across(x, epoch):.1f} {_down(y, value):.1f}")
        elif pieces[-1]:
            pieces.append([])
    return ["M" + "L".join(piece) for piece in pieces if len(piece) > 1]


def _across(x: Numbers, epoch: float) -> float:
    return _LEFT + x.place(epoch) * (_WIDTH - _RIGHT - _LEFT)


def _down(y: Numbers, value: float) -> float:
    bottom = _HEIGHT - _BOTTOM
    return bottom - y.place(value) * (bottom - _TOP) if math.isfinite(value) else bottom


def _path(path: str, colour: str, attributes: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" {attributes}/>'
