"""Copies of data in the cache: what each was made from, and which are out of date.

A copy is a folder of the cache. Its `origin.json` names the file or folder that it was made from. If that is gone or
has changed, the copy would never be used again: it is removed when another copy is written, and by `netc cache`.
"""

import os
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from netc.dsl.quoting import json_text
from netc.dsl.storage import eviction, home, temporary
from netc.dsl.storage.files import content_of
from netc.runtime.typed_json import parsed

_ORIGIN = "origin.json"


class Origin(Struct, frozen=True):
    """The file or folder that a copy was made from, and how it was read (`variant`, which is only compared).

    `size` and `mtime_ns` are None for a folder of pictures: they do not change when one of its files does.
    """

    path: str
    variant: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def is_old(self) -> bool:
        """Whether the file is gone or has changed. A file that cannot be examined may still be there."""
        try:
            status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return True
        except OSError:
            return False
        return self.size is not None and (self.size, self.mtime_ns) != (status.st_size, status.st_mtime_ns)


class Copy(Struct, frozen=True):
    """A copy in the cache; `origin` is None if its `origin.json` is missing or broken."""

    entry: eviction.Entry
    origin: Origin | None


def folder() -> Path | None:
    """The folder that has the copies; None if there is no cache."""
    cache = home.folder()
    return cache / eviction.TABLES if cache is not None else None


def copies() -> list[Copy]:
    """All copies, sorted by their paths."""
    cache = home.usable_folder()
    entries = eviction.folders(cache) if cache is not None else ()
    return [Copy(entry, _origin(entry.path)) for entry in sorted(entries, key=lambda entry: entry.path)]


def _origin(folder: Path) -> Origin | None:
    try:
        origin: Origin = parsed(content_of(folder / _ORIGIN), Origin)
        return origin
    except (OSError, ValueError):
        return None


def publish(temporary_folder: Path, final: Path, origin: Origin) -> None:
    """Gives a complete copy its final name, and removes others to make room for it.

    Files that were opened under the temporary name, or in a copy that this one replaces, stay usable.
    """
    try:
        (temporary_folder / _ORIGIN).write_text(json_text(asdict(origin)), encoding="utf-8")
        written = sum(file.stat().st_size for file in temporary_folder.iterdir())
        temporary.name_folder(temporary_folder, final)
    except OSError as error:
        home.warn_cannot_write(error)
        return
    forget_old(final, origin)
    eviction.enforce(written)
    if not final.is_dir():
        limit = f"{home.limit():,} bytes (NETC_CACHE_LIMIT)"
        home.warn_once(f"the cache may hold {limit}, too little for a copy of {origin.path}; it is made anew each time")


def forget_old(newest: Path | None = None, origin: Origin | None = None) -> int:
    """Removes copies whose file is gone or has changed, and those that `newest`, made from `origin`, replaces.

    Returns how many were removed.
    """
    old = [copy for copy in copies() if copy.entry.path != newest and _is_old(copy.origin, origin)]
    for copy in old:
        eviction.remove(copy.entry)
    return len(old)


def _is_old(origin: Origin | None, newest: Origin | None) -> bool:
    if origin is None or origin.is_old:
        return True
    return newest is not None and (origin.path, origin.variant) == (newest.path, newest.variant)
