"""One graph made ready to run: memory, machine code, and the way in for workers. Or the same graph in the reference interpreter, or its plan emulated."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from netc.compiler import pipeline
from netc.compiler.cost import flops
from netc.compiler.dims import lengths_of, names_in
from netc.compiler.graph import Graph
from netc.compiler.kernels.build import Linked, build
from netc.compiler.kernels.machine import Machine, cores
from netc.compiler.kernels.schedule import (
    BARRIER,
    BATCH,
    MEMBER,
    MEMBERS,
    MOST_SPINS,
    NAN_BYTE,
    ORDER,
    PERSISTENT,
    PRIVATE,
    PROFILE,
    SHARED,
    SPINS,
    STEPS,
    TABLES,
    YIELD,
    Arenas,
)
from netc.compiler.kernels.targets import machine_for
from netc.compiler.model import Model
from netc.compiler.passes.lower import lower
from netc.compiler.passes.plan import ALIGNMENT, SLACK, Plan, Table, layout, plan
from netc.compiler.reference import evaluate
from netc.compiler.rows import PREFIX
from netc.compiler.types import NUMPY, Sizes, Type
from netc.dsl.diagnostics import fault
from netc.runtime.data.madeup import LONGEST
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.workers import Workers, yield_address

if TYPE_CHECKING:  # imported where they are used: by no command of a user's
    from netc.compiler.emulator.run import Emulator, Memories

Arrays = Mapping[str, Array]
_WORTH_SHARING = 400_000  # FLOPs of a step, below which its barriers cost more than a second worker gives
Backend = Literal[
    "numba", "reference", "plan"
]  # machine code; an operation at a time; the plan of machine code, emulated


def footprint(size: int) -> int:
    """The bytes that a Memory of a size takes: some stay before its first address."""
    return size + ALIGNMENT


def check_backend(backend: str) -> None:
    """Raises ValueError if there is no such backend."""
    if backend not in get_args(Backend):
        raise ValueError(f"no backend is called `{backend}`: there are {', '.join(get_args(Backend))}")


class Memory:
    """Bytes at an address that is a multiple of ALIGNMENT, and arrays that are views of them. They begin as zeros; with `unwritten`, in the debugging
    mode, as NaN."""

    def __init__(self, size: int, unwritten: bool = False) -> None:
        is_spoiled = unwritten and is_debugging()
        size_in_all = footprint(size)
        self._bytes = np.full(size_in_all, NAN_BYTE, np.uint8) if is_spoiled else np.zeros(size_in_all, np.uint8)
        self._start = -self._bytes.ctypes.data % ALIGNMENT
        self.address = self._bytes.ctypes.data + self._start
        self.bytes = self._bytes[self._start : self._start + size]

    def view(self, offset: int, type_: Type, batch: int) -> Array:
        return self.array(offset, type_.dtype, type_.shape(batch))

    def array(self, offset: int, dtype: str, shape: tuple[int, ...]) -> Array:
        size = NUMPY[dtype].itemsize * math.prod(shape)
        raw = self._bytes[self._start + offset : self._start + offset + size]
        return raw.view(NUMPY[dtype]).reshape(shape)


def has_rows(graph: Graph) -> bool:
    """Whether a graph needs the lengths of sequences: some value has a row for each step, or it reads a table of rows."""
    return any(
        value.type.is_varying or str(value.attributes.get("name", "")).startswith(PREFIX) for value in graph.values()
    )


def is_debugging() -> bool:
    """Whether NETC_DEBUG=1 is set. Then every plan is verified, and arenas (before each step) and results are filled with NaN bytes, so that a stale read
    shows at once. On in all tests."""
    return os.environ.get("NETC_DEBUG") == "1"


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
        types |= {str(value.attributes["name"]): value.type for value in (graph.values(kind) if graph else ())}
    offsets, size = layout((name, type_.nbytes(1)) for name, type_ in types.items())
    return types, offsets, size


def plan_step(graph: Graph, offsets: dict[str, int], sizes: Sizes, machine: Machine) -> Plan:
    """The plan of a graph that went through the passes, for a machine; verified in the debugging mode."""
    tasks = lower(graph, sizes, machine)
    planned = plan(tasks, offsets, sizes, machine)
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
    """One graph without varying dimensions, ready to run on any number of samples, `batch` of them a step (sequences.py has those with them)."""

    def __init__(
        self,
        graph: Graph,
        state: State,
        batch: int,
        workers: Workers,
        backend: Backend = "numba",
        machine: Machine | None = None,
        profiled: bool = False,
    ) -> None:
        check_backend(backend)
        self.graph, self.state, self.batch, self.workers = pipeline.run_passes(graph), state, batch, workers
        self.backend, self.machine, self.profiled = backend, machine_for(machine), profiled
        self.given = [str(value.attributes["name"]) for value in self.graph.values("given")]
        self.trace: Callable[[Graph, Arrays, Sizes], dict[str, Array]] = evaluate  # the interpreter
        self.plan: Plan | None = None
        self.linked: Linked | None = None
        self.emulator: Emulator | None = None
        self.ends: list[int] = []  # where each table of the plan ends, for the emulator
        if backend != "reference" and not has_rows(self.graph):
            self.build(batch)

    def build(self, sizes: Sizes) -> Plan:
        """Plan and link for steps of at most these sizes."""
        self.plan = plan_step(self.graph, self.state.offsets, sizes, self.machine)
        if self.backend == "plan":
            from netc.compiler.emulator.run import Emulator

            self.members = self.workers.count
            self.emulator = Emulator(self.plan, self.members)
        else:
            count = self.workers.count
            self.members = count if self.workers.shares_small_steps else members_of(self.graph, sizes, count)
            spoiled = Arenas(self.plan.shared, self.plan.private) if is_debugging() else None
            self.linked = build(self.plan.schedule, self.machine, self.profiled, spoiled)
        # of each worker the ticks in each call, and in all; nobody writes it unless `profiled`
        self.ticks = np.zeros((self.members, len(self.plan.tasks) + 1), np.int64)
        self.shared = Memory(self.plan.shared)
        self.private = [Memory(self.plan.private) for _ in range(self.members)]
        return self.plan

    def run(self, fields: Mapping[str, Array | Ragged], order: Array) -> dict[str, Array | Ragged]:
        """Run the samples of `order`, in steps of `batch`, the last one smaller; updates go into the program's memory.

        Returns what is computed a sample in the order given, and what is computed a step with the steps as first axis.
        """
        arrays = {name: field for name, field in fields.items() if not isinstance(field, Ragged)}
        return {**(self._interpret(arrays, order) if self.plan is None else self.run_arrays(arrays, order))}

    def run_arrays(self, fields: Arrays, order: Array) -> dict[str, Array]:
        """As `run`, compiled: all whole steps in one go, then the smaller last one."""
        assert self.plan is not None
        count, steps = len(order), -(-len(order) // self.batch)
        order = np.ascontiguousarray(order, np.int32)
        results = {name: self._result(table, count, steps) for name, table in self.plan.results.items()}
        whole = count // self.batch
        for at, turns, size in ((0, whole, self.batch), (whole, 1, count % self.batch)):
            if not turns or not size:
                continue
            tables, dimensions = self.rows_of_step(size)
            held = self.held({**fields, **tables})
            moved = [
                address + at * (fixed + self.batch * per_sample)
                for address, (fixed, per_sample) in zip(
                    self.addresses(held, results), self.plan.schedule.tables, strict=True
                )
            ]
            self.enter(order.ctypes.data + 4 * at * self.batch, moved, turns, size, dimensions)
        return results

    def rows_of_step(self, size: int) -> tuple[Arrays, Array | None]:
        """The index tables and the words of dimensions of a step of so many samples, where they are the same for all such steps."""
        return {}, None

    def held(self, fields: Arrays) -> dict[str, Array]:
        """The arrays that the program reads, as it wants them: they must stay until it is done."""
        assert self.plan is not None
        made = {}
        for name, table in self.plan.inputs.items():
            array = np.ascontiguousarray(fields[name], NUMPY[table.type.dtype])
            if not table.type.is_batched:
                kept = Memory(array.nbytes + SLACK).array(0, table.type.dtype, array.shape)
                kept[...] = array
                array = kept
            made[name] = array
        return made

    def addresses(self, held: Arrays, results: Arrays) -> list[int]:
        """Where each table of the plan is."""
        assert self.plan is not None
        found, sizes = ([0] * len(self.plan.schedule.tables) for _ in range(2))
        for tables, arrays in ((self.plan.inputs, held), (self.plan.results, results)):
            for name, table in tables.items():
                found[table.index], sizes[table.index] = arrays[name].ctypes.data, arrays[name].nbytes
        if self.emulator is not None:
            self.ends = [address + size for address, size in zip(found, sizes, strict=True)]
        return found

    @staticmethod
    def _result(table: Table, count: int, steps: int) -> Array:
        """Memory for a result of all samples or steps, with room behind it for what tiles read too far."""
        shape = (count, *table.type.shape(1)[1:]) if table.type.is_batched else (steps, *table.type.shape(1))
        size = NUMPY[table.type.dtype].itemsize * math.prod(shape)
        return Memory(size + SLACK, unwritten=True).array(0, table.type.dtype, shape)

    def enter(self, order: int, tables: list[int], steps: int, batch: int, dimensions: Array | None = None) -> None:
        """All workers run the steps; `dimensions` are the words of the varying ones, for each worker a row."""
        words = dimensions if dimensions is not None else np.zeros((self.members, 0), np.int64)
        if self.emulator is not None:
            self.emulator.run(self.memories(order, tables, steps * batch), steps, batch, words)
            return
        assert self.linked is not None
        linked, workers = self.linked, self.workers
        spins = MOST_SPINS if self.members <= cores() else 0
        contexts = np.zeros((self.members, TABLES + len(tables) + words.shape[1]), np.int64)
        for member, context in enumerate(contexts):
            context[:TABLES] = 0
            context[PERSISTENT], context[SHARED] = self.state.memory.address, self.shared.address
            context[PRIVATE], context[ORDER] = self.private[member].address, order
            context[MEMBER], context[MEMBERS] = member, self.members
            context[BATCH], context[STEPS] = batch, steps
            context[PROFILE] = self.ticks[member].ctypes.data
            context[BARRIER], context[YIELD] = workers.barrier.ctypes.data, yield_address()
            context[SPINS] = spins
            context[TABLES:] = [*tables, *words[member]]
        workers.run(lambda member: linked.run(contexts[member].ctypes.data), self.members)

    def memories(self, order: int, tables: list[int], samples: int) -> "Memories":
        """The memories that the emulator works on, as bytes; a table ends where its array ends."""
        from netc.compiler.emulator.run import Memories, array_at

        return Memories(
            self.state.memory.bytes,
            self.shared.bytes,
            [memory.bytes for memory in self.private],
            array_at(order, 4 * samples),
            [array_at(address, end - address) for address, end in zip(tables, self.ends, strict=True)],
        )

    def interpret(self, fields: Arrays, sizes: Sizes) -> dict[str, Array]:
        """One step in the reference interpreter; updates go into the program's memory."""
        results = self.trace(self.graph, {**self.state.arrays, **fields}, sizes)
        results = {name: np.array(value) for name, value in results.items()}  # some are views of what is now replaced
        for name in [name for name in results if name.startswith("update.")]:
            self.state.arrays[name.removeprefix("update.")][...] = results.pop(name)
        return results

    def _interpret(self, fields: Arrays, order: Array) -> dict[str, Array]:
        parts: dict[str, list[Array]] = {}
        whole = {value.attributes["name"] for value in self.graph.values("given") if not value.type.is_batched}
        per_step = {value.attributes["name"] for value in self.graph.values("given") if "per" in value.attributes}
        read = {value.attributes["name"] for value in self.graph.values() if "name" in value.attributes}
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
