"""The step `cycle`: where a moment lies in the year, the week or the day, as a point on a circle.

Takes years with their fractions, as the step `date` returns them. A network can then learn what returns each summer,
each weekend or each night, which a growing number does not say.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.runtime.data.steps.data_step import DataStep, State
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location, numbers

CYCLES = ("year", "week", "day")
_DAY, _WEEK = 86_400, 7 * 86_400  # seconds
_MONDAY = 4 * _DAY  # seconds from the start of 1970, a Thursday, to its first Monday
_FIRST, _LAST = 1, 9999  # years of the calendar


def _cycle(array: Array, state: State, location: Location) -> Array:
    """The sine and cosine of each cycle, along a last axis of twice their number."""
    years = numbers(array, location).astype(np.float64)
    location.refuse(
        ~((years >= _FIRST) & (years < _LAST + 1)),
        "E0803",
        lambda index: f"{years[index]:g} is not a year",
        hint='column("day") -> date -> cycle(year, week)',
    )
    points = []
    for name in state["cycles"]:
        angle = 2 * np.pi * _phase(years, name)
        points += [np.sin(angle), np.cos(angle)]
    return np.stack(points, axis=-1)


def _phase(years: Array, cycle: str) -> Array:
    """The part of the cycle that has passed, from 0 to 1: since New Year, since Monday, since midnight."""
    if cycle == "year":
        phase: Array = years - np.floor(years)
        return phase
    whole_years = np.floor(years).astype(np.int64) - 1970
    start = whole_years.astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64)
    end = (whole_years + 1).astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64)
    seconds = start + np.rint((years - np.floor(years)) * (end - start)).astype(np.int64)
    phase = seconds % _DAY / _DAY if cycle == "day" else (seconds - _MONDAY) % _WEEK / _WEEK
    return phase


def _check(arguments: Sequence[Any]) -> str | None:
    is_right = all(argument in CYCLES for argument in arguments) and len(set(arguments)) == len(arguments)
    return None if is_right else "year, week and day, each once at most"


def _are_cycles(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(name in CYCLES for name in value)


CYCLE = DataStep(
    _cycle,
    lambda chunks, arguments: {"cycles": list(arguments)},
    arguments=(1, len(CYCLES)),
    check=_check,
    words=CYCLES,
    doc="Replaces a date, after `date`, by where it lies in the year, in the week (from Monday on) and in the day: the "
    "sine and cosine of each, so that December is next to January. `cycle(year, week)` gives four numbers, for "
    "`float[4]`.",
    usage="cycle(year), cycle(year, week, day), ...",
    keeps={"cycles": _are_cycles},
    name="cycle",
)
