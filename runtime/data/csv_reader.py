"""`csv("file.csv")`: a table of text."""

import codecs
import csv
import io
from functools import partial
from pathlib import Path

from netc.dsl.diagnostics import Fault, fault
from netc.dsl.files import opened
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.content import require_cells, text_content
from netc.runtime.data.reading import decoding
from netc.runtime.data.store import IsText, is_large, stored_columns
from netc.runtime.data.table import Table


def read_csv(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    import polars

    if path.suffix != ".gz" and is_large(path):
        scan = partial(
            polars.scan_csv,
            path,
            infer_schema=False,
            glob=False,
            with_column_names=partial(_unquoted, _first_text(path)),
        )
        with decoding(shown, span):
            large = stored_columns(path, scan, shown, span, is_text)
        return Table(shown, large, 2)
    text, raw = text_content(path, shown, span)
    require_cells(raw, b",\n\r", shown, span)
    try:
        with decoding(shown, span):
            frame = polars.read_csv(
                io.BytesIO(raw.removeprefix(codecs.BOM_UTF8)), infer_schema=False, raise_if_empty=False
            )
    except Fault:
        _explain_rows(text, shown, span)  # in words of the file, if it can be said
        raise
    if not frame.height:
        fault("E0801", f"`{shown}` has no rows", span)
    columns, header = frame.get_columns(), _header(text)
    if columns[-1].null_count() or len(set(header)) != len(columns):
        _explain_rows(text, shown, span)
    cells = (column.to_numpy(allow_copy=True).astype(object) for column in columns)
    return Table(shown, dict(zip(_unquoted(text, frame.columns), cells, strict=True)), 2)


def _first_text(path: Path) -> str:
    """A text that begins as a file does."""
    with opened(path) as file:
        return file.read(1 << 20).decode("utf-8-sig", "replace")


def _unquoted(text: str, names: list[str]) -> list[str]:
    """The names in the header of a csv; polars leaves doubled quotes as they are."""
    header = _header(text)
    return header if len(header) == len(set(header)) == len(names) else names


def _header(text: str) -> list[str]:
    return next(csv.reader(io.StringIO(text)), [])


def _explain_rows(text: str, shown: str, span: Span) -> None:
    """Fault E0804 at the first row that is longer or shorter than the header, E0801 where the header names a column
    twice.
    """
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
            fault(
                "E0804",
                f"`{shown}`, row {number} has {len(row)} cells, the header has {len(header)}",
                span,
                f"the last one is `{cell(row[-1])}` in column `{cell(header[min(len(row), len(header)) - 1])}`"
                if len(row) < len(header)
                else f"`{cell(row[len(header)])}` has no column",
            )
