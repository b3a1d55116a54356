"""Whatever keeps a data file from being read becomes a message, in one way for all readers: `reading` around netc's own
code, `decoding` around that of others.
"""

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
from netc.dsl.files import reason
from netc.dsl.source import Span

_BROKEN = (OSError, EOFError, ValueError, OverflowError, RecursionError, csv.Error, zlib.error, zipfile.BadZipFile)
_NOT_BROKEN = (Fault, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit)
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


@contextmanager
def reading(shown: str, span: Span) -> Iterator[None]:
    """Fault E0801 where the system refuses the file `shown`, or its content is broken.

    `span` is the place that names it.
    """
    try:
        yield
    except _BROKEN as error:
        _cannot_read(shown, span, error)


@contextmanager
def decoding(shown: str, span: Span) -> Iterator[None]:
    """As `reading`, around a library or a plug-in: where a file is broken it may raise anything."""
    try:
        yield
    except _NOT_BROKEN:
        raise
    except BaseException as error:  # what polars raises when it panics is no Exception
        _cannot_read(shown, span, error)


def _cannot_read(shown: str, span: Span, error: BaseException) -> None:
    fault("E0801", f"cannot read `{shown}`", span, reason(error))


def refuse_irregular(path: Path, shown: str, span: Span) -> None:
    """Fault E0801 if there is no regular file at a path: a pipe or a device would be waited for."""
    with reading(shown, span):
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            fault("E0801", f"there is no file `{shown}`", span, "paths start from the `.net` file's folder")
        if stat.S_ISDIR(mode):
            fault("E0801", f"`{shown}` is a folder", span, "this reader takes a file")
        if not stat.S_ISREG(mode):
            fault("E0801", f"`{shown}` is no regular file", span)
