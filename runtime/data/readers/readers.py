"""Reads a source into a table. A kind of source is one row of the table READERS.

Text is read as text: the model says which columns are numbers, not the first rows of the file. A large csv or parquet
file stays on disk (tables/store.py). polars is imported where a table is read, as that takes a fifth of a second.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.access import opening
from netc.runtime.data.csv.reader import read_csv
from netc.runtime.data.pictures.decoder import FORMATS
from netc.runtime.data.readers.npz import read_arrays
from netc.runtime.data.readers.reading import decoding, reading, refuse_irregular
from netc.runtime.data.readers.request import AS_NUMBERS, WORDS, Request, Use, Uses
from netc.runtime.data.tables.cells import BadRows
from netc.runtime.data.tables.shared_tables import read_shared
from netc.runtime.data.tables.table import Table, plain_cells, table_of

Options = Mapping[str, Any]  # of a source, by name
Read = Callable[[Request], Table]
_LISTED = 6  # names of columns in a message


class Reader(Struct, frozen=True):
    """A kind of source: `read(request)` returns its table or raises a fault.

    A file whose name ends with one of `suffixes` is read by it where no reader is named, and one with one of `others`
    where this reader is expected. The named arguments of a source are in options.py.
    """

    name: str
    doc: str
    read: Read
    suffixes: tuple[str, ...] = ()
    takes_folder: bool = False
    others: tuple[str, ...] = ()


def simple_reader(
    name: str, doc: str, read: Callable[[Path], Mapping[str, Any]], suffixes: tuple[str, ...] = ()
) -> Reader:
    """A reader made of a function that returns columns by name: arrays of one length with the samples first.

    Where a file is broken, `read` raises an exception that says why.
    """

    def read_table(request: Request) -> Table:
        with decoding(request.shown, request.span):
            columns = {str(key): np.asarray(column) for key, column in read(request.path).items()}
        return table_of(request.shown, columns, "columns", request.span)

    return Reader(name, doc, read_table, suffixes)


def _read_parquet(request: Request) -> Table:
    from netc.runtime.data.readers.parquet import read_parquet

    return read_parquet(request)


def _read_jsonl(request: Request) -> Table:
    from netc.runtime.data.readers.jsonl import read_jsonl

    return read_jsonl(request)


def _read_json(request: Request) -> Table:
    from netc.runtime.data.readers.json import read_json

    return read_json(request)


def _read_arrow(request: Request) -> Table:
    from netc.runtime.data.readers.arrow import read_arrow

    return read_arrow(request)


def _read_xlsx(request: Request) -> Table:
    from netc.runtime.data.readers.xlsx import read_xlsx

    return read_xlsx(request)


def _read_sql(request: Request) -> Table:
    from netc.runtime.data.readers.sql import read_sql

    return read_sql(request)


def _read_text(request: Request) -> Table:
    from netc.runtime.data.readers.text import read_text

    return read_text(request)


def _read_idx(request: Request) -> Table:
    from netc.runtime.data.readers.idx import read_idx

    return read_idx(request)


def _read_images(request: Request) -> Table:
    from netc.runtime.data.pictures.reader import read_images

    return read_images(request, read_by_suffix)


def read_npz(request: Request) -> Table:
    """The arrays of an .npz archive as columns."""
    arrays, marks = read_arrays(request.path, request.shown, request.span), request.options.get("missing", ())
    for name, array in arrays.items():
        use = request.uses(name)
        if array.dtype == object or (array.ndim == 1 and use & WORDS):
            cells = plain_cells(array.ravel().tolist(), bool(use & WORDS), marks, keeps_nan=Use.TEXT in use)
            arrays[name] = cells.reshape(array.shape)
    return table_of(request.shown, arrays, "arrays", request.span)


READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "csv",
            "A table of text, also as .gz. The model says which columns are numbers. Separators, decimal commas and "
            "the encoding are recognised, or written: delimiter, decimal, thousands, encoding, header, missing, quote, "
            "comment.",
            read_csv,
            (".csv", ".tsv", ".tab"),
            others=(".txt", ".dat", ".data"),
        ),
        Reader("parquet", "A table of typed columns.", _read_parquet, (".parquet",)),
        Reader(
            "jsonl",
            "A JSON object a line, also as .gz; lists of one shape are arrays.",
            _read_jsonl,
            (".jsonl", ".ndjson"),
            others=(".json", ".txt"),
        ),
        Reader("json", "A list of JSON objects, also as .gz; lists of one shape are arrays.", _read_json, (".json",)),
        Reader(
            "arrow",
            "A table in Arrow's IPC format, which is that of Feather too.",
            _read_arrow,
            (".arrow", ".feather", ".ipc"),
        ),
        Reader(
            "xlsx",
            "A sheet of a workbook (the first one, or sheet = NAME); needs the extra `xlsx`.",
            _read_xlsx,
            (".xlsx", ".xlsm"),
        ),
        Reader(
            "sql",
            'The rows of a query: sql("sqlite:///shop.db", "select ..."), or "duckdb:///..." with the extra `duckdb`. '
            "It only reads.",
            _read_sql,
            others=(".db", ".sqlite", ".sqlite3", ".duckdb"),
        ),
        Reader("npz", "NumPy arrays by name; no Python objects.", read_npz, (".npz",)),
        Reader(
            "text",
            'A text, also as .gz, read as a series: field("text") -> characters (or words) -> vocabulary -> '
            "window(100).",
            _read_text,
            (".txt",),
        ),
        Reader(
            "idx",
            "LeCun's format, as MNIST has it: a folder, or the beginning of the files' names.",
            _read_idx,
            takes_folder=True,
        ),
        Reader(
            "images",
            f"Pictures ({', '.join(FORMATS)}): a folder with a folder for each class, or a table with a column `path`. "
            'size = (h, w), channels = 1 or 3, ground = "white", broken = skip, max_pixels = 100_000_000.',
            _read_images,
            takes_folder=True,
        ),
    )
}
_BUILT_IN = frozenset(READERS)


def reader_of(path: Path, default: str) -> str:
    """The name of the reader for a file: `default` if it reads files with such a name, or if no other one does."""
    if default == "images":
        return default
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    suffix = plain.suffix.lower()
    expected = READERS.get(default)
    if expected is not None and suffix in (*expected.suffixes, *expected.others):
        return default
    return next((reader.name for reader in READERS.values() if suffix in reader.suffixes), default)


def read_by_suffix(request: Request) -> Table:
    """The table of a file, by the reader that its name asks for, or else as a csv.

    Raises E0302 for an option that this reader does not have; with `bad_rows`, for new data, it does not count.
    """
    from netc.runtime.data.readers.options import OPTIONS

    name = reader_of(request.path, "csv")
    allowed = OPTIONS.get(name, {})
    for option in request.options:
        if option not in allowed and request.bad_rows is None:
            fault("E0302", f"`{option}` is not an option of `{name}`, which reads `{request.shown}`", request.span)
    options = {option: value for option, value in request.options.items() if option in allowed}
    return read(name, request.path, request.shown, request.span, request.uses, options, request.bad_rows)


def read(
    reader_name: str,
    path: Path,
    shown: str,
    span: Span,
    uses: Uses = AS_NUMBERS,
    options: Options | None = None,
    bad_rows: BadRows | None = None,
) -> Table:
    """The table of a source. `shown` is its name in messages, `span` the text that names it.

    `uses` says what each column is needed for. With `bad_rows`, for new data, rows that the reader can leave out are
    noted there. Raises E0801 if the source is not there, broken or empty.
    """
    reader = READERS[reader_name]
    opening(path, shown, span)
    if not reader.takes_folder:
        refuse_irregular(path, shown, span)
    with (reading if reader_name in _BUILT_IN else decoding)(shown, span):
        table = read_shared(reader_name, Request(path, shown, span, uses, options or {}, bad_rows), reader.read)
    if not len(table):
        listed = ", ".join(f"`{cell(name)}`" for name in table.names[:_LISTED])
        label = f"only the names of columns: {listed}{', ...' * (len(table.names) > _LISTED)}" if listed else ""
        is_csv = reader_name == "csv" and "header" not in (options or {})
        hint = "if the first row is data: header = false" if is_csv else None
        fault("E0801", f"`{shown}` has no rows", span, label, hint=hint)
    return table
