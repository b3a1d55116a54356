"""The cache's size limit: of what it holds, the entries that were used least recently go first.

An entry is a file (a kernel, a parser's tables) or a folder (the copy of a data table) with a name that netc gives, and nothing else counts. When it was last
used is its time of modification, which netc sets itself, since file systems seldom keep a time of access.
"""

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netc.dsl import home, temporary

TABLES = "tables"  # the folder of copies of data tables
_FILE = re.compile(r"[0-9a-f]{32}\.o|parser-[0-9a-f]{32}\.tables")
_FOLDER = re.compile(r"(images-)?[0-9a-f]{32}")
_PRECISION = 3600 * 10**9  # nanoseconds: a use is written down if the last one that was is older


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under a name: its bytes, and when it was last used, in nanoseconds."""

    path: Path
    size: int
    used: int
    is_folder: bool


def use(path: Path) -> None:
    """Remember that an entry is used now. Costs little: at most once an hour it writes."""
    with suppress(OSError):  # a cache that is only read
        now = _now()
        if abs(now - path.stat().st_mtime_ns) >= _PRECISION:
            os.utime(path, ns=(now, now))


def _now() -> int:
    return time.time_ns()


def enforce() -> None:
    """Remove entries until the cache keeps to its limit: those that are larger than the limit, then those used least recently. Called after writing.

    Another process may do the same, or use what goes: whatever it has open stays usable, and what it misses it makes anew.
    """
    folder = home.usable_folder()
    if folder is None:
        return
    limit = home.limit()
    found = sorted(entries(folder), key=lambda entry: (entry.used, entry.path))
    total = 0
    for entry in found:
        if entry.size > limit:
            remove(entry)
        else:
            total += entry.size
    for entry in found:
        if total <= limit:
            return
        if entry.size <= limit:
            remove(entry)
            total -= entry.size


def remove(entry: Entry) -> None:
    """Remove an entry, if another process has not done so."""
    if entry.is_folder:
        temporary.remove_folder(entry.path)
    else:
        with suppress(OSError):
            entry.path.unlink()


def entries(folder: Path) -> Iterator[Entry]:
    """All entries of the cache, in no order."""
    for path, status in _matching(folder, _FILE):
        if stat.S_ISREG(status.st_mode):
            yield Entry(path, status.st_size, status.st_mtime_ns, False)
    for path, status in _matching(folder / TABLES, _FOLDER):
        if stat.S_ISDIR(status.st_mode):
            with suppress(OSError):  # gone meanwhile
                yield Entry(path, sum(file.stat().st_size for file in path.iterdir()), status.st_mtime_ns, True)


def _matching(place: Path, names: re.Pattern[str]) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(place) as scan:
            items = [item for item in scan if names.fullmatch(item.name)]
    except OSError:
        return
    for item in items:
        with suppress(OSError):
            yield Path(item.path), item.stat(follow_symlinks=False)


def sweep(folder: Path) -> None:
    """Remove what dead processes left half written."""
    temporary.sweep(folder)
    temporary.sweep(folder / TABLES)
