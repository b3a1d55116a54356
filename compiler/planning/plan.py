"""Gives every buffer an offset: parameters and states in one memory, others in arenas that are reused.

Buffers that workers share are in one arena; their lifetimes count phases. Buffers that a single worker touches are in
its own arena; their lifetimes count tasks. There, a value that a group passes on row by row takes no more than a row
block. The plan contains the schedule (program/schedule.py), which a target runs.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.lowering.products import fetch_ahead
from netc.compiler.planning.phases import TaskGroup, divide, rowwise
from netc.compiler.planning.prefetches import prefetch_rows
from netc.compiler.planning.row_blocks import elements_of_row, row_block, row_bytes, stays_near
from netc.compiler.program.plan import ALIGNMENT, SLACK, Plan, Table, aligned
from netc.compiler.program.schedule import ORDER, PERSISTENT, PRIVATE, SHARED, TABLES, Address, Call, Group, Schedule
from netc.compiler.program.tasks import Buffer, Task, Tasks
from netc.compiler.targets.machine import Machine

# Rows that one task of a group passes on to another have certainly left the second cache if more than _TASKS_AGO tasks
# lie between the two, and these touch more than _BYTES_AGO times the bytes of that cache.
_TASKS_AGO, _BYTES_AGO = 16, 4


class _Lifetime(Struct, frozen=True):
    buffer: Buffer
    size: int
    first: int
    last: int
    is_row_block: bool = False


def plan(program: Tasks, persistent: dict[str, int], sizes: Sizes, machine: Machine) -> Plan:
    """Returns the plan of a program: its phases, and an address for every buffer.

    `sizes` are the most samples of a step, and the most rows of each varying dimension; `persistent` are the offsets
    of parameters and states, in bytes.
    """
    phases = divide(program.tasks, size_of(BATCH, sizes), machine)
    dims = tuple(dict.fromkeys(dim for dim in _named_dims(program.tasks) if dim != BATCH))
    results = list(dict.fromkeys(program.results.values()))
    tables = [buffer for buffer in program.leaves.values() if buffer.kind == "table"]
    tables += [buffer for buffer in results if buffer.kind == "result"]
    addresses: dict[Buffer, Address] = {buffer: Address(TABLES + i, 0) for i, buffer in enumerate(tables)}
    row_blocks = {id(group): row_block(group, sizes, machine.second_cache) for phase in phases for group in phase}
    for group in (group for phase in phases for group in phase):
        if stays_near(group, row_blocks[id(group)], machine.second_cache):
            group.tasks = fetch_ahead(group.tasks)
    shared, private = _lifetimes(phases, row_blocks, sizes, _BYTES_AGO * machine.second_cache)
    arenas = []
    for memory, lifetimes in ((SHARED, shared), (PRIVATE, private)):
        offsets, size = _arrange(lifetimes)
        arenas.append(size)
        addresses.update({buffer: Address(memory, offset) for buffer, offset in offsets.items()})
    for buffer in program.leaves.values():
        if buffer.kind == "persistent":
            addresses[buffer] = Address(PERSISTENT, persistent[buffer.name])
    in_row_block = {lifetime.buffer for lifetime in private if lifetime.is_row_block}
    for group in (group for phase in phases for group in phase):
        prefetch_rows(group, row_blocks[id(group)], sizes, machine.second_cache * 3 // 4, in_row_block)
    schedule = Schedule(
        tuple(
            tuple(_group(group, row_blocks[id(group)], addresses, in_row_block) for group in phase) for phase in phases
        ),
        tuple(_step_bytes(buffer) for buffer in tables),
        dims,
    )
    index = {buffer: Table(i, buffer.type) for i, buffer in enumerate(tables)}
    return Plan(
        sizes,
        arenas[0],
        arenas[1],
        schedule,
        {buffer.name: index[buffer] for buffer in tables if buffer.kind == "table"},
        {str(result): index[buffer] for result, buffer in program.results.items() if buffer in index},
        tuple(task for phase in phases for group in phase for task in group.tasks),
    )


def _named_dims(tasks: Iterable[Task]) -> Iterator[str]:
    """Yields the dimensions whose size is known only when a program runs."""
    for task in tasks:
        if task.walk is not None:
            yield task.walk.dim
        for pointer in task.pointers:
            if (rows := pointer.buffer.type.rows) is not None:
                yield rows
        for count in task.counts:
            if count.per not in ("one", "rows"):
                yield count.per


def _step_bytes(table: Buffer) -> tuple[int, int]:
    if (table.kind == "table" and not table.is_per_step) or table.type.is_varying:
        return 0, 0
    return (0, table.type.nbytes(1)) if table.type.is_batched else (table.type.nbytes(1), 0)


def _lifetimes(
    phases: Sequence[Sequence[TaskGroup]], row_blocks: dict[int, int], sizes: Sizes, long_ago: int
) -> tuple[list[_Lifetime], list[_Lifetime]]:
    """Returns the lifetimes of buffers that workers share, counted in phases, and of private ones, counted in tasks.

    Rows that a group passes on row by row are private, unless many tasks lie between, which touch more than `long_ago`
    bytes of a row block: such rows would take memory in the arena of each worker for nothing.
    """
    touched: dict[Buffer, list[tuple[int, int, TaskGroup]]] = {}
    at, moved = 0, [0]  # the bytes that all tasks before a task touch
    for number, phase in enumerate(phases):
        for group in phase:
            for task in group.tasks:
                moved.append(moved[-1] + row_blocks[id(group)] * _bytes_of_row(task))
                for pointer in task.pointers:
                    if pointer.buffer.kind in ("temporary", "scratch"):
                        touched.setdefault(pointer.buffer, []).append((number, at, group))
                at += 1
    shared, private = [], []
    for buffer, touches in touched.items():
        groups = {id(group): group for _, _, group in touches}
        group = touches[0][2]
        by_task = (min(task for _, task, _ in touches), max(task for _, task, _ in touches))
        written, read = by_task
        is_near = read - written <= _TASKS_AGO or moved[read] - moved[written + 1] <= long_ago
        is_row_by_row = rowwise(group, buffer, elements_of_row(buffer)) and _has_rows(buffer, group)
        if len(groups) == 1 and is_row_by_row and is_near:
            size = aligned(row_blocks[id(group)] * row_bytes(buffer))
            private.append(_Lifetime(buffer, size, *by_task, is_row_block=True))
        elif buffer.kind == "scratch" or (len(groups) == 1 and group.kind == "one"):
            private.append(_Lifetime(buffer, aligned(buffer.type.nbytes(sizes)), *by_task))
        else:
            first, last = min(phase for phase, _, _ in touches), max(phase for phase, _, _ in touches)
            shared.append(_Lifetime(buffer, aligned(buffer.type.nbytes(sizes)), first, last))
    return shared, private


def _bytes_of_row(task: Task) -> int:
    """The bytes that a task touches for each of its rows."""
    buffers = {pointer.buffer for pointer in task.pointers if pointer.lead and pointer.buffer.kind == "temporary"}
    return sum(row_bytes(buffer) for buffer in buffers)


def _has_rows(buffer: Buffer, group: TaskGroup) -> bool:
    """Whether the rows of a buffer are those of a group."""
    return buffer.type.dims[0] == (BATCH if group.kind == "shards" else group.axis)


def _arrange(lifetimes: Sequence[_Lifetime]) -> tuple[dict[Buffer, int], int]:
    """Returns the offset of each buffer, and the bytes of the arena.

    The largest buffers are placed first, each at the lowest offset that is free during its lifetime.
    """
    placed: list[tuple[int, int, _Lifetime]] = []  # in the order of their bytes
    offsets: dict[Buffer, int] = {}
    for lifetime in sorted(lifetimes, key=lambda lifetime: -lifetime.size):
        at, size, first, last = 0, lifetime.size, lifetime.first, lifetime.last
        for start, end, other in placed:
            if start >= at + size:  # as all after it do
                break
            if at < end and other.first <= last and first <= other.last:
                at = end
        insort(placed, (at, at + size, lifetime), key=lambda entry: entry[:2])
        offsets[lifetime.buffer] = at
    return offsets, max((end for _, end, _ in placed), default=0) + SLACK


def _group(group: TaskGroup, row_block: int, addresses: dict[Buffer, Address], in_row_block: set[Buffer]) -> Group:
    def address(task: Task, number: int) -> Address:
        pointer = task.pointers[number]
        size = pointer.buffer.type.itemsize
        if pointer.buffer.kind == "order":
            return Address(ORDER, pointer.offset * size, pointer.lead * size)
        address = addresses[pointer.buffer]
        lead = 0 if pointer.buffer in in_row_block else pointer.lead * size
        step = lead if group.walk is not None and pointer.buffer.type.rows == group.walk.dim else 0
        return Address(address.memory, address.offset + pointer.offset * size, lead, pointer.shard * size, step)

    calls = tuple(
        Call(task.kernel, (*(address(task, number) for number in range(len(task.pointers))), *task.counts))
        for task in group.tasks
    )
    row_bytes = [
        pointer.lead * pointer.buffer.type.itemsize
        for task in group.tasks
        for pointer in task.pointers
        if pointer.buffer in task.writes and pointer.lead
    ]
    grain = max(max(task.grain for task in group.tasks), -(-ALIGNMENT // min(row_bytes, default=ALIGNMENT)))
    extent = group.axis if isinstance(group.axis, int) else group.shards if group.kind == "shards" else 1
    dim = group.axis if isinstance(group.axis, str) and group.kind in ("samples", "steps") else BATCH
    return Group(group.kind, calls, row_block, extent, grain, dim, group.walk is not None and group.walk.is_reversed)
