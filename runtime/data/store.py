"""Tables too large for memory: each column is written once to a file in the cache folder, and memory-mapped from then on.

Numbers are kept as f64, NaN where a cell is empty; texts as numbers of the words that occur, -1 where a cell is empty.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netc.dsl import home
from netc.dsl.diagnostics import fault
from netc.dsl.quoting import json_text
from netc.dsl.source import Span

if TYPE_CHECKING:
    import polars

Array = np.ndarray[Any, Any]
IsText = Callable[[str], bool]
LARGE = 1 << 28  # bytes: a table or an array of this size is kept on disk
_FORMAT = 1
_ROWS = 1 << 16  # at a time, while a table is written


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts on disk; indexed by row numbers it is an array of str and None."""

    codes: Array
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Array:
        lexicon = np.array([*self.words, None], object)
        found: Array = lexicon[np.asarray(self.codes[rows])]
        return found


def is_large(path: Path) -> bool:
    return path.stat().st_size >= LARGE


def folder() -> Path | None:
    """Where tables are kept: inside of the cache's folder; None if there is none that is the user's own."""
    own = home.folder()
    return own / "tables" if own is not None else None


def entries() -> dict[str, int]:
    """The tables that are kept, and their bytes."""
    own = folder()
    if own is None or not own.is_dir():
        return {}
    return {
        place.name[:8]: sum(file.stat().st_size for file in place.iterdir())
        for place in sorted(own.iterdir())
        if place.is_dir()
    }


def clear() -> None:
    """Remove all tables; they are read anew when needed."""
    own = folder()
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)


def allocate(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory for an array; if it is large, in a file without a name that goes when the array does."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=home.folder()) as file:
        file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape)


def stored_columns(
    path: Path, scan: Callable[[], "polars.LazyFrame"], shown: str, span: Span, is_text: IsText
) -> dict[str, Array | TextColumn]:
    """The columns of a table by name; written first if this file has not been read before."""
    import polars

    status = path.stat()
    try:
        names = scan().collect_schema().names()
    except polars.exceptions.PolarsError as error:
        fault("E0801", f"cannot read `{shown}`", span, str(error).splitlines()[0])
    told = [str(path.resolve()), status.st_size, status.st_mtime_ns, [is_text(name) for name in names], _FORMAT]
    kept = folder() or Path(tempfile.mkdtemp(prefix="netc-tables-"))
    place = kept / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
    found = _open(place)
    if found is None:
        shutil.rmtree(place, ignore_errors=True)
        try:
            kept.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(dir=kept))
            try:
                _write(beside, scan, is_text)
                os.replace(beside, place)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        except polars.exceptions.PolarsError as error:
            fault("E0801", f"cannot read `{shown}`", span, str(error).splitlines()[0])
        except OSError as error:
            fault("E0801", f"cannot keep `{shown}` on disk", span, error.strerror or str(error))
        found = _open(place)
        assert found is not None, place
    if not len(next(iter(found.values()), ())):
        fault("E0801", f"`{shown}` has no rows", span)
    return found


def _write(place: Path, scan: Callable[[], "polars.LazyFrame"], is_text: IsText) -> None:
    import polars

    frame = scan()
    schema = frame.collect_schema()
    as_numbers = _numeric(frame, [name for name in schema.names() if not is_text(name)])
    words: dict[str, dict[str, int]] = {name: {} for name in schema.names() if name not in as_numbers}
    files = {name: (place / f"{i}.bin").open("wb") for i, name in enumerate(schema.names())}
    sums = dict.fromkeys(files, 0)
    rows = 0
    for batch in frame.collect_batches(chunk_size=_ROWS, maintain_order=True):
        rows += batch.height
        for name, file in files.items():
            if name in as_numbers:
                content = batch[name].cast(polars.Float64).to_numpy(allow_copy=True).tobytes()
            else:
                known = words[name]
                cells = batch[name].cast(polars.String).to_list()
                codes = [-1 if cell is None else known.setdefault(cell, len(known)) for cell in cells]
                content = np.array(codes, np.int32).tobytes()
            sums[name] = zlib.crc32(content, sums[name])
            file.write(content)
    for file in files.values():
        file.close()
    columns = [
        {"name": name, "file": f"{i}.bin", "crc": sums[name], "words": list(words[name]) if name in words else None}
        for i, name in enumerate(files)
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
    return {name for name in names if not found[name][0]}


def _open(place: Path) -> dict[str, Array | TextColumn] | None:
    """The columns, or None if they are not there, or not as they were written."""
    try:
        told = json.loads((place / "columns.json").read_text(encoding="utf-8"))
        columns: dict[str, Array | TextColumn] = {}
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
