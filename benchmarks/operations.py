"""The table of operations: every operation and block on several shapes, forward and its gradients, beside its bound."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import msgspec
import numpy as np

import netc
from benchmarks.cases import Case, cases
from netc.commands.terminal import table
from netc.compiler.backends import target_of
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.prepare import prepared
from netc.compiler.passes.scans import opened
from netc.compiler.planning import plan
from netc.compiler.targets.bounds import Bound
from netc.compiler.targets.target import Timed
from netc.dsl.diagnostics import Fault
from netc.runtime.data.stored import Array
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.execution import batches, loaded, sequences
from netc.runtime.execution.batches import result_of
from netc.runtime.execution.fields import Fields
from netc.runtime.execution.resources import Resources, State
from netc.runtime.execution.step import Step
from netc.runtime.execution.workers import Workers
from netc.runtime.insight.profile import Calls, Row, fastest, rows_of
from netc.testing import graph_of, random_array

SECONDS = 0.05  # of measuring each graph
WORST = 30
_STEPS, _RUNS = 100_000, 10  # of a step that takes some microseconds, to count ticks
_DIRECTION = "g"  # the input that a result is multiplied with, which begins the backward pass
_FORWARD, _INPUT, _WEIGHT = "forward", "input gradient", "weight gradient"


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table: what was computed, the seconds of its kernels, their bytes, and their bound."""

    name: str
    size: str
    dtype: str
    gives: str  # forward, input gradient or weight gradient
    seconds: float
    nbytes: int
    bound: Bound

    @property
    def share(self) -> float:
        """The bound's share of the time."""
        return self.bound.seconds / self.seconds if self.seconds else 1.0

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        what = (self.name, self.size, self.dtype, self.gives)
        return (*what, f"{self.seconds * 1e6:.1f}", f"{self.nbytes / 1024:.0f}", self.bound.name, f"{self.share:.0%}")


HEADS = ("operation", "shape", "type", "gives", "us", "KiB", "bound", "of bound")


@dataclass(frozen=True, slots=True)
class _Part(Calls):
    """The kernels of one row of the table."""

    rows: list[Row]


@dataclass(frozen=True, slots=True)
class _Run:
    """A step of one case that is ready to run, the arrays that it reads, and how it is run over an order of samples."""

    step: Step
    fields: Fields
    run: Callable[[Array], object]


def show(name: str, threads: int = 1, seconds: float = SECONDS) -> list[dict[str, object]]:
    """Prints the cases whose text contains `name` as they are measured, then the worst rows. Returns all rows.

    Each graph of a case runs for `seconds`.
    """
    start, rows = time.perf_counter(), list[Measured]()
    for case in cases(name):
        for row in measure(case, threads, seconds):
            rows.append(row)
            print("  ".join(row.cells), flush=True)
    worst = sorted(rows, key=lambda row: row.share)[:WORST]
    took = f"{time.perf_counter() - start:.0f} s on {threads} thread{'s' * (threads > 1)}"
    print(f"\n{len(rows)} rows in {took}. The worst are:")
    table([HEADS, *(row.cells for row in worst)], right=(4, 5, 7))
    return [msgspec.to_builtins(row) for row in rows]


def measure(case: Case, threads: int = 1, seconds: float = SECONDS) -> Iterator[Measured]:
    """Measures a case and yields its rows. Each of its two graphs runs for `seconds`."""
    program = netc.compile(netc.parse(case.text), threads=threads) if case.text else None
    workers = program.workers if program is not None else Workers(threads)
    directions: set[bool] = set()
    for parts_of, graph in ((_forward_parts, forward(case)), (_gradient_parts, backward(case))):
        if graph is None:
            continue
        ready, of_tick = _ready(case, graph, program, workers), tick()
        with _kept_results(graph):
            times = fastest(ready.step, ready.run, case.batch, seconds, of_tick)
        assert isinstance(ready.step.executable, Timed)
        bounds = ready.step.executable.bounds(ready.step.members, workers.run)
        parts = parts_of(ready.step.graph, rows_of(ready.step, times, ready.fields, bounds), directions)
        for gives, rows in parts.items():
            if rows:
                part, spent = _Part(rows), sum(row.seconds for row in rows)
                yield Measured(case.title, case.size, case.dtype, gives, spent, part.nbytes, part.bound)


@cache
def tick() -> float:
    """The seconds of a tick: of the clock that kernels read, counted in a long call."""
    (case,) = cases("tanh odd f32")
    ready = _ready(case, forward(case), None, Workers(1))
    order = np.tile(np.arange(case.batch), _STEPS)
    ready.run(order)
    executable, rates = ready.step.executable, []
    assert isinstance(executable, Timed)
    for _ in range(_RUNS):
        executable.ticks[:] = 0
        start = time.perf_counter()
        ready.step.run(ready.fields, order)
        rates.append((time.perf_counter() - start) / executable.ticks[0, -1])
    return float(min(rates))


@contextmanager
def _kept_results(graph: Graph) -> Iterator[None]:
    """Within this context, all runs write the results of a graph to the same memory, and all steps of a run
    (`_same_rows`).

    Otherwise each run writes to new pages, and the time to get these from the system counts as that of a kernel. Each
    result has its own memory: results of one type are asked for in turns.
    """
    memory: dict[tuple[Type, tuple[int, ...]], deque[Array]] = {}
    of_type = Counter(value.type for value in graph.results.values())

    def kept(type_: Type, shape: tuple[int, ...]) -> Array:
        arrays = memory.setdefault((type_, shape), deque())
        arrays.append(result_of(type_, shape) if len(arrays) < of_type[type_] else arrays.popleft())
        return arrays[-1]

    with ExitStack() as stack:
        for module in (batches, loaded, sequences):
            stack.enter_context(patch.object(module, "result_of", kept))
        yield


def _same_rows() -> AbstractContextManager[object]:
    """Programs that are built within this context write each step's results to the same rows, so that steps can follow
    each other as in training, and the bounds say, and no memory is new to them."""
    return patch.object(plan, "_step_bytes", lambda table: (0, 0))


def _fresh(case: Case) -> tuple[Graph, list[Value]]:
    """The graph of a case, and its results."""
    if case.operation is not None:
        graph, _, *results = graph_of(case.operation, case.types, case.attributes, DTYPES[case.dtype].name)
        return graph, results
    graph = opened(prepared(netc.parse(case.text).graph.of(ResultKind.OUTPUT), training=True))
    return graph, list(graph.results.values())


def forward(case: Case) -> Graph:
    """Returns the graph that computes the results of a case."""
    graph, results = _fresh(case)
    graph.results = {ResultKind.VALUE.named(f"y{i}"): value for i, value in enumerate(results)}
    return graph


def backward(case: Case) -> Graph | None:
    """Returns the graph of the gradients of all floats that a case reads: of the sum of its result times an input.

    None if it has no gradient.
    """
    graph, (result, *_) = _fresh(case)
    leaves = [*graph.values(Role.INPUT), *graph.values(Role.PARAMETER)]
    wrt = [leaf for leaf in leaves if leaf.type.is_float]
    if not result.type.is_float or not wrt:
        return None
    directed = result * graph.leaf(Role.INPUT, _DIRECTION, result.type)
    loss = apply("sum", directed, over=tuple(range(result.type.rank))) if result.type.rank else directed
    try:
        gradients = differentiate(graph, loss, wrt)
    except Fault:  # an operation without a gradient
        return None
    graph.results = {ResultKind.GRADIENT.named(leaf.name): gradient for leaf, gradient in gradients.items()}
    return graph


def _ready(case: Case, graph: Graph, program: netc.Program | None, workers: Workers) -> _Run:
    """Builds the step of a graph, and random data for it."""
    types = {leaf.name: leaf.type for leaf in graph.values(Role.INPUT)}
    if program is not None:
        data = synthetic_data(program.model, case.batch, types=types)
        with _same_rows():
            profiled = program.compiled.new_step(graph, data, profiled=True)
        return _Run(profiled, data, lambda order: program.run_step(profiled, data, order, 0))
    assert case.operation is not None
    rng, domain = np.random.default_rng(0), case.operation.domain
    arrays = {name: random_array(type_, rng, domain, case.batch) for name, type_ in types.items()}
    with _same_rows():
        step = Step(graph, Resources(State.of(None, graph), workers, target_of()), case.batch, True, case.batch)
    return _Run(step, arrays, lambda order: step.run(arrays, order))


def _forward_parts(graph: Graph, rows: Sequence[Row], directions: set[bool]) -> dict[str, list[Row]]:
    """The kernels that compute, without those that only gather a batch. Adds the directions of scans."""
    directions.update(row.task.walk.is_reversed for row in rows if row.task.walk is not None)
    return {_FORWARD: [row for row in rows if any(value.operands for value in row.task.values)]}


def _gradient_parts(graph: Graph, rows: Sequence[Row], directions: set[bool]) -> dict[str, list[Row]]:
    """The kernels of input and weight gradients, without those that a forward pass has done.

    The gradient of a scan runs in the other direction, unless the case has scans in both.
    """
    gradients = graph.results_of(ResultKind.GRADIENT).values()
    of_inputs = needed_by([value for value in gradients if value.type.is_batched])
    behind = {value for value in graph.values(Role.INPUT) if value.name == _DIRECTION}
    for value in graph.values():
        if any(operand in behind for operand in value.operands):
            behind.add(value)
    parts: dict[str, list[Row]] = {_INPUT: [], _WEIGHT: []}
    for row in rows:
        walk, values = row.task.walk, [value for value in row.task.values if value in behind and value.operands]
        if walk is not None:
            if len(directions) > 1 or walk.is_reversed not in directions:
                parts[_INPUT].append(row)
        elif values:
            parts[_INPUT if any(value in of_inputs for value in values) else _WEIGHT].append(row)
    return parts
