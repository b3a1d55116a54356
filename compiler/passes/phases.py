"""Tasks -> phases between barriers, and in them groups of tasks that are done together, band of rows by band of rows.

Two tasks are of one group if each row of the one needs only the same row of the other: the rows can then be shared out among workers, and a
worker can take a band of rows through all tasks of the group while it is in its cache. Anything else that a task waits for puts it into a later phase.
What a sum in shards reads is computed shard by shard with it, where a shard's share of that fits the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import networkx as nx

from netc.compiler.ir.types import BATCH, Dim
from netc.compiler.kernels.machine import Machine
from netc.compiler.passes.tasks import SHARD_COUNT, SHARDS, Buffer, Pointer, Task, Walk

Kind = Literal["samples", "pieces", "shards", "one", "steps"]


@dataclass(eq=False, slots=True)
class TaskGroup:
    """Tasks in order, of one kind (see kernels/schedule.py), with the rows of pieces."""

    kind: Kind
    axis: Dim | None
    tasks: list[Task]
    walk: Walk | None = None

    def buffers(self) -> set[Buffer]:
        return {pointer.buffer for task in self.tasks for pointer in task.pointers}


@dataclass(eq=False, slots=True)
class _Placed:
    """Tasks that are done together (one, or those of a scan's step), and where; a task over the batch may be done `in_shards`. `following` wait for it."""

    tasks: list[Task]
    phase: int
    in_shards: bool
    following: list["_Follower"] = field(default_factory=list)

    @property
    def task(self) -> Task:
        return self.tasks[0]

    @property
    def pointers(self) -> list[Pointer]:
        return [pointer for task in self.tasks for pointer in task.pointers]

    @property
    def writes(self) -> set[Buffer]:
        return {buffer for task in self.tasks for buffer in task.writes}


@dataclass(frozen=True, slots=True)
class _Follower:
    """A task that waits for another: for each row that it needs (`in_step`), or for all of it."""

    placed: _Placed
    in_step: bool


def divide(tasks: list[Task], batch: int, machine: Machine) -> list[list[TaskGroup]]:
    """The phases of a program, for steps of at most `batch` samples. Within one, groups depend on nothing in each other."""
    placed: list[_Placed] = []
    touched: dict[Buffer, list[_Placed]] = {}
    for one in _together(tasks):
        written = one.writes
        for buffer in {pointer.buffer for pointer in one.pointers if pointer.buffer.kind not in ("scratch", "order")}:
            for before in touched.setdefault(buffer, []):
                if buffer not in written and buffer not in before.writes:
                    continue
                follower = _Follower(one, _in_step(before.task, one.task, buffer))
                one.phase = max(one.phase, before.phase + _apart(before, follower))
                before.following.append(follower)
            touched[buffer].append(one)
        placed.append(one)
    for one in reversed(placed):
        written = one.writes
        reads = any(pointer.buffer not in written for pointer in one.pointers)
        if not reads and one.following:  # a border is written when it is needed, not when it could be
            one.phase = min(other.placed.phase - _apart(one, other) for other in one.following)
    for members in reversed(_by_phase(placed)[:-1]):
        _join_shards(members, -(-batch // SHARD_COUNT), machine)
    return [_groups(members) for members in _by_phase(placed)]


def _together(tasks: Sequence[Task]) -> list[_Placed]:
    """Each task by itself, but all of a scan as one."""
    placed: list[_Placed] = []
    for task in tasks:
        if task.walk is not None and placed and placed[-1].task.walk is task.walk:
            placed[-1].tasks.append(task)
        else:
            placed.append(_Placed([task], 0, task.axis == SHARDS))
    return placed


def _apart(before: _Placed, after: _Follower) -> bool:
    """Whether a barrier must lie between two tasks."""
    return not after.in_step or before.task.axis != after.placed.task.axis


def _by_phase(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    phases: list[list[_Placed]] = [[] for _ in range(1 + max((one.phase for one in placed), default=-1))]
    for one in placed:
        phases[one.phase].append(one)
    return phases


def _join_shards(members: Sequence[_Placed], rows: int, machine: Machine) -> None:
    """Postpone tasks of a phase to the next one, where what waits for them are sums in shards of so many rows, and what passes on then stays in cache."""
    moving: set[Buffer] = set()
    for one in reversed(members):
        task, following = one.task, [other for other in one.following if other.placed.phase <= one.phase + 1]
        weights = {pointer.buffer for pointer in task.pointers if not (pointer.lead or pointer.buffer.type.is_batched)}
        more = {buffer for buffer in task.writes if buffer.type.is_batched} | moving
        if (
            task.axis == BATCH
            and task.walk is None
            and following
            and all(
                other.in_step and other.placed.in_shards and other.placed.phase == one.phase + 1 for other in following
            )
            and task.grain <= rows
            and sum(buffer.type.nbytes(1) for buffer in weights) <= machine.few_weights
            and rows * sum(buffer.type.nbytes(1) for buffer in more) <= machine.second_cache
        ):
            one.phase, one.in_shards = one.phase + 1, True
            moving = more


def _is_row(pointer: Pointer) -> bool:
    """Whether a task at a row touches only that row of a buffer."""
    return 0 <= pointer.offset < pointer.lead


def _in_step(before: Task, after: Task, buffer: Buffer) -> bool:
    """Whether `after` needs, at each row, only what `before` did at that row; what is no loop over rows is one row."""
    if before.walk is not after.walk:
        return False
    if before.axis != after.axis and (before.axis, after.axis) != (BATCH, SHARDS):
        return False
    if before.axis is None:
        return True
    pointers = [pointer for task in (before, after) for pointer in task.pointers if pointer.buffer is buffer]
    return all(_is_row(pointer) and pointer.lead == pointers[0].lead for pointer in pointers)


def _groups(placed: Sequence[_Placed]) -> list[TaskGroup]:
    """Tasks of one phase in groups: those over the rows of a named dimension in one, others with what they wait for."""
    samples: dict[str, list[Task]] = {}
    links = nx.Graph()
    groups: list[TaskGroup] = []
    for one in placed:
        if one.task.walk is not None:
            groups.append(TaskGroup("steps", one.task.walk.dim, one.tasks, one.task.walk))
        elif isinstance(one.task.axis, str) and not one.in_shards:
            samples.setdefault(one.task.axis, []).append(one.task)
        else:
            links.add_node(one)
    links.add_edges_from([(one, other.placed) for one in links for other in one.following if other.placed in links])
    groups += [TaskGroup("samples", dim, members) for dim, members in samples.items()]
    for joined in nx.connected_components(links):
        members = [one for one in placed if one in joined]
        axis = SHARDS if members[0].in_shards else members[0].task.axis
        kind: Kind = "pieces" if isinstance(axis, int) else "shards" if axis == SHARDS else "one"
        groups.append(TaskGroup(kind, axis, [one.task for one in members]))
    return groups


def rowwise(group: TaskGroup, buffer: Buffer, row: int) -> bool:
    """Whether a group touches a buffer of `row` elements a row only row by row."""
    return group.kind not in ("one", "steps") and all(
        pointer.lead == row and 0 <= pointer.offset < row
        for task in group.tasks
        for pointer in task.pointers
        if pointer.buffer is buffer
    )
