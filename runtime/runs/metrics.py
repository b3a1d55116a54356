"""The metrics of a run, a row for each epoch: in memory, and in metrics.jsonl, to which a save appends the new rows.

Each epoch costs the same. A line that was cut off by a kill, or that the checkpoint does not count yet, stands behind
the lines that count: readers ignore it, and the first save of a process writes the file again without it.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import msgspec

from netc.dsl.diagnostics import fault
from netc.dsl.plural import counted
from netc.dsl.quoting import json_text, with_nan
from netc.dsl.storage.files import opened, reason, write_all
from netc.runtime.metric_names import epoch_numbers
from netc.runtime.metric_values import Row
from netc.runtime.runs.checkpoint import path_span, write_whole
from netc.runtime.typed_json import parsed

_Stamp = tuple[int, int, int]  # inode, bytes, and time of the last change
_Line = dict[str, float | list[list[float | None]] | None]
_FEW = 6  # metrics in a summary
_ALWAYS = ("epoch", "seconds")  # in the row of every epoch
_TIMES = re.compile(rb', "(?:seconds|samples_per_second)": [-+.0-9eE]+')


class Metrics(Sequence[Row]):
    """The rows of all epochs, stored as packed numbers; a row is unpacked when it is read."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._packed: list[bytes] = []
        self._layouts: dict[tuple[str, ...], int] = {}  # the names of a row's metrics, and their number in `_names`
        self._names: list[tuple[str, ...]] = []
        for row in rows:
            self.append(row)

    def __repr__(self) -> str:
        return f"<Metrics: {self.summary()}>"

    def summary(self) -> str:
        """The number of epochs, and the losses and metrics of the last one, in a few words."""
        if not self:
            return "no epoch yet"
        numbers = [f"{name} {value:.4g}" for name, value in epoch_numbers(self[-1]).items()]
        epochs = counted(len(self), "epoch")
        return ", ".join([epochs, *numbers[:_FEW], *["..."] * (len(numbers) > _FEW)])

    def append(self, row: Row) -> None:
        names = tuple(row)
        if names not in self._layouts:
            self._layouts[names] = len(self._names)
            self._names.append(names)
        self._packed.append(msgspec.msgpack.encode([self._layouts[names], *row.values()]))

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._row(packed) for packed in self._packed[index]]
        return self._row(self._packed[index])

    def _row(self, packed: bytes) -> Row:
        layout, *values = msgspec.msgpack.decode(packed)
        return dict(zip(self._names[layout], values, strict=True))


class MetricsFile:
    """Writes metrics.jsonl, and keeps the checksum of the lines that were written, without their times.

    If anybody else changed the file meanwhile, or a write failed, the next save writes it whole.
    """

    def __init__(self) -> None:
        self.checksum = 0
        self._rows = 0
        self._stamp: _Stamp | None = None

    def save(self, path: Path, rows: Sequence[Row]) -> None:
        """Writes these rows, which begin with those of the last save. `path` may change with the name of the folder.

        Raises E1001 if the file cannot be written.
        """
        if self._stamp is None or len(rows) < self._rows or self._stamp != _stamp(path):
            content = _encoded(rows)
            self._stamp = None
            write_whole(path, content)
            self.checksum = _checksum(content)
        elif len(rows) > self._rows:
            content = _encoded(rows[self._rows :])
            self._append(path, content, self._stamp[1])
            self.checksum = _checksum(content, self.checksum)
        self._rows, self._stamp = len(rows), _stamp(path)

    def _append(self, path: Path, content: bytes, length: int) -> None:
        """Append to the file, which has `length` bytes; if that fails, it is cut to this length again."""
        self._stamp = None
        try:
            with open(path, "r+b", buffering=0) as file:
                try:
                    file.seek(length)
                    write_all(file.fileno(), content)
                    os.fsync(file.fileno())
                except BaseException:
                    file.truncate(length)
                    raise
        except OSError as error:
            fault("E1001", f"cannot write `{path}`", path_span(path), reason(error))


def _encoded(rows: Sequence[Row]) -> bytes:
    return "".join(json_text(row) + "\n" for row in rows).encode()


def _checksum(content: bytes, before: int = 0) -> int:
    """The checksum of lines that follow those with the checksum `before`.

    It leaves out how long an epoch took: the checkpoint, which holds it, has the same bytes whenever it is trained.
    """
    return zlib.crc32(_TIMES.sub(b"", content), before)


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_metrics(path: Path, epochs: int, checksum: int) -> Metrics:
    """The rows of the epochs that a checkpoint counts. Raises E1001 if they are not as training left them."""
    try:
        with opened(path) as file:
            lines = list(islice(file, epochs))
        content = b"".join(lines)
        # earlier versions of netc counted the times in
        is_intact = checksum in (_checksum(content), zlib.crc32(content))
        is_torn = bool(lines) and not content.endswith(b"\n")
        if len(lines) != epochs or is_torn or not is_intact:
            raise ValueError("it is not as training left it")
        return Metrics(_row_of(line) for line in lines)
    except (OSError, ValueError) as error:
        fault("E1001", f"cannot read `{path}`", path_span(path), reason(error))


def whole_rows(path: Path) -> Iterator[Row]:
    """The rows of a file that training may be writing to, without an unfinished last line.

    Raises OSError or ValueError.
    """
    with opened(path) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _row_of(line)


def _row_of(line: bytes) -> Row:
    """A line of metrics.jsonl. Raises ValueError unless it is numbers and matrices by name, with those of every row."""
    numbers: _Line = parsed(line, _Line)
    missing = [name for name in _ALWAYS if not isinstance(numbers.get(name), float)]
    if missing:
        raise ValueError(f"a row has no `{missing[0]}`")
    for name, number in numbers.items():
        if isinstance(number, list) and len({len(row) for row in number}) > 1:
            raise ValueError(f"the rows of the matrix `{name}` differ in length")
    row: Row = with_nan(numbers)
    row["epoch"] = _integer(numbers["epoch"])  # a resumed run writes the line again as it was
    return row


def _integer(number: object) -> int:
    if not isinstance(number, float) or not number.is_integer():
        raise ValueError("an epoch's number is not a whole number")
    return int(number)
