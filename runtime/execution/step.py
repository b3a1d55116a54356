"""One graph made ready to run on any number of samples, by whatever target its program has."""

from collections.abc import Mapping
from copy import copy
from typing import Self

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
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Executable, Planned, Request
from netc.runtime.available import require
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.execution.loaded import Arrays, Loaded
from netc.runtime.execution.memory import footprint, is_debugging
from netc.runtime.execution.resources import Resources
from netc.runtime.locks import building

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
    a second worker is awake, and a single sample cannot be shared out."""
    if sizes == 1 and not graph.has(ResultKind.UPDATE):
        return 1
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
        self.profiled = profiled
        self.given = [value.name for value in self.graph.values(Role.GIVEN)]
        self.results = self.graph.printed_results()
        self.is_update = self.graph.has(ResultKind.UPDATE)  # of parameters or states
        self.loaded: Loaded | None = None
        if not has_rows(self.graph):
            with building:
                self.loaded = self.build(min(batch, rows or batch))

    @property
    def executable(self) -> Executable | None:
        """Returns the executable, or None if the target has not built it yet."""
        return self.loaded.executable if self.loaded is not None else None

    @property
    def plan(self) -> Plan | None:
        """The plan, if one was made."""
        return self.loaded.plan if self.loaded is not None else None

    @property
    def members(self) -> int:
        """The largest number of workers that take part."""
        return self.loaded.members if self.loaded is not None else 1

    def with_batch(self, batch: int) -> Self:
        """The same step with another batch size. It must not be planned, because plans are made for a batch."""
        assert self.plan is None, "this step is planned"
        step = copy(self)
        step.batch = batch
        return step

    def build(self, room: Sizes) -> Loaded:
        """Build an executable with memory for steps of at most these sizes. Raises NotEnough if there is less."""
        planned: Planned | None = None

        def make_plan(all_share: bool) -> Planned:
            nonlocal planned
            planned = self._planned(room, all_share)
            return planned

        request = Request(self.graph, make_plan, self.profiled, is_debugging())
        executable = self.resources.target.build(request)
        if planned is None:
            return Loaded(executable, 1, self.resources)
        return Loaded(executable, planned.members, self.resources, planned.plan)

    def _planned(self, room: Sizes, all_share: bool) -> Planned:
        """The plan for these sizes, and how many workers take part: all of them, or as many as a step is worth."""
        nominal: Sizes = self.batch if isinstance(room, int) else {**room, BATCH: self.batch}
        resources = self.resources
        step_plan = plan_step(self.graph, resources.state.offsets, nominal, resources.target.machine, room)
        workers, samples = resources.workers, size_of(BATCH, room)
        all_share = all_share or workers.shares_small_steps
        members = workers.count if all_share else members_of(self.graph, room, workers.count)
        require(
            footprint(step_plan.shared) + members * footprint(step_plan.private),
            f"a step of {samples:,} sample{'s' * (samples != 1)}",
        )
        return Planned(step_plan, members)

    def _with_room_for(self, count: int) -> Loaded:
        """An executable with memory for this many samples.

        If there is less, it is planned again for at least twice as many; calls that began before keep the old one.
        """
        loaded, needed = self.loaded, min(self.batch, count)
        assert loaded is not None
        if loaded.room is None or needed <= size_of(BATCH, loaded.room):
            return loaded
        with building:
            planned = size_of(BATCH, self.loaded.room) if self.loaded is not None and self.loaded.room else 0
            if self.loaded is None or needed > planned:
                self.loaded = self.build(min(self.batch, max(needed, 2 * planned)))
            return self.loaded

    def run(self, fields: Mapping[str, Array | Ragged], order: Array) -> dict[str, Array | Ragged]:
        """Run the samples of `order`, in steps of `batch`, the last one smaller; updates go into the program's memory.

        Results with a value for each sample come in the order of `order`; the others have the steps as first axis.
        Several threads may run a step at the same time unless it is an update (locks.py has the guard of a program).
        """
        arrays = {name: field for name, field in fields.items() if not isinstance(field, Ragged)}
        return {**self.run_arrays(self._with_room_for(len(order)), arrays, order)}

    def run_arrays(self, loaded: Loaded, fields: Arrays, order: Array) -> dict[str, Array]:
        """Run all full steps in one call, then the smaller last one."""
        spans = {name: value.span for name, value in self.results.items()}
        return loaded.run_batches(fields, order, self.batch, spans, self.rows_of_step)

    def rows_of_step(self, loaded: Loaded, size: int) -> tuple[Arrays, Mapping[str, Rows]]:
        """The index tables and the rows of a step of this many samples; without varying dimensions there are none."""
        return {}, {}
