"""Turns every error of a reader into a message: `reading` around netc's own code, `decoding` around that of others."""

import csv
import errno
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netc.dsl.diagnostics import Fault, fault
from netc.dsl.source import Span
from netc.dsl.storage.files import reason
from netc.dsl.storage.near_files import near_file

_BROKEN = (OSError, EOFError, ValueError, OverflowError, RecursionError, csv.Error, zlib.error, zipfile.BadZipFile)
_NOT_BROKEN = (Fault, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit)
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


@contextmanager
def reading(shown: str, span: Span) -> Iterator[None]:
    """Raises E0801 at `span`, which names the file `shown`, if the system refuses the file or its content is broken."""
    try:
        yield
    except _BROKEN as error:
        _cannot_read(shown, span, error)


@contextmanager
def decoding(shown: str, span: Span) -> Iterator[None]:
    """Does the same as `reading`, around a library or a plug-in: these may raise any exception for a broken file."""
    try:
        yield
    except _NOT_BROKEN:
        raise
    except BaseException as error:  # a panic of polars is not an Exception
        _cannot_read(shown, span, error)


def _cannot_read(shown: str, span: Span, error: BaseException) -> None:
    fault("E0801", f"cannot read `{shown}`", span, reason(error))


def _near(path: Path, shown: str) -> str | None:
    """The hint with the most similar file; `shown` is the path as it was written, from a folder of its own."""
    parts = Path(shown).parts
    is_end = 0 < len(parts) < len(path.parts) and path.parts[-len(parts) :] == parts
    return near_file(shown, path.parents[len(parts) - 1]) if is_end else near_file(str(path))


def refuse_irregular(path: Path, shown: str, span: Span) -> None:
    """Raises E0801 if there is no regular file at a path: reading a pipe or a device could wait for ever."""
    with reading(shown, span):
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            is_escaped = "\t" in shown or "\n" in shown
            hint = (
                r"`\t` is a tab and `\n` a line end; a backslash is written `\\`" if is_escaped else _near(path, shown)
            )
            start = "paths start from the `.net` file's folder" if span.source.text else ""
            fault("E0801", f"there is no file `{shown}`", span, start, hint=hint)
        if stat.S_ISDIR(mode):
            fault("E0801", f"`{shown}` is a folder", span, "this reader takes a file")
        if not stat.S_ISREG(mode):
            fault("E0801", f"`{shown}` is not a regular file", span)
