"""The cells of a part's rows as the data files have them, before any step: for pages and explanations."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from netc.runtime.data import windows
from netc.runtime.data.division.partition import read_parts, stratifying_target
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.table import Table
from netc.runtime.insight.words import number_text, shortened
from netc.runtime.runs.run import Run


class InputCells(Struct, frozen=True):
    """The columns that the inputs of a model read, and the texts of their cells [row][column]."""

    columns: tuple[str, ...]
    texts: Sequence[Sequence[str]]


def input_cells(run: Run, part: str, chosen: Sequence[int]) -> InputCells:
    """The cells of the samples at these positions of a part. Reads the data again.

    No columns if samples are windows of a series, or the run was trained on arrays. Columns of arrays, such as
    pictures, are left out.
    """
    if run.model.data is None or windows.is_series(run.spec.fields.values()):
        return InputCells((), [()] * len(chosen))
    divided = read_parts(run.spec, run.model.source, stratifying_target(run.model))[part]
    return cells_of(run, divided.table, divided.rows[np.asarray(chosen, np.int64)])


def cells_of(run: Run, table: Table, rows: Array) -> InputCells:
    """The cells of the inputs' columns in some rows of a table, as in `input_cells`."""
    names = dict.fromkeys(column for name in run.model.inputs for column in run.spec.fields[name].columns)
    cells = {name: table.columns[name][rows] for name in names if name in table.columns}
    columns = {name: column for name, column in cells.items() if column.ndim == 1}
    return InputCells(tuple(columns), [[cell_text(column[i]) for column in columns.values()] for i in range(len(rows))])


def cell_text(cell: object) -> str:
    """A cell as a page shows it; nothing for a missing one."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else number_text(cell) and f"{cell:.6g}"
    return shortened(str(cell))
