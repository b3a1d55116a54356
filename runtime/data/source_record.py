"""A run's record of the files that it was trained on: the number of their rows, their sizes, and a checksum.

Takes the sources of a data block, and says later what has changed. Knows nothing of the cells.
"""

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netc.dsl.files import opened
from netc.dsl.quoting import cell
from netc.runtime.data.declarations import SourceSpec
from netc.runtime.data.store import LARGE

_PIECE = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A source at the time of training. `path` is as the data block has it, `size` is in bytes, of all `files`.

    `content` is a checksum of the files' names and contents. It is empty for many files of more than LARGE bytes
    together, which would take long to read. `stamp` is a checksum of their names, sizes and times of change.
    """

    path: str
    rows: int
    files: int
    size: int
    content: str
    stamp: str

    def change(self, now: "SourceRecord", since: str) -> str | None:
        """The words for the change from this record to another one of the same source; None if nothing has changed.

        `since` ends the sentence, such as "the run was trained".
        """
        name, added = cell(self.path), now.rows - self.rows
        if added:
            rows = f"{abs(added):,} row{'s' * (abs(added) != 1)}"
            return f"`{name}` has {rows} {'more' if added > 0 else 'fewer'} than when {since}"
        is_same = self.content == now.content if self.content and now.content else self.stamp == now.stamp
        return None if is_same else f"`{name}` has changed since {since}"


def recorded(source: SourceSpec, folder: Path, rows: int, before: SourceRecord | None = None) -> SourceRecord:
    """The record of a source that has so many rows. Relative paths start from `folder`.

    A large file that has the size and the time of change of an earlier record is not read again.
    """
    files = files_of(source, folder)
    try:
        listing = [(os.path.relpath(file, folder), file.stat()) for file in files]
        size = sum(status.st_size for _, status in listing)
        times = [f"{name}\0{status.st_size}\0{status.st_mtime_ns}" for name, status in listing]
        stamp = hashlib.blake2b("\n".join(times).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        content = ""
        if before is not None and before.stamp == stamp and size >= LARGE:
            content = before.content
        elif len(files) == 1 or size < LARGE:
            content = _checksum(files, folder)
    except OSError:  # it was there when it was read: another process has just changed it
        return SourceRecord(source.path, rows, len(files), 0, "", "")
    return SourceRecord(source.path, rows, len(files), size, content, stamp)


def files_of(source: SourceSpec, folder: Path) -> list[Path]:
    """The files of a source: for each of its paths a file, all below a folder, those of a pattern, or those whose names
    begin with the path.

    Files whose names begin with a dot do not count. Empty for a source that is no file.
    """
    return [file for path in (source.path, *source.others) for file in _files_of_path(str(folder / path))]


def _files_of_path(path: str) -> list[Path]:
    if os.path.isfile(path):
        return [Path(path)]
    if os.path.isdir(path):
        names = glob.glob("**/*", root_dir=path, recursive=True)
        return sorted(Path(path, name) for name in names if os.path.isfile(os.path.join(path, name)))
    names = glob.glob(path, recursive=True) or glob.glob(f"{glob.escape(path)}*")
    return sorted(Path(name) for name in names if os.path.isfile(name))


def _checksum(files: Sequence[Path], folder: Path) -> str:
    """A checksum of the names and contents of files. Raises OSError."""
    total = hashlib.blake2b(digest_size=16)
    for file in files:
        content = hashlib.blake2b(digest_size=16)
        with opened(file) as stream:
            while piece := stream.read(_PIECE):
                content.update(piece)
        name = os.path.relpath(file, folder) if len(files) > 1 else ""
        total.update(name.encode("utf-8", "surrogateescape") + b"\0" + content.digest())
    return total.hexdigest()
