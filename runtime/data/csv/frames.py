"""The rows of a csv text as data frames of polars, some thousand at a time, with the cells as texts.

A regular text is taken apart by polars, any other by the module csv, which is slower; both give the same cells.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from netc.runtime.data.csv.check import regular_blocks
from netc.runtime.data.csv.dialect import Detected
from netc.runtime.data.csv.rows import CsvRows
from netc.runtime.data.csv.text_file import TextFile
from netc.runtime.data.readers.request import Request
from netc.runtime.data.tables.row_numbers import FROM_ONE, RowNumbers

if TYPE_CHECKING:
    import polars

_CELL = 8  # bytes of a cell in memory


def regular_frames(
    file: TextFile, request: Request, detected: Detected, names: Sequence[str]
) -> "Iterator[polars.DataFrame]":
    """Yields the columns `names` of a regular text. Raises Irregular if it is not regular, and what polars raises."""
    import polars

    dialect, every = detected.dialect, detected.names
    keys = {name: f"column_{i}" for i, name in enumerate(every, 1)}  # the names that polars gives
    schema = dict.fromkeys(keys.values(), polars.String)
    for block in regular_blocks(file, dialect, len(every)):
        frame = polars.read_csv(
            block,
            schema=schema,
            columns=[keys[name] for name in names],
            has_header=False,
            separator=dialect.delimiter,
            quote_char=dialect.quote or None,
            raise_if_empty=False,
        )
        yield frame.select(polars.col(keys[name]).alias(name) for name in names)


def first_number(detected: Detected) -> int:
    """The number of the first row of a regular text."""
    dialect = detected.dialect
    return 1 + dialect.skip + dialect.has_sep_line + (dialect.header is True)


class IrregularText(Struct):
    """A text that the module csv takes apart. `numbers` are those of its rows, once all frames were yielded."""

    file: TextFile
    request: Request
    detected: Detected
    numbers: RowNumbers = FROM_ONE

    def frames(self, names: Sequence[str]) -> "Iterator[polars.DataFrame]":
        """Yields the columns `names`, with clean cells. Raises a Fault where the text is not a table."""
        import polars

        dialect = self.detected.dialect
        with self.file.text(dialect.encoding, dialect.line_end) as stream:
            rows = CsvRows(self.request, self.detected, stream)
            for batch in rows.batches():
                yield polars.DataFrame([polars.Series(name, batch[name], polars.String) for name in names])
            self.numbers = rows.numbers


def write_regular(file: TextFile, request: Request, detected: Detected, copy: Path) -> RowNumbers:
    """Writes the needed columns as a regular csv without a header, with clean cells, and returns the numbers of the
    rows.
    """
    dialect = detected.dialect
    with (
        file.text(dialect.encoding, dialect.line_end) as stream,
        copy.open("w", encoding="utf-8", newline="") as target,
    ):
        writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n")
        rows = CsvRows(request, detected, stream)
        for batch in rows.batches():
            writer.writerows(zip(*batch.values(), strict=True))
    return rows.numbers
