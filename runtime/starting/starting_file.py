"""Writes a first `.net` file for data, for `netc new`, and tries it before it is written.

A column that the trial finds unusable is left out, and the rest is tried again. So the file trains as it is, or a fault
says what to do.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, fault
from netc.dsl.parser import parse
from netc.dsl.plural import counted
from netc.dsl.printer import print_file
from netc.dsl.quoting import cell, net_comment, net_string
from netc.dsl.source import Source, Span
from netc.dsl.storage.files import real
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.pictures.table import PATH
from netc.runtime.data.readers.options import OPTIONS
from netc.runtime.data.tables.cells import is_missing, texts_of
from netc.runtime.data.tables.table import Table
from netc.runtime.starting.cell_forms import is_mark
from netc.runtime.starting.column_guess import Guess, guess_column, numbers_of
from netc.runtime.starting.kind_of_data import source_named
from netc.runtime.starting.other_files import images_file, prose_file
from netc.runtime.starting.picture_columns import column_of_pictures, shape_of
from netc.runtime.starting.series_guess import guess_series
from netc.runtime.starting.series_lines import is_series_file, series_file
from netc.runtime.starting.table_file import Columns, Field, data_and_model, fields_of, source_of
from netc.runtime.starting.table_reading import Tables, options_of, table_with
from netc.runtime.starting.trial import category_counts, try_training

Write = Callable[[Columns, Sequence[Field]], Iterator[str]]  # the lines below the comments at the top
_FEWEST_ROWS = 10
_MOST_TRIALS = 10
_TARGETS = ("class", "number")
_LEFT_OUT = ("id", "unique", "useless")
_AT_LAST = {"id": "number", "unique": "text"}  # what columns are taken for if there are no others


class Start(Struct, frozen=True):
    """The text of a first file, and the columns that it leaves out, each with the reason."""

    text: str
    left_out: tuple[tuple[str, str], ...] = ()


class Request(Struct, frozen=True):
    """The file to write, `name`.net in `folder`, for the source `data`, whose paths start from the current folder.

    `shown` is the source as the user named it, `span` its span for messages.
    """

    name: str
    data: SourceSpec
    shown: str
    target: str | None
    folder: Path
    span: Span

    def path(self, data: str) -> str:
        """A path of the data as the file names it: relative to the folder of the file if it lies in it, or if the user
        named it by a relative path.

        Raises E0801 if no text can name it.
        """
        path = real(Path(data))
        try:
            shown = path.relative_to(real(self.folder)).as_posix()
        except ValueError:
            above = Path(os.path.relpath(data, self.folder))
            is_usable = not Path(data).is_absolute() and real(self.folder / above) == path
            shown = (above if is_usable else path).as_posix()
        if why := _unwritable(shown):
            fault("E0801", f"no `.net` text can name `{data}`", self.span, why, hint="give the file another name")
        return shown

    def source(self, lines: Sequence[str], note: str, has_target: bool = True) -> Source:
        """The text of the file in its canonical form, below a comment with the command that made it."""
        name = net_comment(self.name)
        target = f" --target {net_comment(shlex.quote(self.target))}" if self.target else ""
        shown = Path(self.shown).name if Path(self.shown).is_absolute() else self.shown
        data = net_comment(shlex.quote(shown))
        head = [f"# {name}.net: made by `netc new {name} --data {data}{target}`, {note}."]
        if has_target and not self.target:
            head.append("# The target is the last column; --target names another.")
        head.append(f"# Comments say what was guessed. Change what is wrong, then: netc train {name}.net")
        text = "\n".join([*head, *lines])
        printed = print_file(parse(Source(f"{self.name}.net", text)))
        return Source(f"{self.name}.net", printed, self.folder / Path(f"{self.name}.net").name)


def starting_file(
    name: str, data: str | Path, target: str | None, folder: Path, span: Span, tries: bool = True
) -> Start:
    """A file `name`.net that trains on `data`, to lie in `folder`. The target is the last column, or `target`.

    `data` is a path or a source, as in `source_named`.

    With `tries` it is tried: its data is read, its steps are fitted, and two training steps are run. Raises E0801 if no
    text in quotes can hold the path, E0802 if there is no column `target` or no other column to learn from, E0803 if
    the column cannot be a target, E0806 if there are too few rows, and what a trial raises.
    """
    source_spec = source_named(str(data), span)
    request = Request(name, source_spec, str(data), target, folder, span)
    if source_spec.reader in ("images", "text"):
        write = images_file if source_spec.reader == "images" else prose_file
        lines, note = write(Path(data), request.path(source_spec.path), span)
        source = request.source(lines, note, has_target=False)
        if tries:
            try_training(source)
        return Start(source.text)
    return _table_start(request, tries)


def _table_start(request: Request, tries: bool) -> Start:
    tables = Tables()
    columns = _columns(request, tables)
    write: Write = series_file if is_series_file(columns) else data_and_model
    for _ in range(_MOST_TRIALS):
        if all(guess is columns.goal or guess.name in columns.left_out for guess in columns.guesses):
            fact = f"`{request.shown}` has no column beside `{cell(columns.goal.name)}` that a network could learn from"
            reasons = "; ".join(f"`{cell(name)}`: {why}" for name, why in list(columns.left_out.items())[:3])
            hint = "columns that differ from row to row; --target COLUMN names another target"
            fault("E0802", fact, request.span, reasons or "it is the only column", hint=hint)
        fields = fields_of(columns)
        label = fields[-1].name if columns.goal.kind == "class" else None
        note = f"from {counted(columns.rows, 'row')}"
        source = request.source(list(write(columns, fields)), note)
        try:
            if not columns.category_counts:
                columns = replace(columns, category_counts=category_counts(source, label, tables.read) or {"": 0})
                continue
            if tries:
                try_training(source, tables.read)
        except Fault as wrong:
            last = wrong
            if write is series_file:
                write, columns = data_and_model, replace(columns, series=None)
            else:
                columns = _without_faulty(columns, fields, source, wrong)
            continue
        return Start(source.text, tuple(columns.left_out.items()))
    raise last


class _Pictures(Struct, frozen=True):
    """A guess for the column that names pictures, and the options of `images` that read them."""

    guess: Guess
    options: dict[str, Any]


def _pictures(request: Request, table: Table, target: str) -> _Pictures | None:
    """The pictures that a table names; None if it names none."""
    if request.data.others or request.data.reader == "sql":
        return None
    column = column_of_pictures(table, Path(request.data.path).parent)
    if column is None or column[0] == target:
        return None
    name, files = column
    shape, options = shape_of(files)
    if name != PATH:
        options["path"] = name
    return _Pictures(Guess(name, "picture", shape=shape), options)


def _guesses(table: Table, target: str, pictures: _Pictures | None, span: Span) -> list[Guess]:
    return [
        pictures.guess
        if pictures is not None and name == pictures.guess.name
        else guess_column(name, table.column(name, span)[:], name == target)
        for name in table.columns
    ]


def _columns(request: Request, tables: Tables) -> Columns:
    """Reads the table and guesses its columns, again if marks of missing values are found and the reader takes them."""
    span, reader = request.span, request.data.reader
    options, doubts = options_of(request.data, request.target, tables)
    table = table_with(request.data, options, tables)
    target = request.target or _last_filled(table, span)
    table.column(target, span)
    if len(table) < _FEWEST_ROWS:
        fact = f"`{request.shown}` has {counted(len(table), 'row')}"
        hint = "a larger table, or `netc new NAME` alone, which writes a file to fill in"
        fault("E0806", fact, span, f"{_FEWEST_ROWS} are the least that can be split", hint=hint)
    pictures = _pictures(request, table, target)
    guesses = _guesses(table, target, pictures, span)
    marks = sorted({mark.strip() for guess in guesses for mark in guess.marks})
    if marks and "missing" in OPTIONS.get(reader, {}):
        options["missing"] = (*options.get("missing", ()), *marks)
        odd = ", ".join(net_string(mark) for mark in marks if not is_mark(mark))
        if odd:
            doubts = (*doubts, f"{odd} in `missing` is a guess: the other cells of that column are numbers or dates")
        table = table_with(request.data, options, tables)
        guesses = _guesses(table, target, pictures, span)
    goal = next(guess for guess in guesses if guess.name == target)
    _check_target(goal, request.shown, span, lambda: _possible_targets(table, target, span))
    if all(guess is goal or guess.kind in _LEFT_OUT for guess in guesses):  # names or numbers of rows may say something
        guesses = [
            guess if guess is goal else replace(guess, kind=_AT_LAST.get(guess.kind, guess.kind)) for guess in guesses
        ]
    left_out = {guess.name: guess.note for guess in guesses if guess.kind in _LEFT_OUT and guess is not goal}
    for name in table.columns:
        if why := _unwritable(name):
            left_out[name] = f"no `.net` text can name it, {why}"
    paths = [request.path(path) for path in (request.data.path, *request.data.others)]
    options = {**dict(table.options), **options, **(pictures.options if pictures is not None else {})}
    source = source_of(reader if pictures is None else "images", paths, options)
    used = [guess for guess in guesses if guess.name not in left_out]
    series = None
    if goal.kind == "number" and not goal.missing:
        values = numbers_of(goal, texts_of(table.column(target, span)[:]))
        series = guess_series(used, goal, values, lambda name: table.column(name, span)[:])
    return Columns(source, guesses, goal, len(table), left_out, doubts=doubts, series=series)


def _last_filled(table: Table, span: Span) -> str:
    """The name of the last column that is not empty, as one is after a delimiter at the end of each line."""
    filled = (name for name in reversed(list(table.columns)) if not is_missing(table.column(name, span)[:]).all())
    return next(filled, list(table.columns)[-1])


def _possible_targets(table: Table, target: str, span: Span) -> list[str]:
    """At most three other columns that can be targets, the last ones of the table first."""
    guesses = (
        guess_column(name, table.column(name, span)[:], is_target=True)
        for name in reversed([*table.columns])
        if name != target and not _unwritable(name)
    )
    return [guess.name for guess in islice((guess for guess in guesses if guess.kind in _TARGETS), 3)]


def _check_target(goal: Guess, data: str, span: Span, others: Callable[[], list[str]]) -> None:
    """Raises E0803 if a column can be neither a class nor a number to predict; `others` are columns for the hint."""
    if why := _unwritable(goal.name):
        why, hint = f"no `.net` text can name it: {why}", "give the column another name, or --target COLUMN"
    elif goal.kind in _TARGETS:
        return
    else:
        why = goal.note or f"it is {'an' if goal.kind == 'array' else 'a'} {goal.kind}"
        hint = "--target COLUMN names another column"
    if names := ", ".join(map(cell, others())):
        hint += f": {names}"
    fault("E0803", f"`{cell(goal.name)}` of `{data}` cannot be a target", span, why, hint=hint)


def _unwritable(text: str) -> str:
    """The reason why a text in quotes cannot hold `text`; empty if it can."""
    try:
        net_string(text)
    except ValueError as error:
        return str(error)
    return ""


def _without_faulty(columns: Columns, fields: Sequence[Field], source: Source, wrong: Fault) -> Columns:
    """The columns without those that the messages of a trial are about. Raises the Fault if none of these is an input.

    A message is about a column if it points at the only column of a field, or names one of several.
    """
    data = next(item for item in parse(source).items if isinstance(item, syntax.Data))
    spans = {setting.name.text: setting.span for setting in data.settings}
    faulty: dict[str, str] = {}
    for diagnostic in wrong.diagnostics:
        fault_span = diagnostic.primary.span
        for entry in fields[:-1]:
            span = spans.get(entry.name)
            if fault_span.source.name != source.name or span is None or not span.start <= fault_span.start <= span.end:
                continue
            named = [
                name for name in entry.columns if f"`{cell(name)}`" in f"{diagnostic.title} {diagnostic.primary.text}"
            ]
            for name in named or entry.columns[: 1 * (len(entry.columns) == 1)]:
                faulty[name] = diagnostic.title
    if not faulty:
        raise wrong
    return replace(columns, left_out={**columns.left_out, **faulty}, category_counts={})
