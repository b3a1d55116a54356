"""What a graph is lowered to: tasks over buffers, each a kernel call that can be shared out along one axis. Knows no addresses yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from netc.compiler.ir.types import Dim, Type
from netc.compiler.ir.value import Value
from netc.compiler.kernels.schedule import Count, KernelSource


@dataclass(eq=False, slots=True)
class Buffer:
    """Contiguous memory of one value.

    `persistent` stays between steps, a `table` is filled outside and read there, a `result` is written for the outside, a `scratch`
    belongs to one task; `name` says which of them. `is_per_step` tables hold a value for each step.
    """

    type: Type
    kind: Literal["temporary", "persistent", "table", "order", "result", "scratch"] = "temporary"
    name: str = ""
    is_per_step: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is read: element i is at offset + sum of stride * i. `buffer` None: the element is the offset itself."""

    buffer: Buffer | None
    strides: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Pointer:
    """An address that a task takes: elements into a buffer, moved by `lead` elements for each row of the task's axis, and by `shard` for each shard."""

    buffer: Buffer
    offset: int = 0
    lead: int = 0
    shard: int = 0


@dataclass(eq=False, frozen=True, slots=True)
class Walk:
    """The steps of one scan, over the rows of a dimension; all its tasks are done for one step before any for the next."""

    dim: str
    is_reversed: bool


SHARDS = "shards"
SHARD_COUNT = 16  # of a batch, however large: what a sum over the batch comes to depends on where it is cut


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a kernel on all rows of `axis`: the batch, so many rows of a parameter, or SHARDS (the batch in parts, each to a result of its own);
    as one piece if that is None.

    Any range of rows can be done alone, but shards are whole; `grain` rows at a time are done best. `values` are those that it computes, in memory or on the way.
    """

    kernel: KernelSource
    pointers: tuple[Pointer, ...]
    counts: tuple[Count, ...]
    writes: frozenset[Buffer]
    axis: Dim | None
    values: tuple[Value, ...]
    grain: int = 1
    walk: Walk | None = None  # the scan that it is a part of: its axis is then the samples that run at a step


@dataclass(slots=True)
class Tasks:
    """The tasks of a program in an order in which they can run, and where its leaves and results are."""

    tasks: list[Task] = field(default_factory=list)
    leaves: dict[str, Buffer] = field(default_factory=dict)
    results: dict[str, Buffer] = field(default_factory=dict)


def contiguous(dims: Sequence[Dim]) -> tuple[int, ...]:
    """Strides of row-major memory. The batch stands first, so no stride depends on it."""
    strides, step = [], 1
    for dim in reversed(dims):
        strides.append(step)
        step *= dim if isinstance(dim, int) else 1
    return tuple(reversed(strides))


def whole(buffer: Buffer) -> Place:
    """All of a buffer, in order."""
    return Place(buffer, contiguous(buffer.type.dims))


def broadcast(strides: tuple[int, ...], dims: tuple[Dim, ...], space: tuple[Dim, ...]) -> tuple[int, ...]:
    """Strides over a wider space: 0 where an element is repeated."""
    lead = len(space) - len(dims)
    return (0,) * lead + tuple(
        stride if dim == wide else 0 for stride, dim, wide in zip(strides, dims, space[lead:], strict=True)
    )
