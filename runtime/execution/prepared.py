"""A graph on its way to a step: what the runtime asks about it after the passes, and its plans.

Passes, lowering and planning take most of the time in which a program starts when its kernels are compiled already. So
their results are kept in the cache (kept_steps.py), and run only if the cache has none.
"""

from typing import TYPE_CHECKING

from netc.compiler import pipeline
from netc.compiler.analysis.cost import flops
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.ir.value import Value
from netc.compiler.passes.supplied_constants import with_supplied_constants
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Code, Target
from netc.runtime.execution.kept_steps import Facts, KeptPlan, KeptSteps, PlanFacts
from netc.runtime.execution.memory import is_debugging
from netc.runtime.locks import building

if TYPE_CHECKING:
    from netc.compiler.program.plan import Plan

# FLOPs of a step, and of the prediction of a single sample, below which a second worker is not even tried: see
# targets/sharing.py. To wake one takes some 50 us, and a prediction wakes it each time; 4 million FLOPs of a single
# sample, which read 8 MB of weights, take 300 us.
_WORTH_SHARING, _WORTH_SHARING_A_SAMPLE = 400_000, 4_000_000


def plan_step(
    graph: Graph,
    offsets: dict[str, int],
    sizes: Sizes,
    machine: Machine,
    capacity: Sizes | None = None,
    has_ranks: bool = False,
) -> "Plan":
    """The plan for a machine of a graph that went through the passes; verified in the debugging mode.

    `sizes` decide how each value is computed, and so its bits; `capacity` is for how many samples and rows there is
    memory, if fewer than `sizes`. With `has_ranks`, ranks can share its groups out.
    """
    from netc.compiler.lowering.lower import lower
    from netc.compiler.planning.plan import plan

    tasks = lower(graph, sizes, machine)
    planned = plan(tasks, offsets, sizes if capacity is None else capacity, machine, has_ranks)
    if is_debugging():
        from netc.compiler.planning.verify_plan import verify_plan

        verify_plan(tasks, planned)
    if has_ranks:
        from netc.compiler.planning.ranks import among_ranks

        planned = among_ranks(planned, machine)
    return planned


class Prepared:
    """A graph before the passes, for a target and steps of `batch` samples, over arrays at these offsets.

    `is_kept` says whether its plans may come from the cache: then there is code and no `Plan`. With `has_ranks`, ranks
    run its steps together. With `supplies_constants`, numbers of the graph are leaves (passes/supplied_constants.py),
    and `constants` has the number of each by name.
    """

    def __init__(
        self,
        source: Graph,
        offsets: dict[str, int],
        target: Target,
        batch: int,
        is_kept: bool = True,
        has_ranks: bool = False,
        supplies_constants: bool = False,
    ) -> None:
        self.source, self._offsets, self._target, self.batch = source, offsets, target, batch
        self._has_ranks = has_ranks
        self.results: dict[str, Value] = source.printed_results()
        self.is_update = source.has(ResultKind.UPDATE)  # of parameters or states
        self._graph: Graph | None = None
        self.constants: dict[str, float] = {}
        decisive = source
        if supplies_constants:
            decisive, self.constants = with_supplied_constants(pipeline.run_passes(source))
            self._graph = decisive
        self._kept = KeptSteps.of(decisive, offsets, target, batch, has_ranks) if is_kept else None
        facts = self._kept.facts() if self._kept is not None else None
        if facts is None:
            facts = Facts.of(self.graph)
            if self._kept is not None:
                self._kept.save_facts(facts)
        self.facts = facts

    @property
    def graph(self) -> Graph:
        """The graph after the passes, which run when it is first asked for."""
        if self._graph is None:
            with building:
                if self._graph is None:
                    self._graph = pipeline.run_passes(self.source)
        return self._graph

    def key(self, capacity: Sizes) -> str:
        """A text of all that decides the plan for these sizes and its code, within a process."""
        sizes = capacity if isinstance(capacity, int) else sorted(capacity.items())
        facts = (self.batch, sizes, [*self._offsets.items()], self._has_ranks, self._target.name, self._target.machine)
        return f"{facts!r}\n{print_graph(self.graph)}"

    def kept(self, capacity: Sizes) -> KeptPlan | None:
        """The plan for these sizes in the cache, if there is one."""
        return self._kept.plan(capacity) if self._kept is not None else None

    def plan(self, capacity: Sizes) -> "Plan":
        """The plan for these sizes: see `plan_step`. The batch of a step is `batch`, however small the room is."""
        sizes: Sizes = self.batch if isinstance(capacity, int) else {**capacity, BATCH: self.batch}
        return plan_step(self.graph, self._offsets, sizes, self._target.machine, capacity, self._has_ranks)

    def facts_of(self, plan: "Plan") -> PlanFacts:
        """The facts of a plan of this graph."""
        return PlanFacts(flops(self.graph, plan.sizes), plan.shared, plan.private)

    def keep(self, capacity: Sizes, facts: PlanFacts, code: Code | None = None) -> None:
        """Keeps the facts of a plan in the cache, and its code if there is any."""
        if self._kept is not None:
            self._kept.save_plan(capacity, facts, code)

    def cost(self, capacity: Sizes) -> PlanFacts:
        """The facts of the plan for these sizes."""
        if (kept := self.kept(capacity)) is not None:
            return kept.facts
        facts = self.facts_of(self.plan(capacity))
        self.keep(capacity, facts)
        return facts

    def members(self, facts: PlanFacts, capacity: Sizes, workers: int) -> int:
        """The most workers that take part in a step: any number gives the same bits, but a small step is done before a
        second worker is awake. Calls then try whether one is faster."""
        is_a_sample = capacity == 1 and not self.is_update
        worth = _WORTH_SHARING_A_SAMPLE if is_a_sample else _WORTH_SHARING
        return workers if facts.flops >= worth else 1
