"""Reads `parquet("file.parquet")`: a table of typed columns. Large files stay on disk (tables/store.py)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from netc.runtime.available import require_at
from netc.runtime.data.readers.panics import quiet_panics
from netc.runtime.data.readers.reading import decoding
from netc.runtime.data.readers.request import Request
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import CellRules
from netc.runtime.data.tables.store import Scan, is_large, rows_at_a_time, stored_columns
from netc.runtime.data.tables.table import Table, column_of, plain_cells

if TYPE_CHECKING:
    import polars

_CELL = 24  # bytes of a number while it is read: in the file, in polars, and as a float


def read_parquet(request: Request) -> Table:
    """The table of a parquet file. Raises E0801 if polars cannot read it, E1005 if it does not fit in memory."""
    import polars

    return read_scan(request, partial(polars.scan_parquet, request.path, glob=False))


def read_scan(request: Request, scan: "Callable[[], polars.LazyFrame]") -> Table:
    """The needed columns of a table that polars scans."""
    import polars

    with decoding(request.shown, request.span), quiet_panics():
        frame = scan()
        names = frame.collect_schema().names()
        needed = request.needed(names)
        if is_large(request.path):
            open_scan = partial(_open_scan, frame, needed, rules_of(request))
            columns, rows = stored_columns(request, names, open_scan)
            return Table(request.shown, columns, rows, names=tuple(names))
        count = frame.select(polars.len()).collect().item()
        require_at(_CELL * count * len(needed), f"{count:,} rows of {len(needed):,} columns", request.span)
        return table_of_frame(request, frame.select(needed).collect(), names)


@contextmanager
def _open_scan(frame: "polars.LazyFrame", needed: list[str], rules: CellRules) -> "Iterator[Scan]":
    import polars

    def batches(names: Sequence[str]) -> "Iterator[polars.DataFrame]":
        size = rows_at_a_time(len(names))
        yield from frame.select(names).collect_batches(chunk_size=size, maintain_order=True)

    schema, count = frame.collect_schema(), frame.select(polars.len()).collect().item()
    numeric = frozenset(name for name in needed if schema[name].is_numeric() or schema[name] == polars.Boolean)
    yield Scan(batches, needed, rules, count=count, numeric=numeric)


def rules_of(request: Request) -> CellRules:
    """The rules for the texts of a typed table: its missing marks; numbers are not texts there."""
    return CellRules(tuple(request.options.get("missing", ())))


def table_of_frame(request: Request, frame: "polars.DataFrame", names: list[str]) -> Table:
    """The table of a data frame that has the needed columns out of `names`."""
    rules = rules_of(request)
    columns = {column.name: column_of_series(column, request, rules) for column in frame.get_columns()}
    return Table(request.shown, columns, names=tuple(names))


def column_of_series(column: "polars.Series", request: Request, rules: CellRules) -> Array:
    """A column of numbers as floats, NaN where one is missing; lists as arrays; anything else as text.

    Numbers that are needed as texts are spelled as labels.
    """
    import polars

    from netc.runtime.data.readers.polars_cells import texts

    if column.dtype.is_nested():
        return column_of(column.to_list())
    is_number = column.dtype.is_numeric() or column.dtype == polars.Boolean
    if is_number and not request.needs_text(column.name):
        plain: Array = column.cast(polars.Float64).to_numpy(allow_copy=True)
        return plain
    return plain_cells(texts(column, request.uses(column.name), rules), keeps_nan=True)  # `texts` knows better
