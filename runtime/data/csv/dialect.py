"""The dialect of a csv file: its encoding, the characters that separate and quote cells, its header and its numbers.

What the options of a source do not say is found in the beginning of the file. Nothing is guessed: if two readings are
possible, a message names the option that decides.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.hints import Hint
from netc.dsl.plural import counted
from netc.dsl.quoting import cell, net_string
from netc.dsl.structs import replace
from netc.runtime.data.csv.notation import notation_of
from netc.runtime.data.csv.records import BLANKS_BETWEEN, Dialect, even, sample_rows
from netc.runtime.data.csv.text_file import TextFile, encoding_of
from netc.runtime.data.csv.title import DELIMITERS, is_table, refuse_title, with_header
from netc.runtime.data.tables.cell_text import CellRules, is_missing_text, is_number_or_blank

SAMPLE = 1 << 20  # characters in which a dialect is found
_NOTATION = ("delimiter", "decimal", "thousands")
_SEP_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)


class Detected(Struct, frozen=True):
    """The dialect of a file, and the names of its columns.

    `options` are those that were found and not declared, if they are not the plain ones. The numbers of the columns
    `doubtful` may have decimal points or points between thousands.
    """

    dialect: Dialect
    names: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    doubtful: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()


def detect(file: TextFile, options: Mapping[str, Any]) -> Detected:
    """The dialect of a file, by the declared options and its beginning. Raises E0801 where two are possible.

    For new data the options have two more: `training` is the notation of the training data, and `expected` are the
    columns that the header names; the lines above it are left out, however many there are.
    """
    encoding = encoding_of(file, options.get("encoding"))
    with file.text(encoding) as stream:
        sample = stream.read(SAMPLE)
        is_cut = bool(stream.read(1))
    dialect = Dialect(
        encoding=encoding,
        header=options.get("header", True),
        quote=options.get("quote", '"'),
        comment=options.get("comment", ""),
        line_end="\r" if "\r" in sample and "\n" not in sample else "\n",
        skip=options.get("skip", 0),
    )
    if options.get("expected") and dialect.header is True:
        delimiter = options.get("delimiter", options["training"][0])
        dialect = with_header(sample, replace(dialect, delimiter=delimiter), options["expected"])
        if "delimiter" in options and dialect.delimiter != delimiter:  # another dialect than that of the training data
            options = {name: value for name, value in options.items() if name not in _NOTATION}
            options["delimiter"] = dialect.delimiter
    sep_line = _SEP_LINE.match(sample) if not dialect.skip else None
    dialect = replace(dialect, has_sep_line=sep_line is not None)
    delimiter = options.get("delimiter") or (sep_line[1] if sep_line else None)
    if delimiter is None:
        delimiter = _delimiter(file, sample, is_cut, dialect)
    dialect = replace(dialect, delimiter=delimiter)
    rows = sample_rows(sample, is_cut, dialect)
    if dialect.header is True and not {"skip", "expected"} & {*options}:
        refuse_title(file, sample, is_cut, dialect, rows)
    names, body = _names(file, dialect, rows)
    notation, doubtful = notation_of(file, names, body, delimiter, options)
    marks = tuple(options.get("missing", ()))
    dialect = replace(dialect, rules=CellRules(marks, notation))
    recognised = {
        "delimiter": delimiter if delimiter != "," else None,
        "decimal": notation.decimal if notation.decimal != "." else None,
        "thousands": notation.thousands or None,
        "encoding": encoding if encoding not in ("utf-8", "utf-8-sig") else None,
    }
    undeclared = tuple((key, value) for key, value in recognised.items() if value is not None and key not in options)
    warnings = [] if "header" in options else _header_warnings(file, names, body, marks)
    return Detected(dialect, names, undeclared, doubtful, tuple(warnings))


def note_of(shown: str, options: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    """A sentence about the options that were found in a file; none if there are none."""
    if not options:
        return ()
    return (f"{shown}: read with {', '.join(f'{key} = {_quoted(value)}' for key, value in options)}",)


def _quoted(text: str) -> str:
    return '"\\t"' if text == "\t" else net_string(text)


def _delimiter(file: TextFile, sample: str, is_cut: bool, dialect: Dialect) -> str:
    """The delimiter that gives each record as many cells as the first one, and at least two.

    Raises E0801 if several do. If none does, it is the one that occurs in the header, or blanks where they give such
    records and numbers, or separate the names that a run expects, or a comma.
    """
    regular: list[str] = []
    widths: dict[str, int] = {}
    for delimiter in DELIMITERS:
        rows = sample_rows(sample, is_cut, replace(dialect, delimiter=delimiter))
        widths[delimiter] = len(rows[0]) if rows else 0
        if widths[delimiter] > 1 and all(len(row) == widths[delimiter] for row in rows):
            regular.append(delimiter)
    if len(regular) > 1:
        names = " and ".join(f"`{_shown(delimiter)}`" for delimiter in regular)
        hints = Hint.options(*(f"delimiter = {_quoted(delimiter)}" for delimiter in regular))
        fault("E0801", f"{names} could separate the cells of `{file.shown}`", file.span, hint=hints)
    if regular:
        return regular[0]
    if max(widths.values()) <= 1:
        rows = sample_rows(sample, is_cut, replace(dialect, delimiter=BLANKS_BETWEEN))
        if dialect.delimiter == BLANKS_BETWEEN or is_table(rows):
            return BLANKS_BETWEEN
    return "," if widths[","] > 1 else max(DELIMITERS, key=lambda delimiter: widths[delimiter])


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else cell(delimiter)


def _names(file: TextFile, dialect: Dialect, rows: list[list[str]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """The names of the columns, and the sampled rows below the header.

    Raises E0801 if a name occurs twice, E0804 if the option `header` has not as many names as a row has cells.
    """
    if dialect.header is True:
        names = tuple(rows[0]) if rows else ()
        seen: set[str] = set()
        for name in names:
            if name in seen:
                looks_like_data = all(map(is_number_or_blank, names))
                no_header = "header = false, if the first row is not a header"
                hint = no_header if looks_like_data else "another name for one of them in the file"
                fault("E0801", f"`{file.shown}` has two columns `{cell(name)}`", file.span, hint=hint)
            seen.add(name)
        return names, rows[1:]
    width = len(rows[0]) if rows else 0
    if dialect.header is False:
        return tuple(map(str, range(1, width + 1))), rows
    if rows and width != len(dialect.header):
        named = counted(len(dialect.header), "name")
        fact = f"`header` has {named}, the first row of `{file.shown}` has {counted(width, 'cell')}"
        fault("E0804", fact, file.span)
    if rows and tuple(rows[0]) == dialect.header:
        fault("E0801", f"the first row of `{file.shown}` has these names already", file.span, hint="header = true")
    return dialect.header, rows


def _header_warnings(
    file: TextFile, names: Sequence[str], rows: list[list[str]], marks: Sequence[str]
) -> list[Diagnostic]:
    """The warning W0821 if the header looks like the rows below it.

    That is so if it has a number above each column of numbers, of which there is at least one, and a text of the column
    above every other column.
    """
    body = even(rows, len(names))
    if not body or not names:
        return []
    numeric = 0
    for name, column in zip(names, zip(*body, strict=True), strict=True):
        present = [text for text in column if not is_missing_text(text, marks)]
        if present and all(map(is_number_or_blank, present)):
            numeric += 1
            if not is_number_or_blank(name) or is_missing_text(name):
                return []
        elif name not in present:
            return []
    if not numeric:
        return []
    label = f"it is read as the names of the columns: {', '.join(f'`{cell(name)}`' for name in names[:4])}"
    hint = Hint.options("header = false", note=" numbers the columns, header = [...] names them")
    return [Diagnostic("W0821", f"the first row of `{file.shown}` looks like data", Label(file.span, label), hint=hint)]
