"""The CPU as a target: a plan becomes machine code, which all workers of a call enter with a context each.

Saved machine code is opened without LLVM, so whatever compiles is imported where it is used.
"""

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netc.compiler.program.gathers import Gather, StepSizes
from netc.compiler.program.plan import CallLayout
from netc.compiler.program.schedule import PERSISTENT, SHARED, TABLES, Arenas
from netc.compiler.targets import amx
from netc.compiler.targets.bounds import Bounds
from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.context import ABORT, BARRIER_WORDS, CallResources, contexts
from netc.compiler.targets.cpu.linked import Linked, Unloadable, load
from netc.compiler.targets.gathering import Gathering
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Array, Call, Code, Interface, Ranks, Request, Workspace

_GATHER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@dataclass(frozen=True, slots=True)
class Cpu:
    """The target of the backend "cpu": the instruction set of `machine`."""

    machine: Machine
    name = "cpu"

    def build(self, request: Request) -> "MachineCode":
        """Compiles the plan's kernels, unless the cache holds them, and links them."""
        from netc.compiler.targets.cpu.build import build

        planned = request.make_plan(False)
        plan = planned.plan
        spoiled = Arenas(plan.shared, plan.private) if request.is_spoiled else None
        linked = build(plan.schedule, self.machine, request.is_profiled, spoiled)
        return MachineCode(plan.call_layout, planned.members, self.machine, linked, len(plan.tasks))

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


@dataclass(frozen=True, slots=True)
class _Ready:
    """A call with the contexts of its workers, which serve for the same call again while its resources are the same."""

    resources: CallResources
    words: Array
    begin: int
    linked: Linked
    gathering: Gathering | None = None
    gather: Any = None  # the function at the address in the contexts, which must outlive them

    @classmethod
    def of(cls, code: "MachineCode", call: Call, resources: CallResources, ranks: Ranks | None) -> "_Ready":
        gathering, gather = None, None
        if code.layout.gathers is not None:
            assert ranks is not None, "code for several ranks in a process by itself"
            gathering = _gathering(code.layout, call, resources, ranks)
            gather = _GATHER(gathering.border)
            address = ctypes.cast(gather, ctypes.c_void_p).value or 0
            resources = replace(resources, rank=ranks.rank, ranks=ranks.count, gather=address)
        words = contexts(code.layout, call, resources)
        return cls(resources, words, words.ctypes.data, code.linked, gathering, gather)

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

    def bytes_at(gather: Gather, step: int, size: int) -> Array:
        fixed, each = moves.get(gather.memory, (0, 0))
        address = begins[gather.memory] + gather.offset + step * (fixed + each * call.batch)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    assert layout.gathers is not None
    return Gathering(layout.gathers, layout.phases, ranks, StepSizes(call.batch, call.rows), bytes_at)


class MachineCode:
    """A plan as machine code. If it is profiled, it counts the ticks of `calls` calls: see Timed."""

    def __init__(self, layout: CallLayout, members: int, machine: Machine, linked: Linked, calls: int = 0) -> None:
        self.layout, self.members, self.machine, self.linked = layout, members, machine, linked
        self.interface = Interface.of_layout(layout)
        self.ticks = np.zeros((members, calls + 1), np.int64)

    def run(self, call: Call, workspace: Workspace) -> None:
        """Runs the steps of a call on all workers of a team."""
        with workspace.team(self.members) as team, workspace.arena(team.count) as arena:
            ready = call.kept.get("ready")
            if ready is None or ready.resources.arena is not arena or ready.resources.members != team.count:
                barrier = np.zeros(BARRIER_WORDS, np.int64)
                resources = CallResources(team.count, workspace.persistent, arena, barrier, self.ticks)
                ready = _Ready.of(self, call, resources, workspace.ranks)
                call.kept["ready"] = ready
            ready.resources.barrier.fill(0)
            team.run(ready.run, ready.abort)
            if ready.gathering is not None:
                ready.gathering.finish(call.steps)

    @property
    def code(self) -> Code | None:
        """Its object code; None where LLVM linked it, because that cannot be saved."""
        return Code(self.linked.step, self.linked.kernels, self.layout) if self.linked.step else None

    def bounds(
        self, members: int, run: Callable[[Callable[[int], object], int], object], again: bool = False
    ) -> Bounds:
        """Returns the bounds of so many cores: see Timed."""
        from netc.compiler.targets.cpu.bounds_measured import bounds_of

        return bounds_of(self.machine, members, run, again)
