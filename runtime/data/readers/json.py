"""Reads `json("file.json")`: a list of objects, one for each row."""

import json

from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.storage.files import reason
from netc.runtime.data.readers.content import require_cells, text_content
from netc.runtime.data.readers.jsonl import Columns
from netc.runtime.data.readers.request import Request
from netc.runtime.data.tables.table import Table


def read_json(request: Request) -> Table:
    """A table with a row for each object of the list. Raises E0801 where the file is not a list of objects."""
    shown, span = request.shown, request.span
    text, raw = text_content(request.path, shown, span)
    require_cells(raw, b",:\n", shown, span)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or an integer of some thousand digits
        lines = text.strip().split("\n", 1)
        is_lines = len(lines) > 1 and lines[0].startswith("{")
        hint = 'jsonl("...") reads an object in each line' if is_lines else None
        fault("E0801", f"`{shown}` is not JSON", span, reason(error), hint=hint)
    columns = Columns(request)
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        hint = '[{"x": [1, 2], "label": "a"}, ...]'
        fact = f"`{shown}` is not a list of objects"
        if not isinstance(rows, list):
            fault("E0801", fact, span, "it is one value", hint=hint)
        if isinstance(row, dict):
            columns.add(row)
        else:
            label = Label(span, f"element {number} is not an object")
            columns.refuse(number, "the element is not an object", Diagnostic("E0801", fact, label, hint=hint))
    return columns.table()
