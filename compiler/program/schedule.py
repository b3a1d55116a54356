"""The schedule of a program as plain data: phases between barriers, with groups of kernel calls in them.

Every worker stays in the program for a chunk of steps. In a phase it takes its share of each group:

    samples  the batch's rows are shared out; a worker takes its rows in row blocks that fit its cache
    pieces   the rows of a parameter are shared out the same way
    shards   the batch is cut into shards, whose number does not depend on the workers; one worker does a whole shard
    steps    the samples are shared out; step by step, a worker takes its samples that still run through all calls,
             except for those that the last step skips (planning/last_steps.py)
    one      one worker does it

A target decides how a schedule is run. Knows no graph.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from netc.compiler.ir.types import Sizes, size_of

if TYPE_CHECKING:  # a plan whose code is linked already has none
    from netc.compiler.program.gathers import Gathers
    from netc.compiler.program.kernels import Kernel

# The memories of a program: parameters and states, the arena that workers share, each worker's own arena, the numbers
# of the samples, and from TABLES on the inputs and results.
PERSISTENT, SHARED, PRIVATE, ORDER = range(4)
TABLES = 4
NAN_BYTE = 0xFF  # floats and doubles of such bytes are NaN


class Count(Struct, frozen=True):
    """A number: the factor (`per` is "one"), times the rows of the call ("rows") or all rows of a dimension (its
    name)."""

    factor: int
    per: str = "one"

    @property
    def is_fixed(self) -> bool:
        """Whether the number is the same for all calls and sizes."""
        return self.per == "one"

    def value(self, rows: int, sizes: Sizes) -> int:
        """Returns the number for a call of some rows, in a program of these sizes."""
        match self.per:
            case "one":
                return self.factor
            case "rows":
                return self.factor * rows
        return self.factor * size_of(self.per, sizes)


class Address(Struct, frozen=True):
    """An address: `offset` bytes into a memory, plus `lead` bytes for each row before the first of the call, `shard`
    bytes for each shard before the call's, and `step` bytes for each row before the first of a scan's step."""

    memory: int
    offset: int
    lead: int = 0
    shard: int = 0
    step: int = 0


class Call(Struct, frozen=True):
    """A call of a kernel: one address for each pointer that the kernel takes, then its counts.

    The last step of a scan skips a call with `skips_last`.
    """

    kernel: "Kernel"
    addresses: tuple[Address, ...]
    counts: tuple[Count, ...]
    skips_last: bool = False

    @property
    def arguments(self) -> tuple[Address | Count, ...]:
        """All arguments in their order."""
        return (*self.addresses, *self.counts)


class Group(Struct, frozen=True):
    """Calls that are done in order for each row block.

    `row_block` is the number of rows that a worker takes through the calls at once, or of the samples of a shard.
    `extent` is the number of rows of pieces, or of shards. `grain` rows are never cut. `dim` is the dimension whose
    rows are shared out, or whose steps are walked, from the last one if `is_reversed`. A group that `is_repeated` is
    done by every rank of a distributed program, and shared out among the rank's workers alone.
    """

    kind: Literal["samples", "pieces", "shards", "one", "steps"]
    calls: tuple[Call, ...]
    row_block: int
    extent: int = 1
    grain: int = 1
    dim: str = "batch"
    is_reversed: bool = False
    is_repeated: bool = False


class Schedule(Struct, frozen=True):
    """Phases of groups, and for each table the bytes by which it moves on in a step: a fixed number, and one for each
    sample.

    `dims` are the varying dimensions. If there are any, a run is one step. `gathers` is what ranks gather from one
    another; None if the program runs in one process.
    """

    phases: tuple[tuple[Group, ...], ...]
    tables: tuple[tuple[int, int], ...]
    dims: tuple[str, ...] = ()
    gathers: "Gathers | None" = None

    @property
    def walked(self) -> frozenset[str]:
        """The dimensions whose steps a scan walks: there, a worker takes its own samples in all groups."""
        return frozenset(group.dim for phase in self.phases for group in phase if group.kind == "steps")

    def calls(self) -> Iterator[Call]:
        """Yields all calls in the order of the schedule."""
        for phase in self.phases:
            for group in phase:
                yield from group.calls


class Arenas(Struct, frozen=True):
    """The bytes of the arena that workers share, and of each worker's own arena."""

    shared: int
    private: int
