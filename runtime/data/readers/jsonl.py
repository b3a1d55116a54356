"""Reads `jsonl("file.jsonl")`: a JSON object in each line."""

import json
from array import array
from typing import Any

from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.storage.files import reason
from netc.runtime.data.readers.content import require_cells, text_content
from netc.runtime.data.readers.request import Request, Use
from netc.runtime.data.tables.cells import RowFault, RowProblem
from netc.runtime.data.tables.row_numbers import RowNumbers
from netc.runtime.data.tables.table import Column, SparseColumn, Table, column_of


def read_jsonl(request: Request) -> Table:
    """A table with a row for each line. Lists of one shape are arrays; a key that a line lacks is a missing value.

    Raises E0801 at the first line that is not a JSON object. Of new data (with `bad_rows`) such lines are noted, and
    all of their cells are missing.
    """
    shown, span = request.shown, request.span
    text, raw = text_content(request.path, shown, span)
    require_cells(raw, b",:\n", shown, span)
    columns = Columns(request)
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a text in JSON may contain other line ends
        if not line.strip():
            columns.skip()
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or an integer of some thousand digits
            hint = 'json("...") reads a list of objects' if not columns.count and line.lstrip()[:1] == "[" else None
            fact, note = f"`{shown}`, line {number} is not JSON", reason(error)
            columns.refuse(
                number, f"the line is not JSON: {note}", Diagnostic("E0801", fact, Label(span, note), hint=hint)
            )
            continue
        if not isinstance(row, dict):
            hint = '{"x": [1, 2], "label": "a"}; json("...") reads a list of objects'
            fact = f"`{shown}`, line {number} is not a JSON object"
            columns.refuse(number, "the line is not a JSON object", Diagnostic("E0801", fact, Label(span), hint=hint))
            continue
        columns.add(row)
    return columns.table()


class Columns:
    """Collects the columns of a table row by row; a key that a row lacks is a missing value."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._columns: dict[str, tuple[array[int], list[Any]]] = {}  # by key: the rows that have it, and its cells
        self._gaps = array("q")
        self.count = 0

    def skip(self) -> None:
        """Notes a blank line, so that the rows after it have the numbers of their lines."""
        self._gaps.append(self.count)

    def refuse(self, number: int, why: str, diagnostic: Diagnostic) -> None:
        """Notes a row of new data that is not an object: it has no cells. Raises a RowFault otherwise."""
        fault = RowFault([diagnostic], [RowProblem(number, "", why)])
        if self._request.bad_rows is None:
            raise fault
        self._request.bad_rows.note(fault)
        self.add({})

    def add(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            rows, cells = self._columns.setdefault(name, (array("q"), []))
            rows.append(self.count)
            cells.append(value)
        self.count += 1

    def table(self) -> Table:
        """The table of the needed columns. Raises E0801 if there are no rows or no columns."""
        request, count = self._request, self.count
        if not count:
            fault("E0801", f"`{request.shown}` has no rows", request.span)
        if not self._columns and request.bad_rows is not None and request.bad_rows.first is not None:
            raise request.bad_rows.first
        if not self._columns:
            fault("E0801", f"`{request.shown}` has no columns", request.span, "its objects are empty")
        columns: dict[str, Column] = {}
        for name in request.needed(self._columns):
            rows, cells = self._columns[name]
            is_text = request.needs_text(name)
            marks = request.options.get("missing", ())
            keeps_nan = Use.TEXT in request.uses(name)
            if len(cells) == count:
                columns[name] = column_of(cells, is_text, marks, keeps_nan)
            else:
                columns[name] = SparseColumn.of(count, rows, cells, is_text, marks, keeps_nan)
        numbers, names = RowNumbers.from_gaps(1, self._gaps), tuple(self._columns)
        return Table(request.shown, columns, numbers, names=names, bad_rows=request.bad_rows)
