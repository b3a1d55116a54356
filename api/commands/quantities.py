"""Numbers as texts for people: significant digits, times, counts and sizes in units that suit them."""

import math

_THOUSANDS = "kMGTPE"


def number(value: float) -> str:
    """A float with four significant digits, or an int with all of its digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def significant(value: float) -> str:
    """A number with four significant digits, zeros at the end included, so that numbers below each other compare."""
    return f"{value:#.4g}".rstrip(".") if math.isfinite(value) else f"{value:g}"


def rounded(count: int, unit: str = "") -> str:
    """A count with three significant digits: 432, 12.5 k, 1.81 M, 142 G; with a unit 432 FLOPs, 12.5 kFLOPs."""
    digits, power = f"{count:.2e}".split("e")
    thousands = min(int(power) // 3, len(_THOUSANDS))
    if not thousands:
        return f"{count} {unit}".rstrip()
    scale = int(power) - 3 * thousands
    return f"{float(digits) * 10**scale:.{max(2 - scale, 0)}f} {_THOUSANDS[thousands - 1]}{unit}"


def share(part: float, total: float) -> str:
    """A part of the total in percent: < 0.1 %, 78.3 %. An empty text for 0."""
    percent = 100 * part / total if part else 0.0
    return "" if not percent else f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 100 or math.isnan(seconds):
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def lasting(seconds: float) -> str:
    """A time of any length in at most nine columns: 4.12 ms, 1.23 s, 12 s, 2 min 03 s, 1 h 02 min."""
    if not seconds >= 0:
        return ""
    if seconds < 0.9995:
        return f"{_three(seconds * 1e3)} ms"
    if seconds < 99.5:
        return f"{_three(seconds)} s"
    rounded = round(seconds)
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes < 6000 else f"{minutes // 60:,} h"


def _three(number: float) -> str:
    """A number below 1000 with three significant digits."""
    return f"{number:.{max(0, min(2, 2 - math.floor(math.log10(max(number, 0.01)))))}f}"


def size(nbytes: int) -> str:
    """A size in bytes: 432 B, 12.5 kB, 1.81 MB. A kB has 1,000 bytes, as in the setting `memory`."""
    return rounded(nbytes, "B")
