"""Copies of data in the cache: what each is a copy of, and which are old.

A copy is a folder of the cache. Its `origin.json` names the file or folder that it was made from. A copy of what is
gone, or has changed since, would never be used again, so it is removed whenever another copy is written, and by `netc
cache`.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from netc.dsl import eviction, home, temporary
from netc.dsl.files import content_of
from netc.dsl.quoting import json_text
from netc.runtime.typed_json import parsed

_ORIGIN = "origin.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a copy was made from: a path, and how it was read (in words that are compared).

    `size` and `mtime_ns` are None where others decide what changed: a folder of pictures is as large and as old as
    before when one of its files changes.
    """

    path: str
    variant: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def is_old(self) -> bool:
        """Whether the file is gone or another one. A file that cannot be looked at may still be there."""
        try:
            status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return True
        except OSError:
            return False
        return self.size is not None and (self.size, self.mtime_ns) != (status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is kept; `origin` is None if it does not say."""

    entry: eviction.Entry
    origin: Origin | None


def folder() -> Path | None:
    """Where copies are kept; None if there is no cache."""
    own = home.folder()
    return own / eviction.TABLES if own is not None else None


def copies() -> list[Copy]:
    """All copies, by name."""
    own = home.usable_folder()
    entries = [entry for entry in eviction.entries(own) if entry.is_folder] if own is not None else []
    return [Copy(entry, _origin(entry.path)) for entry in sorted(entries, key=lambda entry: entry.path)]


def _origin(place: Path) -> Origin | None:
    try:
        origin: Origin = parsed(content_of(place / _ORIGIN), Origin)
        return origin
    except (OSError, ValueError):
        return None


def publish(beside: Path, place: Path, origin: Origin) -> None:
    """Name a copy that is whole, and make room for it.

    What was opened under its temporary name, or is a copy that this one replaces, stays usable.
    """
    try:
        (beside / _ORIGIN).write_text(json_text(asdict(origin)), encoding="utf-8")
        temporary.name_folder(beside, place)
    except OSError as error:
        home.warn_cannot_write(error)
        return
    forget_old(place, origin)
    eviction.enforce()
    if not place.is_dir():
        limit = f"{home.limit():,} bytes (NETC_CACHE_LIMIT)"
        home.warn_once(f"the cache may hold {limit}, too little for a copy of {origin.path}; it is made anew each time")


def forget_old(newest: Path | None = None, origin: Origin | None = None) -> int:
    """Remove copies whose file is gone or has changed, and those of the same file that `newest` replaces; returns how
    many.
    """
    old = [copy for copy in copies() if copy.entry.path != newest and _is_old(copy.origin, origin)]
    for copy in old:
        eviction.remove(copy.entry)
    return len(old)


def _is_old(origin: Origin | None, newest: Origin | None) -> bool:
    if origin is None or origin.is_old:
        return True
    return newest is not None and (origin.path, origin.variant) == (newest.path, newest.variant)
