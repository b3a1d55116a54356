"""Tables too large for memory: they are written once to the cache, column by column, and memory-mapped from then on.

All columns are in one file, because a process may open only about a thousand files, and a table may have more columns.
Numbers are stored as float64, NaN where a cell is empty; texts as numbers of the words that occur, -1 for an empty
cell.
"""

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from netc.dsl import eviction, home, temporary
from netc.dsl.diagnostics import fault
from netc.dsl.files import write_all
from netc.dsl.quoting import json_text
from netc.dsl.source import Span
from netc.runtime.available import SMALL, require
from netc.runtime.data import copies
from netc.runtime.data.stored import Array

if TYPE_CHECKING:
    import polars

IsText = Callable[[str], bool]  # whether the cells of a column are needed as they are written
LARGE = 1 << 28  # bytes: a table or an array of this size is kept on disk
_FORMAT = 4
_COLUMNS, _LISTING = "columns.bin", "columns.json"
_ALIGNMENT = 64  # bytes: each column begins at a multiple of it
_ROWS = 1 << 16  # rows at a time, while a table is written
_CELLS = 1 << 22  # cells at a time: fewer rows of a table that has many columns


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts on disk; indexed by row numbers it is an array of str and None."""

    codes: Array
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Array:
        codes, which = np.unique(np.asarray(self.codes[rows]), return_inverse=True)
        lexicon = np.array([None if code < 0 else self.words[code] for code in codes.tolist()], object)
        texts: Array = lexicon[which.reshape(np.shape(which))]
        return texts


Columns = dict[str, Array | TextColumn]


def is_large(path: Path) -> bool:
    return path.stat().st_size >= LARGE


def allocate(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory for an array. If it is large, it lies in a file without a name, which is gone when the array is."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    with _nameless_file() as file:
        _reserve(file, size)
        return np.memmap(file, dtype, "r+", shape=shape)


def _reserve(file: IO[bytes], size: int) -> None:
    """Makes a file `size` bytes long and reserves their blocks on disk. Raises OSError if there is no room.

    Without them, a mapped page for which the disk has no room would end the process.
    """
    file.truncate(size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def _nameless_file() -> IO[bytes]:
    """A temporary file in the cache folder, or in the system's temporary folder if the cache cannot be written."""
    try:
        return tempfile.TemporaryFile(dir=home.folder())
    except OSError as error:
        home.warn_cannot_write(error)
        return tempfile.TemporaryFile()


def stored_columns(
    path: Path, scan: Callable[[], "polars.LazyFrame"], shown: str, span: Span, is_text: IsText
) -> Columns:
    """The columns of a table by name, mapped from a copy in the cache, which is written if there is none of this file.

    Faults E0801 if polars cannot read the table, if it has no rows, or if its copy cannot be written.
    """
    import polars

    status = path.stat()
    try:
        names = scan().collect_schema().names()
    except polars.exceptions.PolarsError as error:
        fault("E0801", f"cannot read `{shown}`", span, str(error).splitlines()[0])
    variant = json.dumps([_FORMAT, [is_text(name) for name in names]])
    origin = copies.Origin(str(path.resolve()), variant, status.st_size, status.st_mtime_ns)
    columns = _cached(origin)
    if columns is None:
        try:
            columns = _copy(origin, scan, is_text)
        except polars.exceptions.PolarsError as error:
            fault("E0801", f"cannot read `{shown}`", span, str(error).splitlines()[0])
        except OSError as error:
            fault("E0801", f"cannot keep `{shown}` on disk", span, error.strerror or str(error))
    if not len(next(iter(columns.values()), ())):
        fault("E0801", f"`{shown}` has no rows", span)
    return columns


def _folder_of(origin: copies.Origin) -> Path | None:
    """The folder of the copy of a table; None if there is no cache."""
    parent = copies.folder()
    if parent is None:
        return None
    key = [origin.path, origin.size, origin.mtime_ns, origin.variant]
    return parent / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _cached(origin: copies.Origin) -> Columns | None:
    """The columns of a table from its copy in the cache; None if there is none."""
    folder = _folder_of(origin)
    columns = _open(folder) if folder is not None else None
    if columns is not None and folder is not None:
        eviction.use(folder)
    return columns


def _copy(origin: copies.Origin, scan: Callable[[], "polars.LazyFrame"], is_text: IsText) -> Columns:
    """Copies the columns of a table to the cache. Raises OSError.

    If the cache cannot be written, they are copied to temporary files that are removed when they are no longer used.
    """
    folder = _folder_of(origin)
    if folder is not None:
        try:
            folder.parent.mkdir(0o700, exist_ok=True)
            with temporary.folder(folder.parent) as temporary_folder:
                columns = _write_and_open(temporary_folder, scan, is_text)
                copies.publish(temporary_folder, folder, origin)
                return columns
        except OSError as error:
            home.warn_cannot_write(error)
    with temporary.folder(Path(tempfile.gettempdir())) as temporary_folder:
        return _write_and_open(temporary_folder, scan, is_text)


def _write_and_open(folder: Path, scan: Callable[[], "polars.LazyFrame"], is_text: IsText) -> Columns:
    """Writes the columns into an empty folder. They stay usable when the folder is renamed or removed."""
    _write(folder, scan, is_text)
    columns = _open(folder)
    if columns is None:
        raise OSError("what was written is not what is read")
    return columns


def _write(folder: Path, scan: Callable[[], "polars.LazyFrame"], is_text: IsText) -> None:
    """Writes the columns to one file, one after the other, and a listing of their places, checksums and words.

    Raises OSError, and ValueError if the table has not as many rows as when they were counted.
    """
    frame = scan()
    layout = _layout_of(frame, is_text)
    places = {place.name: place for place in layout.places}
    words: dict[str, dict[str, int]] = {place.name: {} for place in layout.places if place.is_text}
    checksums = dict.fromkeys(places, 0)
    chunk = max(1, min(_ROWS, _CELLS // max(len(places), 1)))
    rows = 0
    with (folder / _COLUMNS).open("wb", buffering=0) as file:
        file.truncate(layout.size)
        for batch in frame.collect_batches(chunk_size=chunk, maintain_order=True):
            require(SMALL, "the next rows of the table")  # its words are kept in memory
            if rows + batch.height > layout.rows:
                raise ValueError("it changed while it was read")
            for column in batch.get_columns():
                name, place = column.name, places[column.name]
                content = _code_bytes(column, words[name]) if place.is_text else _number_bytes(column)
                checksums[name] = zlib.crc32(content, checksums[name])
                file.seek(place.start + rows * place.dtype.itemsize)
                write_all(file.fileno(), content)
            rows += batch.height
    if rows != layout.rows:
        raise ValueError("it changed while it was read")
    columns = [
        {
            "name": name,
            "start": place.start,
            "crc": checksums[name],
            "words": list(words[name]) if place.is_text else None,
        }
        for name, place in places.items()
    ]
    listing = {"rows": rows, "size": layout.size, "columns": columns}
    (folder / _LISTING).write_text(json_text(listing), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a column lies in the file of all columns: from the byte `start` on."""

    name: str
    is_text: bool
    start: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32 if self.is_text else np.float64)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The file of all columns: the number of their rows, its size in bytes, and the place of each column."""

    rows: int
    size: int
    places: tuple[_Place, ...]


def _layout_of(frame: "polars.LazyFrame", is_text: IsText) -> _Layout:
    """Reads a table once to count its rows, and to find the columns whose every cell is a number or empty."""
    names = frame.collect_schema().names()
    rows, numeric = _count(frame, [name for name in names if not is_text(name)])
    places: list[_Place] = []
    end = 0
    for name in names:
        place = _Place(name, name not in numeric, -(-end // _ALIGNMENT) * _ALIGNMENT)
        end = place.start + rows * place.dtype.itemsize
        places.append(place)
    return _Layout(rows, end, tuple(places))


def _number_bytes(column: "polars.Series") -> bytes:
    import polars

    values: Array = column.cast(polars.Float64).to_numpy(allow_copy=True)
    return values.tobytes()


def _code_bytes(column: "polars.Series", words: dict[str, int]) -> bytes:
    """The numbers of a column's texts, by `words`, which new texts are added to."""
    import polars

    cells = column.cast(polars.String).to_list()
    codes = [-1 if cell is None else words.setdefault(cell, len(words)) for cell in cells]
    return np.array(codes, np.int32).tobytes()


def _count(frame: "polars.LazyFrame", names: list[str]) -> tuple[int, set[str]]:
    """The number of rows, and the names, out of `names`, of the columns whose every cell is a number or empty."""
    import polars

    # `is_null` makes polars parse the rows; to count them alone it counts line ends, some of which are inside of cells
    counts = [polars.col(name).is_null().len() for name in frame.collect_schema().names()[:1]]
    texts = [
        polars.col(name).cast(polars.Float64, strict=False).null_count() - polars.col(name).null_count()
        for name in names
    ]
    expressions = [expression.alias(str(i)) for i, expression in enumerate((*counts, *texts))]
    if not expressions:
        return 0, set()
    rows, *text_cells = frame.select(expressions).collect(engine="streaming").row(0)
    return rows, {name for name, count in zip(names, text_cells, strict=True) if not count}


def _open(folder: Path) -> Columns | None:
    """The columns of a copy, memory-mapped; None if the copy is not there, or not as it was written."""
    try:
        listing = json.loads((folder / _LISTING).read_text(encoding="utf-8"))
        rows, size = listing["rows"], listing["size"]
        content = np.memmap(folder / _COLUMNS, np.uint8, "r", shape=(size,)) if size else np.empty(0, np.uint8)
        columns: Columns = {}
        for column in listing["columns"]:
            place = _Place(column["name"], column["words"] is not None, column["start"])
            data = content[place.start : place.start + rows * place.dtype.itemsize].view(place.dtype)
            if len(data) != rows or _checksum(data) != column["crc"]:
                return None
            columns[place.name] = TextColumn(data, tuple(column["words"])) if place.is_text else data
        return columns
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(data: Array) -> int:
    total = 0
    for start in range(0, len(data), _ROWS * 16):
        total = zlib.crc32(data[start : start + _ROWS * 16].tobytes(), total)
    return total
