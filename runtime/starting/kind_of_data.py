"""Finds out which source a user means: a path, whose reader follows from its name and first lines, or a source as a
`.net` file has it.
"""

import os
import re
from pathlib import Path
from typing import Any

from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.source import Source, Span
from netc.dsl.storage.files import opened
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.block.source import parse_source
from netc.runtime.data.readers.readers import READERS, reader_of

_SAMPLE = 1 << 16
_DELIMITERS = b"\t;|,"
_LINES = 20


_CALL = re.compile(rf"({'|'.join(READERS)})\s*\(")
_NO_TABLES = ("images", "text", "idx")


def source_named(data: str, span: Span) -> SourceSpec:
    """The source that `data` names: `orders.csv`, `part-*.csv`, or `sql("sqlite:///shop.db", "select ...")`.

    `span` is that of a path for messages. Raises E0101 and E0301 to E0303 for a source that is not written right,
    E0801 for a database without a query.
    """
    if _CALL.match(data) is None or os.path.lexists(data):
        if Path(data).suffix.lower() in READERS["sql"].others:
            hint = f'--data \'sql("sqlite:///{data}", "select * from ...")\''
            fault("E0801", f"`{data}` is a database", span, "a query says which rows", hint=hint)
        return SourceSpec(kind_of(Path(data)), data, span)
    value = _expression(data, "--data")
    source = parse_source(value, {})
    if source.reader in _NO_TABLES:
        hint = f"--data {source.path}"
        fault("E0303", f"`{source.reader}` is recognised by the path alone", value.span, hint=hint)
    return source


def options_named(reader: str, text: str) -> dict[str, Any]:
    """The options of a source that a text such as `delimiter = ";"` sets."""
    return dict(parse_source(_expression(f'{reader}("", {text})', "hint"), {}).options)


def _expression(text: str, name: str) -> syntax.Expression:
    """A text as an expression of the language; `name` is that of the text in messages."""
    item = parse(Source(name, f"let source = {text}")).items[0]
    assert isinstance(item, syntax.Let)
    return item.value


def kind_of(data: Path) -> str:
    """The name of the reader for a file or a folder."""
    if os.path.isdir(data):
        names = [name.lower() for name in os.listdir(data)]
        return "idx" if any("idx" in name and "ubyte" in name for name in names) else "images"
    if data.suffix.lower() == ".txt":
        return "csv" if _looks_like_table(data) else "text"
    return reader_of(data, "csv")


def _looks_like_table(path: Path) -> bool:
    """Whether the first lines of a text have the same number of some delimiter, and at least one."""
    try:
        with opened(path) as file:
            lines = [line for line in file.read(_SAMPLE).splitlines()[:_LINES] if line.strip()]
    except OSError:
        return True  # the reader says why
    if any(b", " in line for line in lines):  # commas of a sentence
        lines = [line.replace(b",", b"") for line in lines]
    counts = [{line.count(bytes([mark])) for line in lines} for mark in _DELIMITERS]
    return len(lines) > 1 and any(len(numbers) == 1 and numbers != {0} for numbers in counts)
