"""Reads `csv("file.csv")`: a table of text in any dialect (dialect.py). Large files stay on disk (tables/store.py).

A regular text is taken apart by polars, any other by the module csv, which is slower; both give the same cells.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.hints import Hint
from netc.dsl.quoting import cell
from netc.runtime.available import NotEnough, refuse, require_at
from netc.runtime.data.csv.check import Irregular
from netc.runtime.data.csv.dialect import Detected, detect, note_of
from netc.runtime.data.csv.frames import IrregularText, first_number, regular_frames, write_regular
from netc.runtime.data.csv.records import Dialect
from netc.runtime.data.csv.rows import CsvRows
from netc.runtime.data.csv.text_file import TextFile
from netc.runtime.data.readers.collected import collected
from netc.runtime.data.readers.content import ON_DISK, require_cells
from netc.runtime.data.readers.panics import quiet_panics
from netc.runtime.data.readers.reading import decoding
from netc.runtime.data.readers.request import Request, Use
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import PLAIN, Misread
from netc.runtime.data.tables.columns import Columns
from netc.runtime.data.tables.row_numbers import RowNumbers
from netc.runtime.data.tables.store import Scan, is_large, stored_columns
from netc.runtime.data.tables.table import Table

_NUMBER = 8  # bytes of a cell of a column of numbers
_SMALL = 1 << 20  # bytes of a text that is read without polars, which takes a quarter of a second to import


def read_csv(request: Request) -> Table:
    """The table of a csv file; its cells are texts. Raises E0801, E0803 and E0804 where the file is not a table."""
    is_packed = request.path.suffix == ".gz"
    is_stored = not is_packed and is_large(request.path)
    is_on_disk = is_stored or (not is_packed and request.path.stat().st_size > _SMALL)
    file = TextFile.of(request.path, request.shown, request.span, is_on_disk)
    detected = detect(file, request.options)
    if not detected.names:
        with file.text(detected.dialect.encoding, detected.dialect.line_end) as stream:
            next(CsvRows(request, detected, stream).batches(), None)  # says why, unless the file is blank
        fault("E0801", f"`{request.shown}` has no rows", request.span, "the file is empty, or has blank lines only")
    for name in detected.doubtful:
        if Use.NUMBERS in request.uses(name):
            fact = f"the points in the numbers of `{cell(name)}` can be decimal points, or stand between thousands"
            hint = Hint.options('decimal = "."', 'thousands = "."')
            fault("E0801", fact, request.span, f"`{request.shown}`", hint=hint)
    columns: Any
    if file.raw is not None and len(file.raw) <= _SMALL:
        columns, rows = _by_rows(file, request, detected)
    else:
        try:
            with decoding(request.shown, request.span), quiet_panics():
                columns, rows = _by_polars(file, request, detected, is_stored)
        except NotEnough as lack:
            refuse(lack, request.span, ON_DISK)
    return Table(
        request.shown,
        columns,
        rows,
        note_of(request.shown, detected.options),
        names=detected.names,
        warnings=detected.warnings,
        options=detected.options,
        bad_rows=request.bad_rows,
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


def _by_polars(file: TextFile, request: Request, detected: Detected, is_stored: bool) -> tuple[Columns, RowNumbers]:
    """The columns of a text, in memory or from the cache, by polars or, if the text is irregular, by the module csv."""
    needed, rules = request.needed(detected.names), detected.dialect.rules
    rows = RowNumbers(first_number(detected))
    regular = partial(regular_frames, file, request, detected)
    try:
        if not is_stored:
            _require_columns(file, request, len(needed))
            return collected(regular, needed, request.uses, rules), rows
        scan = nullcontext(Scan(regular, needed, rules, rows))
        return stored_columns(request, detected.names, lambda: scan)
    except (Irregular, Misread):
        if is_stored and request.bad_rows is None:  # a copy does not say which rows are bad
            open_scan = partial(_open_regular_copy, file, request, detected)
            return stored_columns(request, detected.names, open_scan)
    irregular = IrregularText(file, request, detected)
    return collected(irregular.frames, needed, request.uses, PLAIN), irregular.numbers


def _require_columns(file: TextFile, request: Request, columns: int) -> None:
    """Raises E1005 if these columns of numbers do not fit into memory."""
    rows = sum(piece.count(b"\n") for piece in file.pieces())
    require_at(_NUMBER * rows * columns, f"the {rows * columns:,} cells of `{request.shown}`", request.span, ON_DISK)


def _objects(cells: list[str | None]) -> Array:
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


@contextmanager
def _open_regular_copy(file: TextFile, request: Request, detected: Detected) -> Iterator[Scan]:
    """A text on disk that is not regular: a copy that is regular is written, with clean cells, and read instead."""
    needed = tuple(request.needed(detected.names))
    with tempfile.TemporaryDirectory(prefix="netc-") as folder:
        copy = Path(folder) / "table.csv"
        rows = write_regular(file, request, detected, copy)
        copied = partial(regular_frames, TextFile(copy, request.shown, request.span, None), request)
        yield Scan(partial(copied, Detected(Dialect(header=needed), needed)), needed, PLAIN, rows)
