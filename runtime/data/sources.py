"""Reads a source that may consist of several files: `csv("part-*.csv")` or `csv("a.csv", "b.csv")` is one table.

The files have the same columns by name, in any order. Messages name the file that a row is in.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.runtime.data.access import opening
from netc.runtime.data.declarations import SourceSpec
from netc.runtime.data.readers import read
from netc.runtime.data.reading import reading
from netc.runtime.data.request import Uses
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Column, StackedColumn, Table

ReadSource = Callable[[SourceSpec, Path, Uses], Table]  # a source whose relative paths start from a folder
_MOST_FILES = 10_000
_PATTERN = "*?["


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a source; `shown` is its name in messages."""

    path: Path
    shown: str


def read_source(source: SourceSpec, folder: Path, uses: Uses) -> Table:
    """The table of a source whose relative paths start from `folder`.

    Faults E0801 if a file is not there or broken, E0802 if it lacks a column of the first file or has another one.
    """
    options = dict(source.options)
    files = [file for path in (source.path, *source.others) for file in _files(path, folder, source)]
    tables = [read(source.reader, file.path, file.shown, source.span, uses, options) for file in files]
    return tables[0] if len(tables) == 1 else _stacked(tables, source)


def _files(path: str, folder: Path, source: SourceSpec) -> Iterator[_File]:
    """The files that a path stands for, in the order of their names: the last part of it may be a pattern."""
    target = folder / path
    pattern = target.name
    if not any(character in pattern for character in _PATTERN) or os.path.lexists(target):
        yield _File(target, path)
        return
    opening(target.parent, path, source.span)
    with reading(path, source.span), os.scandir(target.parent) as entries:
        names = [entry.name for entry in entries if fnmatchcase(entry.name, pattern)]
    if not names:
        fault("E0801", f"there is no file `{path}`", source.span, "paths start from the `.net` file's folder")
    if len(names) > _MOST_FILES:
        fault("E0801", f"`{path}` stands for {len(names):,} files", source.span, f"{_MOST_FILES:,} are the most")
    before = path.removesuffix(pattern)
    for name in sorted(names):
        yield _File(target.parent / name, before + name)


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
        ", ".join((source.path, *source.others)),
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
