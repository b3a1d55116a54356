"""The request to a reader: the file, the use of each of its columns, and the options of the source."""

from collections.abc import Callable, Iterable, Mapping
from enum import Flag, auto
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from netc.dsl.source import Span
from netc.runtime.data.tables.cells import BadRows


class Use(Flag):
    """The uses of the cells of a column. A column that is needed for nothing is not read (`Use(0)`).

    `LABELS` are compared with each other, so a number has one spelling in them (`1`, never `1.0`). `TEXT` is kept as
    the file has it.
    """

    NUMBERS = auto()
    LABELS = auto()
    TEXT = auto()


Uses = Callable[[str], Use]  # of a column by its name
WORDS = Use.LABELS | Use.TEXT  # uses that need a cell as a text


def every(use: Use) -> Uses:
    """Returns a function that gives the same use for every column."""
    return lambda column: use


AS_NUMBERS = every(Use.NUMBERS)


class Request(Struct, frozen=True):
    """A file to read: `shown` is its name in messages, `span` the text of the `.net` file that names it.

    With `bad_rows`, for new data, rows that the reader can leave out are noted there.
    """

    path: Path
    shown: str
    span: Span
    uses: Uses = AS_NUMBERS
    options: Mapping[str, Any] = field(default_factory=dict)
    bad_rows: BadRows | None = None

    def needed(self, columns: Iterable[str]) -> list[str]:
        """The columns that are needed, out of all; the first one if none is, so that the table has rows."""
        names = list(columns)
        return [name for name in names if self.uses(name)] or names[:1]

    def needs_text(self, column: str) -> bool:
        """Whether the cells of a column are needed as texts, be it besides as numbers."""
        return bool(self.uses(column) & WORDS)
