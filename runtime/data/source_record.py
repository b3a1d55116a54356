"""A run's record of the files that it was trained on: the number of their rows, their sizes, and checksums.

Takes the sources of a data block, and says later what has changed. Of the cells it knows only the names of pictures.
"""

import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field

from netc.dsl.diagnostics import Fault
from netc.dsl.plural import counted
from netc.dsl.quoting import cell
from netc.dsl.storage.files import opened
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.readers.readers import read_by_suffix
from netc.runtime.data.readers.reading import reading
from netc.runtime.data.readers.request import Request, Use, every
from netc.runtime.data.readers.sources import paths_of
from netc.runtime.data.tables.store import LARGE

_PIECE = 1 << 20  # bytes that are read at a time
_MOST_CHECKSUMS = 1_000  # that a record has besides that of all files
_DIGITS = 16  # of the checksum of a single file
_LISTED = 3  # files in a message
_FORM = "2:"  # before a checksum that `_checksum` computed: runs of earlier versions have others


class SourceRecord(Struct, frozen=True):
    """A source at the time of training. `path` is as the data block has it, `size` is in bytes, of all `files`.

    `content` is a checksum of the files' names and contents, after the version of its rule. It is empty for many files
    of more than LARGE bytes together, which would take long to read. `stamp` is a checksum of their names, sizes and
    times of change. `checksums` has that of each file by its name, if there are several, but not very many.
    """

    path: str
    rows: int
    files: int
    size: int
    content: str
    stamp: str
    checksums: dict[str, str] = field(default_factory=dict)

    def change(self, now: "SourceRecord", since: str) -> str | None:
        """The words for the change from this record to another one of the same source; None if nothing has changed.

        `since` ends the sentence, such as "the run was trained".
        """
        name, added = cell(self.path), now.rows - self.rows
        files = _different_files(self.checksums, now.checksums)
        if added:
            rows = counted(abs(added), "row")
            return f"`{name}` has {rows} {'more' if added > 0 else 'fewer'} than when {since}{files}"
        has_checksums = self.content.startswith(_FORM) and now.content.startswith(_FORM)
        is_same = self.content == now.content if has_checksums else self.stamp == now.stamp
        return None if is_same else f"`{name}` has changed since {since}{files}"


def _different_files(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The words for the files that differ; empty if none does, or if one of the records does not have checksums."""
    if not before or not now:
        return ""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    verbs = ["is new" if name not in before else "is gone" if name not in now else "differs" for name in names]
    listed = [f"`{cell(name)}` {verb}" for name, verb in zip(names[:_LISTED], verbs, strict=False)]
    more = [f"{len(names) - _LISTED:,} more"] if len(names) > _LISTED else []
    return f": {', '.join([*listed, *more])}" if names else ""


def recorded(source: SourceSpec, folder: Path, rows: int, before: SourceRecord | None = None) -> SourceRecord:
    """The record of a source with its number of rows. Relative paths start from `folder`.

    A large file that has the size and the time of change of an earlier record is not read again.
    """
    files = files_of(source, folder)
    try:
        listing = [(os.path.relpath(file, folder), file.stat()) for file in files]
        size = sum(status.st_size for _, status in listing)
        times = [f"{name}\0{status.st_size}\0{status.st_mtime_ns}" for name, status in listing]
        stamp = hashlib.blake2b("\n".join(times).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        content, checksums = "", dict[str, str]()
        if before is not None and before.stamp == stamp and size >= LARGE:
            content, checksums = before.content, before.checksums
        elif len(files) == 1 or size < LARGE:
            checksums = _checksums(files, folder)
            content = _checksum(checksums)
    except OSError:  # it was there when it was read: another process has just changed it
        return SourceRecord(source.name, rows, len(files), 0, "", "")
    kept = checksums if 1 < len(checksums) <= _MOST_CHECKSUMS else {}
    return SourceRecord(source.name, rows, len(files), size, content, stamp, kept)


def files_of(source: SourceSpec, folder: Path) -> list[Path]:
    """The files that the table of a source is read from. Empty for a source that is not a file."""
    files = [file for path in paths_of(source, folder) for file in _files_at(path, source)]
    return list(dict.fromkeys(files))


def _files_at(path: Path, source: SourceSpec) -> list[Path]:
    """A file, with the pictures that it names; all below a folder; or those whose names begin with the path.

    Hidden files do not count.
    """
    if os.path.isfile(path):
        return [path, *_pictures_of(path, source)] if source.reader == "images" else [path]
    if os.path.isdir(path):
        names = glob.glob("**/*", root_dir=path, recursive=True)
        return sorted(Path(path, name) for name in names if os.path.isfile(os.path.join(path, name)))
    names = glob.glob(f"{glob.escape(str(path))}*")
    return sorted(Path(name) for name in names if os.path.isfile(name))


def _pictures_of(path: Path, source: SourceSpec) -> list[Path]:
    """The pictures that a table names, as far as they are there; none if the table cannot be read."""
    from netc.runtime.data.pictures.files import list_pictures

    try:
        with reading(source.path, source.span):
            request = Request(path, source.path, source.span, every(Use(0)), dict(source.options))
            return [file for file in list_pictures(request, read_by_suffix).files if os.path.isfile(file)]
    except Fault:
        return []


def _checksums(files: Sequence[Path], folder: Path) -> dict[str, str]:
    """The checksum of each file's content by its name, as a path from `folder`. Raises OSError."""
    checksums: dict[str, str] = {}
    for file in files:
        content = hashlib.blake2b(digest_size=_DIGITS // 2)
        with opened(file) as stream:
            while piece := stream.read(_PIECE):
                content.update(piece)
        checksums[os.path.relpath(file, folder)] = content.hexdigest()
    return checksums


def _checksum(checksums: Mapping[str, str]) -> str:
    """A checksum of the names and contents of files. The name of a single file does not count."""
    total = hashlib.blake2b(digest_size=16)
    for name, digits in checksums.items():
        shown = name if len(checksums) > 1 else ""
        total.update(shown.encode("utf-8", "surrogateescape") + b"\0" + digits.encode())
    return _FORM + total.hexdigest()
