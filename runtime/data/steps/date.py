"""Dates in cells: as moments, and the step `date`, for which a date becomes a year with its fraction."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from netc.dsl.quoting import cell as shown_cell
from netc.runtime.data.steps.data_step import DataStep, State
from netc.runtime.data.steps.state_checks import is_optional_text
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location, is_missing

_EXAMPLE = datetime(2004, 7, 15, 13, 30, tzinfo=UTC)
_YEAR = re.compile(r"(\d{4})(?:-(\d{2}))?$")  # the two forms that `datetime.fromisoformat` lacks


def moment_of(text: str, form: str) -> datetime | None:
    """A text as a moment without a time zone, in UTC if it names one; None if the text is not a date.

    `form` has strptime's directives. If it is empty, the text is in a form of ISO 8601, or a year, or a year and month.
    """
    try:
        if form:
            moment = datetime.strptime(text, form)
        elif (match := _YEAR.match(text)) is not None:
            moment = datetime(int(match[1]), int(match[2] or 1), 1)
        else:
            moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, re.error):
        return None


def moments(array: Array, form: str, location: Location, hint: str) -> Array:
    """The cells as moments (`moment_of`), None where one is missing.

    Raises E0803 for the rows with a cell that is not a date. `hint` says how one is written where there is no `form`.
    """
    missing = is_missing(array).ravel()
    moment_by_text: dict[str, datetime | None] = {}
    result = np.full(array.size, None, object)
    is_date = np.ones(array.size, bool)
    for i in np.flatnonzero(~missing):
        text = str(array.flat[i])
        if text not in moment_by_text:
            moment_by_text[text] = moment_of(text.strip().removesuffix(".0"), form)
        result[i] = moment_by_text[text]
        is_date[i] = result[i] is not None
    location.refuse(
        ~is_date.reshape(array.shape),
        "E0803",
        lambda index: f'"{shown_cell(array[index])}" is not a date' + (f' of the form "{form}"' if form else ""),
        hint=f"such as {_EXAMPLE.strftime(form)}" if form else hint,
    )
    return result.reshape(array.shape)


def _year(moment: datetime, has_time: bool) -> float:
    """The date 2004-07-15 as 2004.54: a year with its fraction, and with `has_time` that of the time of day."""
    if not has_time:
        moment = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    start = datetime(moment.year, 1, 1)
    length = (datetime(moment.year + 1, 1, 1) - start).total_seconds() if moment.year < 9999 else 365 * 86400.0
    return moment.year + (moment - start).total_seconds() / length


def _date(array: Array, state: State, location: Location) -> Array:
    """The years; NaN where a cell is missing, so that `impute` can fill it with the median date."""
    form, has_time = state.get("format") or "", "format" in state  # runs without a format ignore the time of day
    dates = moments(array, form, location, '2004-07-15, 2004-07 or 2004; or date("%d.%m.%Y")')
    year_by_date = {date: np.nan if date is None else _year(date, has_time) for date in set(dates.flat)}
    return np.array([year_by_date[date] for date in dates.flat], np.float64).reshape(array.shape)


def is_format(text: Any) -> bool:
    """Whether a text has strptime's directives, and dates that are written in it can be read."""
    if not isinstance(text, str) or "%" not in text:
        return False
    try:
        datetime.strptime(_EXAMPLE.strftime(text), text)
    except (ValueError, re.error):
        return False
    return True


def _check(arguments: Sequence[Any]) -> str | None:
    return None if all(map(is_format, arguments)) else 'a format with the directives of strptime: date("%d.%m.%Y")'


DATE = DataStep(
    _date,
    lambda chunks, arguments: {"format": arguments[0] if arguments else ""},
    arguments=(0, 1),
    check=_check,
    takes_text=True,
    takes_labels=True,
    doc="Converts a date to a year with its fraction, to which a time of day adds its own. Without a format it takes "
    "the forms of ISO 8601 (2004-07-15, 2004-07-15 13:30, 2004-07, 2004); a format has the directives of Python's "
    'strptime: date("%d.%m.%Y"). A missing date stays missing, for `impute`.',
    usage='date, date("format")',
    keeps={"format": is_optional_text},
    name="date",
)
