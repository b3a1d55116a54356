"""Files -> tables: one row of the table READERS below a reader.

A table holds columns of equal length and says where a row came from.

Text tables are read as text: what a column's type is, the model says, not its first rows. A csv or parquet file that is
large stays on disk (store.py). polars is imported where a table is read: a fifth of a second that images need not wait.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.data.access import opening
from netc.runtime.data.csv_reader import read_csv
from netc.runtime.data.idx_reader import read_idx
from netc.runtime.data.images import Options, read_images
from netc.runtime.data.jsonl_reader import read_jsonl
from netc.runtime.data.npz import read_arrays
from netc.runtime.data.parquet_reader import read_parquet
from netc.runtime.data.reading import decoding, reading, refuse_irregular
from netc.runtime.data.store import IsText
from netc.runtime.data.table import Table, table_of
from netc.runtime.data.text_reader import read_text

Read = Callable[[Path, str, Span, IsText], Table]


@dataclass(frozen=True, slots=True)
class Reader:
    """How a source is read: `read(path, shown, span, is_text)` gives its table or a fault, for files whose names end
    with one of `suffixes`. None of its own: pictures take options (images.py).
    """

    name: str
    doc: str
    read: Read | None
    suffixes: tuple[str, ...] = ()
    takes_folder: bool = False


def simple_reader(
    name: str, doc: str, read: Callable[[Path], Mapping[str, Any]], suffixes: tuple[str, ...] = ()
) -> Reader:
    """A reader that gives columns by name, arrays of one length with samples first, and raises an exception that says
    why where a file is broken.
    """

    def table(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
        with decoding(shown, span):
            columns = {str(key): np.asarray(column) for key, column in read(path).items()}
        return table_of(shown, columns, "columns", span)

    return Reader(name, doc, table, suffixes)


def read_npz(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    return table_of(shown, read_arrays(path, shown, span), "arrays", span)


READERS = {
    one.name: one
    for one in (
        Reader("csv", "A table of text, .gz too. The model says what is a number.", read_csv, (".csv",)),
        Reader("parquet", "A table of typed columns.", read_parquet, (".parquet",)),
        Reader("jsonl", "A JSON object a line, .gz too; lists of one shape are arrays.", read_jsonl, (".jsonl",)),
        Reader("npz", "NumPy arrays by name; no Python objects.", read_npz, (".npz",)),
        Reader(
            "text",
            'A text, .gz too, as a series: field("text") -> characters (or words) -> vocabulary -> window(100).',
            read_text,
            (".txt",),
        ),
        Reader(
            "idx",
            "LeCun's format, as MNIST has it: a folder, or the beginning of the files' names.",
            read_idx,
            takes_folder=True,
        ),
        Reader(
            "images",
            "Pictures, PNG or JPEG: a folder a class, or a csv with a column `path`. size = (h, w), channels = 1 or 3, broken = skip.",
            None,
            takes_folder=True,
        ),
    )
}
_OWN = frozenset(READERS)


def reader_of(path: Path, otherwise: str) -> str:
    """The reader that a file's name asks for."""
    if otherwise == "images":
        return otherwise
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    return next((one.name for one in READERS.values() if plain.suffix in one.suffixes), otherwise)


def read(
    reader: str,
    path: Path,
    shown: str,
    span: Span,
    is_text: IsText = lambda column: False,
    options: Options | None = None,
) -> Table:
    """Read a source. Faults E0801 where it is not there or broken; `span` is the place that names it.

    `is_text` columns are read as they are written.
    """
    one = READERS[reader]
    opening(path, shown, span)
    if not one.takes_folder:
        refuse_irregular(path, shown, span)
    with (reading if reader in _OWN else decoding)(shown, span):
        if one.read is None:
            columns, notes = read_images(path, shown, span, options or {})
            table = Table(shown, columns, notes=notes)
        else:
            table = one.read(path, shown, span, is_text)
    if not len(table):
        fault("E0801", f"`{shown}` has no rows", span)
    return table
