"""One line that says how far something is: a task, a bar, facts, a curve and the time that is left.

It is a text of at most the width of the terminal. What draws it is `display.py`.
"""

import itertools
import math
from collections.abc import Sequence

from msgspec import Struct

from netc.commands.quantities import lasting

_LEVELS = "▁▂▃▄▅▆▇█"
_BAR, _HALF, _REST = "━", "╸", "─"
# for encodings without these characters
_PLAIN = str.maketrans({_BAR: "=", _HALF: "-", _REST: "-", **dict.fromkeys(_LEVELS, "")})
_GAP = "  "
_LEAST_BAR, _MOST_BAR = 10, 30
_LEAST_CURVE, _MOST_CURVE = 12, 32


class Status(Struct, frozen=True):
    """The progress of some work, drawn as one line.

    `done` is a share between 0 and 1, None if it is not known. `facts` are shown from the first on, as many as there
    is room for; the first one matters more than the curve. `curve` are numbers that become a line of blocks, `left` are
    the seconds until the end.
    """

    task: str
    done: float | None = None
    facts: tuple[str, ...] = ()
    curve: Sequence[float] = ()
    left: float | None = None

    def text(self, width: int) -> str:
        """The line, with fewer than `width` columns: a terminal may wrap a line that fills it."""
        width_left = width - 1 - len(self.task)
        left = f"{lasting(self.left)} left" if self.left is not None else ""
        if not left or len(_GAP + left) > width_left:
            left = ""
        width_left -= len(_GAP + left) if left else 0
        facts, kept = "", (len(_GAP) + _LEAST_BAR) * (self.done is not None)  # the bar comes before all facts
        for fact in self.facts:
            if len(_GAP + fact) + kept > width_left:
                break
            facts += _GAP + fact
            width_left -= len(_GAP + fact)
            if facts == _GAP + fact and len(self.curve) > 1:  # and the curve before all but the first one
                kept += len(_GAP) + _LEAST_CURVE
        bar = curve = ""
        if self.done is not None and width_left >= len(_GAP) + _LEAST_BAR:
            spare = width_left - len(_GAP) - _LEAST_BAR
            has_curve = len(self.curve) > 1 and spare >= len(_GAP) + _LEAST_CURVE
            bar_width = min(_LEAST_BAR + (spare - len(_GAP) - _LEAST_CURVE if has_curve else spare) // 2, _MOST_BAR)
            bar = _GAP + bar_of(self.done, bar_width)
            if has_curve:
                curve = _GAP + curve_of(self.curve, min(width_left - len(bar) - len(_GAP), _MOST_CURVE))
        return (self.task + bar + facts + curve + (_GAP + left if left else ""))[: width - 1]


def drawn(text: str, encoding: str | None) -> str:
    """A text for a terminal with this encoding: in ASCII the bar is made of other characters, and there is no curve."""
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    return text


def bar_of(done: float, width: int) -> str:
    """A bar of `width` columns, of which the share `done` is full."""
    halves = round(2 * width * min(max(done, 0.0), 1.0))
    full = _BAR * (halves // 2) + _HALF * (halves % 2)
    return full + _REST * (width - len(full))


def curve_of(numbers: Sequence[float], width: int) -> str:
    """Numbers as a line of blocks of different height, each the mean of its share of the numbers if there are more of
    them than columns. Numbers that are not finite are blank."""
    if not numbers:
        return ""
    count = min(width, len(numbers))
    ends = [len(numbers) * i // count for i in range(count + 1)]
    means = [_mean(numbers[begin:end]) for begin, end in itertools.pairwise(ends)]
    finite = [mean for mean in means if math.isfinite(mean)]
    if not finite:
        return ""
    least, span = min(finite), max(finite) - min(finite)
    top = len(_LEVELS) - 1
    return "".join(
        _LEVELS[round(top * (mean - least) / span) if span else 0] if math.isfinite(mean) else " " for mean in means
    )


def _mean(numbers: Sequence[float]) -> float:
    finite = [number for number in numbers if math.isfinite(number)]
    return sum(finite) / len(finite) if finite else math.nan
