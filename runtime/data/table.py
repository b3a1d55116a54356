"""A table: columns of equal length, with the number of the first row in its file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.npz import refuse_lengths
from netc.runtime.data.store import TextColumn
from netc.runtime.data.stored import Array


@dataclass(frozen=True, slots=True)
class SparseColumn:
    """A column whose cells are there in some rows alone; indexed by row numbers it is an array, None where a cell is
    missing.
    """

    count: int
    rows: Array
    cells: Array

    @classmethod
    def of(cls, count: int, rows: Iterable[int], cells: list[Any]) -> "SparseColumn":
        return cls(count, np.fromiter(rows, np.int64), plain_cells(cells))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Any) -> Array:
        wanted = np.arange(self.count)[rows]
        at = np.searchsorted(self.rows, wanted)
        at[at == len(self.rows)] = 0
        found = np.full(wanted.shape, None, object)
        is_there = self.rows[at] == wanted
        found[is_there] = self.cells[at[is_there]]
        return found


Column = Array | TextColumn | SparseColumn


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, all of the same length; a column indexed by row numbers is an array.

    Text cells are str, None where a cell is empty.

    `first_row` is the number that the file's reader would give the first row (2 in a csv with a header), `notes` what a
    user should know.
    """

    name: str
    columns: Mapping[str, Column]
    first_row: int = 1
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str, span: Span) -> Column:
        if name not in self.columns:
            known = ", ".join(map(cell, list(self.columns)[:12])) + (", ..." if len(self.columns) > 12 else "")
            fault(
                "E0802",
                f"`{self.name}` has no column `{name}`",
                span,
                hint=nearest(name, self.columns) or f"it has {known}",
            )
        return self.columns[name]


def table_of(shown: str, columns: Mapping[str, Array], what: str, span: Span) -> Table:
    """Columns as a table. Fault E0801 if they are not of one length."""
    for name, column in columns.items():
        if not column.ndim:
            fault("E0801", f"`{cell(name)}` of `{shown}` is a single value", span, "samples are the first axis")
    refuse_lengths({name: len(column) for name, column in columns.items()}, what, shown, span)
    return Table(shown, columns)


def column_of(cells: list[Any]) -> Array:
    """Cells of any kind as a column: numbers where all are, an array where all are lists of one shape."""
    try:
        if any(isinstance(cell, list) for cell in cells):
            return np.asarray(cells, np.float64)
        if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells):
            return np.asarray(cells, np.float64)
    except (ValueError, TypeError, OverflowError):
        pass
    return plain_cells(cells)


def plain_cells(cells: list[Any]) -> Array:
    """Cells as they are, but for true and false."""
    result = np.empty(len(cells), object)
    result[:] = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
    return result
