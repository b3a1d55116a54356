"""One graph made ready to run: compiled to machine code, run by the reference interpreter, or its plan emulated."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Self

import numpy as np

from netc.compiler import pipeline
from netc.compiler.analysis.cost import flops
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import table_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import Rows
from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.lowering.lower import lower
from netc.compiler.planning.plan import plan
from netc.compiler.program.plan import Plan
from netc.compiler.reference import evaluate
from netc.compiler.targets.cpu.linked import Linked
from netc.compiler.targets.machine import Machine
from netc.runtime.available import require
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.execution.executable import Executable
from netc.runtime.execution.memory import footprint, is_debugging
from netc.runtime.execution.resources import Resources
from netc.runtime.locks import building

Arrays = Mapping[str, Array]
Interpreter = Callable[[Graph, Arrays, Sizes], dict[str, Array]]
_WORTH_SHARING = 400_000  # FLOPs of a step, below which its barriers cost more than a second worker gives


def has_rows(graph: Graph) -> bool:
    """Whether a graph needs the lengths of sequences: a value has a row for each step, or it reads a table of rows."""
    return any(value.type.is_varying or table_of(value) is not None for value in graph.values())


def plan_step(graph: Graph, offsets: dict[str, int], sizes: Sizes, machine: Machine, room: Sizes | None = None) -> Plan:
    """The plan for a machine of a graph that went through the passes; verified in the debugging mode.

    `sizes` decide how each value is computed, and so its bits; `room` is for how many samples and rows there is
    memory, if fewer than `sizes`.
    """
    tasks = lower(graph, sizes, machine)
    planned = plan(tasks, offsets, sizes if room is None else room, machine)
    if is_debugging():
        from netc.compiler.planning.verify_plan import verify_plan

        verify_plan(tasks, planned)
    return planned


def members_of(graph: Graph, sizes: Sizes, workers: int) -> int:
    """The number of workers that take part in a step: any number gives the same bits, but a small step is done before
    a second worker is awake."""
    return workers if flops(graph, sizes) >= _WORTH_SHARING else 1


class Step:
    """One graph without varying dimensions, ready to run on any number of samples, `batch` of them a step.

    `rows` is the number of samples of the data that it is built for: memory is reserved for a smaller batch if they
    are fewer, and it is planned again when more samples come. sequences.py has the steps with varying dimensions.
    """

    def __init__(
        self, graph: Graph, resources: Resources, batch: int, profiled: bool = False, rows: int | None = None
    ) -> None:
        self.graph, self.resources, self.batch = pipeline.run_passes(graph), resources, batch
        self.state, self.backend, self.machine = resources.state, resources.backend, resources.machine
        self.profiled = profiled
        self.given = [value.name for value in self.graph.values(Role.GIVEN)]
        self.results = self.graph.printed_results()
        self.is_update = self.graph.has(ResultKind.UPDATE)  # of parameters or states
        self.trace: Interpreter = evaluate
        self.executable: Executable | None = None
        if self.backend != "reference" and not has_rows(self.graph):
            with building:
                self.executable = self.build(min(batch, rows or batch))

    @property
    def plan(self) -> Plan | None:
        return self.executable.plan if self.executable is not None else None

    @property
    def linked(self) -> Linked | None:
        return self.executable.linked if self.executable is not None else None

    @property
    def members(self) -> int:
        """The largest number of workers that take part."""
        return self.executable.members if self.executable is not None else 1

    def with_batch(self, batch: int) -> Self:
        """The same interpreted step with another batch size."""
        assert self.backend == "reference", "plans are made for a batch"
        step = copy(self)
        step.batch = batch
        return step

    def build(self, room: Sizes) -> Executable:
        """Plan and link, with memory for steps of at most these sizes. Raises NotEnough if the machine has less."""
        nominal: Sizes = self.batch if isinstance(room, int) else {**room, BATCH: self.batch}
        planned = plan_step(self.graph, self.state.offsets, nominal, self.machine, room)
        workers = self.resources.workers
        shares = self.backend == "plan" or workers.shares_small_steps
        members = workers.count if shares else members_of(self.graph, room, workers.count)
        samples = size_of(BATCH, room)
        require(
            footprint(planned.shared) + members * footprint(planned.private),
            f"a step of {samples:,} sample{'s' * (samples != 1)}",
        )
        return Executable(planned, self.resources, members, self.profiled)

    def _with_room_for(self, count: int) -> Executable:
        """An executable with memory for this many samples.

        If there is less, it is planned again for at least twice as many; calls that began before keep the old one.
        """
        executable, needed = self.executable, min(self.batch, count)
        assert executable is not None
        if needed <= size_of(BATCH, executable.plan.sizes):
            return executable
        with building:
            planned = size_of(BATCH, self.executable.plan.sizes) if self.executable is not None else 0
            if self.executable is None or needed > planned:
                self.executable = self.build(min(self.batch, max(needed, 2 * planned)))
            return self.executable

    def run(self, fields: Mapping[str, Array | Ragged], order: Array) -> dict[str, Array | Ragged]:
        """Run the samples of `order`, in steps of `batch`, the last one smaller; updates go into the program's memory.

        Results with a value for each sample come in the order of `order`; the others have the steps as first axis.
        Several threads may run a step at the same time unless it is an update (locks.py has the guard of a program).
        """
        arrays = {name: field for name, field in fields.items() if not isinstance(field, Ragged)}
        if self.executable is None:
            return {**self._interpret(arrays, order)}
        return {**self.run_arrays(self._with_room_for(len(order)), arrays, order)}

    def run_arrays(self, executable: Executable, fields: Arrays, order: Array) -> dict[str, Array]:
        """The compiled part of `run`: all full steps in one call, then the smaller last one."""
        spans = {name: value.span for name, value in self.results.items()}
        return executable.run_batches(fields, order, self.batch, spans, self.rows_of_step)

    def rows_of_step(self, plan: Plan, size: int) -> tuple[Arrays, Mapping[str, Rows]]:
        """The index tables and the rows of a step of this many samples; without varying dimensions there are none."""
        return {}, {}

    def interpret(self, fields: Arrays, sizes: Sizes) -> dict[str, Array]:
        """One step in the reference interpreter; updates go into the program's memory."""
        results = self.trace(self.graph, {**self.state.arrays, **fields}, sizes)
        results = {name: np.array(value) for name, value in results.items()}  # some are views of what is now replaced
        for name in self.graph.results_of(ResultKind.UPDATE):
            self.state.arrays[name][...] = results.pop(str(ResultKind.UPDATE.named(name)))
        return results

    def _interpret(self, fields: Arrays, order: Array) -> dict[str, Array]:
        parts: dict[str, list[Array]] = {}
        per_batch = {value.name for value in self.graph.values(Role.GIVEN) if not value.type.is_batched}
        per_step = {value.name for value in self.graph.values(Role.GIVEN) if value.is_per_step}
        read = {value.name for value in self.graph.values() if value.name}
        for start in range(0, len(order), self.batch):
            samples = order[start : start + self.batch]
            taken = {
                name: array[start // self.batch] if name in per_step else array if name in per_batch else array[samples]
                for name, array in fields.items()
                if name in read
            }
            for name, value in self.interpret(taken, len(samples)).items():
                parts.setdefault(name, []).append(value)
        return {
            name: np.concatenate(values) if self.results[name].type.is_batched else np.stack(values)
            for name, values in parts.items()
        }
