"""Finds the series in a table: in which order its rows follow one another, and where one does not follow the other.

Takes a table, and gives numbers of rows. What windows.py cuts from them is another matter.
"""

from datetime import datetime

import numpy as np
from msgspec import Struct

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.runtime.data.block.declarations import DataSpec, SeriesSpec
from netc.runtime.data.division.split import chunks_of, group_numbers, require_cells
from netc.runtime.data.steps.date import moments
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location, numbers
from netc.runtime.data.tables.table import Table

_START = datetime(1970, 1, 1)
_WRITTEN = '2024-05-31 or 2024-05-31 18:00; others with format = "%d.%m.%Y"; for numbers: every = 1'
_GAP = 1.5  # times `every`: months have 28 to 31 days, and sensors are not punctual


class Series(Struct, frozen=True):
    """The order of a table's rows.

    `order` has the numbers of all rows, series after series. By its place in that order, `groups` is the number of each
    row's series, and `is_first` says whether the row does not follow the one before. If `follows_table`, the order is
    that of the table.
    """

    order: Array
    groups: Array
    is_first: Array
    follows_table: bool = False

    def sorted(self, rows: Array) -> tuple[Array, Array, Array]:
        """Some rows in order, the series of each, and the indices at which a stretch of adjacent rows begins."""
        positions = rows if self.follows_table else self._positions()[rows]
        steps = np.diff(positions, prepend=-2)
        if (steps < 0).any():  # most tables are in order, and sorting takes longer than all else here
            positions = np.sort(positions)
            steps = np.diff(positions, prepend=-2)
        begins = self.is_first[positions]
        begins |= steps != 1
        in_order = positions if self.follows_table else self.order[positions]
        return in_order, self.groups[positions], np.flatnonzero(begins)

    def _positions(self) -> Array:
        """The index of each row in the order."""
        positions = np.empty(len(self.order), np.int64)
        positions[self.order] = np.arange(len(self.order))
        return positions


def series_spec(spec: DataSpec) -> SeriesSpec:
    """The series that a data block describes: by its `series`, or else by the groups that its split keeps together."""
    if spec.series is not None:
        return spec.series
    return SeriesSpec(spec.split.column if spec.split.keeps_groups else None, span=spec.split.span)


def series_of(table: Table, spec: DataSpec) -> Series:
    """The series in a table.

    Raises E0803 where a row has no cell in the column of the series or of the time, or one that is not a time,
    and E0841 where two rows of a series have the same time.
    """
    described = series_spec(spec)
    rows = np.arange(len(table))
    if described.column is None and described.time is None:  # the characters of a text, millions of them
        return Series(rows, np.zeros(len(rows), np.int64), rows == 0, follows_table=True)
    groups = group_numbers(table, rows, described.column, described.span)
    if described.time is None:
        order = np.argsort(groups, kind="stable")
        follows = np.ones(len(rows), bool)
    else:
        times = _times(table, described.time, described)
        order = np.lexsort((times, groups))
        steps = np.diff(times[order], prepend=np.inf)
        _refuse_equal_times(table, described, order, groups, steps)
        follows = steps <= _GAP * described.every
    groups = groups[order]
    is_first = ~follows
    is_first[1:] |= np.diff(groups) != 0
    is_first[:1] = True
    return Series(order, groups, is_first)


def _refuse_equal_times(table: Table, described: SeriesSpec, order: Array, groups: Array, steps: Array) -> None:
    is_equal = steps == 0
    is_equal[1:] &= np.diff(groups[order]) == 0
    if is_equal.any():
        position = int(np.flatnonzero(is_equal)[0])
        (file, first), *others = table.by_file(np.sort(order[position - 1 : position + 1]))
        numbers_there = " and ".join(map(str, table.numbers(first).tolist()))
        rows = f"`{file}`, row{'s' * (len(first) > 1)} {numbers_there}"
        rows += "".join(f", and {table.words_for_row(int(other[0]))}" for _, other in others)
        note = f"{rows}, column `{shown_cell(described.time or '')}`"
        hint = 'by("...") names the column that tells series apart'
        fault("E0841", "two rows of a series have the same time", described.span, note, hint=hint)


def _times(table: Table, name: str, described: SeriesSpec) -> Array:
    """The times of all rows: seconds if they are dates, or else numbers."""
    column = table.column(name, described.span)
    times = np.empty(len(table))
    for file, rows in (piece for chunk in chunks_of(np.arange(len(table))) for piece in table.by_file(chunk)):
        cells, location = column[rows], Location(file, (name,), table.numbers(rows), described.span)
        require_cells(cells, rows, table, name, described.span)
        times[rows] = _seconds(cells, described.form, location) if described.has_dates else numbers(cells, location)
    return times


def _seconds(cells: Array, form: str, location: Location) -> Array:
    """Dates as seconds; those without a time zone are in UTC. Raises E0803 for the cells that are not dates."""
    dates = moments(cells, form, location, _WRITTEN)
    return np.array([(date - _START).total_seconds() for date in dates], np.float64)
