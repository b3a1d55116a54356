"""Finds where the bytes of a kernel call lie: in which cache, or in memory.

The model is that of a cache that keeps what was used last. A worker finds a buffer again in a cache if it has touched
no more than this cache keeps since it last touched the same part of the buffer. Between calls of one group that part is
a row block; between groups it is the worker's share. Steps follow each other, so the first call of a step looks back
into the step before. A result of the step is written once: its calls write different parts of it. A sample is read
again when the samples of all inputs have been read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.types import Sizes
from netc.compiler.planning.traffic import Touch, calls_of, rows_of, traffic
from netc.compiler.program.plan import Plan
from netc.compiler.program.schedule import Group
from netc.compiler.program.tasks import Buffer, Task
from netc.compiler.targets.bounds import LEVELS, Bounds, Level, Stream, Work

_FEW = 8  # a call that writes less than one byte for so many that it reads only reads, and the other way round


class _Placed(Struct, frozen=True):
    """A task with its group, and what it touches of each buffer in a step: by all workers together, by one worker, and
    by one worker in a row block."""

    task: Task
    group: Group
    touches: dict[Buffer, Touch]
    share: dict[Buffer, int]
    block: dict[Buffer, int]


class Locality:
    """The levels in which the buffers of a plan's tasks lie, for steps of `sizes` on `members` workers.

    `data` has the bytes of all samples of each input that the batches are taken from.
    """

    def __init__(self, plan: Plan, sizes: Sizes, members: int, data: Mapping[str, int]) -> None:
        self.sizes, self.members, self.data = sizes, members, data
        groups = plan.groups()
        self.placed = [_placed(task, each.group, sizes, members) for each in groups for _, task in each.calls]
        self.touchers: dict[Buffer, list[int]] = {}
        for number, placed in enumerate(self.placed):
            for buffer in placed.touches:
                self.touchers.setdefault(buffer, []).append(number)

    def works(self, bounds: Bounds) -> Iterator[Work]:
        """Yields for each task, in the order of the plan, its bytes in each level of a machine. Without FLOPs."""
        for number, placed in enumerate(self.placed):
            nbytes = dict.fromkeys(LEVELS, 0)
            for buffer, touch in placed.touches.items():
                level, missed = self._level(number, buffer, bounds)
                from_memory = round(touch.nbytes * missed)
                nbytes[level] += touch.nbytes - from_memory
                nbytes["memory"] += from_memory
            calls = calls_of(placed.task, self.sizes)
            yield Work(nbytes=nbytes, stream=_stream(placed.touches.values()), calls=calls)

    def _level(self, number: int, buffer: Buffer, bounds: Bounds) -> tuple[Level, float]:
        """The level in which a task finds a buffer, and the share of it that comes from memory nevertheless."""
        placed = self.placed[number]
        if buffer.kind == "table" and buffer.name in self.data:
            tables = {other for other in self.touchers if other.kind == "table" and other.name in self.data}
            return bounds.level_of(sum(self.data[table.name] for table in tables) // self.members)
        before = self._last_touch(number, buffer)
        other = self.placed[before]
        if other.group is placed.group and before < number:
            return bounds.level_of(self._touched(before, number, in_block=True))
        if placed.task.walk is not None and not buffer.type.is_varying:  # a carry or a weight: again in the next step
            first = next(i for i, entry in enumerate(self.placed) if entry.group is placed.group)
            return bounds.level_of(self._touched(first, first + len(placed.group.calls) - 1, in_block=True))
        level, missed = bounds.level_of(self._touched(before, number, in_block=False))
        is_elsewhere = other.task.axis != placed.task.axis and buffer in other.task.writes
        if self.members > 1 and is_elsewhere:  # another worker's cache has it
            return max(level, LEVELS[-2], key=LEVELS.index), missed
        return level, missed

    def _last_touch(self, number: int, buffer: Buffer) -> int:
        """The task that touched the same part of a buffer before this one, in this step or the one before."""
        numbers = self.touchers[buffer]
        touches = [self.placed[other].touches[buffer] for other in numbers]
        is_in_parts = sum(touch.written for touch in touches) <= buffer.type.nbytes(self.sizes)
        if is_in_parts and not any(touch.read for touch in touches):
            return number
        at = numbers.index(number)
        return numbers[at - 1]

    def _touched(self, first: int, last: int, in_block: bool) -> int:
        """The bytes that a worker touches from one task to another, which may be in the next step, both included."""
        count = len(self.placed)
        numbers: Sequence[int] = range(first, last + 1)
        if last <= first and not in_block:
            numbers = [*range(first, count), *range(last + 1)]
        largest: dict[Buffer, int] = {}
        for number in numbers:
            placed = self.placed[number]
            for buffer, nbytes in (placed.block if in_block else placed.share).items():
                largest[buffer] = max(largest.get(buffer, 0), nbytes)
        return sum(largest.values())


def _placed(task: Task, group: Group, sizes: Sizes, members: int) -> _Placed:
    touches = traffic(task, sizes)
    moving = {pointer.buffer for pointer in task.pointers if pointer.lead or pointer.shard}
    shares = 1 if group.kind == "one" else members
    blocks = _blocks(task, group, sizes, members)
    share, block = {}, {}
    for buffer, touch in touches.items():
        each = touch.distinct // calls_of(task, sizes)
        if buffer.type.is_varying and task.walk is not None:
            each = touch.distinct
        share[buffer] = each // shares if buffer in moving else each
        block[buffer] = max(share[buffer] // blocks, 1) if _is_cut(buffer, task, moving) else share[buffer]
    return _Placed(task, group, touches, share, block)


def _is_cut(buffer: Buffer, task: Task, moving: set[Buffer]) -> bool:
    """Whether a row block, or a step of a scan, has its own part of a buffer."""
    return buffer.type.is_varying if task.walk is not None else buffer in moving


def _blocks(task: Task, group: Group, sizes: Sizes, members: int) -> int:
    """The row blocks, shards or steps that a worker goes through."""
    if task.walk is not None:
        return calls_of(task, sizes)
    if group.kind == "one":
        return 1
    if group.kind == "shards":
        return max(group.extent // members, 1)
    return max(-(-rows_of(task, sizes) // (members * group.row_block)), 1)


def _stream(touches: Iterable[Touch]) -> Stream:
    """How a call moves its bytes: see Work."""
    read = written = replaced = 0
    for touch in touches:
        read, written = read + touch.read, written + touch.written
        replaced += min(touch.read, touch.written)
    if _FEW * written < read:
        return "read"
    if _FEW * read < written:
        return "write"
    return "update" if 2 * replaced > written else "copy"
