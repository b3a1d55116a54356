"""The CPU as a target: a plan becomes machine code, which all workers of a call enter with a context each.

Saved machine code is opened without LLVM, so whatever compiles is imported where it is used.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netc.compiler.program.plan import CallLayout
from netc.compiler.program.schedule import Arenas
from netc.compiler.targets import amx
from netc.compiler.targets.bounds import Bounds
from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.context import ABORT, BARRIER_WORDS, CallResources, contexts
from netc.compiler.targets.cpu.linked import Linked, Unloadable, load
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Array, Call, Code, Interface, Request, Workspace


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

    @classmethod
    def of(cls, code: "MachineCode", call: Call, resources: CallResources) -> "_Ready":
        words = contexts(code.layout, call, resources)
        return cls(resources, words, words.ctypes.data, code.linked)

    def run(self, member: int) -> bool:
        """Runs the share of a worker."""
        return self.linked.run(self.begin + member * self.words.strides[0])

    def abort(self) -> None:
        """Makes the workers that wait at a barrier leave."""
        self.resources.barrier[ABORT] = 1


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
                ready = _Ready.of(
                    self, call, CallResources(team.count, workspace.persistent, arena, barrier, self.ticks)
                )
                call.kept["ready"] = ready
            ready.resources.barrier.fill(0)
            team.run(ready.run, ready.abort)

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
