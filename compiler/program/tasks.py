"""The result of lowering a graph: tasks over buffers, each a kernel call that can be shared out along one axis.

Tasks name buffers, not addresses; plan.py chooses those.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from netc.compiler.ir.results import Result
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.types import Dim, Type
from netc.compiler.ir.value import Value
from netc.compiler.program.kernels import Kernel
from netc.compiler.program.schedule import Count


class Buffer(Struct, eq=False):
    """Contiguous memory of one value.

    A `persistent` buffer keeps its contents between steps. The caller of a program fills each `table` and reads each
    `result`; `name` says which leaf or result a buffer belongs to. A `scratch` buffer belongs to one task. A table
    that `is_per_step` holds one value for each step.
    """

    type: Type
    kind: Literal["temporary", "persistent", "table", "order", "result", "scratch"] = "temporary"
    name: str = ""
    is_per_step: bool = False


class Pointer(Struct, frozen=True):
    """An address that a task takes, in elements from the beginning of a buffer.

    It moves by `lead` elements for each row of the task's axis, and by `shard` elements for each shard.
    """

    buffer: Buffer
    offset: int = 0
    lead: int = 0
    shard: int = 0


class StridedView(Struct, frozen=True):
    """A view through which a value is read: element i is at offset + sum of stride * i of a buffer.

    A range has no buffer (None): its elements are these sums themselves.
    """

    buffer: Buffer | None
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def memory(self) -> Buffer:
        """The buffer of a view that is not one of a range."""
        assert self.buffer is not None, "a range has no memory"
        return self.buffer

    def pointer(self, lead: int = 0, shard: int = 0) -> Pointer:
        """Returns the address of the view's first element."""
        return Pointer(self.memory, self.offset, lead, shard)


class Walk(Struct, frozen=True, eq=False):
    """The steps of one scan over a dimension.

    All tasks of the scan are done for one step before any is done for the next.
    """

    dim: str
    is_reversed: bool


SHARDS = "shards"


class Task(Struct, frozen=True):
    """One call of a kernel on all rows of `axis`.

    The axis is the batch or another dimension, a number of rows of a parameter, or SHARDS (the batch in shards, each
    with a result of its own). It is None if the task cannot be shared out. Any range of rows can be done alone, but a
    shard only as a whole; multiples of `grain` rows are fastest. `values` are those that the task computes, in memory
    or inside its loop. If a task `is_by_columns`, its axis is a number of columns of its result, which count as rows.
    The last step of a scan skips a task with `skips_last`, because nothing reads its results then.
    """

    kernel: Kernel
    pointers: tuple[Pointer, ...]
    counts: tuple[Count, ...]
    writes: frozenset[Buffer]
    axis: Dim | None
    values: tuple[Value, ...]
    grain: int = 1
    walk: Walk | None = None  # the scan of a task; its axis is then the samples that still run at a step
    is_by_columns: bool = False
    skips_last: bool = False


class Tasks(Struct):
    """The tasks of a program in an order in which they can run, and the buffers of its leaves and results."""

    tasks: list[Task] = field(default_factory=list)
    leaves: dict[str, Buffer] = field(default_factory=dict)
    results: dict[Result, Buffer] = field(default_factory=dict)


def buffer_numbers(pointers: Sequence[Pointer]) -> tuple[int, ...]:
    """Returns the number of each pointer's buffer: buffers are numbered in the order in which they first appear."""
    numbers: dict[Buffer, int] = {}
    return tuple(numbers.setdefault(pointer.buffer, len(numbers)) for pointer in pointers)


def all_of(buffer: Buffer) -> StridedView:
    """The view of a value that fills a whole buffer in row-major order."""
    return StridedView(buffer, contiguous(buffer.type.dims))
