"""Arithmetic on constants: numbers, bools, texts and lists that are known when compiling."""

import math
import operator
from collections.abc import Callable
from typing import Any

from netc.dsl.diagnostics import fault
from netc.dsl.hints import Hint
from netc.dsl.limits import fits
from netc.dsl.source import Span

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "and": lambda x, y: x and y,
    "or": lambda x, y: x or y,
}
_LARGEST = 1e300


def compute(symbol: str, left: Any, right: Any, span: Span) -> Any:
    """The result of `left symbol right`. Raises E0304 if there is none, or it is too large."""
    if symbol not in ("==", "!=", "and", "or") and not all(isinstance(side, int | float) for side in (left, right)):
        fault("E0304", f"`{symbol}` cannot be computed here", span, f"{_describe(left)} {symbol} {_describe(right)}")
    if symbol == "**" and abs(left) > 1 and abs(right) > 1000:
        fault("E0304", "this number is too large", span)
    try:
        result = _BINARY[symbol](left, right)
    except (ZeroDivisionError, OverflowError) as error:
        fault("E0304", "this number cannot be computed", span, str(error))
    if isinstance(result, complex) or (isinstance(result, float) and abs(result) > _LARGEST):
        fault("E0304", "this number cannot be computed", span, "it is not a finite number")
    if isinstance(result, int) and not fits(result):
        hint = "floats go further: 10.0 ** 20"
        fault("E0304", "this whole number does not fit into 64 bits", span, hint=hint)
    return result


def _describe(item: Any) -> str:
    return f'"{item}"' if isinstance(item, str) else "a list" if isinstance(item, tuple) else str(item)


def _as_whole_number(number: Any) -> str | None:
    """The hint for a number that is not whole, or stands in quotes."""
    if isinstance(number, str) and number.strip().isdigit():
        return f"{number.strip()}, without quotes"
    return "`//` divides and rounds down" if isinstance(number, float) else None


def integer(number: Any, span: Span, what: str, least: int = 1) -> int:
    """The number as an integer. Raises E0304 if it is none, or below `least`; `what` names it in the message."""
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not math.isfinite(number)
        or number != int(number)
    ):
        fault(
            "E0304",
            f"{what} must be a whole number",
            span,
            f"this is {_describe(number)}",
            hint=_as_whole_number(number),
        )
    if number < least:
        hint = Hint.code(str(-int(number))) if -number >= max(least, 1) else None
        if number == 0 and what == "a dimension":
            hint = Hint("what has no size can be left out; a layer has 1 unit or more")
        fault("E0304", f"{what} must be at least {least}", span, f"this is {int(number)}", hint=hint)
    return int(number)
