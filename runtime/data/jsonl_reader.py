"""Reads `jsonl("file.jsonl")`: a JSON object in each line."""

import json
from array import array
from pathlib import Path
from typing import Any

from netc.dsl.diagnostics import fault
from netc.dsl.files import reason
from netc.dsl.source import Span
from netc.runtime.data.content import require_cells, text_content
from netc.runtime.data.store import IsText
from netc.runtime.data.table import SparseColumn, Table, column_of


def read_jsonl(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    """A table with a row for each line. Lists of one shape are arrays; a key that a line lacks is a missing value.

    Faults E0801 at the first line that is no JSON object.
    """
    text, raw = text_content(path, shown, span)
    require_cells(raw, b",:\n", shown, span)
    columns: dict[str, tuple[array[int], list[Any]]] = {}  # by key: the rows that have it, and its cells
    count = 0
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a text in JSON may contain other line ends
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or an integer of some thousand digits
            fault("E0801", f"`{shown}`, line {number} is no JSON", span, reason(error))
        if not isinstance(row, dict):
            fault("E0801", f"`{shown}`, line {number} is no JSON object", span, hint='{"x": [1, 2], "label": "a"}')
        for name, value in row.items():
            rows, cells = columns.setdefault(name, (array("q"), []))
            rows.append(count)
            cells.append(value)
        count += 1
    if not count:
        fault("E0801", f"`{shown}` has no rows", span)
    if not columns:
        fault("E0801", f"`{shown}` has no columns", span, "its objects are empty")
    return Table(
        shown,
        {
            name: column_of(cells) if len(cells) == count else SparseColumn.of(count, rows, cells)
            for name, (rows, cells) in columns.items()
        },
    )
