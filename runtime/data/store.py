"""Tables too large for memory: each column is written once to a file in the cache folder, and memory-mapped from then
on.

Numbers are kept as f64, NaN where a cell is empty; texts as numbers of the words that occur, -1 where a cell is empty.
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

if TYPE_CHECKING:
    import polars

Array = np.ndarray[Any, Any]
IsText = Callable[[str], bool]
LARGE = 1 << 28  # bytes: a table or an array of this size is kept on disk
_FORMAT = 3
_ROWS = 1 << 16  # at a time, while a table is written


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
        found: Array = lexicon[which.reshape(np.shape(which))]
        return found


Columns = dict[str, Array | TextColumn]


def is_large(path: Path) -> bool:
    return path.stat().st_size >= LARGE


def allocate(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory for an array; if it is large, in a file without a name that goes when the array does."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    with _nameless_file() as file:
        _reserve(file, size)
        return np.memmap(file, dtype, "r+", shape=shape)


def _reserve(file: IO[bytes], size: int) -> None:
    """Let a file have so many bytes, and its disk room for them: a mapped page that finds none would end the process.

    Raises OSError.
    """
    file.truncate(size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def _nameless_file() -> IO[bytes]:
    """A file in the cache's folder, or where that cannot be written, in the system's folder for temporary files."""
    try:
        return tempfile.TemporaryFile(dir=home.folder())
    except OSError as error:
        home.warn_cannot_write(error)
        return tempfile.TemporaryFile()


def stored_columns(
    path: Path, scan: Callable[[], "polars.LazyFrame"], shown: str, span: Span, is_text: IsText
) -> Columns:
    """The columns of a table by name; written first if this file has not been read before."""
    import polars

    status = path.stat()
    try:
        names = scan().collect_schema().names()
    except polars.exceptions.PolarsError as error:
        fault("E0801", f"cannot read `{shown}`", span, str(error).splitlines()[0])
    variant = json.dumps([_FORMAT, [is_text(name) for name in names]])
    origin = copies.Origin(str(path.resolve()), variant, status.st_size, status.st_mtime_ns)
    found = _kept(origin)
    if found is None:
        try:
            found = _copied(origin, scan, is_text)
        except polars.exceptions.PolarsError as error:
            fault("E0801", f"cannot read `{shown}`", span, str(error).splitlines()[0])
        except OSError as error:
            fault("E0801", f"cannot keep `{shown}` on disk", span, error.strerror or str(error))
    if not len(next(iter(found.values()), ())):
        fault("E0801", f"`{shown}` has no rows", span)
    return found


def _place(origin: copies.Origin) -> Path | None:
    """Where the copy of a table is kept."""
    kept = copies.folder()
    if kept is None:
        return None
    told = [origin.path, origin.size, origin.mtime_ns, origin.variant]
    return kept / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _kept(origin: copies.Origin) -> Columns | None:
    """The columns of a table that was read before."""
    place = _place(origin)
    found = _open(place) if place is not None else None
    if found is not None and place is not None:
        eviction.use(place)
    return found


def _copied(origin: copies.Origin, scan: Callable[[], "polars.LazyFrame"], is_text: IsText) -> Columns:
    """The columns of a table, written to disk: to the cache, or where that takes nothing, to files that go when they
    are no longer used. Raises OSError.
    """
    place = _place(origin)
    if place is not None:
        try:
            place.parent.mkdir(0o700, exist_ok=True)
            with temporary.folder(place.parent) as beside:
                columns = _written(beside, scan, is_text)
                copies.publish(beside, place, origin)
                return columns
        except OSError as error:
            home.warn_cannot_write(error)
    with temporary.folder(Path(tempfile.gettempdir())) as beside:
        return _written(beside, scan, is_text)


def _written(place: Path, scan: Callable[[], "polars.LazyFrame"], is_text: IsText) -> Columns:
    """Write the columns into an empty folder. They stay usable when the folder is renamed or removed."""
    _write(place, scan, is_text)
    columns = _open(place)
    if columns is None:
        raise OSError("what was written is not what is read")
    return columns


def _write(place: Path, scan: Callable[[], "polars.LazyFrame"], is_text: IsText) -> None:
    import polars

    frame = scan()
    schema = frame.collect_schema()
    as_numbers = _numeric(frame, [name for name in schema.names() if not is_text(name)])
    words: dict[str, dict[str, int]] = {name: {} for name in schema.names() if name not in as_numbers}
    files = [(place / f"{i}.bin").open("wb") for i in range(len(schema))]
    sums = dict.fromkeys(schema.names(), 0)
    rows = 0
    for batch in frame.collect_batches(chunk_size=_ROWS, maintain_order=True):
        require(SMALL, "the next rows of the table")  # texts that occur are kept in memory
        rows += batch.height
        for i, column in enumerate(batch.get_columns()):
            name = column.name
            if name in as_numbers:
                content = column.cast(polars.Float64).to_numpy(allow_copy=True).tobytes()
            else:
                known = words[name]
                cells = column.cast(polars.String).to_list()
                codes = [-1 if cell is None else known.setdefault(cell, len(known)) for cell in cells]
                content = np.array(codes, np.int32).tobytes()
            sums[name] = zlib.crc32(content, sums[name])
            files[i].write(content)
    for file in files:
        file.close()
    columns = [
        {"name": name, "file": f"{i}.bin", "crc": sums[name], "words": list(words[name]) if name in words else None}
        for i, name in enumerate(sums)
    ]
    (place / "columns.json").write_text(json_text({"rows": rows, "columns": columns}), encoding="utf-8")


def _numeric(frame: "polars.LazyFrame", names: list[str]) -> set[str]:
    """The columns whose every cell is a number or empty."""
    import polars

    if not names:
        return set()
    lost = [
        (polars.col(name).cast(polars.Float64, strict=False).null_count() - polars.col(name).null_count()).alias(name)
        for name in names
    ]
    found = frame.select(lost).collect(engine="streaming")
    return {name for name, count in zip(found.columns, found.row(0), strict=True) if not count}


def _open(place: Path) -> Columns | None:
    """The columns, or None if they are not there, or not as they were written."""
    try:
        told = json.loads((place / "columns.json").read_text(encoding="utf-8"))
        columns: Columns = {}
        for column in told["columns"]:
            words, path = column["words"], place / column["file"]
            dtype = np.dtype(np.float64 if words is None else np.int32)
            data = np.memmap(path, dtype, "r", shape=(told["rows"],)) if told["rows"] else np.empty(0, dtype)
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
