"""Writes the year, with its fraction, of a moment in seconds since 1970: the step `date` in ONNX.

All numbers are whole but the fraction, so f64 has them exactly. The calendar is Howard Hinnant's `civil_from_days`:
its years begin in March, so that a leap day is the last of a year, and its eras have 400 years.
"""

from msgspec import Struct

from netc.compiler.export.onnx_nodes import OnnxNodes
from netc.compiler.export.scalar import Term

_DAY = 86400.0  # seconds
_TO_1970 = 719468.0  # days from March 1 of the year 0
_ERA, _CENTURY, _FOUR_YEARS, _YEAR = 146097.0, 36524.0, 1460.0, 365.0  # days
_JANUARY = 306.0  # days from March 1


class _Number(Struct, frozen=True):
    """A tensor of f64 with arithmetic."""

    nodes: OnnxNodes
    term: Term

    def _with(self, word: str, other: "_Number | float") -> "_Number":
        term = other.term if isinstance(other, _Number) else self.nodes.number(other, "f64")
        return _Number(self.nodes, self.nodes.word(word, [self.term, term], "f64"))

    def __add__(self, other: "_Number | float") -> "_Number":
        return self._with("add", other)

    def __sub__(self, other: "_Number | float") -> "_Number":
        return self._with("subtract", other)

    def __mul__(self, other: float) -> "_Number":
        return self._with("multiply", other)

    def __truediv__(self, other: "_Number | float") -> "_Number":
        return self._with("divide", other)

    def __floordiv__(self, other: float) -> "_Number":
        return _Number(self.nodes, self.nodes.word("floor", [(self / other).term], "f64"))


def year_of(nodes: OnnxNodes, seconds: Term, has_time: bool) -> Term:
    """The year with its fraction; without `has_time` that of midnight. NaN stays NaN."""
    moment = _Number(nodes, seconds)
    days = moment // _DAY
    since_march = days + _TO_1970
    era = since_march // _ERA
    day = since_march - era * _ERA
    year = (day - day // _FOUR_YEARS + day // _CENTURY - day // (_ERA - 1)) // _YEAR
    day_of_year = day - _days_of_years(year)
    is_january = nodes.word("greater_equal", [day_of_year.term, nodes.number(_JANUARY, "f64")], "bool")
    year = year + era * 400.0 + _Number(nodes, nodes.cast(is_january, "f64"))
    start, end = _first_day(year), _first_day(year + 1.0)
    passed = (moment if has_time else days * _DAY) - start * _DAY
    return (year + passed / ((end - start) * _DAY)).term


def _days_of_years(years: _Number) -> _Number:
    """The days of so many years of an era."""
    return years * _YEAR + years // 4.0 - years // 100.0


def _first_day(year: _Number) -> _Number:
    """January 1 of a year, in days since 1970."""
    before = year - 1.0
    era = before // 400.0
    return era * _ERA + _days_of_years(before - era * 400.0) + (_JANUARY - _TO_1970)
