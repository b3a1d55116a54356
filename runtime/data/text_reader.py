"""Reads `text("file.txt")`: a text as a series of its characters."""

from pathlib import Path

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.data.content import require_characters, text_content
from netc.runtime.data.store import IsText
from netc.runtime.data.table import Table


def read_text(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    """A table with a row for each character, in the column `text`. (partition.py joins them to words if need be.)"""
    text, raw = text_content(path, shown, span)
    if not text:
        fault("E0801", f"`{shown}` is empty", span)
    require_characters(text, len(raw), shown, span)
    return Table(shown, {"text": np.array(list(text), object)})
