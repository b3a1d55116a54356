"""Finds the line of a csv text that names the columns: exports often have a title above it."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from netc.dsl.diagnostics import fault
from netc.dsl.hints import Hint
from netc.dsl.plural import counted
from netc.dsl.quoting import cell
from netc.dsl.structs import replace
from netc.runtime.data.csv.records import BLANKS_BETWEEN, Dialect, Records, lines, sample_rows
from netc.runtime.data.csv.text_file import TextFile
from netc.runtime.data.tables.cell_text import is_number_or_blank

DELIMITERS = (",", ";", "\t", "|")  # those that are recognised; the option `delimiter` takes any character
COMMENTS = ("#", "%")  # marks that lines of a table rarely begin with
_FEWEST_RECORDS = 3  # of what is taken for a table, with its header
_LONGEST_TITLE = 30  # lines


def is_table(rows: list[list[str]]) -> bool:
    """Whether records are a header, whose names are all different and no numbers, and rows of the same length, with a
    column of numbers."""
    if len(rows) < _FEWEST_RECORDS or not _is_header(rows[0]) or any(len(row) != len(rows[0]) for row in rows):
        return False
    return any(all(map(is_number_or_blank, column)) for column in zip(*rows[1:], strict=True))


def _is_header(names: Sequence[str]) -> bool:
    return len(names) > 1 and len({*names}) == len(names) and not any(map(is_number_or_blank, names))


def refuse_title(file: TextFile, sample: str, is_cut: bool, dialect: Dialect, rows: list[list[str]]) -> None:
    """Raises E0801 if the first lines are not a table, and a table with a header follows them."""
    if not rows or (rows[0].count("") < 2 and all(len(row) == len(rows[0]) > 1 for row in rows)):
        return
    first = [*islice(lines(sample, dialect.line_end), _LONGEST_TITLE)]
    for number, line in enumerate(first, 1):
        if not line.strip():
            continue
        # most lines begin no table: that shows in one record, without reading all of the sample
        likely = [below for below in _below(dialect, number) if _is_header(_first_record(sample, below))]
        if any(is_table(sample_rows(sample, is_cut, below)) for below in likely):
            fact = f"`{file.shown}` has {counted(number, 'line')} above the names of its columns"
            marks = {text.lstrip()[:1] for text in first[:number] if text.strip()}
            mark = next((mark for mark in COMMENTS if marks == {mark} and not dialect.comment), None)
            hint = Hint.options(f"skip = {number}")
            if mark is not None:
                hint = Hint.options(f'comment = "{mark}"', note=" leaves out lines that begin with it")
            fault("E0801", fact, file.span, f"the first line is `{cell(first[0].strip())}`", hint=hint)


def with_header(sample: str, dialect: Dialect, expected: Sequence[str]) -> Dialect:
    """The dialect in which a line, the first below those that are left out, names all columns that a run expects.

    If no line does, no line is left out.
    """
    for number in range(_LONGEST_TITLE + 1):
        for below in _below(dialect, number):
            if {*expected} <= {*_first_record(sample, below)}:
                return below
    return replace(dialect, skip=0)


def _first_record(sample: str, dialect: Dialect) -> list[str]:
    """The first record of a sample; empty if there is none, or it is not a csv."""
    with suppress(csv.Error):
        return next(iter(Records(lines(sample, dialect.line_end), dialect, is_strict=False)), [])
    return []


def _below(dialect: Dialect, skip: int) -> Iterator[Dialect]:
    """The dialects of what is below some lines, one for each delimiter."""
    for delimiter in dict.fromkeys((dialect.delimiter, *DELIMITERS, BLANKS_BETWEEN)):
        yield replace(dialect, delimiter=delimiter, skip=skip, has_sep_line=False)
