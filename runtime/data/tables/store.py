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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import json_text
from netc.dsl.storage import eviction, home, temporary
from netc.dsl.storage.files import write_all
from netc.runtime.available import SMALL, require
from netc.runtime.data.readers.request import WORDS, Request, Uses
from netc.runtime.data.stored import Array
from netc.runtime.data.tables import copies, sharing
from netc.runtime.data.tables.cell_text import PLAIN, CellRules
from netc.runtime.data.tables.columns import Columns, TextColumn
from netc.runtime.data.tables.row_numbers import FROM_ONE, RowNumbers

if TYPE_CHECKING:
    import polars

LARGE = 1 << 28  # bytes: a table or an array of this size is kept on disk
_FORMAT = 6
CHANGED = "it changed while it was read"
_COLUMNS, _LISTING = "columns.bin", "columns.json"
_ALIGNMENT = 64  # bytes: each column begins at a multiple of it
_ROWS = 1 << 16  # rows at a time, while a table is written
_CELLS = 1 << 20  # cells at a time: fewer rows of a table that has many columns


def is_large(path: Path) -> bool:
    """Whether a table is read through its copy in the cache."""
    return path.stat().st_size >= (LARGE if sharing.current() is None else sharing.WORTH_A_COPY)


def allocate(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory for an array. If it is large, it lies in a file without a name, which is gone when the array is."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    with _nameless_file() as file:
        _reserve(file, size)
        return np.memmap(file, dtype, "r+", shape=shape)


def written(array: Array) -> Path | None:
    """A temporary file in the cache folder with the elements of an array; None if there is no room for it."""
    path: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=home.folder(), prefix="shared-", delete=False) as file:
            path = Path(file.name)
            _reserve(file, array.nbytes)
            array.tofile(file)
            return path
    except OSError:
        if path is not None:
            path.unlink(missing_ok=True)
        return None


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


Batches = Callable[[Sequence[str]], "Iterator[polars.DataFrame]"]  # of some columns, from the first row on


class Scan(Struct, frozen=True):
    """A table to copy: `batches` yields some rows at a time of the columns that it is given, which are some of `names`.

    `rows` are the numbers that the rows have in the file. `count` is how many there are, and `numeric` are columns
    without texts, if the file says so.
    """

    batches: Batches
    names: Sequence[str]
    rules: CellRules = PLAIN
    rows: RowNumbers = FROM_ONE
    count: int | None = None
    numeric: frozenset[str] = frozenset()


Open = Callable[[], AbstractContextManager[Scan]]  # opens a table that is not in the cache
Stored = tuple[Columns, RowNumbers]


def stored_columns(request: Request, names: Sequence[str], open_scan: Open) -> Stored:
    """The needed columns of a table, out of `names`, mapped from a copy in the cache, which is written if there is none
    of this file.

    Raises E0801 if polars cannot read the table, if it has no rows, or if its copy cannot be written.
    """
    import polars

    status = request.path.stat()
    uses = [(name, request.uses(name).value) for name in request.needed(names)]
    variant = json.dumps([_FORMAT, uses, sorted(request.options.items())])
    origin = copies.Origin(str(request.path.resolve()), variant, status.st_size, status.st_mtime_ns)
    try:
        return _cached(origin) or _copied_by_one(origin, open_scan, request.uses)
    except polars.exceptions.PolarsError as error:
        fault("E0801", f"cannot read `{request.shown}`", request.span, str(error).splitlines()[0])
    except OSError as error:
        fault("E0801", f"cannot keep `{request.shown}` on disk", request.span, error.strerror or str(error))


def _copied_by_one(origin: copies.Origin, open_scan: Open, uses: Uses) -> Stored:
    """Copies a table, unless another process that shares data with this one has done so meanwhile. Raises OSError."""
    with _alone(origin):
        copied = _cached(origin) if sharing.current() is not None else None
        if copied is not None:
            return copied
        with open_scan() as scan:
            return _copy(origin, scan, uses)


def _alone(origin: copies.Origin) -> AbstractContextManager[None]:
    """Inside, no other process that shares data with this one copies the same table."""
    processes = sharing.current()
    return nullcontext() if processes is None else processes.lock(processes.name(origin))


def rows_at_a_time(columns: int) -> int:
    """The rows of a batch of a table with this number of columns."""
    return max(1, min(_ROWS, _CELLS // max(columns, 1)))


def _folder_of(origin: copies.Origin) -> Path | None:
    """The folder of the copy of a table; None if there is no cache."""
    parent = copies.folder()
    if parent is None:
        return None
    key = [origin.path, origin.size, origin.mtime_ns, origin.variant]
    return parent / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _cached(origin: copies.Origin) -> Stored | None:
    """The columns of a table from its copy in the cache; None if there is none."""
    folder = _folder_of(origin)
    stored = _open(folder) if folder is not None else None
    if stored is not None and folder is not None:
        eviction.use(folder)
    return stored


def _copy(origin: copies.Origin, scan: Scan, uses: Uses) -> Stored:
    """Copies the columns of a table to the cache. Raises OSError.

    If the cache cannot be written, they are copied to temporary files that are removed when they are no longer used.
    """
    folder = _folder_of(origin)
    if folder is not None:
        try:
            folder.parent.mkdir(0o700, exist_ok=True)
            with temporary.folder(folder.parent) as temporary_folder:
                stored = _write_and_open(temporary_folder, scan, uses)
                copies.publish(temporary_folder, folder, origin)
                return stored
        except OSError as error:
            home.warn_cannot_write(error)
    with temporary.folder(Path(tempfile.gettempdir())) as temporary_folder:
        return _write_and_open(temporary_folder, scan, uses)


def _write_and_open(folder: Path, scan: Scan, uses: Uses) -> Stored:
    """Writes the columns into an empty folder. They stay usable when the folder is renamed or removed."""
    _write(folder, scan, uses)
    stored = _open(folder)
    if stored is None:
        raise OSError("what was written is not what is read")
    return stored


def _write(folder: Path, scan: Scan, uses: Uses) -> None:
    """Writes the columns to one file, one after the other, and a listing of their offsets, checksums and words.

    Raises OSError, and ValueError if the table has not as many rows as when they were counted.
    """
    layout = _layout_of(scan, uses)
    placements = {placement.name: placement for placement in layout.placements}
    words: dict[str, dict[str, int]] = {name: {} for name in placements}
    checksums = dict.fromkeys(placements, 0)
    rows = 0
    with (folder / _COLUMNS).open("wb", buffering=0) as file:
        file.truncate(layout.size)
        for batch in scan.batches(scan.names):
            require(SMALL, "the next rows of the table")  # its words are kept in memory
            if rows + batch.height > layout.rows:
                raise ValueError(CHANGED)
            for column in batch.get_columns():
                placement = placements[column.name]
                content = _content_of(column, placement, scan.rules, uses, words[column.name])
                checksums[column.name] = zlib.crc32(content, checksums[column.name])
                file.seek(placement.start + rows * placement.dtype.itemsize)
                write_all(file.fileno(), content)
            rows += batch.height
    if rows != layout.rows:
        raise ValueError(CHANGED)
    columns = [
        {
            "name": name,
            "start": placement.start,
            "crc": checksums[name],
            "words": list(words[name]) if placement.is_text else None,
        }
        for name, placement in placements.items()
    ]
    row_numbers = {"first": scan.rows.first, "gaps": scan.rows.gaps.tolist()}
    listing = {"rows": rows, "size": layout.size, "columns": columns, "numbers": row_numbers}
    (folder / _LISTING).write_text(json_text(listing), encoding="utf-8")


def _content_of(
    column: "polars.Series", placement: "_Placement", rules: CellRules, uses: Uses, words: dict[str, int]
) -> bytes:
    """The bytes of some rows of a column: floats, or the numbers of its texts in `words`, which gets new ones.

    Raises ValueError if a column of numbers has become one of texts.
    """
    from netc.runtime.data.readers.polars_cells import float_array, word_numbers

    if placement.is_text:
        return word_numbers(column, uses(column.name), rules, words).tobytes()
    numbers = float_array(column, rules)
    if numbers is None:
        raise ValueError(CHANGED)
    return numbers.tobytes()


class _Placement(Struct, frozen=True):
    """The extent of a column in the file of all columns: from the byte `start` on."""

    name: str
    is_text: bool
    start: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32 if self.is_text else np.float64)


class _Layout(Struct, frozen=True):
    """The file of all columns: the number of their rows, its size in bytes, and the extent of each column."""

    rows: int
    size: int
    placements: tuple[_Placement, ...]


def _layout_of(scan: Scan, uses: Uses) -> _Layout:
    """Reads a table once, unless its file says enough, to count its rows, and to find the columns whose every cell is a
    number or missing.
    """
    rows, numeric = _count(scan, uses)
    placements: list[_Placement] = []
    end = 0
    for name in scan.names:
        placement = _Placement(name, name not in numeric, -(-end // _ALIGNMENT) * _ALIGNMENT)
        end = placement.start + rows * placement.dtype.itemsize
        placements.append(placement)
    return _Layout(rows, end, tuple(placements))


def _count(scan: Scan, uses: Uses) -> tuple[int, set[str]]:
    """The number of rows, and the names of the columns that are not needed as texts and have no text."""
    from netc.runtime.data.readers.polars_cells import float_array

    numeric = {name for name in scan.names if not uses(name) & WORDS}
    open_names = [name for name in scan.names if name in numeric - scan.numeric]
    if scan.count is not None and not open_names:
        return scan.count, numeric
    rows = 0
    for batch in scan.batches(open_names or scan.names[:1]):
        numeric -= {name for name in open_names if name in numeric and float_array(batch[name], scan.rules) is None}
        rows += batch.height
    return rows, numeric


def _open(folder: Path) -> Stored | None:
    """The columns of a copy, memory-mapped; None if the copy is not there, or not as it was written."""
    try:
        listing = json.loads((folder / _LISTING).read_text(encoding="utf-8"))
        rows, size = listing["rows"], listing["size"]
        content = np.memmap(folder / _COLUMNS, np.uint8, "r", shape=(size,)) if size else np.empty(0, np.uint8)
        columns: Columns = {}
        for column in listing["columns"]:
            placement = _Placement(column["name"], column["words"] is not None, column["start"])
            data = content[placement.start : placement.start + rows * placement.dtype.itemsize].view(placement.dtype)
            if len(data) != rows or _checksum(data) != column["crc"]:
                return None
            columns[placement.name] = TextColumn(data, tuple(column["words"])) if placement.is_text else data
        return columns, RowNumbers.from_gaps(listing["numbers"]["first"], listing["numbers"]["gaps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(data: Array) -> int:
    total = 0
    for start in range(0, len(data), _ROWS * 16):
        total = zlib.crc32(data[start : start + _ROWS * 16].tobytes(), total)
    return total
