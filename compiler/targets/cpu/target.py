"""The CPU as a target: a plan becomes machine code, which each worker of a call runs with its context.

Saved machine code is opened without LLVM, so whatever compiles is imported where it is used.
"""

import re
from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter

import numpy as np
from msgspec import Struct

from netc.compiler.program.gathers import Gather, StepSizes
from netc.compiler.program.plan import CallLayout
from netc.compiler.program.schedule import PERSISTENT, SHARED, TABLES, Arenas
from netc.compiler.targets import amx
from netc.compiler.targets.bounds import Bounds
from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.helper_processes import expecting_kernels
from netc.compiler.targets.cpu.linked import Linked, Unloadable, load
from netc.compiler.targets.cpu.schedule.context import ABORT, BARRIER_WORDS, CallResources, contexts
from netc.compiler.targets.gathering import Gathering, silent_table
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import ask_for_tiles
from netc.compiler.targets.sharing import Sharing
from netc.compiler.targets.target import Array, Call, Code, Interface, Ranks, Request, Workspace
from netc.dsl.structs import replace


class Cpu(Struct, frozen=True):
    """The target of the backend "cpu": the instruction set of `machine`."""

    machine: Machine
    name = "cpu"

    def build(self, request: Request) -> "MachineCode":
        """Compiles the plan's kernels, unless the cache holds them, and links them.

        Raises TargetFault if this process may not use the tiles that they need.
        """
        ask_for_tiles(self.machine)
        with nullcontext() if request.is_spoiled else expecting_kernels():  # the debugging mode plans every step anew
            from netc.compiler.targets.cpu.build import build

            planned = request.make_plan(False)
            plan = planned.plan
            spoiled = Arenas(plan.shared, plan.private) if request.is_spoiled else None
            linked = build(plan.schedule, self.machine, request.is_profiled, spoiled)
        calls = len(plan.tasks) if request.is_profiled else 0
        return MachineCode(plan.call_layout, planned.members, self.machine, linked, calls)

    def reopen(self, code: Code, members: int) -> "MachineCode | None":
        """Links saved code. Returns None if a kernel is missing in the cache or cannot be loaded, or if this process
        may not use its tiles."""
        if self.machine.has_tiles and self.machine.has_amx and not amx.is_permitted():
            return None
        objects = [code.step]
        for name in code.kernels:
            kernel = cache.read_named(name) if re.fullmatch("[0-9a-f]{32}", name) else None
            if kernel is None:
                return None
            objects.append(kernel)
        try:
            return MachineCode(code.layout, members, self.machine, Linked(*load(objects), code.step, code.kernels))
        except Unloadable:
            return None


class _Ready(Struct, frozen=True):
    """A call with the contexts of its workers. It is reused for the same call as long as its resources are the same."""

    resources: CallResources
    words: Array
    begin: int
    linked: Linked
    gathering: Gathering | None = None
    silent: Array | None = None  # the table without messages, of a process that shares nothing with other ranks

    @classmethod
    def of(cls, code: "MachineCode", call: Call, resources: CallResources, ranks: Ranks | None) -> "_Ready":
        gathering, gathers, silent = None, code.layout.gathers, None
        if gathers is not None and ranks is not None:
            gathering = _gathering(code.layout, call, resources, ranks)
            resources = replace(resources, rank=ranks.rank, ranks=ranks.count, messages=gathering.address)
        elif gathers is not None:
            silent = silent_table(gathers)
            resources = replace(resources, messages=silent.ctypes.data)
        words = contexts(code.layout, call, resources)
        return cls(resources, words, words.ctypes.data, code.linked, gathering, silent)

    def run(self, member: int) -> bool:
        """Runs the share of a worker."""
        return self.linked.run(self.begin + member * self.words.strides[0])

    def abort(self) -> None:
        """Makes the workers that wait at a barrier leave."""
        self.resources.barrier[ABORT] = 1


def _gathering(layout: CallLayout, call: Call, resources: CallResources, ranks: Ranks) -> Gathering:
    """The messages of a call, over its memories."""
    begins = {PERSISTENT: resources.persistent.address, SHARED: resources.arena.shared.address}
    moves = {TABLES + index: (fixed, each) for index, (fixed, each) in enumerate(layout.step_bytes)}
    begins |= {TABLES + table.index: call.results[name].ctypes.data for name, table in layout.results.items()}

    def layout_of(gather: Gather) -> tuple[int, int]:
        fixed, each = moves.get(gather.memory, (0, 0))
        return begins[gather.memory] + gather.offset, fixed + each * call.batch

    assert layout.gathers is not None
    return Gathering(layout.gathers, ranks, StepSizes(call.batch, call.rows), layout_of)


class MachineCode:
    """A plan as machine code. If it is profiled, it counts the ticks of `calls` calls: see Timed."""

    def __init__(self, layout: CallLayout, members: int, machine: Machine, linked: Linked, calls: int = 0) -> None:
        self.layout, self.members, self.machine, self.linked = layout, members, machine, linked
        self.interface = Interface.of_layout(layout)
        self.ticks = np.zeros((members, calls + 1), np.int64)
        self._among_ranks, self._among_workers = Sharing(), Sharing()

    def run(self, call: Call, workspace: Workspace) -> None:
        """Runs the steps of a call: by all ranks and all workers of a team, or by fewer where that is faster."""
        ranks = workspace.ranks if self.layout.gathers is not None else None
        tries_ranks = ranks is not None and not ranks.must_share
        is_shared = ranks is not None and (ranks.must_share or self._among_ranks.is_next_shared(call))
        tries_workers = self._tries_workers(workspace) and (not tries_ranks or self._among_ranks.is_decided)
        members = self.members if not tries_workers or self._among_workers.is_next_shared(call) else 1
        gathers = self.layout.gathers
        if gathers is None:
            workspace.divided.gather()
        else:
            workspace.divided.gather(gathers.at_end if is_shared else (), gathers.touched)
        begin = perf_counter()
        ready = self._run(call, workspace, ranks if is_shared else None, members)
        seconds = perf_counter() - begin
        if tries_workers and ready.resources.members == members:  # others are busy with another call
            self._among_workers.took(call, members > 1, seconds)
        if tries_ranks:
            self._among_ranks.took(call, is_shared, seconds, ranks)
        if gathers is not None and ready.gathering is not None:
            workspace.divided.leave(gathers.at_end, ready.gathering.gather_rest)

    def _tries_workers(self, workspace: Workspace) -> bool:
        """Whether calls may be done by one worker. The ticks of a profile are those of all."""
        return self.members > 1 and not workspace.must_share and self.ticks.shape[1] == 1

    def _run(self, call: Call, workspace: Workspace, ranks: Ranks | None, members: int) -> _Ready:
        """Runs the steps of a call, which these ranks share, by at most `members` idle workers."""
        with workspace.team(members) as team, workspace.arena(team.count) as arena:
            kept = f"ready {team.count}" if ranks is None else f"ready of ranks {team.count}"
            ready: _Ready | None = call.kept.get(kept)
            if ready is None or ready.resources.arena is not arena:
                barrier = np.zeros(BARRIER_WORDS, np.int64)
                resources = CallResources(team.count, workspace.persistent, arena, barrier, self.ticks)
                ready = call.kept[kept] = _Ready.of(self, call, resources, ranks)
            ready.resources.barrier.fill(0)
            team.run(ready.run, ready.abort)
            if ready.gathering is not None:
                ready.gathering.check()
            return ready

    @property
    def code(self) -> Code | None:
        """Its object code; None where LLVM linked it, because that cannot be saved."""
        return Code(self.linked.step, self.linked.kernels, self.layout) if self.linked.step else None

    def bounds(
        self, members: int, run: Callable[[Callable[[int], object], int], object], again: bool = False
    ) -> Bounds:
        """Returns the bounds of `members` cores: see Timed."""
        from netc.compiler.targets.cpu.bounds.measured import bounds_of

        return bounds_of(self.machine, members, run, again)
