"""Tables as one file that several processes map into memory: numbers as they are, texts by the words that occur, and
other cells, such as sequences, each as a message of msgpack.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from netc.dsl.storage import temporary
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.columns import PackedColumn, TextColumn
from netc.runtime.data.tables.row_numbers import RowNumbers
from netc.runtime.data.tables.table import Column, SparseColumn, Table

_ALIGNMENT = 64  # bytes
_CELLS, _LISTING = "cells.bin", "listing.msgpack"
_PLAIN = frozenset({bool, int, float, str, type(None)})


class NotPacked(Exception):
    """A table has something that this file does not write."""


class _Stored(msgspec.Struct, frozen=True):
    """An array in the file of all: its type, its shape and its first byte."""

    dtype: str
    shape: tuple[int, ...]
    start: int


class _Listed(msgspec.Struct, frozen=True):
    """A column: `arrays` are its numbers, those of its words, or the ends of its messages and these. A column with
    missing cells has a `count` of rows, and the last array has those of its cells.
    """

    kind: str
    arrays: list[_Stored]
    words: list[str] = []
    count: int | None = None


class _Listing(msgspec.Struct, frozen=True):
    """A table but for its cells. `uses` are those of its columns when it was read."""

    name: str
    columns: dict[str, _Listed]
    uses: dict[str, int]
    first: int
    gaps: _Stored
    notes: list[str]
    names: list[str]


class _Writer(Struct):
    """The arrays of a file, one after the other."""

    arrays: list[Array]
    end: int = 0

    def add(self, array: Array) -> _Stored:
        if array.dtype.kind not in "biuf":
            raise NotPacked
        start = -(-self.end // _ALIGNMENT) * _ALIGNMENT
        self.arrays.append(array)
        self.end = start + array.nbytes
        return _Stored(array.dtype.str, array.shape, start)


def write_table(folder: Path, table: Table, uses: Mapping[str, int]) -> None:
    """Writes a table into a new folder. Raises OSError, and NotPacked for what such a file cannot hold."""
    if table.files or table.warnings or table.options or table.bad_rows is not None:
        raise NotPacked
    writer = _Writer([])
    columns = {name: _listed(column, writer) for name, column in table.columns.items()}
    gaps = writer.add(np.asarray(table.rows.gaps))
    listing = _Listing(table.name, columns, dict(uses), table.rows.first, gaps, list(table.notes), list(table.names))
    with temporary.folder(folder.parent) as beside:
        with (beside / _CELLS).open("wb") as file:
            at = 0
            for array in writer.arrays:
                file.write(bytes(-at % _ALIGNMENT))
                file.write(np.ascontiguousarray(array).data if array.size else b"")
                at += -at % _ALIGNMENT + array.nbytes
        (beside / _LISTING).write_bytes(_message(listing))
        temporary.name_folder(beside, folder)


def open_table(folder: Path) -> tuple[Table, dict[str, int]] | None:
    """The table in a folder, mapped into memory, and the uses of its columns; None if there is none."""
    try:
        listing = msgspec.msgpack.decode((folder / _LISTING).read_bytes(), type=_Listing)
        size = (folder / _CELLS).stat().st_size
        content = np.memmap(folder / _CELLS, np.uint8, "r", shape=(size,)) if size else np.empty(0, np.uint8)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None

    def array(stored: _Stored) -> Array:
        dtype = np.dtype(stored.dtype)
        nbytes = dtype.itemsize * int(np.prod(stored.shape, dtype=np.int64))
        return content[stored.start : stored.start + nbytes].view(dtype).reshape(stored.shape)

    columns = {
        name: _opened(listed, [array(stored) for stored in listed.arrays]) for name, listed in listing.columns.items()
    }
    rows = RowNumbers(listing.first, array(listing.gaps))
    table = Table(listing.name, columns, rows, tuple(listing.notes), tuple(listing.names))
    return table, listing.uses


def _listed(column: Column, writer: _Writer) -> _Listed:
    match column:
        case SparseColumn():
            listed = _listed(column.cells, writer)
            return msgspec.structs.replace(listed, arrays=[*listed.arrays, writer.add(column.rows)], count=column.count)
        case TextColumn():
            return _Listed("texts", [writer.add(np.asarray(column.codes))], list(column.words))
        case np.ndarray() if column.dtype != object:
            return _Listed("numbers", [writer.add(column)])
        case np.ndarray() if column.ndim == 1:
            cells = column.tolist()
            return _texts(cells, writer) if {*map(type, cells)} <= {str, type(None)} else _messages(cells, writer)
        case _:
            raise NotPacked


def _texts(cells: list[str | None], writer: _Writer) -> _Listed:
    words: dict[str, int] = {}
    codes = [-1 if cell is None else words.setdefault(cell, len(words)) for cell in cells]
    return _Listed("texts", [writer.add(np.array(codes, np.int32))], list(words))


def _messages(cells: list[Any], writer: _Writer) -> _Listed:
    if not all(_is_plain(cell) for cell in cells):
        raise NotPacked
    messages = [_message(cell) for cell in cells]
    ends = np.cumsum([0, *map(len, messages)], dtype=np.int64)
    return _Listed("messages", [writer.add(ends), writer.add(np.frombuffer(b"".join(messages), np.uint8))])


def _message(content: Any) -> bytes:
    """The content as a message of msgpack. Raises NotPacked for an integer of more than 64 bits, and for half of a
    surrogate pair in a text, as JSON may have it.
    """
    try:
        return msgspec.msgpack.encode(content)
    except (OverflowError, ValueError, TypeError, RecursionError) as error:
        raise NotPacked from error


def _is_plain(cell: Any) -> bool:
    """Whether msgpack gives a cell back with the same types: a text, a number, or lists of these."""
    pending = [cell]
    while pending:
        each = pending.pop()
        if type(each) is list:
            inner = {*map(type, each)}
            if not inner <= _PLAIN:
                pending += each
        elif type(each) not in _PLAIN:
            return False
    return True


def _opened(listed: _Listed, arrays: list[Array]) -> Column:
    if listed.count is not None:
        cells = _opened(msgspec.structs.replace(listed, count=None), arrays[:-1])
        every = cells if isinstance(cells, np.ndarray) else cells[np.arange(len(cells))]
        assert not isinstance(every, SparseColumn), "a column of cells"
        return SparseColumn(listed.count, arrays[-1], every)
    match listed.kind:
        case "texts":
            return TextColumn(arrays[0], tuple(listed.words))
        case "messages":
            return PackedColumn(*arrays)
        case _:
            return arrays[0]
