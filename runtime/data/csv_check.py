"""Checks whether a csv text is so regular that polars takes it apart as `csv_rows.py` does, which is slower.

Then each row is as long as the header, no line is blank, and quotes stand only around whole cells.
"""

from collections.abc import Iterator

import numpy as np

from netc.runtime.data.csv_records import BLANKS_BETWEEN, Dialect
from netc.runtime.data.stored import Array
from netc.runtime.data.text_file import TextFile

_BLOCK = 1 << 23  # bytes at a time, and the rest of the last line
_LONGEST_LINE = 1 << 26  # bytes
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'
_MARK = b"\xef\xbb\xbf"


def is_regular(file: TextFile, dialect: Dialect, width: int) -> bool:
    """Whether a file is regular; `width` is the number of its columns."""
    is_plain = dialect.encoding in ("utf-8", "utf-8-sig") and dialect.rules.notation.is_plain
    if not is_plain or dialect.comment or dialect.has_sep_line or dialect.quote != '"' or dialect.line_end != "\n":
        return False
    if len(dialect.delimiter.encode()) != 1 or dialect.delimiter == BLANKS_BETWEEN or dialect.skip:
        return False
    delimiters, is_quoted = 0, False  # of the record that a block ends in
    for block in _blocks(file):
        if len(block) > _LONGEST_LINE:
            return False
        checked = _check(np.frombuffer(block, np.uint8), ord(dialect.delimiter), width, delimiters, is_quoted)
        if checked is None:
            return False
        delimiters, is_quoted = checked
    return not is_quoted


def _blocks(file: TextFile) -> Iterator[bytes]:
    """The bytes of a file without its byte order mark, in blocks that end with a line; a line end is added if it lacks
    the last one.
    """
    rest = b""
    with file.open() as stream:
        if stream.read(len(_MARK)) != _MARK:
            stream.seek(0)
        while piece := stream.read(_BLOCK):
            lines, end, tail = (rest + piece).rpartition(b"\n")
            if end:
                yield lines + end
            rest = tail if end else rest + piece
            if len(rest) > _LONGEST_LINE:
                break
    if rest:
        yield rest + b"\n"


def _check(block: Array, delimiter: int, width: int, delimiters: int, is_quoted: bool) -> tuple[int, bool] | None:
    """The number of delimiters in the record that a block ends in, and whether it ends inside of quotes.

    Takes the same of the block before. None if the block is not regular.
    """
    quotes = np.flatnonzero(block == _QUOTE)
    is_outside = np.ones(len(block), bool)
    if len(quotes) or is_quoted:
        if not _are_around_cells(block, quotes, delimiter, is_quoted):
            return None
        is_outside = ((np.cumsum(block == _QUOTE) + is_quoted) & 1) == 0
    returns = np.flatnonzero((block == _RETURN) & is_outside)
    if (block[returns + 1] != _NEWLINE).any():  # a block ends with a line end, so each has a byte after it
        return None
    ends = np.flatnonzero((block == _NEWLINE) & is_outside)
    totals = np.cumsum((block == delimiter) & is_outside)
    if not len(ends):
        return delimiters + int(totals[-1]), bool((len(quotes) + is_quoted) & 1)
    counts = np.diff(totals[ends], prepend=-delimiters)
    if (counts != width - 1).any() or (width == 1 and _has_blank_line(block, ends, is_quoted)):
        return None
    return int(totals[-1] - totals[ends[-1]]), bool((len(quotes) + is_quoted) & 1)


def _has_blank_line(block: Array, ends: Array, is_quoted: bool) -> bool:
    starts = np.concatenate([[-1 if not is_quoted else -2], ends[:-1]]) + 1
    lengths = ends - np.maximum(starts, 0) + is_quoted * (starts < 0)
    is_return = block[np.maximum(ends - 1, 0)] == _RETURN
    return bool(((lengths == 0) | ((lengths == 1) & is_return)).any())


def _are_around_cells(block: Array, quotes: Array, delimiter: int, is_quoted: bool) -> bool:
    """Whether each opening quote stands at the start of a cell, and each closing one at its end. (A doubled quote in a
    cell closes and opens.)
    """
    opening, closing = quotes[int(is_quoted) :: 2], quotes[1 - int(is_quoted) :: 2]
    before = np.where(opening > 0, block[opening - 1], _NEWLINE)
    after = block[closing + 1]  # a block ends with a line end
    return bool(
        np.isin(before, (delimiter, _NEWLINE, _QUOTE)).all()
        and np.isin(after, (delimiter, _NEWLINE, _RETURN, _QUOTE)).all()
    )
