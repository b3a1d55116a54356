"""The parts of buffers that the ranks of a distributed step gather from one another, as plain data.

A rank is a process with its own memory that does its share of the groups of a schedule. Rows that a rank has written
and that another one reads are gathered between the phases, the rows of several values in one message. Knows no graph.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from netc.compiler.ir.rows import Rows

Span = tuple[int, int]  # the first row or byte, and the one behind the last


class Division(Struct, frozen=True):
    """The division of a value's rows among ranks. Each rank has a range of them, or several.

    batch   the samples of the batch in its order
    rows    the rows of the varying dimension `dim`
    ranked  the samples ordered by their lengths along `dim`, so that each rank has about as many steps
    steps   the rows of the dimension `dim`: at each step, those of the rank's samples of "ranked"
    shards  `extent` shards of the batch
    pieces  `extent` rows of a parameter, which are never cut between multiples of `grain`
    """

    kind: Literal["batch", "rows", "ranked", "steps", "shards", "pieces"]
    dim: str = "batch"
    extent: int = 1
    grain: int = 1


class Gather(Struct, frozen=True):
    """Rows that each rank gets from the others: `row_bytes` bytes each, from `offset` in a memory on."""

    memory: int
    offset: int
    row_bytes: int
    division: Division

    def overlaps(self, spans: Iterable[Span]) -> bool:
        """Whether rows of a parameter or state lie in ranges of bytes of the same memory."""
        assert self.division.kind == "pieces", self.division
        end = self.offset + self.row_bytes * self.division.extent
        return any(low < end and self.offset < high for low, high in spans)


class Message(Struct, frozen=True):
    """Values that are gathered together. Every rank has its rows when phase `after` is done, and all rows are needed
    when phase `before` begins. Phases of the next step are counted on, so the end of a step is its number of phases."""

    after: int
    before: int
    gathers: tuple[Gather, ...]


class Gathers(Struct, frozen=True):
    """The messages of a step, and the parameters and states of which a rank knows only its rows until the last step of
    a run is done. `touched` are the ranges of bytes of all parameters and states that a step reads or writes."""

    messages: tuple[Message, ...]
    at_end: tuple[Gather, ...]
    touched: tuple[Span, ...]


class StepSizes(Struct, frozen=True):
    """The sizes that decide which rows a rank has: the samples of the batch, and the rows of varying dimensions."""

    batch: int
    rows: "Mapping[str, Rows]"


def spans_of(division: Division, rank: int, ranks: int, sizes: StepSizes) -> list[Span]:
    """Returns the ranges of rows that a rank has."""

    def share(units: int) -> Span:
        return units * rank // ranks, units * (rank + 1) // ranks

    match division.kind:
        case "batch":
            return [share(sizes.batch)]
        case "rows":
            return [share(sizes.rows[division.dim].count)]
        case "shards":
            return [share(division.extent)]
        case "pieces":
            low, high = (end * division.grain for end in share(-(-division.extent // division.grain)))
            return [(low, min(high, division.extent))]
    rows = sizes.rows[division.dim]
    first, end = (int(sample) for sample in rows.shares(ranks)[rank : rank + 2])
    if division.kind == "ranked":
        return [(first, end)]
    steps = zip(rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True)
    spans = ((begin + first, min(after, begin + end)) for begin, after in steps)
    return [(low, high) for low, high in spans if low < high]
