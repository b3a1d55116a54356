"""The CPU as a target: a plan becomes machine code, which all workers of a call enter with a context each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from netc.compiler.program.schedule import Arenas
from netc.compiler.targets.cpu.build import build
from netc.compiler.targets.cpu.context import ABORT, BARRIER_WORDS, Place, contexts
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Array, Call, Interface, Planned, Request, Workspace


@dataclass(frozen=True, slots=True)
class Cpu:
    """The target of the backend "numba": the instruction set of `machine`."""

    machine: Machine
    name = "numba"

    def build(self, request: Request) -> "MachineCode":
        """Compiles the plan's kernels, unless the cache holds them, and links them."""
        return MachineCode(request.make_plan(False), self.machine, request)


class MachineCode:
    """A plan as machine code."""

    def __init__(self, planned: Planned, machine: Machine, request: Request) -> None:
        self.plan, self.members, self.machine = planned.plan, planned.members, machine
        self.interface = Interface.of_plan(self.plan)
        spoiled = Arenas(self.plan.shared, self.plan.private) if request.is_spoiled else None
        self.linked = build(self.plan.schedule, machine, request.is_profiled, spoiled)
        # written only if profiled: see Timed
        self.ticks = np.zeros((self.members, len(self.plan.tasks) + 1), np.int64)

    def run(self, call: Call, workspace: Workspace) -> None:
        """Runs the steps of a call on all workers of a team."""
        with workspace.team(self.members) as team, workspace.arena(team.count) as arena:
            barrier = np.zeros(BARRIER_WORDS, np.int64)
            words = contexts(self.plan, call, Place(team.count, workspace.persistent, arena, barrier, self.ticks))
            begin, size, run = words.ctypes.data, words.strides[0], self.linked.run
            team.run(lambda member: run(begin + member * size), partial(_abort, barrier))

    def peak_flops(self, dtype: str, members: int, run: Callable[[Callable[[int], object], int], object]) -> float:
        """Returns the peak of so many cores: see Timed."""
        from netc.compiler.targets.cpu.peak import peak_of

        return peak_of(dtype, members, run, self.machine)


def _abort(barrier: Array) -> None:
    """Makes the workers that wait at a barrier leave."""
    barrier[ABORT] = 1
