"""Takes the rows of a csv text apart, checks that each is as long as the header, and collects its cells by column."""

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TextIO

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.runtime.data.cell_text import cleaned, cleaner
from netc.runtime.data.csv_records import Records
from netc.runtime.data.csv_title import COMMENTS
from netc.runtime.data.dialect import Detected
from netc.runtime.data.request import Request, Use
from netc.runtime.data.row_numbers import RowNumbers

BATCH = 1 << 14  # rows at a time
_CELLS = 1 << 20  # cells at a time: fewer rows of a table that has many columns


@dataclass(slots=True)
class CsvRows:
    """The rows of a csv file below its header, in batches of columns.

    `numbers` are the numbers of the rows that were yielded so far.
    """

    request: Request
    detected: Detected
    stream: TextIO
    _first: int = 0
    _gaps: "array[int]" = field(default_factory=lambda: array("q"))

    @property
    def numbers(self) -> RowNumbers:
        return RowNumbers.from_gaps(self._first, self._gaps)

    def batches(self) -> Iterator[dict[str, list[str | None]]]:
        """Yields the cells of the needed columns, some thousand rows at a time; None where a cell is missing.

        Faults E0804 at the first row that is not as long as the header, E0801 where quotes are wrong, E0803 at the
        first number that is written in another notation than the others.
        """
        names, rules = self.detected.names, self.detected.dialect.rules
        index_of = {name: i for i, name in enumerate(names)}
        indexes = [index_of[name] for name in self.request.needed(names)]
        uses = {i: self.request.uses(names[i]) for i in indexes}
        clean = {i: cleaner(rules, Use.LABELS in use, Use.TEXT in use) for i, use in uses.items()}
        rows, start = self._rows(), 0
        size = max(1, min(BATCH, _CELLS // max(len(names), 1)))
        while batch := list(islice(rows, size)):
            columns = list(zip(*batch, strict=True))
            for i in indexes:
                if Use.NUMBERS in uses[i]:
                    self._refuse_misread(names[i], columns[i], start)
            yield {names[i]: cleaned(columns[i], clean[i]) for i in indexes}
            start += len(batch)

    def _rows(self) -> Iterator[list[str]]:
        dialect, width = self.detected.dialect, len(self.detected.names)
        records = Records(iter(self.stream), dialect)
        expected, count = 0, 0  # the number of the next row if nothing is skipped
        try:
            rows = iter(records)
            if dialect.header is True:
                next(rows, None)
            for row in rows:
                if not count:
                    self._first = expected = records.number
                self._gaps.extend([count] * (records.number - expected))
                if len(row) != width:
                    self._refuse_length(row, records.number)
                yield row
                count, expected = count + 1, records.number + 1
        except csv.Error as error:
            self._refuse_quotes(records.number + 1, str(error))

    def _refuse_length(self, row: Sequence[str], number: int) -> None:
        """Faults E0804 at a row that is not as long as the header."""
        names, request = self.detected.names, self.request
        what = "the header has" if self.detected.dialect.header is True else "the first row has"
        fact = f"`{request.shown}`, row {number} has {len(row)} cells, {what} {len(names)}"
        if len(row) < len(names):
            note = f"the last one is `{cell(row[-1])}` in column `{cell(names[len(row) - 1])}`"
        else:
            note = f"`{cell(row[len(names)])}` has no column"
        hint = None
        mark = next((cells[0][0] for cells in (names, row) if cells and cells[0][:1] in COMMENTS), "")
        if mark and "comment" not in request.options:
            hint = f'comment = "{mark}" leaves out lines that begin with it'
        elif len(names) == 1 and "delimiter" not in request.options:
            hint = 'delimiter = ";" names the character between cells, quote = "" takes quotes as they are'
        fault("E0804", fact, request.span, note, hint=hint)

    def _refuse_quotes(self, number: int, message: str) -> None:
        """Faults E0801 at a row whose quotes or line ends are wrong."""
        if "new-line character" in message:
            note, hint = "there is a carriage return (\\r) outside of quotes", None
        elif "unexpected end" in message:
            note, hint = "a quote is opened and never closed", 'quote = "" takes quotes as they are'
        else:
            note, hint = "text follows a closing quote", 'quote = "" takes quotes as they are'
        fault("E0801", f"cannot read `{self.request.shown}`, row {number}", self.request.span, note, hint=hint)

    def _refuse_misread(self, name: str, cells: Sequence[str], start: int) -> None:
        """Faults E0803 at the first number with a decimal point in a file with decimal commas."""
        notation = self.detected.dialect.rules.notation
        if notation.decimal == ".":
            return
        wrong = next((i for i, text in enumerate(cells) if notation.misreads(text)), None)
        if wrong is not None:
            number = int(self.numbers.of(np.array([start + wrong]))[0])
            where = f"`{self.request.shown}`, row {number}, column `{cell(name)}`: `{cell(cells[wrong])}`"
            hint = 'thousands = "." if it stands between thousands, decimal = "." if all numbers have decimal points'
            fault("E0803", "a number with a decimal point among decimal commas", self.request.span, where, hint=hint)
