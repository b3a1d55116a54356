"""One graph made ready to run: memory, machine code, and the way in for workers. Or the same graph in the reference interpreter, or its plan emulated."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from netc.compiler import pipeline
from netc.compiler.cost import flops
from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.rows import PREFIX, Rows
from netc.compiler.ir.types import BATCH, Sizes, Type, size_of
from netc.compiler.kernels.build import Linked
from netc.compiler.kernels.machine import Machine
from netc.compiler.kernels.targets import machine_for
from netc.compiler.model import Model
from netc.compiler.passes.lower import lower
from netc.compiler.passes.plan import Plan, layout, plan
from netc.compiler.reference import evaluate
from netc.dsl.diagnostics import fault
from netc.runtime.available import require
from netc.runtime.data.madeup import LONGEST
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.executable import Executable
from netc.runtime.locks import building
from netc.runtime.memory import Memory, footprint, is_debugging
from netc.runtime.workers import Workers

Arrays = Mapping[str, Array]
_WORTH_SHARING = 400_000  # FLOPs of a step, below which its barriers cost more than a second worker gives
Backend = Literal[
    "numba", "reference", "plan"
]  # machine code; an operation at a time; the plan of machine code, emulated


def check_backend(backend: str) -> None:
    """Raises ValueError if there is no such backend."""
    if backend not in get_args(Backend):
        raise ValueError(f"no backend is called `{backend}`: there are {', '.join(get_args(Backend))}")


def has_rows(graph: Graph) -> bool:
    """Whether a graph needs the lengths of sequences: some value has a row for each step, or it reads a table of rows."""
    return any(value.type.is_varying or value.name.startswith(PREFIX) for value in graph.values())


@dataclass(frozen=True, slots=True)
class State:
    """What stays between steps, parameters and the optimizer's states, in one memory: offsets and arrays by name."""

    memory: Memory
    offsets: dict[str, int]
    arrays: dict[str, Array]

    @classmethod
    def of(cls, model: Model | None, graph: Graph | None) -> "State":
        types, offsets, size = state_layout(model, graph)
        memory = Memory(size)
        return cls(memory, offsets, {name: memory.view(offsets[name], type_, 1) for name, type_ in types.items()})


def state_layout(model: Model | None, graph: Graph | None) -> tuple[dict[str, Type], dict[str, int], int]:
    """Types and offsets by name of what stays between steps, and its bytes: what the model owns, and what the graph of its training adds."""
    types = {name: info.type for name, info in {**model.trainables, **model.states}.items()} if model else {}
    for kind in ("parameter", "state"):
        types |= {value.name: value.type for value in (graph.values(kind) if graph else ())}
    offsets, size = layout((name, type_.nbytes(1)) for name, type_ in types.items())
    return types, offsets, size


def plan_step(graph: Graph, offsets: dict[str, int], sizes: Sizes, machine: Machine, room: Sizes | None = None) -> Plan:
    """The plan of a graph that went through the passes, for a machine; verified in the debugging mode.

    `sizes` decide what is computed how, and so its bits; `room` is for how many samples and rows there is memory, if that are fewer.
    """
    tasks = lower(graph, sizes, machine)
    planned = plan(tasks, offsets, sizes if room is None else room, machine)
    if is_debugging():
        from netc.compiler.passes.verify_plan import verify_plan

        verify_plan(tasks, planned)
    return planned


def sizes_of(graph: Graph, batch: int, longest: Mapping[str, int]) -> Sizes:
    """The sizes of a graph's named dimensions for a batch of samples that have as many steps as `longest` says of each varying one."""
    dims = {value.type.rows for value in graph.values() if value.type.is_varying}
    if not dims:
        return batch
    lengths = {dim: np.full(batch, steps) for dim, steps in longest.items()}
    return {"batch": batch, **{str(dim): int(lengths_of(str(dim), lengths, batch).sum()) for dim in dims}}


def step_memory(
    model: Model,
    workers: int,
    longest: Mapping[str, int],
    is_frugal: bool | None = None,
    machine: Machine | None = None,
) -> tuple[int, int]:
    """The exact bytes that training takes: what stays between steps, and the arenas of a step (of both kinds, where batches are accumulated).

    `longest` is how long each sample is, by varying dimension; `is_frugal` is as the model's limit has it, if it is not given; `machine` is as `machine_for`
    has it.
    """
    machine = machine_for(machine)
    if is_frugal is None:
        is_frugal = must_be_frugal(model, workers, machine)
    graph, batch = pipeline.run_passes(pipeline.training_graph(model, is_frugal)), model.train.batch
    graphs = [graph]
    if model.train.accumulate > 1:
        graphs.append(pipeline.run_passes(pipeline.accumulation_graph(model, is_frugal)))
    _, offsets, kept = state_layout(model, graph)
    arenas = 0
    for one in graphs:
        sizes = sizes_of(one, batch, longest)
        made = plan_step(one, offsets, sizes, machine)
        arenas += footprint(made.shared) + members_of(one, sizes, workers) * footprint(made.private)
    return footprint(kept), arenas


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a training step costs: FLOPs, bytes that stay between steps, bytes of its arenas."""

    flops: int
    kept: int
    arenas: int


def cost_of_step(model: Model, workers: int, machine: Machine | None = None) -> StepCost:
    """Of a batch of samples that are as long as `longest_of` says. Faults as must_be_frugal."""
    machine = machine_for(machine)
    longest, is_frugal = in_a_step(model, longest_of(model)), must_be_frugal(model, workers, machine)
    graph = pipeline.run_passes(pipeline.training_graph(model, is_frugal))
    kept, arenas = step_memory(model, workers, longest, is_frugal, machine)
    return StepCost(flops(graph, sizes_of(graph, model.train.batch, longest)), kept, arenas)


def longest_of(model: Model) -> dict[str, int]:
    """How long a sample is at most, by varying dimension: LONGEST where nobody said."""
    return {**dict.fromkeys(declared_dims(model), LONGEST), **model.bounds}


def declared_dims(model: Model) -> list[str]:
    """The varying dimensions that the inputs and targets declare."""
    types = (*model.inputs.values(), *model.targets.values())
    return list(dict.fromkeys(name for type_ in types if type_.is_varying for name in names_in(str(type_.rows))))


def in_a_step(model: Model, longest: Mapping[str, int]) -> dict[str, int]:
    """How many steps of each varying dimension are trained at once, from how many a sample has: fewer, where sequences are cut into chunks."""
    cut = model.train.truncate
    return {**longest, cut.dim: min(longest.get(cut.dim, cut.steps), cut.steps)} if cut is not None else dict(longest)


def must_be_frugal(model: Model, workers: int, machine: Machine | None = None) -> bool:
    """Whether a step stays under the model's limit only if little of its scans is kept, and computed again. Faults E1005 if it does not even then, and E0602
    if how long sequences are is not known."""
    limit = model.train.memory
    if limit is None:
        return False
    longest = in_a_step(model, model.bounds)
    if unknown := sorted(set(declared_dims(model)) - set(longest)):
        told = f"how long `{unknown[0]}` is at most must be known"
        fault(
            "E0602",
            told,
            limit.span,
            "the memory of a step depends on it",
            hint=f"{unknown[0]} <= 100, where it is declared",
        )
    least = 0
    for is_frugal in (False, True):
        least = sum(step_memory(model, workers, longest, is_frugal, machine))
        if least <= limit.nbytes:
            return is_frugal
    told = f"a step of {model.train.batch} samples takes {least:,} bytes at least"
    fault("E1005", told, limit.span, f"this is {limit.nbytes:,}", hint=f"batch = {max(model.train.batch // 2, 1)}")


def members_of(graph: Graph, sizes: Sizes, workers: int) -> int:
    """How many of the workers take part in a step. Any number gives the same bits, and a small step is done before a second one is awake."""
    return workers if flops(graph, sizes) >= _WORTH_SHARING else 1


class Step:
    """One graph without varying dimensions, ready to run on any number of samples, `batch` of them a step (sequences.py has those with them).

    There is memory for as many samples as the data has that it was made for (`rows`), if those are fewer than a batch. Where more come, it is planned anew.
    """

    def __init__(
        self,
        graph: Graph,
        state: State,
        batch: int,
        workers: Workers,
        backend: Backend = "numba",
        machine: Machine | None = None,
        profiled: bool = False,
        rows: int | None = None,
    ) -> None:
        check_backend(backend)
        self.graph, self.state, self.batch, self.workers = pipeline.run_passes(graph), state, batch, workers
        self.backend, self.machine, self.profiled = backend, machine_for(machine), profiled
        self.given = [value.name for value in self.graph.values("given")]
        self.is_update = any(name.startswith("update.") for name in self.graph.results)  # of parameters or states
        self.trace: Callable[[Graph, Arrays, Sizes], dict[str, Array]] = evaluate  # the interpreter
        self.executable: Executable | None = None
        if backend != "reference" and not has_rows(self.graph):
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
        """How many workers take part at most."""
        return self.executable.members if self.executable is not None else 1

    def with_batch(self, batch: int) -> Self:
        """The same interpreted step, so many samples at a time."""
        assert self.backend == "reference", "plans are made for a batch"
        step = copy(self)
        step.batch = batch
        return step

    def build(self, room: Sizes) -> Executable:
        """Plan and link, with memory for steps of at most these sizes. Raises NotEnough where the machine has less."""
        nominal: Sizes = self.batch if isinstance(room, int) else {**room, BATCH: self.batch}
        planned = plan_step(self.graph, self.state.offsets, nominal, self.machine, room)
        count, is_emulated = self.workers.count, self.backend == "plan"
        shares = is_emulated or self.workers.shares_small_steps
        members = count if shares else members_of(self.graph, room, count)
        samples = size_of(BATCH, room)
        require(
            footprint(planned.shared) + members * footprint(planned.private),
            f"a step of {samples:,} sample{'s' * (samples != 1)}",
        )
        return Executable(planned, self.state.memory, self.workers, members, self.machine, is_emulated, self.profiled)

    def _with_room_for(self, count: int) -> Executable:
        """What runs so many samples: planned anew, for at least twice as many, where it was planned for fewer. Calls that began before go on with the old one."""
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

        Returns what is computed a sample in the order given, and what is computed a step with the steps as first axis. Several threads may run a step at the
        same time if it is no update (locks.py has the guard of a program).
        """
        arrays = {name: field for name, field in fields.items() if not isinstance(field, Ragged)}
        if self.executable is None:
            return {**self._interpret(arrays, order)}
        return {**self.run_arrays(self._with_room_for(len(order)), arrays, order)}

    def run_arrays(self, executable: Executable, fields: Arrays, order: Array) -> dict[str, Array]:
        """As `run`, compiled: all whole steps in one go, then the smaller last one."""
        plan, count, steps = executable.plan, len(order), -(-len(order) // self.batch)
        order = np.ascontiguousarray(order, np.int32)
        results = {}
        for name, table in plan.results.items():
            size = executable.result_bytes(table, count, steps)
            require(size, f"`{name}` of {count:,} samples", self.graph.results[name].span)
            results[name] = executable.result(table, count, steps)
        whole = count // self.batch
        for at, turns, size in ((0, whole, self.batch), (whole, 1, count % self.batch)):
            if not turns or not size:
                continue
            index, rows = self.rows_of_step(plan, size)
            tables = executable.tables(executable.inputs({**fields, **index}), results)
            offsets = [at * (fixed + self.batch * per_sample) for fixed, per_sample in plan.schedule.tables]
            executable.run(order[at * self.batch :], tables.moved(offsets), turns, size, rows)
        return results

    def rows_of_step(self, plan: Plan, size: int) -> tuple[Arrays, Mapping[str, Rows]]:
        """The index tables and the rows of a step of so many samples, where they are the same for all such steps."""
        return {}, {}

    def interpret(self, fields: Arrays, sizes: Sizes) -> dict[str, Array]:
        """One step in the reference interpreter; updates go into the program's memory."""
        results = self.trace(self.graph, {**self.state.arrays, **fields}, sizes)
        results = {name: np.array(value) for name, value in results.items()}  # some are views of what is now replaced
        for name in [name for name in results if name.startswith("update.")]:
            self.state.arrays[name.removeprefix("update.")][...] = results.pop(name)
        return results

    def _interpret(self, fields: Arrays, order: Array) -> dict[str, Array]:
        parts: dict[str, list[Array]] = {}
        whole = {value.name for value in self.graph.values("given") if not value.type.is_batched}
        per_step = {value.name for value in self.graph.values("given") if value.is_per_step}
        read = {value.name for value in self.graph.values() if value.name}
        for at in range(0, len(order), self.batch):
            chosen = order[at : at + self.batch]
            taken = {
                name: array[at // self.batch] if name in per_step else array if name in whole else array[chosen]
                for name, array in fields.items()
                if name in read
            }
            for name, value in self.interpret(taken, len(chosen)).items():
                parts.setdefault(name, []).append(value)
        return {
            name: np.concatenate(values) if self.graph.results[name].type.is_batched else np.stack(values)
            for name, values in parts.items()
        }
