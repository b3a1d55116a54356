"""Runs a plan for several members in one thread, with the phases, shares, row blocks, shards and walks of
program/schedule.py.

Within a phase every member takes its units of work (a row block of a group, a shard, a walk along a scan) in any order,
and the calls of different members interleave in any order: `random_order` draws both. What a plan computes must not
depend on them. A unit finds private memory empty.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count

import numpy as np
from msgspec import Struct

from netc.compiler.ir.types import BATCH
from netc.compiler.program.plan import Plan
from netc.compiler.program.schedule import ORDER, PERSISTENT, PRIVATE, SHARED, TABLES, Call, Group
from netc.compiler.program.tasks import Buffer, Task
from netc.compiler.targets import target
from netc.compiler.targets.emulator.calls import Placed, Spot, passing_on
from netc.compiler.targets.emulator.kernels import kernel_of
from netc.compiler.targets.emulator.memory import MOST_TAGS, Access, Array, BrokenPlan, Reference, Region

_random: ContextVar[np.random.Generator | None] = ContextVar("order of execution", default=None)


@contextmanager
def random_order(seed: int) -> Iterator[None]:
    """Inside of this context, plans do independent work in an order drawn from a seed, else in the order of the
    schedule."""
    token = _random.set(np.random.default_rng(seed))
    try:
        yield
    finally:
        _random.reset(token)


class Frame(Struct, frozen=True):
    """The rows that a group's calls are done for: `rows` rows from `row` on, the shard, and the first row of a scan's
    step, which may be the last one that is done."""

    row: int
    rows: int
    shard: int = 0
    begin: int = 0
    is_last: bool = False


class WorkUnit(Struct, frozen=True):
    """The frames that one member takes through a group, one after another. `group` is the group's number in its
    phase."""

    member: int
    group: int
    frames: tuple[Frame, ...]


class Emulator:
    """A plan ready to run by `members` members: an executable."""

    def __init__(self, plan: Plan, members: int) -> None:
        self.plan, self.members = plan, members
        self.interface = target.Interface.of_layout(plan.call_layout)
        self.spots: dict[Buffer, Spot] = {}  # one pointer to each buffer
        self.tags: dict[Buffer, int] = {}
        self.phases: list[list[tuple[Group, list[Placed]]]] = [[] for _ in plan.schedule.phases]
        for planned in plan.groups():
            phase, kind = planned.phase, planned.group.kind
            placed = [self.placed(call, task, phase, kind) for call, task in planned.calls]
            self.phases[phase].append((planned.group, placed))
        count = sum(len(calls) for phase in self.phases for _, calls in phase)
        assert count == len(plan.tasks), "a task without a call"
        groups = [(group, calls) for phase in self.phases for group, calls in phase]
        self.passing = {
            id(calls): passing_on(calls, [placed for _, others in groups if others is not calls for placed in others])
            for group, calls in groups
            if group.kind == "steps"
        }

    def placed(self, call: Call, task: Task, phase: int, group: str) -> Placed:
        """Returns the task of a call with all that does not change from step to step."""
        spots = []
        for pointer, address in zip(task.pointers, call.addresses, strict=True):
            tag = self.tags.setdefault(pointer.buffer, len(self.tags) % MOST_TAGS + 1)
            spots.append(Spot.of(pointer, address, tag, self.plan.schedule))
            self.spots.setdefault(pointer.buffer, spots[-1])
        return Placed(task, kernel_of(call.kernel), tuple(spots), call.counts, phase, group)

    def run(self, call: target.Call, workspace: target.Workspace) -> None:
        """Runs the steps of a call in this thread. Raises BrokenPlan."""
        with workspace.arena(self.members) as arena, np.errstate(all="ignore"):
            Run(self, call, workspace.persistent, arena).run()


class Run:
    """One run of an emulator: its regions and sizes, as the rank `rank` of `ranks`."""

    def __init__(
        self,
        emulator: Emulator,
        call: target.Call,
        persistent: target.Memory,
        arena: target.Arena,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.emulator, self.plan, self.steps, self.batch = emulator, emulator.plan, call.steps, call.batch
        self.members, self.rows = emulator.members, {dim: call.rows[dim] for dim in emulator.plan.schedule.dims}
        self.rank, self.ranks = rank, ranks
        self.sizes = {BATCH: call.batch, **{dim: rows.count for dim, rows in self.rows.items()}}
        self.lengths = {buffer: buffer.type.nbytes(self.sizes) for buffer in emulator.spots}
        self.private = [Region(f"member {i}", memory.bytes) for i, memory in enumerate(arena.private)]
        order = array_at(call.order.ctypes.data, 4 * call.steps * call.batch)
        self.regions = {
            PERSISTENT: Region("persistent memory", persistent.bytes, is_shared=True),
            SHARED: Region("shared memory", arena.shared.bytes, is_shared=True),
            ORDER: Region("the order of the samples", order, is_written=False),
            **{TABLES + i: region for i, region in _tables(self.plan, call)},
        }
        self.shared = [region for region in self.regions.values() if region.is_shared]
        self.moved = dict.fromkeys(self.regions, 0)  # bytes that tables have moved on by
        self.random = _random.get()

    def run(self) -> None:
        """Runs all steps. Raises BrokenPlan if a task breaks a rule, or as `check_results`."""
        for step in range(self.steps):
            self.begin(step)
            for phase in self.emulator.phases:
                self.phase(phase)
        self.check_results()

    def check_results(self) -> None:
        """Raises BrokenPlan if bytes of a result were never written."""
        for name, table in self.plan.results.items():
            tags = self.regions[TABLES + table.index].tags
            fixed, per_sample = self.plan.schedule.tables[table.index]
            end = self.steps * (fixed + self.batch * per_sample) or len(tags)
            if not tags[:end].all():
                raise BrokenPlan(
                    f"the result `{name}` has {int((tags[:end] == 0).sum())} bytes that no task has written"
                )

    def begin(self, step: int) -> None:
        """Begins a step: tables move on, and temporary memory is empty."""
        self.moved[ORDER] = 4 * step * self.batch
        for i, (fixed, per_sample) in enumerate(self.plan.schedule.tables):
            self.moved[TABLES + i] = step * (fixed + self.batch * per_sample)
        self.regions[SHARED].tags[:] = 0
        self.fill_tags(step == 0 or self.ranks == 1)

    def fill_tags(self, has_all: bool) -> None:
        """Marks inputs as written when a step begins; parameters and states too if this rank `has_all` of them."""
        kinds = ("persistent", "table", "order") if has_all else ("table", "order")
        for buffer, spot in self.emulator.spots.items():
            if buffer.kind in kinds:
                pointer = self.reference(spot, Frame(0, 0))
                pointer.region.tags[pointer.low : pointer.high] = pointer.tag

    # -------------------------------------------------------------- the order of work

    def phase(self, phase: Sequence[tuple[Group, list[Placed]]]) -> None:
        """Runs a phase: the units of each member one after another, those of different members interleaved."""
        units = list(self.units([group for group, _ in phase]))
        units_of: list[list[tuple[int, WorkUnit]]] = [[] for _ in range(self.members)]
        for number, unit in enumerate(units):
            is_noted = len(units) > 1 or self.ranks > 1
            units_of[unit.member].append((number % MOST_TAGS + 1 if is_noted else 0, unit))
        for region in self.shared:
            region.forget_units()
        if self.random is not None:
            for queue in units_of:
                self.random.shuffle(queue)
        walks = [self.walk(queue, phase) for queue in units_of if queue]
        while walks:
            turn = 0 if self.random is None else int(self.random.integers(len(walks)))
            if next(walks[turn], None) is None:
                del walks[turn]

    def walk(
        self, units: Sequence[tuple[int, WorkUnit]], phase: Sequence[tuple[Group, list[Placed]]]
    ) -> Iterator[bool]:
        """Does the calls of a member's units, one each time that it is resumed. Units come with their numbers in the
        phase."""
        for number, unit in units:
            _, calls = phase[unit.group]
            self.private[unit.member].tags[:] = 0
            for frame in unit.frames:
                for buffer in self.emulator.passing.get(id(calls), ()):  # empty when a step of a scan begins
                    spot = self.emulator.spots[buffer]
                    pointer = self.reference(spot, frame)
                    low = pointer.low + frame.row * spot.row_bytes
                    pointer.region.tags[low : low + frame.rows * spot.row_bytes] = 0
                for placed in calls:
                    if frame.is_last and placed.task.skips_last:
                        continue
                    self.call(placed, frame, unit.member, number)
                    yield True

    def units(self, groups: Sequence[Group]) -> Iterator[WorkUnit]:
        """Yields the units of a phase, each member's in the order of the schedule."""
        alone = count()
        for number, group in enumerate(groups):
            if group.kind == "one":
                yield WorkUnit(next(alone) % self.members, number, (Frame(0, 1),))
                continue
            for member in range(self.members):
                if group.kind == "steps":
                    yield WorkUnit(member, number, tuple(self.steps_of(group, member)))
                else:
                    yield from (WorkUnit(member, number, (frame,)) for frame in self.frames(group, member))

    def frames(self, group: Group, member: int) -> Iterator[Frame]:
        """Yields the frames of a member in a group of samples, pieces or shards."""
        if group.kind == "shards":
            low, high = self.share(group, group.extent, member)
            for shard in range(low, high):
                row, end = (self.batch * number // group.extent for number in (shard, shard + 1))
                yield Frame(row, end - row, shard)
            return
        if group.kind == "samples" and group.dim in self.plan.schedule.walked:
            if self.workers_of(group, member)[1] > 1:
                for frame in self.steps_of(group, member):
                    yield Frame(frame.begin + frame.row, frame.rows)
                return
            low, high = 0, self.sizes[group.dim]
        elif group.kind == "samples":
            low, high = self.share(group, self.sizes[group.dim], member)
        else:
            first, last = self.share(group, -(-group.extent // group.grain), member)
            low, high = first * group.grain, min(last * group.grain, group.extent)
        for row in range(low, high, group.row_block):
            yield Frame(row, min(high - row, group.row_block))

    def workers_of(self, group: Group, member: int) -> tuple[int, int]:
        """A member's number among the workers that share a group out, and their count: those of all ranks, or of this
        one."""
        if group.is_repeated:
            return member, self.members
        return self.rank * self.members + member, self.ranks * self.members

    def share(self, group: Group, units: int, member: int) -> tuple[int, int]:
        """A member's part of a number of units: the first, and the one behind the last."""
        number, count = self.workers_of(group, member)
        return units * number // count, units * (number + 1) // count

    def steps_of(self, group: Group, member: int) -> Iterator[Frame]:
        """Yields a frame for each step of a scan with a member's samples that still run."""
        offsets, steps = self.rows[group.dim].offsets, self.rows[group.dim].steps
        number, count = self.workers_of(group, member)
        first, end = (int(sample) for sample in self.rows[group.dim].shares(count)[number : number + 2])
        for turn in range(steps):
            step = steps - 1 - turn if group.is_reversed else turn
            begin, after = int(offsets[step]), int(offsets[step + 1])
            rows = min(after - begin, end) - first
            if rows > 0:
                yield Frame(first, rows, begin=begin, is_last=turn == steps - 1)

    # -------------------------------------------------------------- calls

    def call(self, placed: Placed, frame: Frame, member: int, unit: int) -> None:
        """Calls a task's kernel for a frame."""
        pointers = [self.reference(spot, frame, member) for spot in placed.spots]
        counts = [count.value(frame.rows, self.sizes) for count in placed.counts]
        placed.kernel(Access(placed, member, frame, unit), pointers, counts)

    def reference(self, spot: Spot, frame: Frame, member: int = 0) -> Reference:
        """The place of a pointer, and the bytes of its buffer there: in private memory those of the frame's rows."""
        address, memory = spot.address, spot.address.memory
        region = self.private[member] if memory == PRIVATE else self.regions[memory]
        low = spot.low + self.moved.get(memory, 0)
        start = low + spot.offset + frame.row * address.lead + frame.shard * address.shard + frame.begin * address.step
        if spot.is_band:
            high = low + frame.rows * spot.row_bytes
        elif spot.is_open:
            high = len(region.data)
        else:
            high = min(low + self.lengths[spot.buffer], len(region.data))
        return Reference(region, start, low, high, spot.tag, spot.buffer)


def _tables(plan: Plan, call: target.Call) -> Iterator[tuple[int, Region]]:
    """Yields the index of each table of a plan, and its array as a region."""
    for tables, arrays, is_result in ((plan.inputs, call.inputs, False), (plan.results, call.results, True)):
        for name, table in tables.items():
            data = array_at(arrays[name].ctypes.data, arrays[name].nbytes)
            yield table.index, Region(f"table {table.index}", data, is_shared=is_result, is_written=is_result)


def array_at(address: int, size: int) -> Array:
    """Returns `size` bytes at an address as an array that shares them."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)) if size else np.empty(0, np.uint8)


__all__ = ["BrokenPlan", "Emulator", "Run", "array_at", "random_order"]
