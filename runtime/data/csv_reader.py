"""Reads `csv("file.csv")`: a table of text in any dialect (dialect.py). Large files stay on disk (store.py).

A regular text is taken apart by polars, any other by the module csv, which is slower; both give the same cells.
"""

import csv
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.runtime.data.cell_text import CellRules, cleaned, cleaner
from netc.runtime.data.content import require_cells
from netc.runtime.data.csv_check import is_regular
from netc.runtime.data.csv_rows import CsvRows
from netc.runtime.data.dialect import Detected, detect, note_of
from netc.runtime.data.panics import quiet_panics
from netc.runtime.data.reading import decoding
from netc.runtime.data.request import Request, Use
from netc.runtime.data.row_numbers import RowNumbers
from netc.runtime.data.store import Scan, is_large, stored_columns
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table
from netc.runtime.data.text_file import TextFile

if TYPE_CHECKING:
    import polars

_SMALL = 1 << 20  # bytes of a text that is read without polars, which takes a quarter of a second to import


def read_csv(request: Request) -> Table:
    """The table of a csv file; its cells are texts. Faults E0801, E0803 and E0804 where the file is no table."""
    is_on_disk = request.path.suffix != ".gz" and is_large(request.path)
    file = TextFile.of(request.path, request.shown, request.span, is_on_disk)
    detected = detect(file, request.options)
    if not detected.names:
        with file.text(detected.dialect.encoding, detected.dialect.line_end) as stream:
            next(CsvRows(request, detected, stream).batches(), None)  # says why, unless the file is blank
        fault("E0801", f"`{request.shown}` has no rows", request.span, "the file is empty, or has blank lines only")
    for name in detected.doubtful:
        if Use.NUMBERS in request.uses(name):
            fact = f"the points in the numbers of `{cell(name)}` can be decimal points, or stand between thousands"
            fault("E0801", fact, request.span, f"`{request.shown}`", hint='decimal = "." or thousands = "."')
    columns: Any
    if is_on_disk:
        columns, rows = stored_columns(request, detected.names, partial(_open_scan, file, request, detected))
    elif file.raw is not None and len(file.raw) > _SMALL and is_regular(file, detected.dialect, len(detected.names)):
        columns, rows = _by_polars(file.raw, request, detected)
    else:
        columns, rows = _by_rows(file, request, detected)
    return Table(
        request.shown,
        columns,
        rows,
        note_of(request.shown, detected.options),
        names=detected.names,
        warnings=detected.warnings,
        options=detected.options,
    )


def _by_rows(file: TextFile, request: Request, detected: Detected) -> tuple[dict[str, Array], RowNumbers]:
    """The columns of a file in memory, by the module csv."""
    assert file.raw is not None, "a file on disk is not read into memory"
    separators = f"{detected.dialect.delimiter}\n\r".encode(detected.dialect.encoding, "ignore")
    require_cells(file.raw, separators, request.shown, request.span)
    needed = request.needed(detected.names)
    parts: dict[str, list[str | None]] = {name: [] for name in needed}
    with file.text(detected.dialect.encoding, detected.dialect.line_end) as stream:
        rows = CsvRows(request, detected, stream)
        for batch in rows.batches():
            for name, cells in batch.items():
                parts[name] += cells
    return {name: _objects(cells) for name, cells in parts.items()}, rows.numbers


def _by_polars(raw: bytes, request: Request, detected: Detected) -> tuple[dict[str, Array], RowNumbers]:
    """The columns of a regular text in memory."""
    import polars

    dialect = detected.dialect
    require_cells(raw, f"{dialect.delimiter}\n\r".encode(), request.shown, request.span)
    with decoding(request.shown, request.span), quiet_panics():
        frame = polars.read_csv(
            raw.removeprefix(b"\xef\xbb\xbf"),
            has_header=dialect.header is True,
            separator=dialect.delimiter,
            infer_schema=False,
            raise_if_empty=False,
        )
    frame.columns = list(detected.names)
    columns: dict[str, Array] = {}
    for name in request.needed(detected.names):
        use = request.uses(name)
        clean = cleaner(dialect.rules, Use.LABELS in use, Use.TEXT in use)
        columns[name] = _objects(cleaned(frame[name].to_list(), clean))
    return columns, RowNumbers(_first_row(detected))


def _first_row(detected: Detected) -> int:
    """The number of the first row of a regular text."""
    return 2 if detected.dialect.header is True else 1


def _objects(cells: list[str | None]) -> Array:
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


@contextmanager
def _open_scan(file: TextFile, request: Request, detected: Detected) -> Iterator[Scan]:
    """A file on disk as a table of polars. If it is not regular, a copy that is regular is written and read instead."""
    with decoding(request.shown, request.span), quiet_panics():
        dialect = detected.dialect
        if is_regular(file, dialect, len(detected.names)):
            frame = _scan(file.path, dialect.delimiter, dialect.header is True, list(detected.names))
            frame = frame.select(request.needed(detected.names))
            yield Scan(frame, dialect.rules, RowNumbers(_first_row(detected)))
            return
        with tempfile.TemporaryDirectory(prefix="netc-") as folder:
            copy = Path(folder) / "table.csv"
            rows = _write_regular(file, request, detected, copy)
            yield Scan(_scan(copy, ",", True, request.needed(detected.names)), CellRules(), rows)


def _scan(path: Path, delimiter: str, has_header: bool, names: list[str]) -> "polars.LazyFrame":
    import polars

    return polars.scan_csv(
        path,
        separator=delimiter,
        has_header=has_header,
        infer_schema=False,
        glob=False,
        with_column_names=lambda _: names,
    )


def _write_regular(file: TextFile, request: Request, detected: Detected, copy: Path) -> RowNumbers:
    """Writes the needed columns as a regular csv, with clean cells, and returns the numbers of the rows."""
    dialect = detected.dialect
    with (
        file.text(dialect.encoding, dialect.line_end) as stream,
        copy.open("w", encoding="utf-8", newline="") as target,
    ):
        writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow([str(i) for i in range(len(request.needed(detected.names)))])
        rows = CsvRows(request, detected, stream)
        for batch in rows.batches():
            writer.writerows(zip(*batch.values(), strict=True))
    return rows.numbers
