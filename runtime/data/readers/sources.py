"""Reads a source that may consist of several files: `csv("part-*.csv")` or `csv("a.csv", "b.csv")` is one table.

The files have the same columns by name, in any order. Messages name the file that a row is in. Only `paths_of` says
which files a path stands for.
"""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from netc.dsl.diagnostics import Fault, fault, nearest
from netc.dsl.quoting import cell
from netc.runtime.data.access import opening
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.readers.readers import READERS, read
from netc.runtime.data.readers.reading import reading
from netc.runtime.data.readers.request import Uses
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.sharing import current
from netc.runtime.data.tables.table import Column, StackedColumn, Table

ReadSource = Callable[[SourceSpec, Path, Uses], Table]  # a source whose relative paths start from a folder
_MOST_FILES = 10_000


def read_source(source: SourceSpec, folder: Path, uses: Uses) -> Table:
    """The table of a source whose relative paths start from `folder`.

    Raises E0801 if a file is not there, broken or named twice, E0802 if it lacks a column of the first file or has
    another one.
    """
    options = dict(source.options)
    names = [name for path in (source.path, *source.others) for name in _names(path, folder, source)]
    _refuse_twice(names, folder, source)
    processes = current()
    if processes is not None and len(names) > 1:
        for name in processes.share(names):
            with suppress(Fault):  # the fault of the first wrong file comes below
                read(source.reader, folder / name, name, source.span, uses, options)
    tables = [read(source.reader, folder / name, name, source.span, uses, options) for name in names]
    if names == [source.name]:
        return tables[0]
    shapes = [table.columns["image"][np.arange(1)].shape[1:] for table in tables] if source.reader == "images" else []
    if len(set(shapes)) > 1:  # all get the size of the first one, which may be a fault, and the most channels
        options["shape"] = (*shapes[0][:2], max(shape[2] for shape in shapes))
        tables = [read(source.reader, folder / name, name, source.span, uses, options) for name in names]
    return _stacked(tables, source)


def paths_of(source: SourceSpec, folder: Path) -> list[Path]:
    """The files and folders that the paths of a source stand for. A path that is not a pattern may not exist."""
    takes_folder = READERS[source.reader].takes_folder
    return [folder / name for path in (source.path, *source.others) for name in _matching(path, folder, takes_folder)]


def _names(path: str, folder: Path, source: SourceSpec) -> list[str]:
    """The names of the files that a path stands for. Raises E0801 if there are none, or too many."""
    if glob.has_magic(path):
        start = folder.joinpath(*_fixed(Path(path).parts))
        opening(start, path, source.span)
        with reading(path, source.span), os.scandir(start):
            pass  # a folder that cannot be listed is a fault, and not one without files
    names = _matching(path, folder, READERS[source.reader].takes_folder)
    if not names:
        fault("E0801", f"there is no file `{path}`", source.span, "paths start from the `.net` file's folder")
    if len(names) > _MOST_FILES:
        fault("E0801", f"`{path}` stands for {len(names):,} files", source.span, f"{_MOST_FILES:,} are the most")
    return names


def _refuse_twice(names: Sequence[str], folder: Path, source: SourceSpec) -> None:
    """Raises E0801 if two paths of a source stand for the same file, whose rows would all be read twice."""
    paths = set()
    for name in names:
        path = os.path.normpath(folder / name)
        if path in paths:
            hint = "name each file once: a pattern may match a file that another path names"
            fault("E0801", f"`{name}` is named twice", source.span, hint)
        paths.add(path)


def _matching(path: str, folder: Path, takes_folder: bool) -> list[str]:
    """The names that match a pattern, in order, from `folder`. A path that exists or is not a pattern matches itself.

    Each part of the pattern matches names in a folder, as a shell does: hidden ones only if it begins with a dot. A
    part `**` stands for any folders, or none. Links to folders are not followed there, so that the search ends.
    Folders match only if the reader takes them (`takes_folder`).
    """
    if not glob.has_magic(path) or "\0" in path or os.path.lexists(folder / path):
        return [path]
    parts = Path(path).parts
    start = _fixed(parts)
    paths = [os.path.join("", *start)]
    for part in parts[len(start) :]:
        if part == "**":
            paths = [below for path in paths for below in _folders_below(path, folder)]
        else:
            matches = ((path, name) for path in paths for name in glob.glob(part, root_dir=folder / path))
            paths = [os.path.join(path, name) for path, name in matches]
    names = {name for name in paths if takes_folder or not os.path.isdir(folder / name)}
    return sorted(names, key=lambda name: Path(name).parts)


def _fixed(parts: Sequence[str]) -> Sequence[str]:
    """The parts of a path before the first one that is a pattern."""
    return parts[: next(number for number, part in enumerate(parts) if glob.has_magic(part))]


def _folders_below(path: str, folder: Path) -> Iterator[str]:
    """Yields a folder and all folders below it, without hidden ones."""
    for below, folders, _ in os.walk(folder / path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = os.path.relpath(below, folder / path)
        yield path if inner == os.curdir else os.path.join(path, inner)


def _stacked(tables: Sequence[Table], source: SourceSpec) -> Table:
    """One table after the other, with the columns in the order of the first."""
    first = tables[0]
    names = first.names or tuple(first.columns)
    for table in tables[1:]:
        other_names = table.names or tuple(table.columns)
        for name in names:
            if name not in other_names:
                fact = f"`{table.name}` has no column `{cell(name)}`, which `{first.name}` has"
                fault("E0802", fact, source.span, hint=nearest(name, other_names))
        for name in other_names:
            if name not in names:
                fact = f"`{table.name}` has a column `{cell(name)}`, which `{first.name}` does not have"
                fault("E0802", fact, source.span, hint=nearest(name, names))
    columns: dict[str, Column] = {name: _column([table.columns[name] for table in tables]) for name in first.columns}
    return Table(
        source.name,
        columns,
        notes=tuple(dict.fromkeys(note for table in tables for note in table.notes)),
        names=names,
        warnings=tuple(dict.fromkeys(warning for table in tables for warning in table.warnings)),
        options=first.options,
        files=tuple(tables),
    )


def _column(parts: Sequence[Column]) -> Column:
    """The columns of several files as one: an array if all are arrays in memory, of one kind and shape."""
    assert not any(isinstance(part, StackedColumn) for part in parts), "a file is read as one table"
    arrays: list[Array] = [part for part in parts if isinstance(part, np.ndarray) and not isinstance(part, np.memmap)]
    kinds = {(array.dtype, array.shape[1:]) for array in arrays}
    return (
        np.concatenate(arrays)
        if len(arrays) == len(parts) and len(kinds) == 1
        else StackedColumn(tuple(part for part in parts if not isinstance(part, StackedColumn)))
    )
