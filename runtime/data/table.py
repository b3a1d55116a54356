"""A table: columns of equal length by name, with the number that its first row has in the file."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.dsl.diagnostics import Diagnostic, fault, nearest
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.cell_text import is_missing_text, label_of
from netc.runtime.data.npz import refuse_lengths
from netc.runtime.data.row_numbers import FROM_ONE, RowNumbers
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
    def of(cls, count: int, rows: Iterable[int], cells: list[Any], is_text: bool) -> "SparseColumn":
        return cls(count, np.fromiter(rows, np.int64), plain_cells(cells, is_text))

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
    missing.

    `rows` are the numbers of the rows in the file. `notes` and `warnings` are what a user should know. `names` are all
    columns of the file, if only some were read, and `options` those of its reader that were found in the file.
    """

    name: str
    columns: Mapping[str, Column]
    rows: RowNumbers = FROM_ONE
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str, span: Span) -> Column:
        """A column by its name. Faults E0802 at `span` if there is none."""
        self.require(name, span)
        return self.columns[name]

    def require(self, name: str, span: Span) -> None:
        """Faults E0802 at `span` if the file has no such column."""
        names = self.names or tuple(self.columns)
        if name not in names:
            listed = ", ".join(map(cell, names[:_LISTED]))
            hint = f"it has {listed}{', ...' if len(names) > _LISTED else ''}"
            fault("E0802", f"`{self.name}` has no column `{name}`", span, hint=nearest(name, names) or hint)


def table_of(shown: str, columns: Mapping[str, Array], what: str, span: Span) -> Table:
    """A table of these columns. Faults E0801 if their lengths differ; `what` is the word for them in messages."""
    for name, column in columns.items():
        if not column.ndim:
            fault("E0801", f"`{cell(name)}` of `{shown}` is a single value", span, "samples are the first axis")
    refuse_lengths({name: len(column) for name, column in columns.items()}, what, shown, span)
    return Table(shown, columns)


def column_of(cells: list[Any], is_text: bool = False) -> Array:
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
    return plain_cells(cells, is_text)


def plain_cells(cells: list[Any], is_text: bool = False) -> Array:
    """A column of the cells as objects: None where one is missing, booleans as the texts "true" and "false".

    With `is_text` numbers are texts, as labels are spelled.
    """
    result = np.empty(len(cells), object)
    result[:] = [_plain_cell(cell, is_text) for cell in cells]
    return result


def _plain_cell(cell: Any, is_text: bool) -> Any:
    if isinstance(cell, str):
        return None if is_missing_text(cell) else cell
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return label_of(cell) if isinstance(cell, bool) or (is_text and isinstance(cell, int | float)) else cell
