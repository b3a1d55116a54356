"""Tables too large for memory: each column is written once to a file in the cache, and memory-mapped from then on.

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
from netc.dsl.quoting import json_text
from netc.dsl.source import Span
from netc.runtime.available import SMALL, require
from netc.runtime.data import copies
from netc.runtime.data.stored import Array

if TYPE_CHECKING:
    import polars

IsText = Callable[[str], bool]  # whether the cells of a column are needed as they are written
LARGE = 1 << 28  # bytes: a table or an array of this size is kept on disk
_FORMAT = 3
_ROWS = 1 << 16  # rows at a time, while a table is written


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
    """Writes a file for each column, and columns.json, which names them with their checksums and words."""

    frame = scan()
    schema = frame.collect_schema()
    numeric = _numeric(frame, [name for name in schema.names() if not is_text(name)])
    words: dict[str, dict[str, int]] = {name: {} for name in schema.names() if name not in numeric}
    files = [(folder / f"{i}.bin").open("wb") for i in range(len(schema))]
    checksums = dict.fromkeys(schema.names(), 0)
    rows = 0
    for batch in frame.collect_batches(chunk_size=_ROWS, maintain_order=True):
        require(SMALL, "the next rows of the table")  # its words are kept in memory
        rows += batch.height
        for file, column in zip(files, batch.get_columns(), strict=True):
            name = column.name
            content = _number_bytes(column) if name in numeric else _code_bytes(column, words[name])
            checksums[name] = zlib.crc32(content, checksums[name])
            file.write(content)
    for file in files:
        file.close()
    columns = [
        {"name": name, "file": f"{i}.bin", "crc": checksum, "words": list(words[name]) if name in words else None}
        for i, (name, checksum) in enumerate(checksums.items())
    ]
    (folder / "columns.json").write_text(json_text({"rows": rows, "columns": columns}), encoding="utf-8")


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


def _numeric(frame: "polars.LazyFrame", names: list[str]) -> set[str]:
    """The names, out of `names`, of the columns whose every cell is a number or empty."""
    import polars

    if not names:
        return set()
    texts = [
        (polars.col(name).cast(polars.Float64, strict=False).null_count() - polars.col(name).null_count()).alias(name)
        for name in names
    ]
    counts = frame.select(texts).collect(engine="streaming")
    return {name for name, count in zip(counts.columns, counts.row(0), strict=True) if not count}


def _open(folder: Path) -> Columns | None:
    """The columns of a copy, memory-mapped; None if the copy is not there, or not as it was written."""
    try:
        listing = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        columns: Columns = {}
        for column in listing["columns"]:
            words, path = column["words"], folder / column["file"]
            dtype = np.dtype(np.float64 if words is None else np.int32)
            data = np.memmap(path, dtype, "r", shape=(listing["rows"],)) if listing["rows"] else np.empty(0, dtype)
            if _checksum(data) != column["crc"]:
                return None
            columns[column["name"]] = data if words is None else TextColumn(data, tuple(words))
        return columns
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(data: Array) -> int:
    total = 0
    for start in range(0, len(data), _ROWS * 16):
        total = zlib.crc32(data[start : start + _ROWS * 16].tobytes(), total)
    return total
