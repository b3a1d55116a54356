"""Gives every buffer an offset: parameters and states in one memory, others in arenas that are reused.

Buffers that workers share are in one arena; their lifetimes count phases. Buffers that a single worker touches are in
its own arena; their lifetimes count tasks. There, a value that a group passes on row by row takes no more than a row
block. The plan contains the schedule (program/schedule.py), which a target runs.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.strides import elements_of_row, row_axis
from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.lowering.products import fetch_ahead
from netc.compiler.planning.columns import share_columns
from netc.compiler.planning.last_steps import skip_last_steps
from netc.compiler.planning.phases import TaskGroup, divide, rowwise
from netc.compiler.planning.prefetches import prefetch_rows
from netc.compiler.planning.row_blocks import row_block, row_bytes, stays_near
from netc.compiler.program.plan import ALIGNMENT, SLACK, Plan, Table, aligned
from netc.compiler.program.schedule import (
    ORDER,
    PERSISTENT,
    PRIVATE,
    SHARED,
    TABLES,
    Address,
    Arenas,
    Call,
    Group,
    Schedule,
)
from netc.compiler.program.tasks import Buffer, Pointer, Task, Tasks
from netc.compiler.targets.machine import GROUP, Machine

# Rows that one task of a group passes on to another have certainly left the second cache if more than _TASKS_AGO tasks
# lie between the two, and these touch more than _BYTES_AGO times the bytes of that cache.
_TASKS_AGO, _BYTES_AGO = 16, 4


class _Lifetime(Struct, frozen=True):
    buffer: Buffer
    size: int
    first: int
    last: int
    is_row_block: bool = False


class _Lifetimes(Struct, frozen=True):
    """The lifetimes of buffers that workers share, counted in phases, and of private ones, counted in tasks."""

    shared: list[_Lifetime]
    private: list[_Lifetime]


def plan(program: Tasks, persistent: dict[str, int], sizes: Sizes, machine: Machine, has_ranks: bool = False) -> Plan:
    """Returns the plan of a program: its phases, and an address for every buffer.

    `sizes` are the most samples of a step, and the most rows of each varying dimension; `persistent` are the offsets
    of parameters and states, in bytes. With `has_ranks`, ranks will share its groups out: they share rows alone.
    """
    tasks = skip_last_steps(program)
    tasks = tasks if has_ranks else share_columns(tasks, sizes, machine)
    phases = divide(tasks, size_of(BATCH, sizes), machine)
    dims = tuple(dict.fromkeys(dim for dim in _named_dims(tasks) if dim != BATCH))
    groups = [group for phase in phases for group in phase]
    row_blocks = {group: row_block(group, sizes, machine) for group in groups}
    for group in groups:
        if stays_near(group, row_blocks[group], machine.second_cache):
            group.tasks = fetch_ahead(group.tasks)
    tables = _tables(program)
    lifetimes = _lifetimes(phases, row_blocks, sizes, _BYTES_AGO * machine.second_cache)
    addresses, arenas = _addresses(program, tables, lifetimes, persistent)
    in_row_block = {lifetime.buffer for lifetime in lifetimes.private if lifetime.is_row_block}
    for group in groups:
        prefetch_rows(group, row_blocks[group], sizes, machine.second_cache * 3 // 4, in_row_block)
    scheduled = tuple(
        tuple(_group(group, row_blocks[group], addresses, in_row_block, machine) for group in phase) for phase in phases
    )
    index = {buffer: Table(i, buffer.type) for i, buffer in enumerate(tables)}
    return Plan(
        sizes,
        arenas.shared,
        arenas.private,
        Schedule(scheduled, tuple(_step_bytes(buffer) for buffer in tables), dims),
        {buffer.name: index[buffer] for buffer in tables if buffer.kind == "table"},
        {str(result): index[buffer] for result, buffer in program.results.items() if buffer in index},
        tuple(task for group in groups for task in group.tasks),
    )


def _tables(program: Tasks) -> list[Buffer]:
    """The buffers that are memory of the caller: inputs, then results, in the order of their tables."""
    inputs = [buffer for buffer in program.leaves.values() if buffer.kind == "table"]
    results = dict.fromkeys(program.results.values())
    return [*inputs, *(buffer for buffer in results if buffer.kind == "result")]


def _addresses(
    program: Tasks, tables: Sequence[Buffer], lifetimes: _Lifetimes, persistent: Mapping[str, int]
) -> tuple[dict[Buffer, Address], Arenas]:
    """Returns the address of each buffer, and the bytes of both arenas."""
    addresses = {buffer: Address(TABLES + i, 0) for i, buffer in enumerate(tables)}
    shared, shared_size = _arrange(lifetimes.shared)
    private, private_size = _arrange(lifetimes.private)
    for memory, offsets in ((SHARED, shared), (PRIVATE, private)):
        addresses.update({buffer: Address(memory, offset) for buffer, offset in offsets.items()})
    for buffer in program.leaves.values():
        if buffer.kind == "persistent":
            addresses[buffer] = Address(PERSISTENT, persistent[buffer.name])
    return addresses, Arenas(shared_size, private_size)


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


class _Toucher(Struct, frozen=True):
    """A task that touches a buffer: the numbers of its phase and of the task, and its group."""

    phase: int
    task: int
    group: TaskGroup


def _lifetimes(
    phases: Sequence[Sequence[TaskGroup]], row_blocks: Mapping[TaskGroup, int], sizes: Sizes, long_ago: int
) -> _Lifetimes:
    """Returns the lifetimes of all temporary and scratch buffers.

    Rows that a group passes on row by row are private, unless many tasks lie between, which touch more than `long_ago`
    bytes of a row block: such rows would take memory in the arena of each worker for nothing.
    """
    touched: dict[Buffer, list[_Toucher]] = {}
    moved = [0]  # the bytes that all tasks before a task touch
    for phase, group in ((number, group) for number, groups in enumerate(phases) for group in groups):
        for task in group.tasks:
            for pointer in task.pointers:
                if pointer.buffer.kind in ("temporary", "scratch"):
                    touched.setdefault(pointer.buffer, []).append(_Toucher(phase, len(moved) - 1, group))
            moved.append(moved[-1] + row_blocks[group] * _bytes_of_row(task))
    lifetimes = _Lifetimes([], [])
    for buffer, touchers in touched.items():
        group, is_of_one_group = touchers[0].group, len({each.group for each in touchers}) == 1
        written, read = min(each.task for each in touchers), max(each.task for each in touchers)
        is_near = read - written <= _TASKS_AGO or moved[read] - moved[written + 1] <= long_ago
        is_row_by_row = rowwise(group, buffer, elements_of_row(buffer.type.dims)) and _has_rows(buffer, group)
        if is_of_one_group and is_row_by_row and is_near:
            size = aligned(row_blocks[group] * row_bytes(buffer))
            lifetimes.private.append(_Lifetime(buffer, size, written, read, is_row_block=True))
        elif buffer.kind == "scratch" or (is_of_one_group and group.kind == "one"):
            lifetimes.private.append(_Lifetime(buffer, aligned(buffer.type.nbytes(sizes)), written, read))
        else:
            first, last = min(each.phase for each in touchers), max(each.phase for each in touchers)
            lifetimes.shared.append(_Lifetime(buffer, aligned(buffer.type.nbytes(sizes)), first, last))
    return lifetimes


def _bytes_of_row(task: Task) -> int:
    """The bytes that a task touches for each of its rows."""
    buffers = {pointer.buffer for pointer in task.pointers if pointer.lead and pointer.buffer.kind == "temporary"}
    return sum(row_bytes(buffer) for buffer in buffers)


def _has_rows(buffer: Buffer, group: TaskGroup) -> bool:
    """Whether the rows of a buffer are those of a group."""
    return buffer.type.dims[row_axis(buffer.type.dims)] == (BATCH if group.kind == "shards" else group.axis)


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


def _group(
    group: TaskGroup,
    row_block: int,
    addresses: dict[Buffer, Address],
    in_row_block: set[Buffer],
    machine: Machine,
) -> Group:
    def address(pointer: Pointer) -> Address:
        size = pointer.buffer.type.itemsize
        if pointer.buffer.kind == "order":
            return Address(ORDER, pointer.offset * size, pointer.lead * size)
        address = addresses[pointer.buffer]
        lead = 0 if pointer.buffer in in_row_block else pointer.lead * size
        step = lead if group.walk is not None and pointer.buffer.type.rows == group.walk.dim else 0
        return Address(address.memory, address.offset + pointer.offset * size, lead, pointer.shard * size, step)

    calls = tuple(
        Call(task.kernel, tuple(address(pointer) for pointer in task.pointers), task.counts, task.skips_last)
        for task in group.tasks
    )
    row_bytes = [
        pointer.lead * pointer.buffer.type.itemsize
        for task in group.tasks
        for pointer in task.pointers
        if pointer.buffer in task.writes and pointer.lead
    ]
    grain = max(
        max(_uncut_rows(task, machine) for task in group.tasks), -(-ALIGNMENT // min(row_bytes, default=ALIGNMENT))
    )
    extent = group.axis if isinstance(group.axis, int) else group.shards if group.kind == "shards" else 1
    dim = group.axis if isinstance(group.axis, str) and group.kind in ("samples", "steps") else BATCH
    return Group(group.kind, calls, row_block, extent, grain, dim, group.walk is not None and group.walk.is_reversed)


def _uncut_rows(task: Task, machine: Machine) -> int:
    """The rows of a task that go to one worker together.

    Of the rows of a tall register tile these are a group: 64 rows on two threads, in tiles of 12, would be 24 and 40 or
    36 and 28, and an LSTM of 64 units on 4 and 8 threads was measured to be 14 and 24% faster with groups.
    """
    is_tall = machine.tile_rows > 2 * GROUP
    return GROUP if is_tall and task.grain == machine.tile_rows else task.grain
