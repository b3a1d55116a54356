"""Horizontal bars with their names and numbers, in SVG: shares, importances, attributions."""

import math
from collections.abc import Sequence

from msgspec import Struct

from netc.runtime.insight.drawing.plots import LETTER, Mark, svg, words

_ROW, _LONGEST = (
    22.0,
    270.0,
)  # the height of a bar with the gap below it, and the length of all from end to end, in pixels
_LONGEST_NAME, _LONGEST_TEXT = 28, 24


class Bar(Struct, frozen=True):
    """A number with its name, the text beside it, and the length of its whisker to both sides, NaN for none."""

    name: str
    value: float
    text: str
    error: float = math.nan


def bar_chart(bars: Sequence[Bar], title: str) -> str:
    """A bar for each number, from 0 to the right, or to the left if it is negative, as an `<svg>` element."""
    left = 16 + LETTER * max((min(len(bar.name), _LONGEST_NAME) for bar in bars), default=0)
    right = left + _LONGEST
    width = right + 16 + LETTER * max((min(len(bar.text), _LONGEST_TEXT) for bar in bars), default=0)
    low = min((bar.value for bar in bars if math.isfinite(bar.value)), default=0.0)
    high = max((bar.value for bar in bars if math.isfinite(bar.value)), default=0.0)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (right - left) / ((high - low) or 1.0)
    zero = left - low * scale
    parts = [f'<path class="grid" d="M{zero:.1f} 0V{len(bars) * _ROW:g}"/>']
    for number, bar in enumerate(bars):
        y = 3 + number * _ROW
        parts.append(words(bar.name, left - 8, y + 13, "end", _LONGEST_NAME))
        value = bar.value if math.isfinite(bar.value) else 0.0
        start, length = min(zero, zero + value * scale), max(abs(value) * scale, 0.5)
        marks = f'<rect x="{start:.1f}" y="{y:g}" width="{length:.1f}" height="{_ROW - 6:g}" rx="2"/>'
        if math.isfinite(bar.error):
            ends = [min(max(zero + (value + side * bar.error) * scale, left), right) for side in (-1, 1)]
            marks += f'<path class="whisker" d="M{ends[0]:.1f} {y + (_ROW - 6) / 2:g}H{ends[1]:.1f}"/>'
        parts.append(Mark("s0" if value >= 0 else "s3", title=f"{bar.name}: {bar.text}").around(marks))
        parts.append(words(bar.text, right + 8, y + 13, "start", _LONGEST_TEXT))
    return svg(width, len(bars) * _ROW + 4, title, parts)
