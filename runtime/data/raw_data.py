"""Raw data of a Python program as a table: a path, a DataFrame, columns by name, or rows with cells by name.

The cells become what a reader would have read from a file, so that both give the same bits.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.runtime.data.declarations import SourceSpec
from netc.runtime.data.new_data import Fitted, read_table
from netc.runtime.data.npz import refuse_lengths
from netc.runtime.data.partition import uses_of
from netc.runtime.data.readers import reader_of
from netc.runtime.data.request import WORDS, Use, Uses
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table, column_of

_NAME = "data"  # of such a table in messages


def raw_table(fitted: Fitted, data: Any, inputs: Sequence[str], inner: Sequence[str] = ()) -> Table:
    """The table of raw data for a run. `inputs` are the fields that it predicts from, and `inner` inner values.

    Faults E0702 if `data` has arrays by the names of fields, where columns are needed. Raises TypeError for what is no
    table.
    """
    place = Span(Source(_NAME, ""), 0, 0)
    if isinstance(data, str | Path):
        path, own = Path(data), fitted.spec.source
        reader = reader_of(path, own.reader)
        source = SourceSpec(reader, str(path.absolute()), place, own.options if reader == own.reader else ())
        return read_table(fitted, source, str(data), [*inputs, *inner], lambda column: False)
    columns = _columns(data, uses_of(fitted.spec, inputs))
    _refuse_fields(fitted, columns, [name for name in inputs if name not in inner], place)
    refuse_lengths({name: len(column) for name, column in columns.items()}, "columns", _NAME, place)
    table = Table(_NAME, columns)
    if not len(table):
        fault("E0801", f"`{_NAME}` has no rows", place)
    return table


def _refuse_fields(fitted: Fitted, columns: Mapping[str, Any], inputs: Sequence[str], place: Span) -> None:
    """Faults E0702 if a name is that of a field, and the columns of that field are not there."""
    for name in inputs:
        needed = fitted.spec.fields[name].columns
        if name in columns and name not in needed and not set(needed) <= {*columns}:
            fact = f"`{name}` is a field, and raw data has columns: {', '.join(needed[:8])}"
            hint = "run.program.predict takes arrays that went through the steps of their fields"
            fault("E0702", fact, place, hint=hint)


def _columns(data: Any, uses: Uses) -> dict[str, Any]:
    """Columns by name of any kind of table."""
    if isinstance(data, Mapping):
        return {str(name): _column(cells, uses(str(name))) for name, cells in data.items()}
    if isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(str(name) for row in data for name in row)
        return {name: _column([row.get(name) for row in data], uses(name)) for name in names}
    if hasattr(data, "iloc"):  # pandas, whose Arrow interface needs another package
        return {str(name): _column(data[name], uses(str(name))) for name in data.columns}
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__"):
        import polars

        frame = polars.DataFrame(data) if hasattr(data, "__arrow_c_stream__") else polars.from_dataframe(data)
        return {name: _column(frame[name], uses(name)) for name in frame.columns}
    raise TypeError(
        "run.predict takes a path, a DataFrame, columns by name or a list of rows by name; "
        "run.program.predict takes prepared arrays by field"
    )


def _column(cells: Any, use: Use) -> Array:
    """A column as a reader of files gives it: numbers as an array, anything else as texts, None where one is missing.

    Where words are needed, numbers are texts, too, spelled as labels are.
    """
    is_text = bool(use & WORDS)
    array = cells.to_numpy() if hasattr(cells, "to_numpy") else cells
    if isinstance(array, np.ndarray):
        if array.dtype.kind in "iufb" and (array.ndim > 1 or not is_text):
            return array.astype(np.float64) if array.dtype.kind == "b" else array
        array = _dates(array) if array.dtype.kind == "M" else array.tolist()
    return column_of([_cell(value) for value in array], is_text, keeps_nan=Use.TEXT in use)


def _dates(array: Array) -> list[str | None]:
    """Times as texts: 2004-07-15, or 2004-07-15T09:30:00 if one of them is not at midnight."""
    present = array[~np.isnat(array)]
    unit: Any = "D" if (present == present.astype("datetime64[D]")).all() else "s"
    return [None if text == "NaT" else text for text in np.datetime_as_string(array, unit=unit).tolist()]


def _cell(value: Any) -> Any:
    """A cell as a reader of files gives it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # those of pandas
        return None
    if isinstance(value, bool | str | int | float):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        return np.asarray(value).tolist()
    return value.isoformat() if isinstance(value, date) else str(value)
