"""The bytes of a text file, in memory or on disk, and the encoding that they are in.

An encoding is recognised by a byte order mark, or because the whole file is UTF-8. A file in another one is read only
if its letters are the same in the usual encodings of Western and Central Europe; otherwise the message names the option
`encoding`.
"""

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from msgspec import Struct

from netc.dsl.diagnostics import fault
from netc.dsl.hints import Hint
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.dsl.storage.files import opened
from netc.runtime.data.readers.content import content, refuse_other_kind

_PIECE = 1 << 20  # bytes at a time
_HEAD = 1 << 12  # bytes that are searched for null bytes
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_USUAL = ("cp1250", "cp1252", "iso8859-1", "iso8859-2")


def _shared_letters() -> bytes:
    """The bytes that are one letter in all usual encodings: á ä ç é í ö ü ß and others."""
    readings = {byte: {bytes([byte]).decode(name, "replace") for name in _USUAL} for byte in range(0x80, 0x100)}
    return bytes(byte for byte, texts in readings.items() if len(texts) == 1 and next(iter(texts)).isalpha())


_SHARED = re.escape(_shared_letters())
# one or two of these letters beside those of ASCII, and the signs of a section and of degrees: a text in another
# alphabet has longer runs
_LETTER_RUNS = re.compile(
    rb"(?:(?<=[A-Za-z])[" + _SHARED + rb"]{1,2}|[" + _SHARED + rb"]{1,2}(?=[A-Za-z])|[\xa7\xb0])(?![\x80-\xff])"
)
_FOREIGN = re.compile(rb"[\x80-\xff]")
_WORD = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
_GUESS = "cp1252"


class TextFile(Struct, frozen=True):
    """A text file: `raw` are its bytes, unpacked, or None if it is read from disk."""

    path: Path
    shown: str
    span: Span
    raw: bytes | None

    @classmethod
    def of(cls, path: Path, shown: str, span: Span, is_on_disk: bool) -> "TextFile":
        """Opens a file; raises E1005 if it is to be in memory and does not fit."""
        return cls(path, shown, span, None if is_on_disk else content(path, shown, span))

    def open(self) -> BinaryIO:
        return io.BytesIO(self.raw) if self.raw is not None else opened(self.path)

    def text(self, encoding: str, line_end: str = "") -> TextIO:
        """The text; its lines end where `line_end` is, and nothing is translated."""
        return io.TextIOWrapper(self.open(), encoding, newline=line_end)

    def pieces(self) -> Iterator[bytes]:
        with self.open() as stream:
            while piece := stream.read(_PIECE):
                yield piece


def encoding_of(file: TextFile, declared: str | None) -> str:
    """The encoding of a file, which is checked to the end.

    Raises E0801 if the file is not in the declared encoding, or if more than one encoding is possible.
    """
    with file.open() as stream:
        head = stream.read(_HEAD)
    if not declared:
        refuse_other_kind(head, file.shown, file.span)
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None) or _by_null_bytes(head)
    expected = declared or marked or "utf-8"
    if declared == "utf-8" and marked == "utf-8-sig":
        expected = marked
    position = _first_error(file, expected)
    if position is None:
        return expected
    if declared or marked:
        fact = f"`{file.shown}` is not {expected.removesuffix('-sig').upper()}"
        fault("E0801", fact, file.span, f"byte {position}, in line {_line_of(file, position)}, is not text")
    if _is_western(file):
        return _GUESS
    _refuse_encoding(file, position)
    raise AssertionError("refused")


def _by_null_bytes(head: bytes) -> str | None:
    """UTF-16 without a mark has a null byte in every second place wherever its text is Latin."""
    if len(head) < 4:
        return None
    half = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > half // 2 and not even:
        return "utf-16-le"
    return "utf-16-be" if even > half // 2 and not odd else None


def _first_error(file: TextFile, encoding: str) -> int | None:
    """The position of the first byte that is not text in an encoding; None if all are."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    done = 0
    for piece in _with_end(file.pieces()):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(piece, not piece)
        except UnicodeError as error:
            return done - pending + int(getattr(error, "start", 0))
        done += len(piece)
    return None


def _with_end(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    yield b""


def _line_of(file: TextFile, position: int) -> int:
    """The number of the line that has the byte at a position."""
    lines, done = 1, 0
    for piece in file.pieces():
        lines += piece[: max(position - done, 0)].count(b"\n")
        done += len(piece)
        if done >= position:
            break
    return lines


def _is_western(file: TextFile) -> bool:
    """Whether all letters beyond ASCII are the same in the usual encodings of Western and Central Europe."""
    rest = b""
    for piece in _with_end(file.pieces()):
        lines, _, tail = (rest + piece).rpartition(b"\n") if piece else (rest, b"", b"")
        if _FOREIGN.search(_LETTER_RUNS.sub(b"", lines)):
            return False
        rest = tail
    return True


def _refuse_encoding(file: TextFile, position: int) -> None:
    """Raises E0801 for a file that is not UTF-8. The hint shows how another encoding would read its first word."""
    label = f"byte {position}, in line {_line_of(file, position)}, is not text"
    hint = Hint('encoding = "..." names the right one, for example encoding = "latin-1"')
    with file.open() as stream:
        stream.seek(max(position - _HEAD, 0))
        around = stream.read(2 * _HEAD)
    word = next((match[0] for match in _WORD.finditer(around) if match.end() > min(position, _HEAD)), b"")
    for encoding in (_GUESS, "latin-1"):
        try:
            shown = word.decode(encoding)
        except UnicodeDecodeError:
            continue
        if shown.isprintable():
            note = f" would read `{cell(shown)}`; if that is wrong, name another encoding"
            hint = Hint.options(f'encoding = "{encoding}"', note=note)
            break
    fault("E0801", f"`{file.shown}` is not UTF-8", file.span, label, hint=hint)
