"""Cuts a csv text into blocks of whole records, and checks that polars takes them apart as `rows.py` does, which is
slower.

In a regular text each row is as long as the header, no line is blank, and quotes stand only around whole cells.
"""

import codecs
from collections.abc import Iterator
from itertools import chain

import numpy as np

from netc.runtime.data.csv.records import BLANKS_BETWEEN, Dialect
from netc.runtime.data.csv.text_file import TextFile
from netc.runtime.data.stored import Array

_BLOCK = 1 << 20  # bytes at a time, and the rest of the last record
_LONGEST_RECORD = 1 << 26  # bytes
_NEWLINE, _RETURN = b"\n\r"
_MARK = codecs.BOM_UTF8


class Irregular(Exception):
    """A csv text is not regular: the module csv has to take it apart."""


def regular_blocks(file: TextFile, dialect: Dialect, width: int) -> Iterator[bytes]:
    """Yields the records of a file in UTF-8, some of them at a time, without its header and the lines that are skipped.

    `width` is the number of columns. Raises Irregular at the first block that is not regular.
    """
    if not _may_be_regular(dialect):
        raise Irregular
    rest, tried = b"", 0
    has_header = dialect.header is True
    for piece in chain(_pieces(file, dialect), [b""]):
        rest += piece
        if piece and len(rest) < 2 * tried:
            continue  # a long record is not searched again and again for its end
        if not piece and rest and not rest.endswith(b"\n"):
            rest += b"\n"
        ends = _ends_of_records(rest[: rest.rfind(b"\n") + 1], dialect, width)
        if len(ends):
            start, end = int(ends[0]) + 1 if has_header else 0, int(ends[-1]) + 1
            if start < end:
                yield rest[start:end]
            rest, tried, has_header = rest[end:], 0, False
        else:
            tried = len(rest)
        if len(rest) > _LONGEST_RECORD:
            raise Irregular
    if rest:
        raise Irregular


def _may_be_regular(dialect: Dialect) -> bool:
    if dialect.comment or dialect.line_end != "\n" or len(dialect.quote.encode()) > 1:
        return False
    return len(dialect.delimiter.encode()) == 1 and dialect.delimiter != BLANKS_BETWEEN


def _pieces(file: TextFile, dialect: Dialect) -> Iterator[bytes]:
    """The bytes of a file in UTF-8, without a byte order mark and the lines that are skipped."""
    if dialect.encoding in ("utf-8", "utf-8-sig"):
        with file.open() as stream:
            if stream.read(len(_MARK)) != _MARK:
                stream.seek(0)
            for _ in range(dialect.skip + dialect.has_sep_line):
                stream.readline()
            while piece := stream.read(_BLOCK):
                yield piece
    else:
        with file.text(dialect.encoding, "\n") as text:
            for _ in range(dialect.skip + dialect.has_sep_line):
                text.readline()
            while characters := text.read(_BLOCK):
                yield characters.encode()


def _ends_of_records(block: bytes, dialect: Dialect, width: int) -> Array:
    """The offsets of the line ends of the records in a block, which begins with a record and ends with a line end.

    Raises Irregular if one of these records is not regular.
    """
    array = np.frombuffer(block, np.uint8)
    is_end, is_delimiter = array == _NEWLINE, array == ord(dialect.delimiter)
    is_outside: Array | None = None  # of quotes
    quote = dialect.quote.encode()
    if quote and quote in block:
        is_quote = array == quote[0]
        is_outside = np.cumsum(is_quote, dtype=np.uint8) & 1 == 0
        _check_quotes(array, np.flatnonzero(is_quote), dialect)
        is_end &= is_outside
        is_delimiter &= is_outside
    ends = np.flatnonzero(is_end)
    if not len(ends):
        return ends
    starts = np.concatenate([[0], ends[:-1] + 1])
    if b"\r" in block:
        is_return = array == _RETURN
        returns = np.flatnonzero(is_return if is_outside is None else is_return & is_outside)
        if (array[returns + 1] != _NEWLINE).any():  # a block ends with a line end, so each has a byte after it
            raise Irregular
    counts = np.add.reduceat(is_delimiter[: ends[-1] + 1].view(np.uint8), starts, dtype=np.intp)
    if (counts != width - 1).any():
        raise Irregular
    if width == 1 and ((ends == starts) | ((ends == starts + 1) & (array[starts] == _RETURN))).any():
        raise Irregular  # a blank line
    return ends


def _check_quotes(block: Array, quotes: Array, dialect: Dialect) -> None:
    """Raises Irregular unless each opening quote stands at the start of a cell, and each closing one at its end. (A
    doubled quote in a cell closes and opens.)
    """
    delimiter, quote = ord(dialect.delimiter), ord(dialect.quote)
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening > 0, block[opening - 1], _NEWLINE)
    after = block[closing + 1]  # a block ends with a line end
    is_right = np.isin(before, (delimiter, _NEWLINE, quote)).all() and np.isin(
        after, (delimiter, _NEWLINE, _RETURN, quote)
    )
    if not np.all(is_right):
        raise Irregular
