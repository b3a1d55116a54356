"""Files -> tables: one row of the table below a reader. A table holds columns of equal length and says where a row came from.

Text tables are read as text: what a column's type is, the model says, not its first rows. A csv or parquet file that is large stays on disk
(store.py). polars is imported where a table is read: a fifth of a second that images need not wait.
"""

import codecs
import csv
import io
import json
import math
import os
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netc.dsl.diagnostics import Fault, fault, nearest
from netc.dsl.files import opened, reason
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.available import require_at
from netc.runtime.data.access import opening
from netc.runtime.data.content import content, require_cells, require_characters
from netc.runtime.data.images import Options, read_images
from netc.runtime.data.npz import read_arrays, refuse_lengths
from netc.runtime.data.reading import decoding, reading, refuse_irregular
from netc.runtime.data.store import IsText, TextColumn, is_large, stored_columns

if TYPE_CHECKING:
    import polars

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class SparseColumn:
    """A column whose cells are there in some rows alone; indexed by row numbers it is an array, None where a cell is missing."""

    count: int
    rows: Array
    cells: Array

    @classmethod
    def of(cls, count: int, rows: Iterable[int], cells: list[Any]) -> "SparseColumn":
        return cls(count, np.fromiter(rows, np.int64), _plain_cells(cells))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Any) -> Array:
        wanted = np.arange(self.count)[rows]
        at = np.searchsorted(self.rows, wanted)
        at[at == len(self.rows)] = 0
        found = np.full(wanted.shape, None, object)
        is_there = self.rows[at] == wanted
        found[is_there] = self.cells[at[is_there]]
        return found


Column = Array | TextColumn | SparseColumn


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, all of the same length; a column indexed by row numbers is an array. Text cells are str, None where a cell is empty.

    `first_row` is the number that the file's reader would give the first row (2 in a csv with a header), `notes` what a user should know.
    """

    name: str
    columns: Mapping[str, Column]
    first_row: int = 1
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str, span: Span) -> Column:
        if name not in self.columns:
            known = ", ".join(map(cell, list(self.columns)[:12])) + (", ..." if len(self.columns) > 12 else "")
            fault(
                "E0802",
                f"`{self.name}` has no column `{name}`",
                span,
                hint=nearest(name, self.columns) or f"it has {known}",
            )
        return self.columns[name]


def _text(path: Path, shown: str, span: Span) -> tuple[str, bytes]:
    """A text, and its bytes."""
    raw = content(path, shown, span)
    try:
        return raw.decode("utf-8-sig"), raw
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        fault("E0801", f"`{shown}` is not UTF-8", span, f"byte {error.start}, in line {line}, is not text")


# ------------------------------------------------------------------ tables


def read_csv(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    import polars

    if path.suffix != ".gz" and is_large(path):
        scan = partial(
            polars.scan_csv,
            path,
            infer_schema=False,
            glob=False,
            with_column_names=partial(_unquoted, _first_text(path)),
        )
        with decoding(shown, span):
            large = stored_columns(path, scan, shown, span, is_text)
        return Table(shown, large, 2)
    text, raw = _text(path, shown, span)
    require_cells(raw, b",\n\r", shown, span)
    try:
        with decoding(shown, span):
            frame = polars.read_csv(
                io.BytesIO(raw.removeprefix(codecs.BOM_UTF8)), infer_schema=False, raise_if_empty=False
            )
    except Fault:
        _explain_rows(text, shown, span)  # in words of the file, if it can be said
        raise
    if not frame.height:
        fault("E0801", f"`{shown}` has no rows", span)
    columns, header = frame.get_columns(), _header(text)
    if columns[-1].null_count() or len(set(header)) != len(columns):
        _explain_rows(text, shown, span)
    cells = (column.to_numpy(allow_copy=True).astype(object) for column in columns)
    return Table(shown, dict(zip(_unquoted(text, frame.columns), cells, strict=True)), 2)


def _first_text(path: Path) -> str:
    """A text that begins as a file does."""
    with opened(path) as file:
        return file.read(1 << 20).decode("utf-8-sig", "replace")


def _unquoted(text: str, names: list[str]) -> list[str]:
    """The names in the header of a csv; polars leaves doubled quotes as they are."""
    header = _header(text)
    return header if len(header) == len(set(header)) == len(names) else names


def _header(text: str) -> list[str]:
    return next(csv.reader(io.StringIO(text)), [])


def _explain_rows(text: str, shown: str, span: Span) -> None:
    """Fault E0804 at the first row that is longer or shorter than the header, E0801 where the header names a column twice."""
    header = _header(text)
    seen: set[str] = set()
    for name in header:
        if name in seen:
            fault("E0801", f"`{shown}` has two columns `{cell(name)}`", span)
        seen.add(name)
    rows = csv.reader(io.StringIO(text), strict=True)
    next(rows, None)
    for number, row in enumerate(rows, 2):
        if row and len(row) != len(header):
            fault(
                "E0804",
                f"`{shown}`, row {number} has {len(row)} cells, the header has {len(header)}",
                span,
                f"the last one is `{cell(row[-1])}` in column `{cell(header[min(len(row), len(header)) - 1])}`"
                if len(row) < len(header)
                else f"`{cell(row[len(header)])}` has no column",
            )


def read_parquet(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    import polars

    if is_large(path):
        with decoding(shown, span):
            large = stored_columns(path, partial(polars.scan_parquet, path, glob=False), shown, span, is_text)
        return Table(shown, large)
    with decoding(shown, span):
        scan = polars.scan_parquet(path, glob=False)
        rows, names = scan.select(polars.len()).collect().item(), scan.collect_schema().names()
        require_at(_PARQUET_CELL * rows * len(names), f"{rows:,} rows of {len(names):,} columns", span)
        frame = scan.collect()
        columns = {column.name: _plain_column(column) for column in frame.get_columns()}
    return Table(shown, columns)


_PARQUET_CELL = 24  # bytes of a number while it is read: as the file has it, as polars has it, as a float


def _plain_column(column: "polars.Series") -> Array:
    """Numbers as floats with NaN for what is missing, lists as arrays, all else as text."""
    import polars

    if column.dtype.is_nested():
        return _cells(column.to_list())
    is_number = column.dtype.is_numeric() or column.dtype == polars.Boolean
    plain: Array = column.cast(polars.Float64 if is_number else polars.String).to_numpy(allow_copy=True)
    return plain if is_number else plain.astype(object)


def _cells(cells: list[Any]) -> Array:
    """Cells of any kind as a column: numbers where all are, an array where all are lists of one shape."""
    try:
        if any(isinstance(cell, list) for cell in cells):
            return np.asarray(cells, np.float64)
        if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells):
            return np.asarray(cells, np.float64)
    except (ValueError, TypeError, OverflowError):
        pass
    return _plain_cells(cells)


def _plain_cells(cells: list[Any]) -> Array:
    """Cells as they are, but for true and false."""
    result = np.empty(len(cells), object)
    result[:] = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
    return result


def read_jsonl(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    """A JSON object a line. Lists of one shape are arrays; a key that a line lacks is a missing value."""
    text, raw = _text(path, shown, span)
    require_cells(raw, b",:\n", shown, span)
    columns: dict[str, tuple[array[int], list[Any]]] = {}  # in which rows a key is, and its cells
    count = 0
    for number, line in enumerate(text.split("\n"), 1):  # JSON has other line ends in its texts
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or an integer of some thousand digits
            fault("E0801", f"`{shown}`, line {number} is no JSON", span, reason(error))
        if not isinstance(row, dict):
            fault("E0801", f"`{shown}`, line {number} is no JSON object", span, hint='{"x": [1, 2], "label": "a"}')
        for name, value in row.items():
            rows, cells = columns.setdefault(name, (array("q"), []))
            rows.append(count)
            cells.append(value)
        count += 1
    if not count:
        fault("E0801", f"`{shown}` has no rows", span)
    if not columns:
        fault("E0801", f"`{shown}` has no columns", span, "its objects are empty")
    return Table(
        shown,
        {
            name: _cells(cells) if len(cells) == count else SparseColumn.of(count, rows, cells)
            for name, (rows, cells) in columns.items()
        },
    )


def read_npz(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    return _table(shown, read_arrays(path, shown, span), "arrays", span)


def _table(shown: str, columns: Mapping[str, Array], what: str, span: Span) -> Table:
    """Columns as a table. Fault E0801 if they are not of one length."""
    for name, column in columns.items():
        if not column.ndim:
            fault("E0801", f"`{cell(name)}` of `{shown}` is a single value", span, "samples are the first axis")
    refuse_lengths({name: len(column) for name, column in columns.items()}, what, shown, span)
    return Table(shown, columns)


def read_text(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    """A text as a series of its characters, the column `text`; dataset.py joins them to words where words are asked for."""
    text, raw = _text(path, shown, span)
    if not text:
        fault("E0801", f"`{shown}` is empty", span)
    require_characters(text, len(raw), shown, span)
    return Table(shown, {"text": np.array(list(text), object)})


_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MOST_AXES = 32


def _read_idx_file(path: Path, span: Span) -> Array:
    """LeCun's format: two zero bytes, a type, the number of dimensions, each as a big-endian int32, the elements."""
    shown = path.name
    opening(path, shown, span)
    with reading(shown, span):
        raw = content(path, shown, span)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES or not 1 <= raw[3] <= _MOST_AXES:
        fault("E0801", f"`{shown}` is not an idx file", span)
    rank, kind = raw[3], np.dtype(_IDX_TYPES[raw[2]])
    dims = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    size, present = math.prod(dims), max(len(raw) - 4 - 4 * rank, 0) // kind.itemsize
    if size != present or len(raw) < 4 + 4 * rank:
        fault("E0801", f"`{shown}` is cut short", span, f"{present:,} elements where its head says {size:,}")
    return np.frombuffer(raw, kind, offset=4 + 4 * rank).reshape(dims)


def read_idx(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
    """`path` is a folder or the beginning of the files' names: images are the field `image`, labels `label`."""
    folder, beginning = (path, "") if os.path.isdir(path) else (path.parent, path.name)
    files = sorted(one for one in folder.iterdir() if one.name.startswith(beginning)) if os.path.isdir(folder) else []
    parts: dict[str, list[Array]] = {}
    for file in filter(_is_idx, files):
        name = "label" if "label" in file.name else "image" if "image" in file.name else file.name.split(".")[0]
        parts.setdefault(name, []).append(_read_idx_file(file, span))
    if not parts:
        fault(
            "E0801",
            f"there are no idx files `{shown}`",
            span,
            hint='idx("folder"), or the beginning of the names: idx("folder/train")',
        )
    for name, arrays in parts.items():
        if len({array.shape[1:] for array in arrays}) != 1:
            fault("E0804", f"the files of `{shown}` hold `{cell(name)}` of different shapes", span)
    return _table(shown, {name: np.concatenate(arrays) for name, arrays in parts.items()}, "files", span)


def _is_idx(path: Path) -> bool:
    return ("-idx" in path.name and ".idx" not in path.name) or path.name.endswith((".idx", ".idx.gz"))


Read = Callable[[Path, str, Span, IsText], Table]


@dataclass(frozen=True, slots=True)
class Reader:
    """How a source is read: `read(path, shown, span, is_text)` gives its table or a fault, for files whose names end with one of `suffixes`. None of its own:
    pictures take options (images.py)."""

    name: str
    doc: str
    read: Read | None
    suffixes: tuple[str, ...] = ()
    takes_folder: bool = False


def simple_reader(
    name: str, doc: str, read: Callable[[Path], Mapping[str, Any]], suffixes: tuple[str, ...] = ()
) -> Reader:
    """A reader that gives columns by name, arrays of one length with samples first, and raises an exception that says why where a file is broken."""

    def table(path: Path, shown: str, span: Span, is_text: IsText) -> Table:
        with decoding(shown, span):
            columns = {str(key): np.asarray(column) for key, column in read(path).items()}
        return _table(shown, columns, "columns", span)

    return Reader(name, doc, table, suffixes)


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
    """Read a source. Faults E0801 where it is not there or broken; `span` is the place that names it. `is_text` columns are read as they are written."""
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
