"""Reads the source that a first file is written for: finds the options that its reader needs, and reads it once.

Guesses about columns, the number of their places and the trial all take their cells from here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from netc.dsl.diagnostics import Fault
from netc.dsl.hints import At, Hint
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.readers.options import OPTIONS
from netc.runtime.data.readers.request import Use, Uses, every
from netc.runtime.data.readers.sources import read_source
from netc.runtime.data.tables.table import Table
from netc.runtime.starting.kind_of_data import options_named

_LIKE_DATA = "W0821"  # the header looks like the rows below it


class Tables(Struct):
    """The tables of sources that were read. What was read once is not read again for the same uses of its columns."""

    _tables: dict[tuple[Any, ...], list[tuple[Uses, Table]]] = field(default_factory=dict)

    def read(self, source: SourceSpec, folder: Path, uses: Uses) -> Table:
        """The table of a source with all columns that are needed, and perhaps others, as `read_source` reads it."""
        tables = self._tables.setdefault(_key(source, folder), [])
        for read_for, table in tables:
            if all(read_for(name) == uses(name) for name in table.names or table.columns if uses(name)):
                return table
        table = read_source(source, folder, uses)
        tables.append((uses, table))
        if not table.files:  # the options that were found may be declared later
            declared = dict(source.options)
            options = tuple((name, value) for name, value in table.options if name not in declared)
            same = replace(source, options=(*source.options, *options))
            self._tables.setdefault(_key(same, folder), []).append((uses, table))
        return table


def _key(source: SourceSpec, folder: Path) -> tuple[Any, ...]:
    paths = tuple(str((folder / path).resolve()) for path in (source.path, *source.others))
    return source.reader, paths, tuple(sorted(source.options, key=lambda option: option[0]))


def options_of(source: SourceSpec, target: str | None, tables: Tables) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The options of a source, those that its reader needs and does not find itself, and what is doubtful about
    these.

    The hints of the reader's refusals name them. Of several alternatives it is the one that gives the most
    columns, or the first. `target` is the name of a column that the table should have.
    """
    options = dict(source.options)
    doubts: list[str] = []
    while True:
        try:
            table = table_with(source, options, tables)
        except Fault as refusal:
            diagnostic = refusal.diagnostics[0]
            changes = diagnostic.hint.changes if isinstance(diagnostic.hint, Hint) else ()
            named = [change.text for change in changes if change.at is At.ARGUMENT]
            if not named or source.reader not in OPTIONS:
                raise
            chosen = max(named, key=lambda text: _width(source, options, text, tables))
            added = options_named(source.reader, chosen)
            if not set(added) - set(options):
                raise
            options.update(added)
            doubts.append(f"{chosen} is a guess: {diagnostic.title}; {diagnostic.hint}")
            continue
        warning = next((warning for warning in table.warnings if warning.code == _LIKE_DATA), None)
        if warning is None or target in table.columns:
            return options, tuple(doubts)
        options["header"] = False
        doubts.append(f"header = false is a guess: {warning.title}; {warning.hint}")


def _width(source: SourceSpec, options: Mapping[str, Any], option: str, tables: Tables) -> int:
    """The number of columns of the table with one more option; 0 if it cannot be read."""
    try:
        return len(table_with(source, {**options, **options_named(source.reader, option)}, tables).columns)
    except Fault:
        return 0


def table_with(source: SourceSpec, options: Mapping[str, Any], tables: Tables) -> Table:
    """The table of a source in the current folder with these options, all of its columns as labels."""
    return tables.read(replace(source, options=tuple(options.items())), Path(), every(Use.LABELS))
