"""Files -> tables: one row of the table below a reader. A table holds columns of equal length and says where a row came from.

Text tables are read as text: what a column's type is, the model says, not its first rows.
"""

import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.source import Span

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, all of the same length. Text columns are object arrays of str, None where a cell is empty.

    `first_row` is the number that the file's reader would give the first row (2 in a csv with a header).
    """

    name: str
    columns: dict[str, Array]
    first_row: int = 1

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str, span: Span) -> Array:
        if name not in self.columns:
            fault(
                "E0802",
                f"`{self.name}` has no column `{name}`",
                span,
                hint=nearest(name, self.columns) or f"it has {', '.join(self.columns)}",
            )
        return self.columns[name]

    def take(self, rows: Array) -> "Table":
        return Table(self.name, {name: column[rows] for name, column in self.columns.items()}, self.first_row)


def read_csv(path: Path, shown: str, span: Span) -> Table:
    try:
        frame = polars.read_csv(path, infer_schema=False)
    except polars.exceptions.PolarsError as error:
        fault("E0801", f"cannot read `{shown}`", span, str(error).splitlines()[0])
    if not frame.height:
        fault("E0801", f"`{shown}` has no rows", span)
    return Table(shown, {name: frame[name].to_numpy(allow_copy=True).astype(object) for name in frame.columns}, 2)


def read_npz(path: Path, shown: str, span: Span) -> Table:
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        why = "it holds Python objects, which netc never unpickles" if "pickle" in str(error) else str(error)
        fault("E0801", f"cannot read `{shown}`", span, why)
    lengths = {name: column.shape[0] if column.ndim else 0 for name, column in columns.items()}
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        fault(
            "E0801",
            f"the arrays of `{shown}` differ in length",
            span,
            ", ".join(f"{name}: {length}" for name, length in lengths.items()),
        )
    return Table(shown, columns)


_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _read_idx_file(path: Path, shown: str, span: Span) -> Array:
    """LeCun's format: two zero bytes, a type, the number of dimensions, each as a big-endian int32, the elements."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        fault("E0801", f"cannot read `{shown}`", span, str(error))
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        fault("E0801", f"`{shown}` is not an idx file", span)
    rank = content[3]
    dims = np.frombuffer(content, ">i4", rank, 4)
    data = np.frombuffer(content, _IDX_TYPES[content[2]], offset=4 + 4 * rank)
    if data.size != int(np.prod(dims)):
        fault(
            "E0801", f"`{shown}` is cut short", span, f"{data.size} elements where its head says {int(np.prod(dims))}"
        )
    return data.reshape(dims)


def read_idx(path: Path, shown: str, span: Span) -> Table:
    """`path` is a folder or the beginning of the files' names: images are the field `image`, labels `label`."""
    folder, beginning = (path, "") if path.is_dir() else (path.parent, path.name)
    files = sorted(
        one
        for one in folder.glob(f"{beginning}*")
        if ("-idx" in one.name and ".idx" not in one.name) or one.name.endswith((".idx", ".idx.gz"))
    )
    parts: dict[str, list[Array]] = {}
    for file in files:
        name = "label" if "label" in file.name else "image" if "image" in file.name else file.name.split(".")[0]
        parts.setdefault(name, []).append(_read_idx_file(file, str(file.name), span))
    if not parts:
        fault(
            "E0801",
            f"there are no idx files `{shown}`",
            span,
            hint='idx("folder"), or the beginning of the names: idx("folder/train")',
        )
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    if len({len(column) for column in columns.values()}) != 1:
        fault(
            "E0801",
            f"the files of `{shown}` differ in length",
            span,
            ", ".join(f"{name}: {len(column)}" for name, column in columns.items()),
        )
    return Table(shown, columns)


READERS: dict[str, Callable[[Path, str, Span], Table]] = {"csv": read_csv, "npz": read_npz, "idx": read_idx}


def read(reader: str, path: Path, shown: str, span: Span) -> Table:
    """Read a source. Faults E0801 where it is not there or broken; `span` is the place that names it."""
    if reader != "idx" and not path.is_file():
        fault("E0801", f"there is no file `{shown}`", span, "paths start from the `.net` file's folder")
    return READERS[reader](path, shown, span)


def write_csv(path: Path, columns: dict[str, Sequence[Any]]) -> None:
    """A table of results, written beside and renamed."""
    buffer = io.BytesIO()
    polars.DataFrame(columns).write_csv(buffer)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(buffer.getvalue())
    beside.replace(path)
