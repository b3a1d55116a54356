"""Reads `parquet("file.parquet")`: a table of typed columns. Large files stay on disk (store.py)."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from netc.dsl.source import Span
from netc.runtime.available import require_at
from netc.runtime.data.panics import quiet_panics
from netc.runtime.data.reading import decoding
from netc.runtime.data.store import IsText, is_large, stored_columns
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table, column_of

if TYPE_CHECKING:
    import polars

_CELL = 24  # bytes of a number while it is read: in the file, in polars, and as a float


def read_parquet(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    """The table of a parquet file. Faults E0801 if polars cannot read it, E1005 if the memory does not hold it."""
    import polars

    if is_large(path):
        with decoding(shown, span), quiet_panics():
            large = stored_columns(path, partial(polars.scan_parquet, path, glob=False), shown, span, is_text)
        return Table(shown, large)
    with decoding(shown, span), quiet_panics():
        scan = polars.scan_parquet(path, glob=False)
        rows, names = scan.select(polars.len()).collect().item(), scan.collect_schema().names()
        require_at(_CELL * rows * len(names), f"{rows:,} rows of {len(names):,} columns", span)
        frame = scan.collect()
        columns = {column.name: _plain_column(column) for column in frame.get_columns()}
    return Table(shown, columns)


def _plain_column(column: "polars.Series") -> Array:
    """A column of numbers as floats, NaN where one is missing; lists as arrays; anything else as text."""
    import polars

    if column.dtype.is_nested():
        return column_of(column.to_list())
    is_number = column.dtype.is_numeric() or column.dtype == polars.Boolean
    plain: Array = column.cast(polars.Float64 if is_number else polars.String).to_numpy(allow_copy=True)
    return plain if is_number else plain.astype(object)
