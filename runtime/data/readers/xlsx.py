"""Reads `xlsx("file.xlsx")`: a sheet of a workbook, whose first row names the columns. Needs the extra `xlsx`."""

import re
import string
import zipfile
from array import array
from collections.abc import Sequence
from typing import IO, Any

from netc.dsl.diagnostics import fault, nearest_or_all
from netc.dsl.quoting import cell
from netc.dsl.storage.files import opened
from netc.runtime.available import require_at
from netc.runtime.data.readers.content import content
from netc.runtime.data.readers.extras import require_package
from netc.runtime.data.readers.panics import quiet_panics
from netc.runtime.data.readers.parquet import column_of_series, rules_of
from netc.runtime.data.readers.reading import decoding
from netc.runtime.data.readers.request import Request
from netc.runtime.data.tables.row_numbers import RowNumbers
from netc.runtime.data.tables.table import Table

_BYTES = 8  # of memory for a byte of a sheet's XML
_CELL = 64  # bytes of memory for a cell of the rectangle that has all cells of a sheet, also where there is none
_PIECE = 1 << 22  # bytes of XML at a time
# the location of a cell that has a value: letters of its column, and the number of its row
_REFERENCE = re.compile(rb"<(?:\w+:)?c\s(?:[^<>]*?\s)?r\s*=\s*[\"']\s*([A-Za-z]{1,9}[0-9]{1,15})\s*[\"'][^<>]*(?<!/)>")
_LETTERS, _DIGITS = string.ascii_letters.encode(), string.digits.encode()
_FIRST_ROW = 2


def read_xlsx(request: Request) -> Table:
    """The needed columns of a sheet: the first one, or the one that the option `sheet` names.

    Rows without a cell are left out. Raises E0801 if the file is not a workbook, or has a column twice.
    """
    fastexcel: Any = require_package("fastexcel", "xlsx", request.span)
    shown, span = request.shown, request.span
    _require_memory(request)
    raw = content(request.path, shown, span)
    with decoding(shown, span), quiet_panics():
        workbook = fastexcel.read_excel(raw)
        sheet = request.options.get("sheet", 0)
        if isinstance(sheet, str) and sheet not in workbook.sheet_names:
            hint = nearest_or_all(sheet, workbook.sheet_names)
            fault("E0801", f"`{shown}` has no sheet `{cell(sheet)}`", span, hint=hint)
        head = workbook.load_sheet(sheet, header_row=None, n_rows=1).to_polars()
        _refuse_same_names([str(name) for name in head.row(0) if name is not None] if head.height else [], request)
        frame = workbook.load_sheet(sheet, schema_sample_rows=None).to_polars()
    names = [name for name in frame.columns if not (name.startswith("__UNNAMED__") and frame[name].is_null().all())]
    frame = frame.select(names)
    is_blank = [all(value is None for value in row) for row in frame.iter_rows()]
    gaps, count = array("q"), 0
    for blank in is_blank:
        if blank:
            gaps.append(count)
        count += not blank
    frame = frame.filter([not blank for blank in is_blank])
    rules = rules_of(request)
    columns = {name: column_of_series(frame[name], request, rules) for name in request.needed(names)}
    return Table(shown, columns, RowNumbers.from_gaps(_FIRST_ROW, gaps), names=tuple(names))


def _require_memory(request: Request) -> None:
    """Raises E0801 if a file is not a workbook, E1005 if its unpacked archive does not fit in memory."""
    with opened(request.path) as file:
        if not zipfile.is_zipfile(file):
            fact = f"`{request.shown}` is not a workbook"
            fault("E0801", fact, request.span, hint="save it as .xlsx, or as csv")
        with decoding(request.shown, request.span), zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            require_at(_BYTES * size, f"the sheets of `{request.shown}`", request.span)
            for member in archive.namelist():
                if member.startswith("xl/worksheets/") and member.endswith(".xml"):
                    with archive.open(member) as sheet:
                        _require_rectangle(sheet, request)


def _require_rectangle(sheet: IO[bytes], request: Request) -> None:
    """Raises E1005 if the rectangle around all cells of a sheet does not fit in memory.

    The decoder allocates this rectangle, and ends the process if it cannot.
    """
    columns: set[bytes] = set()
    rows: set[bytes] = set()
    rest = b""
    while piece := sheet.read(_PIECE):
        text = rest + piece
        cells = b" ".join(_REFERENCE.findall(text))
        columns.update(cells.translate(None, _DIGITS).split())
        rows.update(cells.translate(None, _LETTERS).split())
        rest = text[max(text.rfind(b"<"), 0) :]
    if not rows:
        return
    width, height = _span([*map(_column_number, columns)]), _span([*map(int, rows)])
    hint = "delete cells far away from the table, or save it as csv"
    what = f"a sheet of {height:,} rows and {width:,} columns"
    require_at(_CELL * width * height, what, request.span, hint)


def _span(numbers: list[int]) -> int:
    return max(numbers) - min(numbers) + 1


def _column_number(letters: bytes) -> int:
    """The number of a column: A is 1, Z is 26, AA is 27."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - 64
    return number


def _refuse_same_names(names: Sequence[str], request: Request) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            fault("E0801", f"`{request.shown}` has two columns `{cell(name)}`", request.span)
        seen.add(name)
