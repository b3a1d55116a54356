"""Runs a plan for several ranks in one thread, each with memory of its own, and checks what they gather.

After each phase, whatever a rank has written counts as unwritten in the memories of the ranks that have not written it,
until it is gathered. So a plan that forgets a message, or gathers other rows than are read, fails at the first read.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from msgspec import Struct

from netc.compiler.planning.ranks import among_ranks
from netc.compiler.program.gathers import Gather, Message, StepSizes, spans_of
from netc.compiler.program.plan import Plan
from netc.compiler.program.schedule import NAN_BYTE, TABLES
from netc.compiler.targets import target
from netc.compiler.targets.emulator.memory import BrokenPlan
from netc.compiler.targets.emulator.run import Emulator, Run
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Array, Request
from netc.dsl.structs import replace


class EmulatedRanks(Struct, frozen=True):
    """The target that runs the plan for `machine` as `ranks` ranks."""

    machine: Machine
    ranks: int
    name = "plan of ranks"

    def build(self, request: Request) -> "RankedEmulator":
        """Returns the plan as an executable of one thread, in which all members of all ranks take part."""
        planned = request.make_plan(True)
        return RankedEmulator(among_ranks(planned.plan, self.machine), planned.members, self.ranks)


class _Bytes(Struct, frozen=True):
    """Memory at an address, as the emulator reads it."""

    bytes: Array

    @property
    def address(self) -> int:
        return int(self.bytes.ctypes.data)


class _Arena(Struct, frozen=True):
    shared: _Bytes
    private: list[_Bytes]


class _Rank(Struct):
    """One rank: its run, its copies of what persists, and its results."""

    run: Run
    persistent: Array
    results: Mapping[str, Array]


class RankedEmulator(Emulator):
    """A plan ready to run by several ranks: an executable."""

    def __init__(self, plan: Plan, members: int, ranks: int) -> None:
        super().__init__(plan, members)
        self.ranks = ranks

    def run(self, call: target.Call, workspace: target.Workspace) -> None:
        """Runs the steps of a call in this thread. Raises BrokenPlan, also if two ranks end with different bits."""
        gathers = self.plan.schedule.gathers
        assert gathers is not None
        ranks = [self._rank(call, workspace, rank) for rank in range(self.ranks)]
        sizes, phases = StepSizes(call.batch, ranks[0].run.rows), len(self.phases)
        pending: list[tuple[int, Message, list[list[tuple[Array, Array]]]]] = []
        with np.errstate(all="ignore"):
            for step in range(call.steps):
                for rank in ranks:
                    rank.run.begin(step)
                for number, phase in enumerate(self.phases):
                    for rank in ranks:
                        rank.run.phase(phase)
                    _forget_others(ranks)
                    now = step * phases + number
                    for message in gathers.messages:
                        if message.after == number:
                            pending.append((step * phases + message.before, message, _rows(ranks, message, sizes)))
                    for due, message, rows in pending:
                        if due == now + 1:
                            _store(ranks, message, sizes, rows)
                    pending = [entry for entry in pending if entry[0] > now + 1]
            for _, message, rows in pending:
                _store(ranks, message, sizes, rows)
            last = Message(0, 1, gathers.at_end)
            _store(ranks, last, sizes, _rows(ranks, last, sizes))
        for rank in ranks:
            rank.run.check_results()
        _take(ranks, call, workspace)

    def _rank(self, call: target.Call, workspace: target.Workspace, rank: int) -> _Rank:
        persistent = workspace.persistent.bytes.copy()
        results = {name: array.copy() for name, array in call.results.items()}
        private = [_Bytes(_empty(self.plan.private)) for _ in range(self.members)]
        arena = _Arena(_Bytes(_empty(self.plan.shared)), private)
        run = Run(self, replace(call, results=results), _Bytes(persistent), arena, rank, self.ranks)
        return _Rank(run, persistent, results)


def _empty(size: int) -> Array:
    return np.full(size, NAN_BYTE, np.uint8)


def _forget_others(ranks: list[_Rank]) -> None:
    """Makes unwritten in each rank's memory what only others have written in this phase."""
    for regions in zip(*(rank.run.shared for rank in ranks), strict=True):
        written = [region.writers != 0 for region in regions]
        anywhere = np.logical_or.reduce(written)
        for region, written_here in zip(regions, written, strict=True):
            lost = anywhere & ~written_here
            region.tags[lost], region.data[lost] = 0, NAN_BYTE


def _parts(rank: _Rank, gather: Gather, owner: int, count: int, sizes: StepSizes) -> Iterator[tuple[Array, Array]]:
    """Yields the bytes and the tags of the rows that the rank `owner` has, in the memory of `rank`."""
    region = rank.run.regions[gather.memory]
    moved = rank.run.moved[gather.memory] if gather.memory >= TABLES else 0
    for low, high in spans_of(gather.division, owner, count, sizes):
        extent = slice(*(gather.offset + moved + row * gather.row_bytes for row in (low, high)))
        yield region.data[extent], region.tags[extent]


def _rows(ranks: list[_Rank], message: Message, sizes: StepSizes) -> list[list[tuple[Array, Array]]]:
    """Returns copies of what each rank sends."""
    return [
        [
            (data.copy(), tags.copy())
            for gather in message.gathers
            for data, tags in _parts(rank, gather, number, len(ranks), sizes)
        ]
        for number, rank in enumerate(ranks)
    ]


def _store(ranks: list[_Rank], message: Message, sizes: StepSizes, rows: list[list[tuple[Array, Array]]]) -> None:
    """Stores what each rank has sent in the memories of the others."""
    for owner, sent in enumerate(rows):
        for number, rank in enumerate(ranks):
            if number != owner:
                extents = (
                    part for gather in message.gathers for part in _parts(rank, gather, owner, len(ranks), sizes)
                )
                for (data, tags), (sent_data, sent_tags) in zip(extents, sent, strict=True):
                    data[:], tags[:] = sent_data, sent_tags


def _take(ranks: list[_Rank], call: target.Call, workspace: target.Workspace) -> None:
    """Hands the results and the persistent memory on, which are the same bits for all ranks."""
    first = ranks[0]
    for number, rank in enumerate(ranks):
        if not np.array_equal(rank.persistent, first.persistent):
            raise BrokenPlan(f"rank {number} ends with other parameters or states than rank 0")
        for name, array in rank.results.items():
            if array.tobytes() != first.results[name].tobytes():
                raise BrokenPlan(f"rank {number} ends with another result `{name}` than rank 0")
    workspace.persistent.bytes[:] = first.persistent
    for name, array in call.results.items():
        array[...] = first.results[name]
