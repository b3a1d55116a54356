"""One graph made ready to run on any number of samples, by whatever target its program has."""

from collections.abc import Mapping
from copy import copy
from typing import Any, Self

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import table_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.rows import Rows
from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.program.plan import Plan
from netc.compiler.targets.target import Executable, Planned, Reopening, Request, Storable
from netc.dsl.plural import counted
from netc.runtime.available import require
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.execution.batches import Arrays
from netc.runtime.execution.kept_steps import PlanFacts
from netc.runtime.execution.loaded import Loaded
from netc.runtime.execution.memory import footprint, is_debugging
from netc.runtime.execution.prepared import Prepared
from netc.runtime.execution.resources import Resources
from netc.runtime.execution.shared_executables import SharedExecutable
from netc.runtime.locks import building


def has_rows(graph: Graph) -> bool:
    """Whether a graph needs the lengths of sequences: a value has a row for each step, or it reads a table of rows."""
    return any(value.type.is_varying or table_of(value) is not None for value in graph.values())


class Step:
    """One graph without varying dimensions, ready to run on any number of samples, `batch` of them a step.

    `rows` is the number of samples of the data that it is built for: memory is reserved for a smaller batch if they
    are fewer, and it is planned again when more samples come. sequences.py has the steps with varying dimensions.
    """

    def __init__(
        self, graph: Graph, resources: Resources, batch: int, profiled: bool = False, rows: int | None = None
    ) -> None:
        has_ranks = resources.workers.ranks is not None
        supplies_constants = resources.executables is not None and not profiled
        self.prepared = Prepared(
            graph, resources.state.offsets, resources.target, batch, not profiled, has_ranks, supplies_constants
        )
        self.constants = {name: np.array(number) for name, number in self.prepared.constants.items()}
        self.resources, self.batch, self.profiled = resources, batch, profiled
        self.given, self.results = self.prepared.facts.given, self.prepared.results
        self.is_update = self.prepared.is_update
        self._spans = {name: value.span for name, value in self.results.items()}
        self.unbatched = [name for name, value in self.results.items() if not value.type.is_batched]
        self._names: dict[ResultKind, Mapping[str, str]] = {}
        self.loaded: Loaded | None = None
        self.plan_facts: PlanFacts | None = None  # of the last plan, if there is one
        if not self.prepared.facts.dims:
            with building:
                self.loaded = self.build(min(batch, rows or batch))

    @property
    def graph(self) -> Graph:
        """The graph after the passes."""
        return self.prepared.graph

    @property
    def source(self) -> Graph:
        """The graph before the passes. It has the same results."""
        return self.prepared.source

    @property
    def executable(self) -> Executable | None:
        """Returns the executable, or None if the target has not built it yet."""
        return self.loaded.executable if self.loaded is not None else None

    @property
    def plan(self) -> Plan | None:
        """The plan, if one was made: there is none for code from the cache."""
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

    def build(self, capacity: Sizes) -> Loaded:
        """Builds an executable with memory for steps of at most these sizes. Raises NotEnough if there is less."""
        executables = self.resources.executables
        if executables is None or self.profiled:
            return self._build(capacity)
        key = self.prepared.key(capacity)
        if (shared := executables.get(key)) is not None:
            self.plan_facts = shared.facts
            return Loaded(shared.executable, self._members(shared.facts, capacity, False), self.resources, shared.plan)
        loaded = self._build(capacity)
        if self.plan_facts is not None:
            executables.add(key, SharedExecutable(loaded.executable, self.plan_facts, loaded.plan))
        return loaded

    def _build(self, capacity: Sizes) -> Loaded:
        if (kept := self._from_cache(capacity)) is not None:
            return kept
        planned: Planned | None = None
        facts: PlanFacts | None = None

        def make_plan(all_share: bool) -> Planned:
            nonlocal planned, facts
            plan = self.prepared.plan(capacity)
            facts = self.plan_facts = self.prepared.facts_of(plan)
            planned = Planned(plan, self._members(facts, capacity, all_share))
            return planned

        target = self.resources.target
        executable = target.build(Request(self.graph, make_plan, self.profiled, is_debugging()))
        if planned is None or facts is None:
            return Loaded(executable, 1, self.resources)
        if isinstance(executable, Storable):
            self.prepared.keep(capacity, facts, executable.code)
        return Loaded(executable, planned.members, self.resources, planned.plan)

    def _from_cache(self, capacity: Sizes) -> Loaded | None:
        """An executable as `build` returns it, if the cache has its code."""
        target, kept = self.resources.target, self.prepared.kept(capacity)
        if kept is None or kept.code is None or not isinstance(target, Reopening):
            return None
        members = self._members(kept.facts, capacity, False)
        executable = target.reopen(kept.code, members)
        if executable is None:
            return None
        self.plan_facts = kept.facts
        return Loaded(executable, members, self.resources)

    def _members(self, facts: PlanFacts, capacity: Sizes, all_share: bool) -> int:
        """The number of workers that take part: all, or as many as a step is worth. Raises NotEnough if there is no
        memory for them."""
        workers, samples = self.resources.workers, size_of(BATCH, capacity)
        all_share = all_share or workers.shares_small_steps
        members = workers.count if all_share else self.prepared.members(facts, capacity, workers.count)
        require(
            footprint(facts.shared) + members * footprint(facts.private),
            f"a step of {counted(samples, 'sample')}",
        )
        return members

    def _with_capacity_for(self, count: int) -> Loaded:
        """An executable with memory for this many samples.

        If there is less, it is planned again for at least twice as many; calls that began before keep the old one.
        """
        loaded, needed = self.loaded, min(self.batch, count)
        assert loaded is not None
        if loaded.capacity is None or needed <= size_of(BATCH, loaded.capacity):
            return loaded
        with building:
            planned = size_of(BATCH, self.loaded.capacity) if self.loaded is not None and self.loaded.capacity else 0
            if self.loaded is None or needed > planned:
                self.loaded = self.build(min(self.batch, max(needed, 2 * planned)))
            return self.loaded

    def run(self, fields: Mapping[str, Array | Ragged], order: Array) -> dict[str, Array | Ragged]:
        """Runs the samples of `order`, in steps of `batch`, the last one smaller; updates go into the program's memory.

        Results with a value for each sample come in the order of `order`; the others have the steps as first axis.
        Several threads may run a step at the same time unless it is an update (locks.py has the guard of a program).
        """
        return self.run_arrays(self._with_capacity_for(len(order)), fields, order)

    def names_of(self, kind: ResultKind) -> Mapping[str, str]:
        """The printed forms of the results of a kind, by name."""
        if kind not in self._names:
            results = (result for result in self.source.results if result.kind is kind)
            self._names[kind] = {result.name: str(result) for result in results}
        return self._names[kind]

    def run_arrays(self, loaded: Loaded, fields: Mapping[str, Any], order: Array) -> dict[str, Any]:
        """Runs all full steps in one call, then the smaller last one. No field that is read is a sequence."""
        return loaded.run_batches(fields, order, self.batch, self._spans, self.rows_of_step)

    def rows_of_step(self, loaded: Loaded, size: int) -> tuple[Arrays, Mapping[str, Rows]]:
        """The index tables and the rows of a step of this many samples; without varying dimensions there are none."""
        return {}, {}
