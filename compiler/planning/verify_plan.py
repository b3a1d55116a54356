"""Checks every plan without running it: each element is written before it is read, and nobody else touches it.

    order      a temporary is read only after it was written: in an earlier phase, or earlier in the same group
    rows       members of a group touch what they pass on or write only at the same row; a scatter or shard has elements
               of its own
    phases     no group of a phase touches what another one writes
    memory     buffers that are alive at the same time do not overlap; each lies in its arena, with space behind it for
               elements that a tile reads past the end
    results    every result is written, and `update.X` is the memory of X itself
    last step  what a call does not write in the last step of a scan, no call reads then or after the scan
    bounds     no kernel goes beyond the buffers that its pointers name, for the largest number of rows

Takes the tasks and their plan, raises AssertionError. Values are checked by running a plan (targets/emulator).
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.strides import elements_of_row
from netc.compiler.ir.types import BATCH, size_of
from netc.compiler.planning.accesses import PointerUse, reached, use_by
from netc.compiler.program.kernels import form_of
from netc.compiler.program.plan import ALIGNMENT, SLACK, Plan
from netc.compiler.program.schedule import ORDER, PERSISTENT, PRIVATE, SHARED, TABLES, Address, Group
from netc.compiler.program.tasks import Buffer, Pointer, Task, Tasks
from netc.compiler.program.verify import verify_tasks


class _Call(Struct, frozen=True):
    """A call of a plan: its phase, its group and the number of that among all groups, and its own number among all
    calls."""

    phase: int
    group: Group
    group_number: int
    number: int
    task: Task
    addresses: tuple[Address, ...]
    use: PointerUse

    def __str__(self) -> str:
        values = ", ".join(f"%{value.number} {value.operation}" for value in self.task.values)
        return f"{form_of(self.task.kernel)} of {values} (phase {self.phase}, {self.group.kind})"

    def pointers(self, numbers: frozenset[int] | None = None) -> Iterator[tuple[Pointer, Address]]:
        """The pointers that the kernel uses, or those of some numbers, with their addresses."""
        for i in self.use.reads | self.use.writes if numbers is None else numbers:
            yield self.task.pointers[i], self.addresses[i]

    @property
    def needs(self) -> set[Buffer]:
        return {pointer.buffer for pointer, _ in self.pointers(self.use.needs)}

    @property
    def reads(self) -> set[Buffer]:
        return {pointer.buffer for pointer, _ in self.pointers(self.use.reads)}

    @property
    def writes(self) -> set[Buffer]:
        return {pointer.buffer for pointer, _ in self.pointers(self.use.writes)}


def verify_plan(program: Tasks, plan: Plan) -> None:
    """Raises AssertionError if a plan breaks one of the rules above, or its program one of program/verify.py."""
    verify_tasks(program)
    calls = list(_calls(plan))
    touches: dict[Buffer, list[_Call]] = {}
    for call in calls:
        for buffer in call.reads | call.writes:
            touches.setdefault(buffer, []).append(call)
    for buffer, touching in touches.items():
        _verify_order(buffer, touching)
        _verify_rows(buffer, touching)
    _verify_memory(plan, touches)
    _verify_results(program, plan, touches)
    _verify_last_steps(calls, touches)
    for call in calls:
        _verify_bounds(plan, call)


def _calls(plan: Plan) -> Iterator[_Call]:
    count = sum(len(group.calls) for phase in plan.schedule.phases for group in phase)
    assert count == len(plan.tasks), f"{count} calls of {len(plan.tasks)} tasks"
    number = 0
    for group_number, planned in enumerate(plan.groups()):
        for call, task in planned.calls:
            assert call.kernel == task.kernel, f"a call of another kernel than its task's: {task.values}"
            assert call.skips_last == task.skips_last, f"a call in other steps than its task's: {task.values}"
            yield _Call(planned.phase, planned.group, group_number, number, task, call.addresses, use_by(task))
            number += 1


def _verify_order(buffer: Buffer, touching: Sequence[_Call]) -> None:
    """Each read has its writer before it, and within a phase nobody touches what another group writes."""
    written: list[_Call] = []
    for call in touching:
        if buffer in call.needs and buffer.kind in ("temporary", "scratch", "result"):
            assert written, f"{call} reads {_name(buffer)} before anybody has written it"
        if buffer in call.writes:
            written.append(call)
    for writer in written:
        for call in touching:
            is_apart = call.phase != writer.phase or call.group_number == writer.group_number
            assert is_apart, f"{call} touches {_name(buffer)}, which {writer} writes in the same phase"


def _verify_rows(buffer: Buffer, touching: Sequence[_Call]) -> None:
    """In a group that is shared out, written buffers are touched row by row, or by one call at elements of its own."""
    groups: dict[int, list[_Call]] = {}
    for call in touching:
        groups.setdefault(call.group_number, []).append(call)
    for calls in groups.values():
        kind = calls[0].group.kind
        if kind == "one" or not any(buffer in call.writes for call in calls):
            continue
        pointers = [pointer for call in calls for pointer, _ in call.pointers() if pointer.buffer is buffer]
        leads = {pointer.lead for pointer in pointers}
        if len(leads) == 1 and all(0 <= pointer.offset < pointer.lead for pointer in pointers):
            continue
        (call, *others) = calls
        is_shard = kind == "shards" and all(pointer.shard and not pointer.lead for pointer in pointers)
        is_scatter = all(call.task.pointers[i].lead == 0 for i in call.use.scattered) and bool(call.use.scattered)
        is_parts = len(leads) == 1 and leads != {0} and buffer not in call.reads  # a row of a concat has several places
        is_its_own = not others and (is_shard or is_scatter or is_parts)
        assert is_its_own, f"{call} does not touch {_name(buffer)} row by row"
        if is_shard:
            row_size = math.prod(buffer.type.shape(1)[1:])
            fits = buffer.type.dims[0] == call.group.extent and {pointer.shard for pointer in pointers} == {row_size}
            assert fits, f"{call} does not write a shard of {_name(buffer)} for each of {call.group.extent}"


def _verify_last_steps(calls: Sequence[_Call], touches: Mapping[Buffer, Sequence[_Call]]) -> None:
    """Checks the buffers that a skipped call would write in the last step.

    Only calls of its scan read them: those before it in the next step, and those behind it that the last step skips
    too.
    """
    for call in calls:
        if not call.task.skips_last:
            continue
        assert call.group.kind == "steps", f"{call} has no last step"
        for buffer in call.writes:
            assert buffer.kind in ("temporary", "scratch"), f"{call} does not write {_name(buffer)} in the last step"
            for other in touches[buffer]:
                is_in_next_step = other.group_number == call.group_number and other.number <= call.number
                is_read_then = buffer in other.reads and not is_in_next_step and not other.task.skips_last
                assert not is_read_then, f"{other} reads {_name(buffer)}, which {call} does not write in the last step"


def _verify_memory(plan: Plan, touches: Mapping[Buffer, Sequence[_Call]]) -> None:
    """Each buffer has one address, in its arena; buffers that share bytes are not alive at the same time."""
    spans: dict[int, list[_LiveSpan]] = {SHARED: [], PRIVATE: []}
    for buffer, touching in touches.items():
        memory, start = _address_of(buffer, touching)
        assert (memory == PERSISTENT) == (buffer.kind == "persistent"), f"{_name(buffer)} is in another memory"
        assert (memory == ORDER) == (buffer.kind == "order"), f"{_name(buffer)} is in another memory"
        assert (memory >= TABLES) == (buffer.kind in ("table", "result")), f"{_name(buffer)} is in another memory"
        if memory not in spans:
            continue
        assert start % ALIGNMENT == 0, f"{_name(buffer)} begins in the middle of a line"
        size = buffer.type.nbytes(plan.sizes)
        if memory == PRIVATE:
            is_of_one_group = len({call.group_number for call in touching}) == 1
            assert is_of_one_group, f"{_name(buffer)} is private, and several groups use it"
            if _is_row_block(buffer, touching):
                size = touching[0].group.row_block * elements_of_row(buffer.type.dims) * buffer.type.itemsize
        alive = [call.number if memory == PRIVATE else call.phase for call in touching]
        spans[memory].append(_LiveSpan(start, start + size, min(alive), max(alive), buffer))
    for memory, arena in ((SHARED, plan.shared), (PRIVATE, plan.private)):
        _verify_arena(spans[memory], arena)


class _LiveSpan(Struct, frozen=True):
    """The bytes `start` to `end` (exclusive) of an arena, which a buffer has from the phase or call `first` to `last`
    (inclusive)."""

    start: int
    end: int
    first: int
    last: int
    buffer: Buffer

    def overlaps(self, other: "_LiveSpan") -> bool:
        shares_bytes = self.start < other.end and other.start < self.end
        return shares_bytes and self.first <= other.last and other.first <= self.last


def _verify_arena(spans: Sequence[_LiveSpan], arena: int) -> None:
    """The buffers of an arena of so many bytes lie inside of it, and apart while they are alive."""
    for number, span in enumerate(spans):
        is_inside = span.start >= 0 and span.end + SLACK <= arena
        assert is_inside, f"{_name(span.buffer)} ends at {span.end}, its arena at {arena}"
        for other in spans[:number]:
            both = f"{_name(span.buffer)} and {_name(other.buffer)}"
            assert not span.overlaps(other), f"{both} share memory while both are alive"


def _address_of(buffer: Buffer, touching: Sequence[_Call]) -> tuple[int, int]:
    """Returns the memory of a buffer and the byte at which it begins there: all calls agree on both."""
    addresses = set[tuple[int, int]]()
    for pointer, address in (pair for call in touching for pair in call.pointers() if pair[0].buffer is buffer):
        _verify_moves(pointer, address)
        addresses.add((address.memory, address.offset - pointer.offset * buffer.type.itemsize))
    assert len(addresses) == 1, f"{_name(buffer)} is in several places: {sorted(addresses)}"
    return addresses.pop()


def _verify_moves(pointer: Pointer, address: Address) -> None:
    """An address moves from row to row and from shard to shard as its pointer does; a row block in private memory does
    not move."""
    size = pointer.buffer.type.itemsize
    is_row_block = address.memory == PRIVATE and address.lead == 0
    assert address.shard == pointer.shard * size, f"a shard of {_name(pointer.buffer)} is at another place"
    assert is_row_block or address.lead == pointer.lead * size, f"a row of {_name(pointer.buffer)} is at another place"


def _is_row_block(buffer: Buffer, touching: Sequence[_Call]) -> bool:
    """Whether the memory of a buffer holds only a row block."""
    return any(
        pointer.lead and not address.lead
        for call in touching
        for pointer, address in call.pointers()
        if pointer.buffer is buffer
    )


def _verify_results(program: Tasks, plan: Plan, touches: Mapping[Buffer, Sequence[_Call]]) -> None:
    for result, buffer in program.results.items():
        if result.kind is ResultKind.UPDATE:
            is_leaf = buffer.kind == "persistent" and buffer.name == result.name
            assert is_leaf, f"{result} is not written to the memory of what it updates"
        else:
            assert str(result) in plan.results, f"the result {result} has no table"
            is_written = any(buffer in call.writes for call in touches.get(buffer, ()))
            assert is_written, f"nobody writes the result {result}"


def _name(buffer: Buffer) -> str:
    return f"{buffer.type} ({buffer.kind}{' ' if buffer.name else ''}{buffer.name})"


def _verify_bounds(plan: Plan, call: _Call) -> None:
    """For all rows of the call's group at once, no element lies outside of its buffer."""
    rows = _rows_of(plan, call)
    counts = [count.value(rows, plan.sizes) for count in call.task.counts]
    for number, (low, high) in reached(call.task.kernel, counts):
        pointer = call.task.pointers[number]
        buffer = pointer.buffer
        size = buffer.type.size(plan.sizes)
        at = pointer.offset + pointer.shard * (call.group.extent - 1)
        assert pointer.offset + low >= 0, f"{call} goes {-pointer.offset - low} elements below {_name(buffer)}"
        assert at + high < size, f"{call} reaches element {at + high} of {_name(buffer)}, which has {size}"


def _rows_of(plan: Plan, call: _Call) -> int:
    """The most rows that a group has."""
    group = call.group
    if group.kind == "pieces":
        return group.extent
    if group.kind == "one":
        return 1
    rows = size_of(BATCH if group.kind in ("shards", "steps") else group.dim, plan.sizes)
    if call.task.walk is None:
        return rows
    return min(rows, size_of(call.task.walk.dim, plan.sizes))  # at a step no more samples run than there are rows
