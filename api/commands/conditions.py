"""Conditions and orders of the tables of runs and studies: `valid.loss < 0.1`, `state = finished`."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import typer

_CONDITION = re.compile(r"\s*(?P<name>[^<>=!~\s]+)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>.*?)\s*")
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(text: str, facts: Mapping[str, Any], option: str) -> bool:
    """Whether a condition is true of a row. `=` and `!=` compare numbers, and texts by pattern (`model = iris*`).

    It is false of a row that has no such fact. Raises BadParameter (exit status 2) for a text that is not a condition.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"`{text}` is not a condition, such as `valid.loss < 0.1`", param_hint=option)
    sign, fact = match["sign"], facts.get(match["name"])
    if fact is None:
        return False
    number = _number(match["value"])
    if sign in ("=", "!="):
        is_number = isinstance(fact, int | float) and not isinstance(fact, bool) and number is not None
        is_equal = fact == number if is_number else fnmatchcase(_text(fact), match["value"])
        return is_equal == (sign == "=")
    if number is None:
        raise typer.BadParameter(f"`{sign}` compares with a number: `{text}`", param_hint=option)
    return isinstance(fact, int | float) and _SIGNS[sign](fact, number)


def order(values: Sequence[Any], is_reversed: bool) -> list[int]:
    """The numbers of rows in the order of their values: numbers, then texts, and those without a value last."""
    numbers = [i for i, value in enumerate(values) if isinstance(value, int | float) and not math.isnan(value)]
    texts = [i for i, value in enumerate(values) if isinstance(value, str)]
    rest = sorted({*range(len(values))} - {*numbers, *texts})
    by_value = [sorted(each, key=lambda i: values[i], reverse=is_reversed) for each in (numbers, texts)]
    return [*by_value[0], *by_value[1], *rest]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(fact: Any) -> str:
    return str(fact).lower() if isinstance(fact, bool) else str(fact)
