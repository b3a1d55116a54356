"""A table: columns of equal length by name, with the number that its first row has in the file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.cells import BadRows
from netc.runtime.data.npz import refuse_lengths
from netc.runtime.data.store import TextColumn
from netc.runtime.data.stored import Array

_LISTED = 12  # column names in a message


@dataclass(frozen=True, slots=True)
class SparseColumn:
    """A column with cells in some rows only. Indexed by row numbers it is an array, None where a cell is missing."""

    count: int
    rows: Array
    cells: Array

    @classmethod
    def of(cls, count: int, rows: Iterable[int], cells: list[Any]) -> "SparseColumn":
        return cls(count, np.fromiter(rows, np.int64), plain_cells(cells))

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


Column = Array | TextColumn | SparseColumn


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length by name. A column indexed by row numbers is an array; text cells are str, None where
    empty.

    `first_row` is the number of the first row in the file (2 in a csv with a header), `notes` are what a user should
    know. `bad_rows` are those of new data that the reader could not read: their cells mean nothing.
    """

    name: str
    columns: Mapping[str, Column]
    first_row: int = 1
    notes: tuple[str, ...] = ()
    bad_rows: BadRows | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str, span: Span) -> Column:
        """A column by its name. Faults E0802 at `span` if there is none."""
        if name not in self.columns:
            names = ", ".join(map(cell, list(self.columns)[:_LISTED]))
            hint = f"it has {names}{', ...' if len(self.columns) > _LISTED else ''}"
            fault("E0802", f"`{self.name}` has no column `{name}`", span, hint=nearest(name, self.columns) or hint)
        return self.columns[name]


def table_of(shown: str, columns: Mapping[str, Array], what: str, span: Span) -> Table:
    """A table of these columns. Faults E0801 if their lengths differ; `what` is the word for them in messages."""
    for name, column in columns.items():
        if not column.ndim:
            fault("E0801", f"`{cell(name)}` of `{shown}` is a single value", span, "samples are the first axis")
    refuse_lengths({name: len(column) for name, column in columns.items()}, what, shown, span)
    return Table(shown, columns)


def column_of(cells: list[Any]) -> Array:
    """A column of any cells: numbers if all are numbers, an array if all are lists of one shape, else objects."""
    try:
        if any(isinstance(cell, list) for cell in cells):
            return np.asarray(cells, np.float64)
        if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells):
            return np.asarray(cells, np.float64)
    except (ValueError, TypeError, OverflowError):
        pass
    return plain_cells(cells)


def plain_cells(cells: list[Any]) -> Array:
    """A column of the cells as objects, booleans as the texts "true" and "false"."""
    result = np.empty(len(cells), object)
    result[:] = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
    return result
