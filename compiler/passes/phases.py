"""Tasks -> phases between barriers, and in them groups of tasks that are done together, band of rows by band of rows.

Two tasks are of one group if each row of the one needs only the same row of the other: the rows can then be shared out among workers, and a
worker can take a band of rows through all tasks of the group while it is in its cache. Anything else that a task waits for puts it into a later phase.
What a sum in shards reads is computed shard by shard with it, where a shard's share of that fits the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from netc.compiler.kernels.machine import host
from netc.compiler.passes.tasks import SHARD_COUNT, SHARDS, Buffer, Pointer, Task
from netc.compiler.types import BATCH, Dim

Kind = Literal["samples", "pieces", "shards", "one"]
_FEW_WEIGHTS = 1 << 18  # bytes: what a task may read anew for every shard


@dataclass(eq=False, slots=True)
class TaskGroup:
    """Tasks in order, of one kind (see kernels/schedule.py), with the rows of pieces."""

    kind: Kind
    axis: Dim | None
    tasks: list[Task]

    def buffers(self) -> set[Buffer]:
        return {pointer.buffer for task in self.tasks for pointer in task.pointers}


@dataclass(eq=False, slots=True)
class _Placed:
    """A task, and where it is done. A task over the batch may be done `in_shards`."""

    task: Task
    phase: int
    in_shards: bool


@dataclass(frozen=True, slots=True)
class _Wait:
    """`after` waits for `before`: for all of it, or for each row that it needs (`in_step`)."""

    before: _Placed
    after: _Placed
    in_step: bool


def divide(tasks: list[Task], batch: int) -> list[list[TaskGroup]]:
    """The phases of a program, for steps of `batch` samples. Within one, groups depend on nothing in each other."""
    placed: list[_Placed] = []
    touched: dict[Buffer, list[_Placed]] = {}
    waits: list[_Wait] = []
    for task in tasks:
        one = _Placed(task, 0, task.axis == SHARDS)
        for buffer in {pointer.buffer for pointer in task.pointers if pointer.buffer.kind not in ("scratch", "order")}:
            for before in touched.setdefault(buffer, []):
                if buffer not in task.writes and buffer not in before.task.writes:
                    continue
                wait = _Wait(before, one, _in_step(before.task, task, buffer))
                one.phase = max(one.phase, before.phase + (not wait.in_step or before.task.axis != task.axis))
                waits.append(wait)
            touched[buffer].append(one)
        placed.append(one)
    last = max((one.phase for one in placed), default=-1)
    for phase in range(last - 1, -1, -1):
        _join_shards(placed, waits, phase, -(-batch // SHARD_COUNT))
    return [_groups([one for one in placed if one.phase == phase], waits) for phase in range(last + 1)]


def _join_shards(placed: Sequence[_Placed], waits: Sequence[_Wait], phase: int, rows: int) -> None:
    """Postpone tasks of a phase to the next one, where what waits for them are sums in shards of so many rows, and what passes on then stays in cache."""
    _, second = host().caches
    for one in [one for one in reversed(placed) if one.phase == phase and one.task.axis == BATCH]:
        following = [wait for wait in waits if wait.before is one and wait.after.phase <= phase + 1]
        moving = sum(buffer.type.nbytes(1) for buffer in one.task.writes if buffer.type.is_batched)
        weights = {
            pointer.buffer for pointer in one.task.pointers if not pointer.lead and not pointer.buffer.type.is_batched
        }
        if (
            following
            and all(wait.in_step and wait.after.in_shards and wait.after.phase == phase + 1 for wait in following)
            and one.task.grain <= rows
            and sum(buffer.type.nbytes(1) for buffer in weights) <= _FEW_WEIGHTS
            and rows * moving <= second
        ):
            one.phase, one.in_shards = phase + 1, True
            second -= rows * moving


def _is_row(pointer: Pointer) -> bool:
    """Whether a task at a row touches only that row of a buffer."""
    return 0 <= pointer.offset < pointer.lead


def _in_step(before: Task, after: Task, buffer: Buffer) -> bool:
    """Whether `after` needs, at each row, only what `before` did at that row; what is no loop over rows is one row."""
    if before.axis != after.axis and (before.axis, after.axis) != (BATCH, SHARDS):
        return False
    if before.axis is None:
        return True
    pointers = [pointer for task in (before, after) for pointer in task.pointers if pointer.buffer is buffer]
    return all(_is_row(pointer) and pointer.lead == pointers[0].lead for pointer in pointers)


def _groups(placed: Sequence[_Placed], waits: Sequence[_Wait]) -> list[TaskGroup]:
    """Tasks of one phase in groups: those over the batch in one, others with what they wait for."""
    samples = [one for one in placed if one.task.axis == BATCH and not one.in_shards]
    rest = [one for one in placed if one not in samples]
    label = {one: i for i, one in enumerate(rest)}
    for wait in waits:
        if wait.before in label and wait.after in label and label[wait.before] != label[wait.after]:
            old, new = label[wait.after], label[wait.before]
            label = {one: new if found == old else found for one, found in label.items()}
    groups = []
    if samples:
        groups.append(TaskGroup("samples", BATCH, [one.task for one in samples]))
    for number in dict.fromkeys(label.values()):
        members = [one for one in rest if label[one] == number]
        axis = SHARDS if members[0].in_shards else members[0].task.axis
        kind: Kind = "pieces" if isinstance(axis, int) else "shards" if axis == SHARDS else "one"
        groups.append(TaskGroup(kind, axis, [one.task for one in members]))
    return groups


def rowwise(group: TaskGroup, buffer: Buffer, row: int) -> bool:
    """Whether a group touches a buffer of `row` elements a row only row by row."""
    return group.kind != "one" and all(
        pointer.lead == row and 0 <= pointer.offset < row
        for task in group.tasks
        for pointer in task.pointers
        if pointer.buffer is buffer
    )
