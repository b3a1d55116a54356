"""Tasks -> phases between barriers, and in them groups of tasks that are done together, band of rows by band of rows.

Two tasks are of one group if each row of the one needs only the same row of the other: the rows can then be shared out among workers, and a
worker can take a band of rows through all tasks of the group while it is in its cache. Anything else that a task waits for puts it into a later phase.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from netc.compiler.passes.tasks import SHARDS, Buffer, Pointer, Task
from netc.compiler.types import BATCH, Dim

Kind = Literal["samples", "pieces", "shards", "one"]


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
    task: Task
    phase: int


def divide(tasks: list[Task]) -> list[list[TaskGroup]]:
    """The phases of a program. Within one, groups depend on nothing in each other."""
    placed: list[_Placed] = []
    touched: dict[Buffer, list[_Placed]] = {}
    joined: list[tuple[_Placed, _Placed]] = []
    for task in tasks:
        one = _Placed(task, 0)
        for buffer in {pointer.buffer for pointer in task.pointers if pointer.buffer.kind not in ("scratch", "order")}:
            for before in touched.setdefault(buffer, []):
                if buffer not in task.writes and buffer not in before.task.writes:
                    continue
                is_near = _in_step(before.task, task, buffer)
                one.phase = max(one.phase, before.phase + (not is_near))
                if is_near:
                    joined.append((before, one))
            touched[buffer].append(one)
        placed.append(one)
    return [
        _groups([one for one in placed if one.phase == phase], joined)
        for phase in range(1 + max((one.phase for one in placed), default=-1))
    ]


def _is_row(pointer: Pointer) -> bool:
    """Whether a task at a row touches only that row of a buffer."""
    return 0 <= pointer.offset < pointer.lead


def _in_step(before: Task, after: Task, buffer: Buffer) -> bool:
    """Whether `after` needs, at each row, only what `before` did at that row; what is no loop over rows is one row."""
    if before.axis != after.axis:
        return False
    if before.axis is None:
        return True
    pointers = [pointer for task in (before, after) for pointer in task.pointers if pointer.buffer is buffer]
    return all(_is_row(pointer) and pointer.lead == pointers[0].lead for pointer in pointers)


def _groups(placed: list[_Placed], joined: Iterable[tuple[_Placed, _Placed]]) -> list[TaskGroup]:
    """Tasks of one phase in groups: all over the batch in one, others with what they are joined to."""
    samples = [one for one in placed if one.task.axis == BATCH]
    rest = [one for one in placed if one.task.axis != BATCH]
    label = {one: i for i, one in enumerate(rest)}
    for before, after in joined:
        if before in label and after in label and label[before] != label[after]:
            old, new = label[after], label[before]
            label = {one: new if found == old else found for one, found in label.items()}
    groups = []
    if samples:
        groups.append(TaskGroup("samples", BATCH, [one.task for one in samples]))
    for number in dict.fromkeys(label.values()):
        tasks = [one.task for one in rest if label[one] == number]
        axis = tasks[0].axis
        kind: Kind = "pieces" if isinstance(axis, int) else "shards" if axis == SHARDS else "one"
        groups.append(TaskGroup(kind, axis, tasks))
    return groups


def rowwise(group: TaskGroup, buffer: Buffer, row: int) -> bool:
    """Whether a group touches a buffer of `row` elements a row only row by row."""
    return group.kind in ("samples", "pieces") and all(
        pointer.lead == row and 0 <= pointer.offset < row
        for task in group.tasks
        for pointer in task.pointers
        if pointer.buffer is buffer
    )
