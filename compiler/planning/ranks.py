"""Plan -> plan for several ranks: which groups they share out, and what they gather from one another, and when.

A rank takes its share of a group as a worker does, but it has its own memory. So a value that a group writes row by
row is `divided` afterwards: each rank has its own rows. A group that reads only these rows goes on with them. Before
any other read the rows are gathered. All of this follows from the accesses of the tasks, for every model.

A group is repeated by every rank if it cannot be shared out (kind "one"), if the rows that it writes do not follow from
its pointers (a scatter), or if it is so small that a message would take longer.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.planning.accesses import reached, use_by
from netc.compiler.planning.traffic import traffic
from netc.compiler.program.gathers import Division, Gather, Gathers, Message, Span
from netc.compiler.program.plan import Plan
from netc.compiler.program.schedule import PERSISTENT, PRIVATE, Call, Group
from netc.compiler.program.tasks import Buffer, Pointer, Task
from netc.compiler.targets.machine import Machine
from netc.dsl.structs import replace

_MOST_ROUNDS = 4  # steps until what is divided at the end of a step is the same as at its beginning


class _Rows(Struct, frozen=True):
    """The part of a buffer that each rank has: its rows of a division, since a phase."""

    division: Division
    row_bytes: int
    after: int


class _Access(Struct, frozen=True):
    """A pointer that a task uses. `rows` are the rows that a rank touches through it if it shares the group out, or
    None if it may touch others."""

    buffer: Buffer
    base: tuple[int, int]
    rows: tuple[Division, int] | None
    is_write: bool


class _Steps(Struct):
    """Follows what each rank has of every buffer, phase by phase and step by step."""

    phases: int
    divided: dict[Buffer, _Rows] = field(default_factory=dict)
    gathers: dict[tuple[int, int], dict[Gather, Buffer]] = field(default_factory=dict)
    bases: dict[Buffer, tuple[int, int]] = field(default_factory=dict)

    def need_all(self, buffer: Buffer, phase: int) -> None:
        """Gathers a buffer before a phase, if it is divided."""
        rows = self.divided.pop(buffer, None)
        if rows is not None:
            before = phase if phase > rows.after else phase + self.phases
            self.gathers.setdefault((rows.after, before), {})[self.gather(buffer, rows)] = buffer

    def gather(self, buffer: Buffer, rows: _Rows) -> Gather:
        memory, offset = self.bases[buffer]
        return Gather(memory, offset, rows.row_bytes, rows.division)

    def touch(self, access: _Access, phase: int, is_repeated: bool) -> None:
        """Takes an access into account, in the order of the tasks."""
        buffer, rows = access.buffer, None if is_repeated else access.rows
        self.bases[buffer] = access.base
        present = self.divided.get(buffer)
        if present is not None and (rows is None or rows != (present.division, present.row_bytes)):
            self.need_all(buffer, phase)
        if access.is_write and rows is not None:
            self.divided[buffer] = _Rows(*rows, phase)


def among_ranks(plan: Plan, machine: Machine) -> Plan:
    """Returns a plan for a machine whose groups are shared out among ranks too. It computes the same bits on any number
    of them."""
    walked = plan.schedule.walked
    phases: list[list[tuple[Group, list[_Access]]]] = [[] for _ in plan.schedule.phases]
    spans: set[Span] = set()
    for planned in plan.groups():
        group, calls = planned.group, planned.calls
        accesses = [access for call, task in calls for access in _accesses(group, task, call, walked, plan.sizes)]
        spans.update(span for call, task in calls for span in _persistent(task, call))
        is_small = _is_small(group, [task for _, task in calls], plan.sizes, machine)
        is_repeated = group.kind == "one" or is_small or not _is_shared_out(accesses)
        phases[planned.phase].append((replace(group, is_repeated=is_repeated), accesses))
    schedule = replace(
        plan.schedule,
        phases=tuple(tuple(group for group, _ in phase) for phase in phases),
        gathers=_gathers(phases, tuple(sorted(spans))),
    )
    return replace(plan, schedule=schedule)


def _persistent(task: Task, call: Call) -> Iterator[Span]:
    """Yields the bytes of the parameters and states that a task has pointers to."""
    for pointer, address in zip(task.pointers, call.addresses, strict=True):
        if address.memory == PERSISTENT:
            begin = address.offset - pointer.offset * pointer.buffer.type.itemsize
            yield begin, begin + pointer.buffer.type.nbytes(1)


def _gathers(phases: Sequence[Sequence[tuple[Group, Sequence[_Access]]]], touched: tuple[Span, ...]) -> Gathers:
    """The messages of a step, and what is still divided after it."""
    steps = _Steps(len(phases))
    before: dict[Buffer, _Rows] | None = None
    for _ in range(_MOST_ROUNDS):
        for number, phase in enumerate(phases):
            for group, accesses in phase:
                for access in accesses:
                    steps.touch(access, number, group.is_repeated)
        for buffer in [buffer for buffer in steps.divided if buffer.kind == "result"]:
            steps.need_all(buffer, len(phases))
        steps.divided = {buffer: rows for buffer, rows in steps.divided.items() if buffer.kind == "persistent"}
        if steps.divided == before:
            break
        before = dict(steps.divided)
    messages = [Message(*span, _in_order(gathers)) for span, gathers in sorted(steps.gathers.items())]
    whole_later = {
        buffer for (_, end), gathers in steps.gathers.items() if end >= len(phases) for buffer in gathers.values()
    }
    at_end = [steps.gather(buffer, rows) for buffer, rows in steps.divided.items() if buffer not in whole_later]
    return Gathers(tuple(messages), _in_order(at_end), touched)


def _in_order(gathers: Iterable[Gather]) -> tuple[Gather, ...]:
    """The gathers of a message by their addresses: all ranks must have them in the same order."""
    return tuple(sorted(gathers, key=lambda gather: (gather.memory, gather.offset)))


def _is_shared_out(accesses: Sequence[_Access]) -> bool:
    """Whether each rank writes rows of its own, and reads no other rows of what the group writes."""
    written: dict[Buffer, tuple[Division, int] | None] = {}
    for access in accesses:
        if access.is_write:
            written.setdefault(access.buffer, access.rows)
    return all(
        access.rows is not None and access.rows == written[access.buffer]
        for access in accesses
        if access.buffer in written
    )


def _is_small(group: Group, tasks: Sequence[Task], sizes: Sizes, machine: Machine) -> bool:
    """Whether the pieces of a parameter are computed sooner than gathered."""
    if group.kind != "pieces":
        return False
    return sum(touch.nbytes for task in tasks for touch in traffic(task, sizes).values()) < 2 * machine.many_bytes


def _accesses(group: Group, task: Task, call: Call, walked: frozenset[str], sizes: Sizes) -> Iterator[_Access]:
    """Yields the accesses of a task to memory that other groups may use: reads, then writes."""
    use, spans = use_by(task), dict[int, list[tuple[int, int]]]()
    for number, span in reached(task.kernel, [count.value(1, sizes) for count in task.counts]):  # for one row
        spans.setdefault(number, []).append(span)
    for numbers, is_write in ((use.reads, False), (use.writes, True)):
        for number in sorted(numbers):
            pointer, address = task.pointers[number], call.addresses[number]
            if pointer.buffer.kind not in ("temporary", "persistent", "result") or address.memory == PRIVATE:
                continue
            size = pointer.buffer.type.itemsize
            rows = None
            if number not in use.scattered and number in spans:
                rows = _rows_of(group, pointer, spans[number], walked)
            yield _Access(pointer.buffer, (address.memory, address.offset - pointer.offset * size), rows, is_write)


def _rows_of(
    group: Group, pointer: Pointer, spans: Sequence[tuple[int, int]], walked: frozenset[str]
) -> tuple[Division, int] | None:
    """The division whose rows a group touches through a pointer, and the bytes of a row. `spans` are the elements that
    are reached behind it for one row of the group. None if a row of the group reaches beyond its own."""
    division, row = _division_of(group, pointer, walked), pointer.shard or pointer.lead
    if division is None or row <= 0:
        return None
    if any(pointer.offset + low < 0 or pointer.offset + high >= row for low, high in spans):
        return None
    return division, row * pointer.buffer.type.itemsize


def _division_of(group: Group, pointer: Pointer, walked: frozenset[str]) -> Division | None:
    rows = pointer.buffer.type.rows
    match group.kind:
        case "pieces":
            return Division("pieces", extent=group.extent, grain=group.grain)
        case "shards" if pointer.shard:
            return Division("shards", extent=group.extent) if not pointer.lead else None
        case "shards":
            return Division("batch") if rows == BATCH else None
        case "samples" if group.dim == BATCH:
            return Division("batch") if rows == BATCH else None
        case "samples" if rows == group.dim:
            return Division("steps" if group.dim in walked else "rows", group.dim)
        case "steps" if rows == group.dim:
            return Division("steps", group.dim)
        case "steps":
            return Division("ranked", group.dim) if rows == BATCH else None
    return None
