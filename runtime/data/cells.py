"""The cells of a column: their location in messages, which are missing, which are numbers, and the order of labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.dsl.source import Span
from netc.runtime.data.cell_text import label_of
from netc.runtime.data.stored import Array


@dataclass(frozen=True, slots=True)
class Location:
    """Names the cells of an array in messages: their file, their columns, and the number that each row has in the file.

    `span` is the field or step in the `.net` file that reads them.
    """

    file: str
    columns: tuple[str, ...]
    rows: Array
    span: Span

    def cell(self, index: Sequence[int]) -> str:
        """The words for the element of the array at `index`."""
        column = self.columns[index[1] if len(index) > 1 and len(self.columns) > 1 else 0]
        return f"`{self.file}`, row {self.rows[index[0]]}, column `{shown_cell(column)}`"


def is_missing(array: Array) -> Array:
    """True where a cell is empty."""
    if array.dtype == object:
        is_empty = [
            cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and cell != cell)
            for cell in array.ravel()
        ]
        return np.array(is_empty, bool).reshape(array.shape)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)


def texts_of(column: Array) -> list[str]:
    """The cells of a column as texts, with the spelling of labels. (An array would take the memory of the longest text
    for each row.)
    """
    return [label_of(cell) for cell in column]


def refuse_missing(array: Array, location: Location) -> None:
    """Faults E0803 at the first empty cell."""
    missing = is_missing(array)
    if missing.any():
        index = tuple(int(i) for i in np.argwhere(missing)[0])
        fault(
            "E0803",
            "a value is missing",
            location.span,
            f"{location.cell(index)}; {int(missing.sum())} in all",
            hint="impute(median) fills, impute(drop) leaves the row out",
        )


def numbers(array: Array, location: Location) -> Array:
    """The cells as float64, or the array itself if its cells are numbers already.

    Faults E0803 and E0804 at the first cell that is no number.
    """
    refuse_missing(array, location)
    if array.dtype != object:
        if array.dtype.kind not in "fiub":
            column = f"`{location.file}`, column `{shown_cell(location.columns[0])}`"
            fault("E0803", "this holds no numbers", location.span, column)
        return array
    try:
        return array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        _refuse_first(array, location)
        raise


def _refuse_first(array: Array, location: Location) -> None:
    """Faults E0804 at the first list that is not as long as those before it, E0803 at the first cell that is no
    number.
    """
    cells = list(np.ndenumerate(array))
    lists = [(index, cell) for index, cell in cells if isinstance(cell, list | tuple)]
    for index, cell in lists:
        if len(cell) != len(lists[0][1]):
            first_row = location.rows[lists[0][0][0]]
            note = f"{location.cell(index)} has {len(cell)} elements, row {first_row} has {len(lists[0][1])}"
            fault("E0804", "rows differ in length", location.span, note)
    for index, cell in cells:
        try:
            float(cell)
        except OverflowError:
            fault("E0803", "this number is too large", location.span, f"{location.cell(index)}: {shown_cell(cell)}")
        except (ValueError, TypeError):
            is_text = isinstance(cell, str)
            fault(
                "E0803",
                f'"{shown_cell(cell)}" is not a number' if is_text else "this is not a number",
                location.span,
                location.cell(index),
                hint="`classes` or `one_hot` takes text" if is_text else None,
            )


def natural(label: str) -> tuple[int, float, str]:
    """A key that sorts labels: numbers by their value, then all other texts. `nan` has no place among numbers."""
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    return (1, 0.0, label) if math.isnan(value) else (0, value, label)
