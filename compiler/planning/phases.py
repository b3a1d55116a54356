"""Tasks -> phases between barriers, and in them groups of tasks that are done together, row block by row block.

    phase 0   group: normalise, product, relu      rows of the batch: each worker takes its rows through all three
    barrier
    phase 1   group: gradient of the weights       needs all rows
              group: gradient of the input         rows of the batch

Two tasks belong to one group if each row of the one needs only the same row of the other. The rows can then be shared
out among workers, and a worker can take a row block through all tasks of the group while it is in its cache. A task
that waits for anything else goes into a later phase. The operands of a sum in shards are computed shard by shard with
it, if a shard of them fits the cache. What is computed from memory that is kept anyway is computed when it is needed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct, field

from netc.compiler.ir.types import BATCH, Dim
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task, Walk
from netc.compiler.targets.machine import Machine

Kind = Literal["samples", "pieces", "shards", "one", "steps"]


class TaskGroup(Struct, eq=False):
    """Tasks in order, all of one kind (see program/schedule.py). `axis` is the axis along which they are shared out."""

    kind: Kind
    axis: Dim | None
    tasks: list[Task]
    walk: Walk | None = None

    def buffers(self) -> set[Buffer]:
        return {pointer.buffer for task in self.tasks for pointer in task.pointers}

    @property
    def shards(self) -> int:
        """The shards of a batch, for a group of kind "shards": each has a row of the results."""
        pointers = (pointer for task in self.tasks for pointer in task.pointers)
        return next(pointer.buffer.type.shape(1)[0] for pointer in pointers if pointer.shard)


class _TasksInPhase(Struct, eq=False):
    """Tasks that are done together (a single one, or those of a scan's step) and their phase.

    A task over the batch may be done `in_shards`. The `following` tasks wait for these.
    """

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


class _Follower(Struct, frozen=True):
    """A task that waits for another one: row by row (`in_step`), or until all its rows are done."""

    placed: _TasksInPhase
    in_step: bool


def divide(tasks: list[Task], batch: int, machine: Machine) -> list[list[TaskGroup]]:
    """Returns the phases of a program, for steps of at most `batch` samples.

    The groups of a phase do not depend on each other.
    """
    placed: list[_TasksInPhase] = []
    touched: dict[Buffer, list[_TasksInPhase]] = {}
    for member in _together(tasks):
        _put(member, touched)
        placed.append(member)
    for member in reversed(placed):
        _postpone(member, touched, batch)
    for members in reversed(_by_phase(placed)[:-1]):
        _join_shards(members, -(-batch // machine.shards), machine)
    return [_groups(members) for members in _by_phase(placed)]


def _put(member: _TasksInPhase, touched: dict[Buffer, list[_TasksInPhase]]) -> None:
    """Puts tasks into the earliest phase in which all that they wait for is done. `touched` has those placed before, by
    the buffers that they touch."""
    written = member.writes
    buffers = dict.fromkeys(pointer.buffer for pointer in member.pointers)
    for buffer in (buffer for buffer in buffers if buffer.kind not in ("scratch", "order")):
        for before in touched.setdefault(buffer, []):
            if buffer in written or buffer in before.writes:
                follower = _Follower(member, _in_step(before.task, member.task, buffer))
                member.phase = max(member.phase, before.phase + _apart(before, follower))
                before.following.append(follower)
        touched[buffer].append(member)


def _postpone(member: _TasksInPhase, touched: dict[Buffer, list[_TasksInPhase]], batch: int) -> None:
    """Moves tasks, after all that follow them, into the latest phase that these allow, if no memory has to be kept for
    that: padding, and what is computed from memory that is kept anyway, is then written when it is needed. The gradient
    of a weight is computed when the weight is updated."""
    if member.following:
        latest = min(other.placed.phase - _apart(member, other) for other in member.following)
        lost = [buffer for buffer in _reads(member) if not _stays(buffer, latest, member, touched)]
        if not lost or (latest > member.phase and _joins(member, latest, lost, batch)):
            member.phase = latest


def _joins(member: _TasksInPhase, phase: int, kept: Sequence[Buffer], batch: int) -> bool:
    """Whether a task over the rows of a parameter is done row by row with one of a later phase, and writes at least as
    much as the buffers that have to be `kept` until then."""
    if not isinstance(member.task.axis, int) or any(buffer.type.is_varying for buffer in kept):
        return False

    def nbytes(buffers: Iterable[Buffer]) -> int:
        return sum(buffer.type.nbytes(batch) for buffer in buffers if buffer.kind == "temporary")

    is_read_there = any(other.in_step and other.placed.phase == phase for other in member.following)
    return is_read_there and nbytes(kept) <= nbytes(member.writes)


def _reads(member: _TasksInPhase) -> set[Buffer]:
    """The buffers that tasks read and do not write."""
    written = member.writes
    return {pointer.buffer for pointer in member.pointers if pointer.buffer not in written}


def _stays(buffer: Buffer, phase: int, member: _TasksInPhase, touched: dict[Buffer, list[_TasksInPhase]]) -> bool:
    """Whether a task over the batch may read a buffer in a later phase at no cost: it is always there, or another task
    reads it then or later."""
    if member.task.axis != BATCH or member.task.walk is not None:
        return False
    if buffer.kind in ("order", "persistent", "table"):
        return True
    return any(other is not member and other.phase >= phase for other in touched.get(buffer, ()))


def _together(tasks: Sequence[Task]) -> list[_TasksInPhase]:
    """Returns each task by itself, but the tasks of a scan together."""
    placed: list[_TasksInPhase] = []
    for task in tasks:
        if task.walk is not None and placed and placed[-1].task.walk is task.walk:
            placed[-1].tasks.append(task)
        else:
            placed.append(_TasksInPhase([task], 0, task.axis == SHARDS))
    return placed


def _apart(before: _TasksInPhase, after: _Follower) -> bool:
    """Whether a barrier must lie between two tasks."""
    return not after.in_step or before.task.axis != after.placed.task.axis


def _by_phase(placed: Sequence[_TasksInPhase]) -> list[list[_TasksInPhase]]:
    phases: list[list[_TasksInPhase]] = [[] for _ in range(1 + max((member.phase for member in placed), default=-1))]
    for member in placed:
        phases[member.phase].append(member)
    return phases


def _join_shards(members: Sequence[_TasksInPhase], rows: int, machine: Machine) -> None:
    """Postpones tasks of a phase to the next one, to be done shard by shard with the sums in shards that read them.

    A task is postponed only if nothing else waits for it but updates, and if `rows` rows, the largest shard, of what it
    passes on fit the cache.
    """
    moving: set[Buffer] = set()
    for member in reversed(members):
        updates, sums = _followers(member)
        passed_on = {buffer for buffer in member.task.writes if buffer.type.is_batched} | moving
        is_read_in_shards = bool(sums) and all(_is_next_in_shards(other, member) for other in sums)
        if (
            is_read_in_shards
            and _can_be_in_shards(member.task, rows, machine)
            and rows * sum(buffer.type.nbytes(1) for buffer in passed_on) <= machine.second_cache
        ):
            for update in updates:
                update.phase = member.phase + 2
            member.phase, member.in_shards = member.phase + 1, True
            moving = passed_on


def _followers(member: _TasksInPhase) -> tuple[list[_TasksInPhase], list[_Follower]]:
    """The tasks that wait for a task and follow at once: updates that can be postponed too, and the others."""
    near = [other for other in member.following if other.placed.phase <= member.phase + 1]
    updates = [other.placed for other in near if _can_wait(other, member)]
    return updates, [other for other in near if other.placed not in updates]


def _is_next_in_shards(after: _Follower, before: _TasksInPhase) -> bool:
    """Whether a task of the next phase reads another one row by row, shard by shard."""
    return after.in_step and after.placed.in_shards and after.placed.phase == before.phase + 1


def _can_be_in_shards(task: Task, rows: int, machine: Machine) -> bool:
    """Whether a task over the batch can be done in shards of `rows` rows: it reads few weights, each shard again."""
    if task.axis != BATCH or task.walk is not None or task.grain > rows:
        return False
    weights = {pointer.buffer for pointer in task.pointers if not (pointer.lead or pointer.buffer.type.is_batched)}
    return sum(buffer.type.nbytes(1) for buffer in weights) <= machine.few_weights


def _can_wait(after: _Follower, before: _TasksInPhase) -> bool:
    """Whether a task can wait for another one that is postponed by a phase: an update that nothing waits for."""
    return not after.in_step and after.placed.phase == before.phase + 1 and not after.placed.following


def _is_row(pointer: Pointer) -> bool:
    """Whether a task at a row touches only that row of a buffer."""
    return 0 <= pointer.offset < pointer.lead


def _in_step(before: Task, after: Task, buffer: Buffer) -> bool:
    """Whether `after` needs, at each row, only what `before` did at that row.

    A task without an axis counts as one row.
    """
    if before.walk is not after.walk or before.is_by_columns != after.is_by_columns:
        return False
    if before.axis != after.axis and (before.axis, after.axis) != (BATCH, SHARDS):
        return False
    if before.axis is None:
        return True
    pointers = [pointer for task in (before, after) for pointer in task.pointers if pointer.buffer is buffer]
    return all(_is_row(pointer) and pointer.lead == pointers[0].lead for pointer in pointers)


def _groups(placed: Sequence[_TasksInPhase]) -> list[TaskGroup]:
    """Divides the tasks of a phase into groups: one for each named dimension; others join those that they need."""
    samples: dict[str, list[Task]] = {}
    others: list[_TasksInPhase] = []
    groups: list[TaskGroup] = []
    for member in placed:
        if member.task.walk is not None:
            groups.append(TaskGroup("steps", member.task.walk.dim, member.tasks, member.task.walk))
        elif isinstance(member.task.axis, str) and not member.in_shards:
            samples.setdefault(member.task.axis, []).append(member.task)
        else:
            others.append(member)
    groups += [TaskGroup("samples", dim, members) for dim, members in samples.items()]
    for members in map(_by_reuse, _connected(others)):
        axis = SHARDS if members[0].in_shards else members[0].task.axis
        kind: Kind = "pieces" if isinstance(axis, int) else "shards" if axis == SHARDS else "one"
        groups.append(TaskGroup(kind, axis, [member.task for member in members]))
    return groups


def _connected(tasks: Sequence[_TasksInPhase]) -> Iterator[list[_TasksInPhase]]:
    """Yields lists of tasks that need one another, directly or through others, each in the order of `tasks`.

    networkx has this search; to import it takes a tenth of the time in which a new model compiles.
    """
    neighbours: dict[_TasksInPhase, list[_TasksInPhase]] = {task: [] for task in tasks}
    for task in tasks:
        for other in task.following:
            if other.placed in neighbours:
                neighbours[task].append(other.placed)
                neighbours[other.placed].append(task)
    unseen = dict.fromkeys(tasks)  # a dict keeps the order
    while unseen:
        connected, pending = set[_TasksInPhase](), [next(iter(unseen))]
        while pending:
            task = pending.pop()
            if task in unseen:
                del unseen[task]
                connected.add(task)
                pending += neighbours[task]
        yield [task for task in tasks if task in connected]


def _by_reuse(members: list[_TasksInPhase]) -> list[_TasksInPhase]:
    """Orders tasks that take the batch shard by shard: next comes the one whose operands were touched last, so that
    they are still in a cache."""
    if not members[0].in_shards:
        return members
    among = set(members)
    followers = {member: [other.placed for other in member.following if other.placed in among] for member in members}
    waits = Counter(other for following in followers.values() for other in following)
    ready, ordered = [member for member in members if not waits[member]], list[_TasksInPhase]()
    touched: dict[Buffer, int] = {}

    def age(member: _TasksInPhase) -> int:
        reads = [buffer for buffer in _reads(member) if buffer.type.is_batched]
        return max((len(ordered) - touched.get(buffer, -len(members)) for buffer in reads), default=0)

    while ready:
        member = min(ready, key=lambda member: (age(member), members.index(member)))
        ready.remove(member)
        ordered.append(member)
        touched.update({pointer.buffer: len(ordered) for pointer in member.pointers})
        for other in followers[member]:
            waits[other] -= 1
            if not waits[other]:
                ready.append(other)
    return ordered


def rowwise(group: TaskGroup, buffer: Buffer, row: int) -> bool:
    """Whether a group touches a buffer, which has `row` elements in each row, only row by row."""
    return group.kind not in ("one", "steps") and all(
        pointer.lead == row and 0 <= pointer.offset < row
        for task in group.tasks
        for pointer in task.pointers
        if pointer.buffer is buffer
    )
