"""Reads `text("file.txt")`: a text as a series of its characters."""

from netc.dsl.diagnostics import fault
from netc.runtime.data.readers.content import require_characters, text_content
from netc.runtime.data.readers.request import Request
from netc.runtime.data.tables.columns import TextColumn
from netc.runtime.data.tables.table import Table


def read_text(request: Request) -> Table:
    """A table with a row for each character, in the column `text` (division/partition.py may join them to words)."""
    text, raw = text_content(request.path, request.shown, request.span)
    if not text:
        fault("E0801", f"`{request.shown}` is empty", request.span)
    require_characters(text, len(raw), request.shown, request.span)
    return Table(request.shown, {"text": TextColumn.of_characters(text)})
