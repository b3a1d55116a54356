"""The content of data files, read only if its cells fit in memory: a small file may unpack to any size."""

import gzip
import os
from pathlib import Path
from typing import BinaryIO

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.dsl.storage.files import content_of, opened
from netc.runtime.available import SMALL, memory, require_at
from netc.runtime.data.readers.file_kinds import other_kind

HEAD = 16  # bytes by which the kind of a file is recognised
_PIECE = 1 << 20  # bytes that are unpacked at a time
_SHARE = 4  # an unpacked file may take 1 / _SHARE of the free memory: its text, table and cells come beside it
_MOST = 1 << 31
_SIZE = 4  # bytes at the end of a .gz file for the size of its content
_MOST_RATIO = 1032  # of content to packed bytes, in the format deflate
_CELL = 80  # bytes of a cell that is kept as a Python text or number, with what points to it
_COLUMN = 2_500  # bytes of a column besides its cells
ON_DISK = "a .csv or .parquet file that is large, and not in a .gz, is read from disk, column by column"


def content(path: Path, shown: str, span: Span) -> bytes:
    """The bytes of a file, unpacked if it is a .gz.

    Raises E1005 if they are too many for the memory; raises what the file system or gzip raises.
    """
    if path.suffix == ".gz":
        return _unpacked(path, shown, span)
    require_at(2 * path.stat().st_size, f"`{shown}`", span, ON_DISK)
    return content_of(path)


def _unpacked(path: Path, shown: str, span: Span) -> bytes:
    """The content of a .gz file, counted while it is unpacked: the size that the file states may be wrong."""
    free = memory()
    most, total, pieces = max(min(free.nbytes // _SHARE, _MOST), SMALL), 0, []
    with opened(path) as file, gzip.GzipFile(fileobj=file) as stream:
        stated = _stated_size(file)
        size = stated if _PIECE < stated <= most else _PIECE  # what is read at once is not copied again
        while piece := stream.read(size):
            size = _PIECE
            total += len(piece)
            if total > most:
                note = f"{path.stat().st_size:,} bytes packed; {free}"
                fault("E1005", f"`{shown}` unpacks to more than {most:,} bytes", span, note, hint=ON_DISK)
            pieces.append(piece)
    return b"".join(pieces) if len(pieces) != 1 else pieces[0]


def _stated_size(file: BinaryIO) -> int:
    """The size that a .gz file states at its end for its content, as far as that can be true."""
    packed = file.seek(0, os.SEEK_END)
    file.seek(max(packed - _SIZE, 0))
    stated = int.from_bytes(file.read(_SIZE), "little")
    file.seek(0)
    return min(stated, _MOST_RATIO * packed)


def refuse_other_kind(head: bytes, shown: str, span: Span) -> None:
    """Raises E0801 if the first bytes of a text are those of a file of another kind, packed or not."""
    if (kind := other_kind(head)) is not None:
        fault("E0801", f"`{shown}` is {kind[0]}, and no text", span, hint=kind[1])


def require_cells(text: bytes, separators: bytes, shown: str, span: Span) -> None:
    """Raises E1005 if the cells of a table of text do not fit in memory.

    Each cell ends with one of `separators`; the first of these separates the cells of a row.
    """
    if len(text) >= SMALL // _CELL:
        cells = sum(text.count(bytes([separator])) for separator in separators)
        columns = text[: text.find(b"\n")].count(separators[:1])
        size = 4 * len(text) + _CELL * cells + _COLUMN * columns
        require_at(size, f"the {cells:,} cells of `{shown}`", span, ON_DISK)


def require_characters(text: str, size: int, shown: str, span: Span) -> None:
    """Raises E1005 if the characters of a text of `size` bytes, a cell each, do not fit in memory.

    Python shares the objects of characters of Latin-1.
    """
    require_at(16 * len(text) + _CELL * (size - len(text)), f"the {len(text):,} characters of `{shown}`", span)


def text_content(path: Path, shown: str, span: Span) -> tuple[str, bytes]:
    """The text of a file, and its bytes. Raises E0801 if they are not UTF-8."""
    raw = content(path, shown, span)
    refuse_other_kind(raw[:HEAD], shown, span)
    try:
        return raw.decode("utf-8-sig"), raw
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        fault("E0801", f"`{shown}` is not UTF-8", span, f"byte {error.start}, in line {line}, is not text")
