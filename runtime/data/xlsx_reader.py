"""Reads `xlsx("file.xlsx")`: a sheet of a workbook, whose first row names the columns. Needs the extra `xlsx`."""

import zipfile
from array import array
from collections.abc import Sequence
from typing import Any

from netc.dsl.diagnostics import fault, nearest_or_all
from netc.dsl.files import opened
from netc.dsl.quoting import cell
from netc.runtime.available import require_at
from netc.runtime.data.content import content
from netc.runtime.data.extras import require_package
from netc.runtime.data.panics import quiet_panics
from netc.runtime.data.parquet_reader import column_of_series, rules_of
from netc.runtime.data.reading import decoding
from netc.runtime.data.request import Request
from netc.runtime.data.row_numbers import RowNumbers
from netc.runtime.data.table import Table

_BYTES = 8  # of memory for a byte of a sheet's XML
_FIRST_ROW = 2


def read_xlsx(request: Request) -> Table:
    """The needed columns of a sheet: the first one, or the one that the option `sheet` names.

    Rows without a cell are left out. Faults E0801 if the file is no workbook, or has a column twice.
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
    """Faults E0801 if a file is no workbook, E1005 if the memory does not hold what its archive unpacks to."""
    with opened(request.path) as file:
        if not zipfile.is_zipfile(file):
            fact = f"`{request.shown}` is no workbook"
            fault("E0801", fact, request.span, hint="save it as .xlsx, or as csv")
        with decoding(request.shown, request.span), zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
    require_at(_BYTES * size, f"the sheets of `{request.shown}`", request.span)


def _refuse_same_names(names: Sequence[str], request: Request) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            fault("E0801", f"`{request.shown}` has two columns `{cell(name)}`", request.span)
        seen.add(name)
