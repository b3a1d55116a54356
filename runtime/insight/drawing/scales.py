"""The axes of plots that are written by hand: where a number or a category lies, and which ticks there are.

A position is between 0, the beginning of an axis, and 1, its end.
"""

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

Tick = tuple[float, str]  # its position and its text

_MARGIN = 0.04  # of an axis beyond the least and the largest number
_RATIO = 20.0  # numbers above 0 that differ by a larger factor have a logarithmic axis
_MOST_CATEGORIES = 24  # that have a tick


class Numbers(Struct, frozen=True):
    """An axis of numbers from `low` to `high`, which differ. `is_whole` says that its ticks are whole numbers."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def position(self, value: object) -> float:
        """The position of a number."""
        assert isinstance(value, int | float)
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[Tick]:
        """At most about `most` round numbers."""
        decades = math.log10(self.high / self.low) if self.is_log else 0.0
        numbers = self._powers(most, decades) if decades > 1.2 else self._steps(most)
        return [(self.position(number), f"{number:.6g}") for number in numbers]

    def _powers(self, most: int, decades: float) -> list[float]:
        """Powers of ten, with their double and their fivefold if these are few."""
        factors = (1, 2, 5) if 3 * decades <= most else (1,)
        every = max(1, math.ceil(decades / most))
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        powers = range(first - first % every, last + 1, every)
        numbers = [factor * 10.0**power for power in powers for factor in factors]
        return [number for number in numbers if self.low <= number * (1 + 1e-9) and number <= self.high * (1 + 1e-9)]

    def _steps(self, most: int) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / most))
        step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor * most >= span)
        step = max(step, 1.0) if self.is_whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


class Categories(Struct, frozen=True):
    """An axis of texts, evenly spaced in their order."""

    texts: Sequence[str]

    def position(self, value: object) -> float:
        """The position of a text."""
        return (self.texts.index(str(value)) + 0.5) / len(self.texts)

    def ticks(self, most: int) -> list[Tick]:
        """All texts, or evenly spaced ones of many."""
        step = math.ceil(len(self.texts) / min(most, _MOST_CATEGORIES))
        return [(self.position(text), text) for text in self.texts[::step]]


Scale = Numbers | Categories


def numbers_axis(values: Iterable[float], is_log: bool | None = None, is_whole: bool = False) -> Numbers:
    """An axis on which all finite `values` lie, with a margin.

    Without `is_log` it is logarithmic if all values are above 0 and differ by more than a factor of 20.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if is_log is None:
        is_log = low > 0 and high / low > _RATIO
    if low == high:
        margin = abs(low) * 0.1 or 1.0
        low, high = (low / 2, high * 2) if is_log else (low - margin, high + margin)
    if is_log:
        factor = (high / low) ** _MARGIN
        return Numbers(low / factor, high * factor, True, is_whole)
    margin = _MARGIN * (high - low)
    return Numbers(low - margin, high + margin, False, is_whole)
