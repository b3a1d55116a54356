"""A table: columns of equal length by name, with the number that its first row has in the file."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from netc.dsl.diagnostics import Diagnostic, fault, nearest
from netc.dsl.mistakes.foreign_words import PATTERN
from netc.dsl.quoting import cell, net_string
from netc.dsl.source import Span
from netc.runtime.data.readers.npz import refuse_lengths
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import is_missing_text, label_of
from netc.runtime.data.tables.cells import BadRows
from netc.runtime.data.tables.columns import PackedColumn, TextColumn
from netc.runtime.data.tables.row_numbers import FROM_ONE, RowNumbers

_LISTED = 12  # column names in a message
_WITH_HEADER = (".csv", ".tsv", ".txt")  # tables of text, whose first line is the header
_PATTERN = re.compile(r"[*?]|\.\.|^\w+[:-]\w*\d$")  # a name that was meant to stand for several columns


class SparseColumn(Struct, frozen=True):
    """A column with cells in some rows only. Indexed by row numbers it is an array, None where a cell is missing."""

    count: int
    rows: Array
    cells: Array

    @classmethod
    def of(
        cls, count: int, rows: Iterable[int], cells: list[Any], is_text: bool, marks: Sequence[str], keeps_nan: bool
    ) -> "SparseColumn":
        return cls(count, np.fromiter(rows, np.int64), plain_cells(cells, is_text, marks, keeps_nan))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Any) -> Array:
        selected = np.arange(self.count)[rows]
        position = np.searchsorted(self.rows, selected)
        position[position == len(self.rows)] = 0
        result = np.full(selected.shape, None, object)
        is_present = self.rows[position] == selected
        result[is_present] = self.cells[position[is_present]]
        return result


class StackedColumn(Struct, frozen=True):
    """A column of several files, one after the other. Indexed by row numbers it is an array."""

    parts: tuple["Array | TextColumn | PackedColumn | SparseColumn", ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, rows: Any) -> Array:
        selected = np.arange(len(self))[rows]
        flat = selected.ravel()
        ends = np.cumsum([len(part) for part in self.parts])
        which = np.searchsorted(ends, flat, "right")
        result: Array | None = None
        for number in np.unique(which):
            start = ends[number] - len(self.parts[number])
            cells = self.parts[number][flat[which == number] - start]
            if result is None:
                result = np.empty((len(flat), *cells.shape[1:]), cells.dtype)
            if cells.shape[1:] != result.shape[1:]:
                raise ValueError("the files have arrays of different shapes")
            if cells.dtype != result.dtype:
                has_objects = object in (cells.dtype, result.dtype)
                result = result.astype(object if has_objects else np.result_type(cells, result))
            result[which == number] = cells
        if result is None:
            return self.parts[0][flat].reshape(selected.shape)
        return result.reshape(*selected.shape, *result.shape[1:])


Column = Array | TextColumn | PackedColumn | SparseColumn | StackedColumn


class FilesOfRows(Struct, frozen=True):
    """The file that each row of a table of several files is in: a number into `names` for each row."""

    names: tuple[str, ...]
    numbers: Array

    def __getitem__(self, rows: Array) -> "FilesOfRows":
        return FilesOfRows(self.names, self.numbers[rows])

    def texts(self) -> list[str]:
        """The name of each row's file."""
        return [self.names[number] for number in self.numbers.tolist()]


class Table(Struct, frozen=True):
    """Columns of equal length by name. A column indexed by row numbers is an array; text cells are str, None where
    missing.

    `rows` are the numbers of the rows in the file. `notes` and `warnings` are what a user should know. `names` are all
    columns of the file, if only some were read, and `options` those of its reader that were found in the file. `files`
    are the tables of several files, one after the other, that this one consists of. `bad_rows` are those of new data
    that the reader could not read: their cells mean nothing.
    """

    name: str
    columns: Mapping[str, Column]
    rows: RowNumbers = FROM_ONE
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    files: tuple["Table", ...] = ()
    bad_rows: BadRows | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def numbers(self, rows: Array) -> Array:
        """The numbers that rows have in their file."""
        if not self.files:
            return self.rows.of(rows)
        result = np.empty(len(rows), np.int64)
        starts = self._starts()
        which = np.searchsorted(starts, rows, "right") - 1
        for number in np.unique(which):
            is_here = which == number
            result[is_here] = self.files[number].rows.of(rows[is_here] - starts[number])
        return result

    def by_file(self, rows: Array) -> Iterator[tuple[str, Array]]:
        """Cuts rows where the next one is in another file, and yields the pieces with the name of their file."""
        if not self.files or not len(rows):
            yield self.name, rows
            return
        which = np.searchsorted(self._starts(), rows, "right") - 1
        for piece in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(which)) + 1):
            yield self.files[which[piece[0]]].name, rows[piece]

    def files_of(self, rows: Array) -> FilesOfRows | None:
        """The files that rows are in; None if the table is one file."""
        if not self.files:
            return None
        return FilesOfRows(
            tuple(table.name for table in self.files), np.searchsorted(self._starts(), rows, "right") - 1
        )

    def words_for_row(self, row: int) -> str:
        """The words for a row at this position: its file, and its number there."""
        (file, rows), *_ = self.by_file(np.array([row]))
        return f"`{file}`, row {self.numbers(rows)[0]}"

    def _starts(self) -> Array:
        """The position of the first row of each file."""
        lengths = [len(table) for table in self.files]
        return np.cumsum([0, *lengths[:-1]])

    def column(self, name: str, span: Span) -> Column:
        """A column by its name. Raises E0802 at `span` if there is none."""
        self.require(name, span)
        return self.columns[name]

    def require(self, name: str, span: Span, label: str = "") -> None:
        """Raises E0802 at `span` if the file has no such column. `label` says what it is needed for."""
        names = self.names or tuple(self.columns)
        if name not in names:
            listed = ", ".join(map(cell, names[:_LISTED]))
            hint = f"it has {listed}{', ...' if len(names) > _LISTED else ''}"
            if (delimiter := _delimiter_within(name, names)) is not None:
                hint = f'the table has one column, whose name contains it: delimiter = "{delimiter}"'
            else:
                if self.name.lower().endswith(_WITH_HEADER) and (len(names) == 1 or any(map(_is_number, names))):
                    hint += f"; if its first line is a row, `header = [{_named(name, names)}]` names the columns"
                hint = PATTERN if _PATTERN.search(name) else nearest(name, names) or hint
            fault("E0802", f"`{self.name}` has no column `{name}`", span, label, hint=hint)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d+)?", text) is not None


def _named(name: str, names: Sequence[str]) -> str:
    """A name for each column, as the option `header` takes them, with `name` first."""
    others = [f'"column_{number}"' for number in range(2, len(names) + 1)][:_LISTED]
    return ", ".join([net_string(name), *others]) + (", ..." if len(names) - 1 > len(others) else "")


def _delimiter_within(name: str, names: Sequence[str]) -> str | None:
    """The character around a column's name in the only name of a table, if its header was read as one cell."""
    match = re.search(rf"(?:^|(.))\"?{re.escape(name)}\"?(?:$|(.))", names[0]) if len(names) == 1 else None
    between = (match[1] or match[2]) if match is not None else None
    return {"\t": "\\t"}.get(between, between) if between in (",", ";", "\t", "|", " ") else None


def table_of(shown: str, columns: Mapping[str, Array], what: str, span: Span) -> Table:
    """A table of these columns. Raises E0801 if their lengths differ; `what` is the word for them in messages."""
    for name, column in columns.items():
        if not column.ndim:
            fault("E0801", f"`{cell(name)}` of `{shown}` is a single value", span, "samples are the first axis")
    refuse_lengths({name: len(column) for name, column in columns.items()}, what, shown, span)
    return Table(shown, columns)


def column_of(cells: list[Any], is_text: bool = False, marks: Sequence[str] = (), keeps_nan: bool = False) -> Array:
    """A column of any cells: numbers if all are numbers, an array if all are lists of one shape, else objects.

    With `is_text` numbers are texts, as labels are spelled.
    """
    try:
        if any(isinstance(cell, list) for cell in cells):
            return np.asarray(cells, np.float64)
        if not is_text and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells):
            return np.asarray(cells, np.float64)
    except (ValueError, TypeError, OverflowError):
        pass
    return plain_cells(cells, is_text, marks, keeps_nan)


def plain_cells(cells: list[Any], is_text: bool = False, marks: Sequence[str] = (), keeps_nan: bool = False) -> Array:
    """A column of the cells as objects: None where one is missing, booleans as the texts "true" and "false".

    With `is_text` numbers are texts, as labels are spelled. With `keeps_nan` the text `nan` is not a missing cell.
    """
    result = np.empty(len(cells), object)
    result[:] = [_plain_cell(cell, is_text, marks, keeps_nan) for cell in cells]
    return result


def _plain_cell(cell: Any, is_text: bool, marks: Sequence[str], keeps_nan: bool) -> Any:
    if isinstance(cell, str):
        return None if is_missing_text(cell, marks, keeps_nan) else cell
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return label_of(cell) if isinstance(cell, bool) or (is_text and isinstance(cell, int | float)) else cell
