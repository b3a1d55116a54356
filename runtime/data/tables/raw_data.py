"""Raw data of a Python program as a table: a path, a DataFrame, columns by name, or rows with cells by name.

The cells become what a reader would have read from a file, so that both give the same bits.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.dsl.source import Source, Span
from netc.runtime.arguments import kind_of, refuse
from netc.runtime.data.new_data import Fitted, read_table, source_of, uses_of_new
from netc.runtime.data.readers.npz import refuse_lengths
from netc.runtime.data.readers.readers import reader_of
from netc.runtime.data.readers.request import Request, Use
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import label_of, moment_text
from netc.runtime.data.tables.table import Table, column_of

_NAME = "data"  # of such a table in messages


def raw_table(fitted: Fitted, data: Any, inputs: Sequence[str], inner: Sequence[str] = ()) -> Table:
    """The table of raw data for a run. `inputs` are the fields that it predicts from, and `inner` inner values.

    Raises E0702 if `data` has arrays by the names of fields, where columns are needed. Raises TypeError for what is no
    table.
    """
    span, names, spec = Span(Source(_NAME, ""), 0, 0), [*inputs, *inner], fitted.spec
    if isinstance(data, str | Path):
        source = source_of(spec, Path(data).absolute(), reader_of(Path(data), spec.source.reader), span)
        return read_table(fitted, source, str(data), names, lambda column: False)
    marks = dict(spec.source.options).get("missing", ())
    table = _table(data, Request(Path(_NAME), _NAME, span, uses_of_new(spec, names), {"missing": marks}))
    _refuse_fields(fitted, table.names, [name for name in inputs if name not in inner], span)
    refuse_lengths({name: len(column) for name, column in table.columns.items()}, "columns", _NAME, span)
    if not len(table):
        fault("E0801", f"`{_NAME}` has no rows", span)
    return table


def _refuse_fields(fitted: Fitted, columns: Sequence[str], inputs: Sequence[str], span: Span) -> None:
    """Raises E0702 if a name is that of a field, and the columns of that field are not there."""
    for name in inputs:
        needed = fitted.spec.fields[name].columns
        if name in columns and name not in needed and not set(needed) <= {*columns}:
            fact = f"`{name}` is a field, and raw data has columns: {', '.join(needed[:8])}"
            hint = "run.program.predict takes arrays that went through the steps of their fields"
            fault("E0702", fact, span, hint=hint)


def _table(data: Any, request: Request) -> Table:
    """The needed columns of any kind of table."""
    if isinstance(data, Mapping):
        if (single := next((name for name, cells in data.items() if not _is_column(cells)), None)) is not None:
            title = f"`{single}` is {kind_of(data[single])}, and a column has a cell for each row"
            row = "run.predict([row]) takes rows, each a dict of its cells"
            hint = "a list, because a set has no order" if isinstance(data[single], Set) else row
            refuse("E0804", title, request.span, hint=hint)
        return _of_columns(_by_name(data.items(), request), request)
    if isinstance(data, list | tuple) and not len(data):
        fault("E0801", f"`{_NAME}` has no rows", request.span)
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        rows = [_by_name(row.items(), request) for row in data]
        names = dict.fromkeys(name for row in rows for name in row)
        return _of_columns({name: [row.get(name) for row in rows] for name in names}, request)
    if hasattr(data, "iloc"):  # pandas, whose Arrow interface needs another package
        columns = ((name, data.iloc[:, position]) for position, name in enumerate(data.columns))
        return _of_columns(_by_name(columns, request), request)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__"):
        import polars

        from netc.runtime.data.readers.parquet import table_of_frame

        frame = polars.DataFrame(data) if hasattr(data, "__arrow_c_stream__") else polars.from_dataframe(data)
        return table_of_frame(request, frame.select(request.needed(frame.columns)), frame.columns)
    raise TypeError(
        "run.predict takes a path, a DataFrame, columns by name or a list of rows by name; "
        "run.program.predict takes prepared arrays by field"
    )


def _by_name(columns: Iterable[tuple[Any, Any]], request: Request) -> dict[str, Any]:
    """Columns or cells by their names as texts. Raises E0801 for a second one of a name."""
    by_name: dict[str, Any] = {}
    for name, cells in columns:
        if str(name) in by_name:
            fault("E0801", f"`{_NAME}` has two columns `{cell(name)}`", request.span)
        by_name[str(name)] = cells
    return by_name


def _is_column(cells: Any) -> bool:
    """Whether a value has cells, as a list has them: neither a text, nor a number, nor None, nor a set."""
    has_cells = hasattr(cells, "__len__") and getattr(cells, "ndim", 1) > 0
    return has_cells and not isinstance(cells, str | bytes | Mapping | Set)


def _of_columns(columns: Mapping[str, Any], request: Request) -> Table:
    names = tuple(columns)
    return Table(_NAME, {name: _column(name, columns[name], request) for name in request.needed(names)}, names=names)


def _column(name: str, cells: Any, request: Request) -> Array:
    """A column as a reader of files gives it: numbers as an array, anything else as texts, None where one is missing.

    Numbers that are needed as texts are spelled as labels.
    """
    if hasattr(cells, "__arrow_c_stream__") and not hasattr(cells, "iloc"):
        import polars

        from netc.runtime.data.readers.parquet import column_of_series, rules_of

        return column_of_series(polars.Series(name, cells), request, rules_of(request))
    array, is_text = cells.to_numpy() if hasattr(cells, "to_numpy") else cells, request.needs_text(name)
    if isinstance(array, np.ma.MaskedArray):
        array = array.tolist() if np.ma.is_masked(array) else array.data
    if isinstance(array, np.ndarray):
        if array.dtype.kind in "iufb" and (array.ndim > 1 or not is_text):
            return array.astype(np.float64) if array.dtype.kind == "b" else array
        array = _cells(array)
    keeps_nan = Use.TEXT in request.uses(name)
    return column_of([_cell(value) for value in array], is_text, request.options["missing"], keeps_nan)


def _cells(array: Array) -> list[Any]:
    """The cells of a NumPy array as Python has them: times as texts, and small floats with their own digits."""
    if array.dtype.kind == "M":
        is_coarse = np.datetime_data(array.dtype)[0] in ("h", "m")
        texts = np.datetime_as_string(array.astype("datetime64[s]") if is_coarse else array).tolist()
        return [None if text == "NaT" else moment_text(text) for text in texts]
    if array.dtype.kind == "f" and array.dtype.itemsize < 8 and array.ndim == 1:
        return [None if np.isnan(number) else label_of(number) for number in array]
    cells: list[Any] = array.tolist()
    return cells


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
    return moment_text(value.isoformat()) if isinstance(value, date) else str(value)
