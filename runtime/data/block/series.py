"""Checks the series of a `data` block: `series = by("store", time = "date", every = "1 day")` becomes a SeriesSpec."""

import math
import re
from collections.abc import Sequence

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.structs import replace
from netc.runtime.data.block.constant_values import call_of, constant_value
from netc.runtime.data.block.declarations import Constants, SeriesSpec
from netc.runtime.data.steps.date import is_format

_EXAMPLE = 'series = by("store", time = "date", every = "1 day")'
_SETTINGS = ("time", "every", "format")
_UNITS = {  # in seconds
    "second": 1.0,
    "minute": 60.0,
    "hour": 3_600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": 2_629_746.0,
    "year": 31_556_952.0,
}


def parse_series(node: syntax.Expression, constants: Constants) -> SeriesSpec:
    """The series of a table, by a column, a time, or both. Raises E0301 to E0303 where this is something else."""
    way, arguments = call_of(node)
    if isinstance(node, syntax.Tuple):
        arguments = node.entries
    elif way != "by":
        fault("E0303", "`series` says which rows follow one another", node.span, hint=_EXAMPLE)
    column: object = None
    if way == "by":
        column = constant_value(arguments[0].value, constants) if arguments and arguments[0].name is None else None
        if not isinstance(column, str):
            fault("E0301", "`by` takes the name of a column in quotes", node.span, hint=_EXAMPLE)
        arguments = arguments[1:]
    order = _time(node, arguments, constants)
    return replace(order, column=column if isinstance(column, str) else None)


def _time(node: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> SeriesSpec:
    """Reads `time = "date", every = "1 day"`: the column, the usual difference of its cells, how dates are written."""
    values: dict[str, syntax.Expression] = {}
    for argument in arguments:
        key = argument.name.text if isinstance(argument.name, syntax.Name) else ""
        if key not in _SETTINGS or key in values:
            hint = nearest(key, _SETTINGS) or _EXAMPLE
            fact = f"`{key}` is given twice" if key in values else f"`series` has no argument `{key}`"
            fault("E0302", fact, argument.span, hint=hint)
        values[key] = argument.value
    if not values and call_of(node)[0] == "by":
        return SeriesSpec(span=node.span)
    if not {"time", "every"} <= values.keys():
        fault("E0301", "`time` names a column, and `every` says how far its rows are apart", node.span, hint=_EXAMPLE)
    time = constant_value(values["time"], constants)
    if not isinstance(time, str):
        fault("E0303", "`time` is the name of a column in quotes", values["time"].span, hint=_EXAMPLE)
    every = constant_value(values["every"], constants)
    seconds = _seconds(every) if isinstance(every, str) else None
    number = every if seconds is None else seconds
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        hint = 'every = "15 minutes" for dates, every = 1 for numbers'
        fault("E0303", '`every` is a time such as "1 day", or a number above 0', values["every"].span, hint=hint)
    form = _form(values["format"], constants) if "format" in values else ""
    if form and seconds is None:
        fault("E0303", "`format` is for dates", values["every"].span, hint='every = "15 minutes"')
    return SeriesSpec(None, time, float(number), seconds is not None, node.span, form)


def _form(node: syntax.Expression, constants: Constants) -> str:
    """The format of dates. Raises E0303 if it is not a format."""
    form = constant_value(node, constants)
    if not is_format(form):
        fact = "`format` has the directives of strptime, in quotes"
        fault("E0303", fact, node.span, hint='format = "%d.%m.%Y %H:%M"')
    return str(form)


def _seconds(text: str) -> float | None:
    """The seconds of "15 minutes" or "day"; None for any other text."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)?\s*([a-z]+?)s?\s*", text)
    if match is None or match[2] not in _UNITS:
        return None
    return float(match[1] or 1) * _UNITS[match[2]]
