"""Finds out whether the rows of a table follow one another in time: as one series, or as one for each site or sensor.

Takes guesses about the columns, and their cells. What is written for a series is in other_files.py.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
from msgspec import Struct

from netc.dsl.plural import counted
from netc.runtime.data.steps.date import moment_of
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import is_missing, texts_of
from netc.runtime.starting.column_guess import Guess

Cells = Callable[[str], Array]  # of a column by its name
_START = datetime(1970, 1, 1)
_FEWEST_ROWS = 90  # of the shortest series: its parts still have some windows
_IRREGULAR = 0.02  # the share of distances that may be out of the ordinary
_NEAR, _GAP = 0.85, 1.5  # times the usual distance: months have 28 to 31 days
_LONGEST_BREAK = 4  # times the usual distance: weekends and holidays between days of work
_ALIKE = 0.5  # the correlation of a target with the one before from which it is a series
_TIME = re.compile(
    r"(^|[_\W])(t|time|timestamp|date|second|minute|hour|day|week|month|quarter|year|step|tick|period)s?$",
    re.IGNORECASE,
)
_UNITS = (("year", 31_556_952), ("month", 2_629_746), ("week", 604_800), ("day", 86_400), ("hour", 3_600))
_SMALL_UNITS = (("minute", 60), ("second", 1))


class SeriesGuess(Struct, frozen=True):
    """The columns that order the rows: `time`, and `column`, which tells several series apart.

    `every` is the distance of two rows as `series` has it: `"1 hour"` in quotes, or a number. `shortest` is the number
    of rows of the shortest of `count` series. Rows are `in_order` if the table itself is one series from first to last.
    `is_target` says whether the target resembles the one before.
    """

    time: Guess
    column: Guess | None
    every: str
    shortest: int
    in_order: bool
    count: int
    is_target: bool


def guess_series(guesses: Sequence[Guess], goal: Guess, target: Array, cells: Cells) -> SeriesGuess | None:
    """The series of a table; None if its rows are in no order of time. `target` are the numbers of the target."""
    inputs = [guess for guess in guesses if guess is not goal and not guess.missing]
    for time, moments in _times(inputs, cells):
        for column, groups in _groups(inputs, time, cells):
            order = np.lexsort((moments, groups))
            counts = np.bincount(groups)
            if counts.min() < _FEWEST_ROWS or (time.kind == "number" and column is None):
                continue
            is_first = np.diff(groups[order], prepend=-1) != 0
            every = _usual_distance(np.diff(moments[order])[~is_first[1:]])
            if every is None:
                continue
            shown = f"{every:g}" if time.kind == "number" else f'"{_duration(every)}"'
            is_target = _resembles_the_last(target[order], is_first)
            in_order = column is None and bool((order == np.arange(len(order))).all())
            return SeriesGuess(time, column, shown, int(counts.min()), in_order, len(counts), is_target)
    return None


def _times(inputs: Sequence[Guess], cells: Cells) -> Iterator[tuple[Guess, Array]]:
    """Yields the columns that may order rows in time: dates first, then numbers that are called a time."""
    for guess in inputs:
        if guess.kind == "date":
            texts = texts_of(cells(guess.name))
            seconds = {text: _seconds(text, guess.form) for text in set(texts)}
            yield guess, np.array([seconds[text] for text in texts])
    for guess in inputs:
        if guess.kind == "number" and not guess.steps and _TIME.search(guess.name):
            yield guess, np.array([float(text) for text in texts_of(cells(guess.name))])


def _seconds(text: str, form: str) -> float:
    moment = moment_of(text.strip(), form)
    assert moment is not None, "the column was taken for dates because all of its cells are"
    return (moment - _START).total_seconds()


def _groups(inputs: Sequence[Guess], time: Guess, cells: Cells) -> Iterator[tuple[Guess | None, Array]]:
    """Yields what may tell series apart, with the number of each row's series: nothing, then columns of a few cells."""
    rows = len(cells(time.name))
    yield None, np.zeros(rows, np.int64)
    for kind in ("category", "text", "number"):
        for guess in inputs:
            if guess.kind != kind or guess is time:
                continue
            column = cells(guess.name)
            if is_missing(column).any():
                continue
            labels, numbers = np.unique(np.array(texts_of(column)), return_inverse=True)
            if 1 < len(labels) <= rows // _FEWEST_ROWS:
                yield guess, numbers.reshape(-1)


def _usual_distance(distances: Array) -> float | None:
    """The distance of neighbouring rows; None if two are at the same time, or if distances differ too much.

    Of days without weekends it is the distance over a weekend, so that weekends are not gaps.
    """
    usual = float(np.median(distances))
    if distances.min() <= 0 or (distances < _NEAR * usual).mean() > _IRREGULAR:
        return None
    for every in np.unique(distances[(distances >= usual) & (distances <= _LONGEST_BREAK * usual)]):
        if (distances > _GAP * every).mean() <= _IRREGULAR:
            return float(every)
    return None


def _duration(seconds: float) -> str:
    """A distance in words, such as `15 minutes`: a month or year if it is about that long."""
    for unit, length in _UNITS[:2]:
        if abs(seconds - length) < 0.05 * length:
            return f"1 {unit}"
    for unit, length in (*_UNITS[2:], *_SMALL_UNITS):
        if seconds >= length and seconds % length == 0:
            count = int(seconds // length)
            return counted(count, unit)
    return f"{seconds:g} seconds"


def _resembles_the_last(target: Array, is_first: Array) -> bool:
    """Whether a target in the order of its series resembles the one before, apart from the level of each series."""
    groups = np.cumsum(is_first) - 1
    centred = target - (np.bincount(groups, target) / np.bincount(groups))[groups]
    before, after = centred[:-1][~is_first[1:]], centred[1:][~is_first[1:]]
    scale = np.sqrt((before**2).sum() * (after**2).sum())
    return bool(scale > 0 and (before * after).sum() > _ALIKE * scale)
