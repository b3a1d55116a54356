"""Enforces the cache's size limit: the entries that were used least recently are removed first.

An entry is a file (a kernel, a parser's tables, a step, a saved prediction, bounds of the machine) or a folder (the
copy of a data table) with a name that netc gives; other files are neither counted nor removed. An entry's modification
time is the time of its last use. netc sets it itself, because file systems seldom keep access times.
"""

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from netc.dsl.storage import home, temporary

TABLES = "tables"  # the folder of copies of data tables
_FILE = re.compile(
    r"[0-9a-f]{32}\.o|parser-[0-9a-f]{32}\.tables|(?:prediction|step|processor)-[0-9a-f]{32}|bounds-[0-9a-f]{32}\.json"
)
_FOLDER = re.compile(r"(images-)?[0-9a-f]{32}")
_PRECISION = 3600 * 10**9  # nanoseconds: a use is recorded only if the last recorded use is older than this


class Entry(Struct, frozen=True):
    """A cached file or folder: its size in bytes, and when it was last used, in nanoseconds since the epoch."""

    path: Path
    size: int
    used: int
    is_folder: bool


class _Allowance(Struct):
    """The bytes that this process may still write before it measures a cache with this limit again."""

    limit: int
    left: int


_ALLOWANCES: dict[Path, _Allowance] = {}  # by the folder of a cache
_PARTS = 8


def use(path: Path) -> None:
    """Records that an entry is used now. Writes at most once an hour."""
    with suppress(OSError):  # the cache is read-only
        now = _now()
        if abs(now - path.stat().st_mtime_ns) >= _PRECISION:
            os.utime(path, ns=(now, now))


def _now() -> int:
    return time.time_ns()


def enforce(written: int | None = None) -> None:
    """Removes entries until the cache keeps to its limit. Called after writing an entry of so many bytes.

    The cache is measured when this process begins to write, and again when it has written an eighth of the room that
    was left: to look at thousands of files takes longer than to compile a kernel. Without `written` it is measured in
    any case. Entries larger than the limit go first, then those used least recently. Another process may do the same
    at the same time, or use an entry that is removed: files that it has open stay usable, and what it misses it makes
    again.
    """
    folder = home.usable_folder()
    if folder is None:
        return
    limit = home.limit()
    allowance = _ALLOWANCES.get(folder)
    if written is not None and allowance is not None and allowance.limit == limit and allowance.left >= written:
        allowance.left -= written
        return
    size = _size_of(folder)
    if size <= limit:
        _ALLOWANCES[folder] = _Allowance(limit, (limit - size) // _PARTS)
        return
    _ALLOWANCES.pop(folder, None)
    candidates = sorted(entries(folder), key=lambda entry: (entry.used, entry.path))
    total = 0
    for entry in candidates:
        if entry.size > limit:
            remove(entry)
        else:
            total += entry.size
    for entry in candidates:
        if total <= limit:
            return
        if entry.size <= limit:
            remove(entry)
            total -= entry.size


def _size_of(folder: Path) -> int:
    """The bytes of all entries, as a sum of what `entries` yields, but in half the time: the cache has thousands."""
    files = sum(status.st_size for _, status in _matching(folder, _FILE) if stat.S_ISREG(status.st_mode))
    return files + sum(entry.size for entry in folders(folder))


def remove(entry: Entry) -> None:
    """Removes an entry unless another process has already done so."""
    if entry.is_folder:
        temporary.remove_folder(entry.path)
    else:
        with suppress(OSError):
            entry.path.unlink()


def entries(folder: Path) -> Iterator[Entry]:
    """Yields all entries of the cache, in no particular order."""
    for path, status in _matching(folder, _FILE):
        if stat.S_ISREG(status.st_mode):
            yield Entry(Path(path), status.st_size, status.st_mtime_ns, False)
    yield from folders(folder)


def folders(folder: Path) -> Iterator[Entry]:
    """Yields the entries that are folders, the copies of data tables."""
    for path_text, status in _matching(folder / TABLES, _FOLDER):
        if stat.S_ISDIR(status.st_mode):
            path = Path(path_text)
            with suppress(OSError):  # removed in the meantime
                yield Entry(path, sum(file.stat().st_size for file in path.iterdir()), status.st_mtime_ns, True)


def _matching(folder: Path, names: re.Pattern[str]) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as scan:
            items = [item for item in scan if names.fullmatch(item.name)]
    except OSError:
        return
    for item in items:
        with suppress(OSError):
            yield item.path, item.stat(follow_symlinks=False)


def sweep(folder: Path) -> None:
    """Removes incomplete files that dead processes left behind."""
    temporary.sweep(folder)
    temporary.sweep(folder / TABLES)
