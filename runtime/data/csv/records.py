"""Takes a csv text apart into records, by its dialect."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from msgspec import Struct, field

from netc.runtime.data.tables.cell_text import CellRules

BLANKS_BETWEEN = " "  # the delimiter of tables in which any number of blanks and tabs separates cells
_ROWS = 1_000  # records in which a dialect is found
_LONGEST_CELL = (1 << 31) - 1
csv.field_size_limit(_LONGEST_CELL)


class Dialect(Struct, frozen=True):
    """The format of a csv file. `header` says whether the first record names the columns, or gives their names.

    An empty `quote` or `comment` means that there is none. With `has_sep_line` the first line is `sep=;`, as
    spreadsheets write it. `skip` lines at the beginning are left out.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    header: bool | tuple[str, ...] = True
    quote: str = '"'
    comment: str = ""
    line_end: str = "\n"
    has_sep_line: bool = False
    skip: int = 0
    rules: CellRules = field(default_factory=CellRules)


class Records:
    """The records of a csv text, one after the other; `number` counts the blank lines and comments before each, too.

    Iteration raises csv.Error where the quotes of a record are wrong, and may go on after it with the next record,
    unless the text has ended inside of quotes.
    """

    def __init__(self, lines: Iterator[str], dialect: Dialect, is_strict: bool = True) -> None:
        self._lines, self._comment = lines, dialect.comment
        self._is_at_start = True
        self.number = 0  # of the record that was yielded last, counting blank lines and comments
        for _ in range(dialect.skip + dialect.has_sep_line):
            next(lines, None)
            self.number += 1
        if dialect.comment:
            lines = self._without_comments()
        are_blanks = dialect.delimiter == BLANKS_BETWEEN
        self._rows = csv.reader(
            (line.strip().replace("\t", " ") for line in lines) if are_blanks else lines,
            delimiter=dialect.delimiter,
            skipinitialspace=are_blanks,
            quotechar=dialect.quote or None,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            strict=is_strict,
        )

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        while True:
            try:
                row = next(self._rows)
            finally:
                self._is_at_start = True
            self.number += 1
            if row:
                return row

    def _without_comments(self) -> Iterator[str]:
        """The lines, without those that start a record and begin with the mark of comments."""
        for line in self._lines:
            if self._is_at_start and line.startswith(self._comment):
                self.number += 1
                continue
            self._is_at_start = False
            yield line


def lines(text: str, line_end: str) -> Iterator[str]:
    """The lines of a text with their ends."""
    start = 0
    while start < len(text):
        end = text.find(line_end, start) + len(line_end)
        if end < start + len(line_end):
            end = len(text)
        yield text[start:end]
        start = end


def sample_rows(sample: str, is_cut: bool, dialect: Dialect) -> list[list[str]]:
    """The first records of a sample, up to one that is not csv; the last one is left out if it may be cut."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        for row in islice(Records(lines(sample, dialect.line_end), dialect, is_strict=False), _ROWS + 1):
            rows.append(row)
    return rows[:-1] if is_cut and len(rows) <= _ROWS else rows[:_ROWS]


def even(rows: list[list[str]], width: int) -> list[list[str]]:
    """The rows that have as many cells as the header."""
    return [row for row in rows if len(row) == width]
