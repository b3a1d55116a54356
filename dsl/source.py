"""A text and places in it: what every later floor points at when it has something to say.

Takes and gives nothing but positions; knows no grammar.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A `.net` text. `name` is what messages call it, `path` where it lies (None for text from memory)."""

    name: str
    text: str
    path: Path | None = None
    is_library: bool = False
    _line_starts: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts = [0, *(i + 1 for i, character in enumerate(self.text) if character == "\n")]
        object.__setattr__(self, "_line_starts", starts)

    @property
    def file_name(self) -> str:
        """The name without the folders that lead to the file: files that netc writes hold this, not the user's path."""
        return self.name if self.is_library else Path(self.name).name

    @property
    def folder(self) -> Path:
        """Where relative paths in the text start from."""
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


@dataclass(frozen=True, slots=True)
class Span:
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
        """The comment on the lines right before it, as one text."""
        before = self.source.text[: self.start].rstrip()
        found = re.search(r"(?:^#[^\n]*\n?)+\Z", before, re.MULTILINE)
        return " ".join(line.lstrip("# ") for line in (found[0] if found else "").splitlines())

    def to(self, other: "Span") -> "Span":
        """From the start of this span to the end of another one of the same source."""
        return Span(self.source, self.start, other.end)

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


NOWHERE = Span(Source("<netc>", "", is_library=True), 0, 0)
