"""Finds out which reader a file or folder of data needs, by its name and by its first lines."""

import os
from pathlib import Path

from netc.dsl.files import opened
from netc.runtime.data.readers import reader_of

_SAMPLE = 1 << 16
_DELIMITERS = b"\t;|,"
_LINES = 20


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
