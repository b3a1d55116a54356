"""The parts that a report's page is made of, as plain data; pages.py writes them.

Every text in a part is escaped while the page is written, so that no name, label or path becomes markup: only `Plot`,
`Curve` and `Source` hold markup, which the modules of drawing/ have written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

_MOST_TEXT = 100_000  # characters of a file
_MOST_PICTURE = 300_000  # characters of the picture of a model


class Heading(Struct, frozen=True):
    """The title of what follows: `level` 2 is that of a section, 3 that of a part of one."""

    kind: ClassVar[str] = "heading"
    text: str
    level: int = 2


class Paragraph(Struct, frozen=True):
    """A sentence or two."""

    kind: ClassVar[str] = "paragraph"
    text: str


class Note(Struct, frozen=True):
    """A sentence on what the page does not show."""

    kind: ClassVar[str] = "note"
    text: str


class Plot(Struct, frozen=True):
    """A plot by its markup, an `<svg>` element that follows the colours of the page, and the text below it."""

    markup: str
    caption: str = ""


class Plots(Struct, frozen=True):
    """Plots side by side, as many in a row as the page has room for."""

    kind: ClassVar[str] = "plots"
    plots: Sequence[Plot]


class Curve(Struct, frozen=True):
    """Lines by epoch: a plot, the same one with a logarithmic axis, empty if that shows nothing, and the `numbers`.

    These are `x`, the epochs, `names`, those of the lines, and `numbers`, a list for each line, None where it breaks.
    """

    title: str
    markup: str
    logarithmic: str
    numbers: Mapping[str, Any]


class Curves(Struct, frozen=True):
    """Curves side by side, whose scale and smoothing a reader chooses."""

    kind: ClassVar[str] = "curves"
    curves: Sequence[Curve]


class Card(Struct, frozen=True):
    """A picture by its `source` (a data URL), with the text below it and the one that stands for it."""

    source: str
    caption: str = ""
    alternative: str = ""


class Cards(Struct, frozen=True):
    """Pictures side by side, `width` pixels wide each."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]
    width: int | None = None

    @classmethod
    def of(cls, sources: Iterable[str], width: int | None = None) -> "Cards":
        """Pictures without captions."""
        return cls([Card(source) for source in sources], width)


class Table(Struct, frozen=True):
    """Rows of cells below their headings. `keys` names each row as the marks of plots are named (drawing/plots.py)."""

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: Sequence[str] = ()


class Summary(Struct, frozen=True):
    """The metrics of the run in large letters: the name, the number, and the interval of each, empty if it has none."""

    kind: ClassVar[str] = "summary"
    metrics: Sequence[tuple[str, str, str]]


class Text(Struct, frozen=True):
    """The words of a text: each with its strength in percent, negative if it speaks against something, and its number.

    `between` separates them.
    """

    kind: ClassVar[str] = "text"
    words: Sequence[tuple[str, int, str]]
    between: str = " "


class Cell(Struct, frozen=True):
    """A count of a confusion matrix, how dark it is shown, from 0 to 75 percent, and the text of its share."""

    count: int
    shade: int
    is_right: bool
    share: str = ""


class Matrix(Struct, frozen=True):
    """A confusion matrix: a row for each true label, a column for each predicted one."""

    kind: ClassVar[str] = "matrix"
    labels: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Listing(Struct, frozen=True):
    """The lines of a file."""

    kind: ClassVar[str] = "listing"
    text: str


class Source(Struct, frozen=True):
    """The coloured lines of a `.net` file, and beside them the picture of its model as an `<svg>` element, if any.

    If it `is_difference`, lines begin with `+`, `-`, a blank or `@@`.
    """

    kind: ClassVar[str] = "source"
    text: str
    picture: str = ""
    is_difference: bool = False


Section = Heading | Paragraph | Note | Plots | Curves | Cards | Table | Summary | Text | Matrix | Listing | Source


def one_of_every(step: int, things: str) -> Iterator[Note]:
    """A note that only one of every `step` things is shown; none if all are."""
    if step > 1:
        yield Note(f"One of every {step:,} {things} is shown.")


def left_out(count: int, shown: int, things: str) -> Iterator[Note]:
    """A note on how many of `count` things are not shown; none if all are."""
    if count > shown:
        yield Note(f"{count - shown:,} more {things} are left out.")


def file_sections(text: str, owner: str, picture: str = "") -> Iterator[Section]:
    """The text of a file, cut if it is long, and the picture of its model; `owner` says in whose folder the rest is."""
    yield Heading("The file")
    yield Source(text[:_MOST_TEXT], picture if len(picture) <= _MOST_PICTURE else "")
    if len(text) > _MOST_TEXT:
        yield Note(f"{len(text) - _MOST_TEXT:,} more characters are in the {owner} folder.")
    if len(picture) > _MOST_PICTURE:
        yield Note("The picture of the model is too large for a page: `netc show` draws it.")
