"""The dialect of a csv file: its encoding, the characters that separate and quote cells, its header and its numbers.

What the options of a source do not say is found in the beginning of the file. Nothing is guessed: if two readings are
possible, a message names the option that decides.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.quoting import cell, net_string
from netc.runtime.data.cell_text import CellRules, Notation, is_missing_text
from netc.runtime.data.text_file import TextFile, encoding_of

DELIMITERS = (",", ";", "\t", "|")  # those that are recognised; the option `delimiter` takes any character
SAMPLE = 1 << 20  # characters in which a dialect is found
_ROWS = 1_000  # records of them
_LONGEST_CELL = (1 << 31) - 1
_SEP_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
csv.field_size_limit(_LONGEST_CELL)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a csv file is written. `header` says whether the first record names the columns, or gives their names.

    An empty `quote` or `comment` means that there is none. With `has_sep_line` the first line is `sep=;`, as
    spreadsheets write it.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    header: bool | tuple[str, ...] = True
    quote: str = '"'
    comment: str = ""
    line_end: str = "\n"
    has_sep_line: bool = False
    rules: CellRules = field(default_factory=CellRules)


class Records:
    """The records of a csv text, one after the other; `skipped` counts the blank lines and comments before each.

    Iteration raises csv.Error where the quotes of a record are wrong.
    """

    def __init__(self, lines: Iterator[str], dialect: Dialect, is_strict: bool = True) -> None:
        self._lines, self._comment = lines, dialect.comment
        self._is_at_start = True
        self.number = 0  # of the record that was yielded last, counting blank lines and comments
        if dialect.has_sep_line:
            next(lines, None)
            self.number = 1
        self._rows = csv.reader(
            self._without_comments() if dialect.comment else lines,
            delimiter=dialect.delimiter,
            quotechar=dialect.quote or None,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            strict=is_strict,
        )

    def __iter__(self) -> Iterator[list[str]]:
        for row in self._rows:
            self.number += 1
            self._is_at_start = True
            if row:
                yield row

    def _without_comments(self) -> Iterator[str]:
        """The lines, without those that start a record and begin with the mark of comments."""
        for line in self._lines:
            if self._is_at_start and line.startswith(self._comment):
                self.number += 1
                continue
            self._is_at_start = False
            yield line


@dataclass(frozen=True, slots=True)
class Detected:
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
    """The dialect of a file, by the declared options and its beginning. Faults E0801 where two are possible."""
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
    )
    sep_line = _SEP_LINE.match(sample)
    dialect = replace(dialect, has_sep_line=sep_line is not None)
    delimiter = options.get("delimiter") or (sep_line[1] if sep_line else _delimiter(file, sample, is_cut, dialect))
    dialect = replace(dialect, delimiter=delimiter)
    rows = _sample_rows(sample, is_cut, dialect)
    names, body = _names(file, dialect, rows)
    notation, doubtful = _notation(file, names, body, delimiter, options)
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


def _lines(text: str, line_end: str) -> Iterator[str]:
    """The lines of a text with their ends."""
    start = 0
    while start < len(text):
        end = text.find(line_end, start) + len(line_end)
        if end < start + len(line_end):
            end = len(text)
        yield text[start:end]
        start = end


def _sample_rows(sample: str, is_cut: bool, dialect: Dialect) -> list[list[str]]:
    """The first records of a sample, up to one that is no csv; the last one is left out if it may be cut."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        for row in islice(Records(_lines(sample, dialect.line_end), dialect, is_strict=False), _ROWS + 1):
            rows.append(row)
    return rows[:-1] if is_cut and len(rows) <= _ROWS else rows[:_ROWS]


def _delimiter(file: TextFile, sample: str, is_cut: bool, dialect: Dialect) -> str:
    """The delimiter that gives each record as many cells as the first one, and at least two.

    Faults E0801 if several do. If none does, it is the one that occurs in the header, or a comma.
    """
    regular: list[str] = []
    widths: dict[str, int] = {}
    for delimiter in DELIMITERS:
        rows = _sample_rows(sample, is_cut, replace(dialect, delimiter=delimiter))
        widths[delimiter] = len(rows[0]) if rows else 0
        if widths[delimiter] > 1 and all(len(row) == widths[delimiter] for row in rows):
            regular.append(delimiter)
    if len(regular) > 1:
        names = " and ".join(f"`{_shown(delimiter)}`" for delimiter in regular)
        hints = " or ".join(f"delimiter = {_quoted(delimiter)}" for delimiter in regular)
        fault("E0801", f"{names} could separate the cells of `{file.shown}`", file.span, hint=hints)
    if regular:
        return regular[0]
    return "," if widths[","] > 1 else max(DELIMITERS, key=lambda delimiter: widths[delimiter])


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else cell(delimiter)


def _names(file: TextFile, dialect: Dialect, rows: list[list[str]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """The names of the columns, and the sampled rows below the header.

    Faults E0801 if a name occurs twice, E0804 if the option `header` has not as many names as a row has cells.
    """
    if dialect.header is True:
        names = tuple(rows[0]) if rows else ()
        seen: set[str] = set()
        for name in names:
            if name in seen:
                looks_like_data = all(map(_is_number_or_blank, names))
                no_header = "header = false, if the first row is no header"
                hint = no_header if looks_like_data else "another name for one of them in the file"
                fault("E0801", f"`{file.shown}` has two columns `{cell(name)}`", file.span, hint=hint)
            seen.add(name)
        return names, rows[1:]
    width = len(rows[0]) if rows else 0
    if dialect.header is False:
        return tuple(map(str, range(1, width + 1))), rows
    if rows and width != len(dialect.header):
        fact = f"`header` has {len(dialect.header)} names, the first row of `{file.shown}` has {width} cells"
        fault("E0804", fact, file.span)
    if rows and tuple(rows[0]) == dialect.header:
        fault("E0801", f"the first row of `{file.shown}` has these names already", file.span, hint="header = true")
    return dialect.header, rows


def _is_number_or_blank(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return is_missing_text(text)
    return True


# ------------------------------------------------------------------ decimal commas

_COMMA = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+)?,[0-9]+")  # a number with a decimal comma
_POINT = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_COMMAS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")  # what could be commas between thousands
_POINTS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def _notation(
    file: TextFile, names: Sequence[str], rows: list[list[str]], delimiter: str, options: Mapping[str, Any]
) -> tuple[Notation, tuple[str, ...]]:
    """The notation of numbers, and the columns whose points may be either decimal points or between thousands.

    Decimal commas are recognised only where commas do not separate cells. A number with both marks, such as 1.234,5,
    shows that the other one stands between thousands. Faults E0801 if some columns have decimal commas and others
    decimal points. Where the rows do not show it, and the file has the delimiter of the `training` data, the notation
    is that of training: a row alone means what it means among others.
    """
    decimal, thousands = options.get("decimal"), options.get("thousands", "")
    if decimal is not None or thousands or delimiter == ",":
        return Notation(decimal or ("," if thousands == "." else "."), thousands), ()
    marks = options.get("missing", ())
    commas: list[str] = []
    points: list[str] = []
    doubtful: list[str] = []
    has_both = False
    for name, column in zip(names, zip(*_even(rows, len(names)), strict=True), strict=False):
        cells = [text.strip() for text in column if not is_missing_text(text, marks)]
        others = [text for text in cells if not _INTEGER.fullmatch(text)]
        if others and all(_COMMA.fullmatch(text) or _POINTS.fullmatch(text) for text in others):
            if any(_COMMA.fullmatch(text) and not _COMMAS.fullmatch(text) for text in others):
                commas.append(name)
            elif all(map(_POINTS.fullmatch, others)):
                doubtful.append(name)
        elif others and all(_POINT.fullmatch(text) or _COMMAS.fullmatch(text) for text in others):
            points.append(name)
        if name in (*commas[-1:], *points[-1:]):
            has_both = has_both or any("," in text and "." in text for text in others)
    if commas and points:
        fact = f"`{file.shown}` has decimal commas in `{cell(commas[0])}` and decimal points in `{cell(points[0])}`"
        fault("E0801", fact, file.span, hint='decimal = "," or decimal = "."')
    training_delimiter, *marks_of_training = options.get("training", ("", ".", ""))
    if delimiter == training_delimiter and not points and (marks_of_training[0] == "," or not commas):
        return Notation(*marks_of_training), ()
    is_doubtful = bool(doubtful) and delimiter == ";" and not points
    decimal, other = (",", ".") if commas else (".", ",")
    notation = Notation(decimal, other if has_both else "")
    return notation, tuple(doubtful) if is_doubtful and not commas else ()


def _even(rows: list[list[str]], width: int) -> list[list[str]]:
    return [row for row in rows if len(row) == width]


# ------------------------------------------------------------------ a header that may be data


def _header_warnings(
    file: TextFile, names: Sequence[str], rows: list[list[str]], marks: Sequence[str]
) -> list[Diagnostic]:
    """The warning W0821 if the header looks like the rows below it.

    That is so if it has a number above each column of numbers, of which there is at least one, and a text of the column
    above every other column.
    """
    even = _even(rows, len(names))
    if not even or not names:
        return []
    numeric = 0
    for name, column in zip(names, zip(*even, strict=True), strict=True):
        present = [text for text in column if not is_missing_text(text, marks)]
        if present and all(map(_is_number_or_blank, present)):
            numeric += 1
            if not _is_number_or_blank(name) or is_missing_text(name):
                return []
        elif name not in present:
            return []
    if not numeric:
        return []
    label = f"it is read as the names of the columns: {', '.join(f'`{cell(name)}`' for name in names[:4])}"
    hint = "header = false numbers the columns, header = [...] names them"
    return [Diagnostic("W0821", f"the first row of `{file.shown}` looks like data", Label(file.span, label), hint=hint)]
