"""Takes the rows of a csv text apart, checks that each is as long as the header, and collects its cells by column."""

import csv
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TextIO

import numpy as np
from msgspec import Struct, field

from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.hints import Hint
from netc.dsl.plural import counted
from netc.dsl.quoting import cell
from netc.runtime.data.csv.dialect import Detected
from netc.runtime.data.csv.records import Records
from netc.runtime.data.csv.title import COMMENTS
from netc.runtime.data.readers.request import Request, Use
from netc.runtime.data.tables.cell_text import cleaned, cleaner
from netc.runtime.data.tables.cells import RowFault, RowProblem
from netc.runtime.data.tables.row_numbers import RowNumbers

BATCH = 1 << 14  # rows at a time
_CELLS = 1 << 20  # cells at a time: fewer rows of a table that has many columns


class CsvRows(Struct):
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

        Raises E0804 at the first row that is not as long as the header, E0801 where quotes are wrong, E0803 at the
        first number that is written in another notation than the others. Of new data (with `bad_rows`) such rows are
        noted, and all of their cells are missing, unless a quote is never closed.
        """
        names, rules = self.detected.names, self.detected.dialect.rules
        index_of = {name: i for i, name in enumerate(names)}
        indexes = [index_of[name] for name in self.request.needed(names)]
        uses = {i: self.request.uses(names[i]) for i in indexes}
        clean = {i: cleaner(rules, Use.LABELS in use, Use.TEXT in use) for i, use in uses.items()}
        rows, start = self._rows(), 0
        size = max(1, min(BATCH, _CELLS // max(len(names), 1)))
        while batch := list(islice(rows, size)):
            for i in indexes:
                if Use.NUMBERS in uses[i]:
                    self._refuse_misread(i, batch, start)
            columns = list(zip(*batch, strict=True))
            yield {names[i]: cleaned(columns[i], clean[i]) for i in indexes}
            start += len(batch)

    def _rows(self) -> Iterator[list[str]]:
        dialect, width = self.detected.dialect, len(self.detected.names)
        records = Records(iter(self.stream), dialect)
        expected, count = 0, 0  # the number of the next row if nothing is skipped
        is_header = dialect.header is True
        while True:
            try:
                row = next(records, None)
            except csv.Error as error:
                self._refuse_quotes(records.number + 1, str(error), is_header)
                records.number += 1
                row = [""] * width
            if row is None:
                return
            if is_header:
                is_header = False
                continue
            if not count:
                self._first = expected = records.number
            self._gaps.extend([count] * (records.number - expected))
            if len(row) != width:
                self._refuse_length(row, records.number)
                row = [""] * width
            yield row
            count, expected = count + 1, records.number + 1

    def _refuse(self, fault: RowFault) -> None:
        """Notes a row of new data; raises the fault otherwise."""
        if self.request.bad_rows is None:
            raise fault
        self.request.bad_rows.note(fault)

    def _refuse_length(self, row: Sequence[str], number: int) -> None:
        """Refuses a row that is not as long as the header (E0804)."""
        names, request = self.detected.names, self.request
        what = "the header has" if self.detected.dialect.header is True else "the first row has"
        cells = f"{counted(len(row), 'cell')}, {what} {len(names)}"
        if len(row) < len(names):
            note = f"the last one is `{cell(row[-1])}` in column `{cell(names[len(row) - 1])}`"
        else:
            note = f"`{cell(row[len(names)])}` has no column"
        hint = None
        mark = next((first[0][0] for first in (names, row) if first and first[0][:1] in COMMENTS), "")
        if mark and "comment" not in request.options:
            hint = f'comment = "{mark}" leaves out lines that begin with it'
        elif len(names) == 1 and "delimiter" not in request.options:
            hint = 'delimiter = ";" names the character between cells, quote = "" takes quotes as they are'
        fact = f"`{request.shown}`, row {number} has {cells}"
        diagnostic = Diagnostic("E0804", fact, Label(request.span, note), hint=hint)
        column = names[min(len(row), len(names) - 1)]
        self._refuse(RowFault([diagnostic], [RowProblem(number, column, f"the row has {cells}")]))

    def _refuse_quotes(self, number: int, message: str, is_header: bool) -> None:
        """Refuses a row whose quotes or line ends are wrong. Raises E0801 if no row follows, and in the header."""
        hint: Hint | None = Hint.options('quote = ""', note=" takes quotes as they are")
        if "new-line character" in message:
            note, hint = "there is a carriage return (\\r) outside of quotes", None
        elif "unexpected end" in message:
            note = "a quote is opened and never closed"
        else:
            note = "text follows a closing quote"
        fact = f"cannot read `{self.request.shown}`, row {number}"
        diagnostic = Diagnostic("E0801", fact, Label(self.request.span, note), hint=hint)
        if is_header or "unexpected end" in message:
            raise Fault([diagnostic])
        self._refuse(RowFault([diagnostic], [RowProblem(number, "", note)]))

    def _refuse_misread(self, index: int, rows: list[list[str]], start: int) -> None:
        """Refuses the rows that have a decimal point in a column of numbers with decimal commas (E0803)."""
        notation, name = self.detected.dialect.rules.notation, self.detected.names[index]
        if notation.decimal == ".":
            return
        fact = "a number with a decimal point among decimal commas"
        note = ' if it stands between thousands, decimal = "." if all numbers have decimal points'
        hint = Hint.options('thousands = "."', note=note)
        for position, row in enumerate(rows):
            if notation.misreads(text := row[index]):
                number = int(self.numbers.of(np.array([start + position]))[0])
                where = f"`{self.request.shown}`, row {number}, column `{cell(name)}`: `{cell(text)}`"
                diagnostic = Diagnostic("E0803", fact, Label(self.request.span, where), hint=hint)
                self._refuse(RowFault([diagnostic], [RowProblem(number, name, fact)]))
                rows[position] = [""] * len(row)
