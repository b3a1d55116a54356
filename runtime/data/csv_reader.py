"""Reads `csv("file.csv")`: a table of text. Large files stay on disk (store.py)."""

import codecs
import csv
import io
from functools import partial
from pathlib import Path

import numpy as np

from netc.dsl.diagnostics import Fault, fault
from netc.dsl.files import opened
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.content import require_cells, text_content
from netc.runtime.data.panics import quiet_panics
from netc.runtime.data.reading import decoding
from netc.runtime.data.store import IsText, is_large, stored_columns
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table

_SMALL = 1 << 20  # bytes of a file that is read without polars if it can be
_HEADER_BYTES = 1 << 20  # what is read of a large file for its header


def read_csv(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    """The table of a csv file; its cells are texts. Faults E0801 and E0804 where the file is no table."""
    if path.suffix != ".gz" and is_large(path):
        import polars

        scan = partial(
            polars.scan_csv,
            path,
            infer_schema=False,
            glob=False,
            with_column_names=partial(_unquoted, _first_text(path)),
        )
        with decoding(shown, span), quiet_panics():
            large = stored_columns(path, scan, shown, span, is_text)
        return Table(shown, large, 2)
    text, raw = text_content(path, shown, span)
    require_cells(raw, b",\n\r", shown, span)
    if len(raw) <= _SMALL and (plain := _plain_columns(text)) is not None:
        return Table(shown, plain, 2)
    import polars

    try:
        with decoding(shown, span), quiet_panics():
            frame = polars.read_csv(
                io.BytesIO(raw.removeprefix(codecs.BOM_UTF8)), infer_schema=False, raise_if_empty=False
            )
    except Fault:
        _refuse_uneven_rows(text, shown, span)  # says more than the message of polars, if this is the reason
        raise
    if not frame.height:
        fault("E0801", f"`{shown}` has no rows", span)
    columns, header = frame.get_columns(), _header(text)
    if columns[-1].null_count() or len(set(header)) != len(columns):
        _refuse_uneven_rows(text, shown, span)
    cells = (column.to_numpy(allow_copy=True).astype(object) for column in columns)
    return Table(shown, dict(zip(_unquoted(text, frame.columns), cells, strict=True)), 2)


def _plain_columns(text: str) -> dict[str, Array] | None:
    """The columns of a csv text that has no quotes and equally many cells in each row, or None for any other text.

    They are those that polars returns, which takes a quarter of a second to import.
    """
    if any(character in text for character in '"\r\0'):
        return None
    lines = text.removesuffix("\n").split("\n")
    names, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    is_plain = "" not in lines and "" not in names and len(set(names)) == len(names)
    if not rows or not is_plain or any(len(row) != len(names) for row in rows):
        return None
    columns = {name: np.empty(len(rows), object) for name in names}
    for column, cells in zip(columns.values(), zip(*rows, strict=True), strict=True):
        column[:] = [cell or None for cell in cells]
    return columns


def _first_text(path: Path) -> str:
    """The beginning of a file, which has its header."""
    with opened(path) as file:
        return file.read(_HEADER_BYTES).decode("utf-8-sig", "replace")


def _unquoted(text: str, names: list[str]) -> list[str]:
    """The names of the columns, as the header has them; polars leaves doubled quotes in `names`."""
    header = _header(text)
    return header if len(header) == len(set(header)) == len(names) else names


def _header(text: str) -> list[str]:
    return next(csv.reader(io.StringIO(text)), [])


def _refuse_uneven_rows(text: str, shown: str, span: Span) -> None:
    """Faults E0801 if the header names a column twice, E0804 at the first row that is not as long as the header."""
    header = _header(text)
    seen: set[str] = set()
    for name in header:
        if name in seen:
            fault("E0801", f"`{shown}` has two columns `{cell(name)}`", span)
        seen.add(name)
    rows = csv.reader(io.StringIO(text), strict=True)
    next(rows, None)
    for number, row in enumerate(rows, 2):
        if row and len(row) != len(header):
            fact = f"`{shown}`, row {number} has {len(row)} cells, the header has {len(header)}"
            if len(row) < len(header):
                fault(
                    "E0804", fact, span, f"the last one is `{cell(row[-1])}` in column `{cell(header[len(row) - 1])}`"
                )
            fault("E0804", fact, span, f"`{cell(row[len(header)])}` has no column")
