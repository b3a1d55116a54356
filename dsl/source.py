"""A text and positions in it, which messages of every later floor point at. Knows no grammar."""

import re
from bisect import bisect_right
from functools import cached_property
from pathlib import Path

from msgspec import Struct


class Source(Struct, frozen=True, eq=False, dict=True):
    """A `.net` text. Messages call it `name`; `path` is its file (None for a text in memory)."""

    name: str
    text: str
    path: Path | None = None
    is_library: bool = False

    def __repr__(self) -> str:
        return f"Source({self.name!r})"

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(i + 1 for i, character in enumerate(self.text) if character == "\n")]

    @property
    def file_name(self) -> str:
        """The name without its folders. Files that netc writes contain this name, not the user's path."""
        return self.name if self.is_library else Path(self.name).name

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the text start from."""
        return self.path.parent if self.path else Path()

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 1."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its end."""
        start = self._line_starts[number - 1]
        if number == len(self._line_starts):
            return self.text[start:]
        return self.text[start : self._line_starts[number] - 1].removesuffix("\r")


class Span(Struct, frozen=True):
    """The characters `start` to `end` (exclusive) of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def comment_before(self) -> str:
        """The comment on the lines directly before the span, as one line."""
        before = self.source.text[: self.start].rstrip()
        match = re.search(r"(?:^#[^\n]*\n?)+\Z", before, re.MULTILINE)
        return " ".join(line.lstrip("# ") for line in (match[0] if match else "").splitlines())

    def to(self, other: "Span") -> "Span":
        """The span from the start of this one to the end of another one of the same source."""
        return Span(self.source, self.start, other.end)

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def __repr__(self) -> str:
        return f"Span({str(self)!r})"


NOWHERE = Span(Source("<netc>", "", is_library=True), 0, 0)
