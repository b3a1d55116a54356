"""Lists the files of a source of pictures: a folder with a folder for each class, a flat folder, one file, or a table.

What is left out is said in notes: hidden files, files that are not pictures, pictures that have no class.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, field

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.dsl.source import Span
from netc.runtime.data.access import opening
from netc.runtime.data.pictures.decoder import SUFFIXES
from netc.runtime.data.pictures.table import ReadTable, location, refuse_options_of_tables, table_of_pictures
from netc.runtime.data.readers.request import Request
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location
from netc.runtime.data.tables.table import Table

_OF_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin")  # that no dot hides
_NAMED = 3  # names of a kind in a note


class Listing(Struct, frozen=True):
    """The files of a source in order, and its table without the images.

    `cells` are the cells that name the files, where these are those of a table that the user wrote.
    """

    files: list[Path]
    table: Table
    cells: Location | None = None


class _LeftOut(Struct):
    """The names of what is left out, by the reason."""

    hidden: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def notes(self, shown: str) -> tuple[str, ...]:
        suffixes = Counter(os.path.splitext(name)[1].lower() or "no suffix" for name in self.others)
        kinds = [f"{count} {suffix}" for suffix, count in suffixes.most_common()]
        notes = (
            _note(self.hidden, "hidden file or folder", "hidden files or folders", self.hidden),
            _note(self.others, "file that is not a picture", "files that are not pictures", kinds),
            _note(self.loose, "picture beside the class folders", "pictures beside the class folders", self.loose),
            _note(self.empty, "class folder without pictures", "class folders without pictures", self.empty),
        )
        return tuple(f"{shown}: left out {note}" for note in notes if note)


def _note(names: Sequence[str], singular: str, plural: str, examples: Sequence[str]) -> str:
    if not names:
        return ""
    dots = ", ..." if len(examples) > _NAMED else ""
    listed = ", ".join(map(shown_cell, examples[:_NAMED]))
    return f"{len(names):,} {singular if len(names) == 1 else plural}: {listed}{dots}"


def list_pictures(request: Request, read_table: ReadTable) -> Listing:
    """The pictures of a source: of a folder in the order of their paths, of a table in the order of its rows.

    Pictures beside class folders have no class: they are left out, but not of new data (with `bad_rows`), where a class
    is not needed. Raises E0801 if there are no pictures, and what `table_of_pictures` faults.
    """
    path, shown, span = request.path, request.shown, request.span
    is_folder = os.path.isdir(path)
    if is_folder or path.suffix.lower() in SUFFIXES:
        if request.bad_rows is None:
            refuse_options_of_tables(request)
        if is_folder:
            return _of_folder(path, shown, span, is_new=request.bad_rows is not None)
        return Listing([path], Table(shown, {"path": text_column([path.name])}))
    if not os.path.exists(path):
        fault("E0801", f"there is no folder `{shown}`", span, "paths start from the `.net` file's folder")
    table, names = table_of_pictures(request, read_table)
    return Listing([path.parent / name for name in names], table, location(table, request))


def text_column(cells: Sequence[Any]) -> Array:
    """A column of texts, None where there is none."""
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


def _of_folder(path: Path, shown: str, span: Span, is_new: bool) -> Listing:
    left_out = _LeftOut()
    files: list[Path] = []
    labels: list[str | None] = []
    loose, folders = _entries(path, "", left_out)
    for folder in folders:
        pictures = [*_below(path / folder, folder, f"{shown}/{folder}", span, left_out)]
        if not pictures:
            left_out.empty.append(folder)
        files += [path / folder / name for name in pictures]
        labels += [folder] * len(pictures)
    is_flat = not files
    if is_flat or is_new:
        files += [path / name for name in loose]
        labels += [None] * len(loose)
    else:
        left_out.loose += loose
    if not files:
        kinds = ", ".join(SUFFIXES)
        fault("E0801", f"there are no pictures in `{shown}`", span, "a folder for each class", hint=f"it reads {kinds}")
    columns = {"path": text_column([str(file.relative_to(path)) for file in files])}
    if not is_flat:
        columns = {"label": text_column(labels), **columns}
    return Listing(files, Table(shown, columns, notes=left_out.notes(shown)))


def _entries(folder: Path, shown: str, left_out: _LeftOut) -> tuple[list[str], list[str]]:
    """The names of the pictures in a folder, and of the folders; others are noted. Raises OSError."""
    pictures, folders = [], []
    for name in sorted(os.listdir(folder)):
        if name.startswith(".") or name.lower() in _OF_SYSTEMS:
            left_out.hidden.append(os.path.join(shown, name))
        elif os.path.isdir(folder / name):
            folders.append(name)
        elif os.path.splitext(name)[1].lower() in SUFFIXES:
            pictures.append(name)
        else:
            left_out.others.append(os.path.join(shown, name))
    return pictures, folders


def _below(folder: Path, label: str, shown: str, span: Span, left_out: _LeftOut) -> Iterator[str]:
    """Yields the pictures below a folder, by their paths from there. Links are followed, each folder once."""
    pending, seen = [""], set[tuple[int, int]]()
    while pending:
        inner = pending.pop()
        path = folder / inner
        if path.is_symlink():
            opening(path, os.path.join(shown, inner), span)
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        pictures, folders = _entries(path, os.path.join(label, inner), left_out)
        yield from (os.path.join(inner, name) for name in pictures)
        pending += [os.path.join(inner, name) for name in reversed(folders)]
