"""Measures the time of each kernel call of a training step, and compares it with the bound that the machine sets."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from netc.compiler.analysis.cost import work_of
from netc.compiler.ir.arithmetic import Arithmetic
from netc.compiler.ir.dims import lengths_of
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.index_tables import dims_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.ir.value import Value
from netc.compiler.operations.attention import attend, attend_gradient, is_packed
from netc.compiler.planning.locality import Locality
from netc.compiler.planning.traffic import accesses_of, number_of, walked_rows
from netc.compiler.program import winograd
from netc.compiler.program.kernels import Contraction, WinogradKernel
from netc.compiler.program.tasks import Task
from netc.compiler.targets.bounds import Bound, Bounds, Work
from netc.compiler.targets.target import Timed
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.execution.fields import Fields
from netc.runtime.execution.sequences import SequenceStep
from netc.runtime.execution.step import Step
from netc.runtime.insight.phases import SharedPhase, expected_speed, phases_of
from netc.runtime.program import Program

_RUN = 0.004  # seconds of a run: long beside the time outside of its steps, and short beside a time slice
_SHORT_RUN, _MOST_STEPS = 2e-5, 64  # seconds and steps of a run if the time outside of steps does not count
_FEWEST_RUNS = 6  # if a step takes long
_MORE_THREADS = (2, 4, 8, 16)  # for which `expected` says what a plan allows


class Row(Struct, frozen=True):
    """One kernel call: its task, its seconds in a step, its work, and the bound that this work has on the machine."""

    task: Task
    seconds: float
    work: Work
    bound: Bound

    @property
    def flops(self) -> int:
        """The floating-point operations."""
        return self.work.flops

    @property
    def nbytes(self) -> int:
        """The bytes that are read or written, each once."""
        return sum(self.work.nbytes.values())


class Calls:
    """Sums over several calls, `rows`."""

    __slots__ = ()
    rows: Sequence[Row]

    @property
    def flops(self) -> int:
        """The floating-point operations of all calls."""
        return sum(row.flops for row in self.rows)

    @property
    def nbytes(self) -> int:
        """The bytes that all calls move."""
        return sum(row.nbytes for row in self.rows)

    @property
    def bound(self) -> Bound:
        """The sum of the calls' bounds, with the name of that which takes most of it."""
        seconds: dict[str, float] = {}
        for row in self.rows:
            seconds[row.bound.name] = seconds.get(row.bound.name, 0.0) + row.bound.seconds
        return Bound(max(seconds, key=lambda name: seconds[name], default="compute"), sum(seconds.values()))


class Line(Calls, Struct, frozen=True):
    """The cost of one line of the file in a step; `rows` are the calls most of whose values belong to it."""

    number: int
    rows: tuple[Row, ...]

    @property
    def seconds(self) -> float:
        """The time of all calls."""
        return sum(row.seconds for row in self.rows)


def line_of(task: Task) -> int:
    """The line that most values of a call come from."""
    lines = [value.span.line for value in task.values]
    return max(sorted(set(lines)), key=lines.count)


class Profile(Calls, Struct, frozen=True):
    """The calls of a step in order, and the `seconds` of the whole step.

    `waiting` is the part of it in which threads wait at barriers or have nothing to do; with the calls' seconds, which
    are means over the threads, it adds up to `seconds`. `bounds` are those of all threads together. `phase_of` says
    whether a task belongs to the forward pass, the backward pass or the update. `shared` says how the threads share the
    phases between barriers, and `expected` how many times faster than one thread some numbers of threads would be by
    the plan alone (see phases.py).
    """

    rows: list[Row]
    seconds: float
    waiting: float
    bounds: Bounds
    threads: int
    phase_of: Callable[[Task], str]
    shared: list[SharedPhase]
    expected: dict[int, float]

    @property
    def lines(self) -> list[Line]:
        """The step's calls by line, in the order of the file."""
        rows: dict[int, list[Row]] = {}
        for row in self.rows:
            rows.setdefault(line_of(row.task), []).append(row)
        return [Line(number, tuple(rows[number])) for number in sorted(rows)]


def phase_of(graph: Graph) -> Callable[[Task], str]:
    """A function that says what a task is for: losses and metrics (`forward`), gradients (`backward`) or `update`."""
    forward = needed_by([value for result, value in graph.results.items() if result.kind is not ResultKind.UPDATE])

    def phase(task: Task) -> str:
        if any(buffer.kind == "persistent" for buffer in task.writes):
            return "update"
        return "forward" if any(value in forward for value in task.values) else "backward"

    return phase


def profile(program: Program, fields: Fields, seconds: float = 1.0, again: bool = False) -> Profile:
    """Runs training steps over the fields for some seconds and times each call. The program is trained by it.

    Each call's time is its shortest in many short runs, when other processes have disturbed it least; the step's is
    their sum. The program's target must be one that times calls. With `again`, the bounds of the machine are measured
    in any case.
    """
    step = program.profiled(fields)
    count = len(next(iter(fields.values())))
    times = fastest(step, lambda order: program.run_step(step, fields, order, 0), count, seconds)
    bounds = _timed(step).bounds(step.members, program.workers.run, again)
    rows = rows_of(step, times, fields, bounds)
    total = sum(times.calls) + times.waiting
    sizes, plan = sizes_of(step, times, fields), step.plan
    assert plan is not None
    shared = phases_of(plan, times.by_thread, sizes)
    expected = {count: expected_speed(plan, times.calls, sizes, count) for count in (step.members, *_MORE_THREADS)}
    return Profile(rows, total, times.waiting, bounds, step.members, phase_of(step.graph), shared, expected)


class Times(Struct, frozen=True):
    """The seconds of each call in a step, the mean of all workers, and those in which workers wait.

    `by_thread` has the seconds of each worker in each call. If samples differ in length, all runs have the same steps,
    and these are the means of `order`, the samples of a run.
    """

    calls: list[float]
    waiting: float
    order: Array
    by_thread: Array


def fastest(step: Step, run: Callable[[Array], object], count: int, seconds: float, tick: float | None = None) -> Times:
    """Runs a step that counts ticks for some seconds, in runs of some milliseconds. Returns its shortest times.

    `run(order)` runs the samples that `order` numbers, among `count`. A tick takes `tick` seconds, and a run is then
    short; by default the seconds are counted, in longer runs, beside which the time between steps is small.
    """
    batch = min(step.batch, count)
    rng = np.random.default_rng(0)

    def order_of(steps: int) -> Array:
        """Random samples for some steps, each once before any comes again."""
        passes = -(-steps // (count // batch))
        orders = [rng.permutation(count)[: count // batch * batch] for _ in range(passes)]
        return np.concatenate(orders)[: steps * batch]

    def timed(order: Array) -> tuple[Array, float]:
        """Runs the steps of an order. Returns each worker's ticks of each call and of everything, and the seconds of a
        tick."""
        if step.executable is not None:
            _timed(step).ticks[:] = 0
        start = time.perf_counter()
        run(order)
        spent = time.perf_counter() - start
        ticks = _timed(step).ticks.copy()
        return ticks, spent / ticks[:, -1].mean()

    timed(order_of(1))  # plans a step with varying dimensions, and reads everything from memory
    ticks, rate = timed(order_of(2))
    spent = ticks[:, -1].mean() / 2  # in a step
    if tick is None:
        steps = max(int(_RUN / (spent * rate)), 1)
    else:
        steps = min(max(int(_SHORT_RUN / (spent * tick)), 1), _MOST_STEPS)
    begin, order = time.perf_counter(), order_of(steps)
    has_lengths = bool(dims_of(step.graph.values()))  # then the shortest run would be that of the shortest samples
    runs: list[tuple[Array, float]] = []
    while len(runs) < _FEWEST_RUNS or time.perf_counter() - begin < seconds:
        runs.append(timed(order if has_lengths else order_of(steps)))
    if tick is None:
        tick = min(rate for _, rate in runs)  # a run also takes some time outside of its steps
    by_thread = np.array([ticks for ticks, _ in runs]) * (tick / steps)
    times = by_thread.mean(axis=1)
    calls = [float(seconds) for seconds in times[:, :-1].min(axis=0)]
    waiting = float((times[:, -1] - times[:, :-1].sum(axis=1)).min())
    return Times(calls, waiting, order, by_thread[:, :, :-1].min(axis=0))


def _timed(step: Step) -> Timed:
    """The executable of a step whose target times calls."""
    assert isinstance(step.executable, Timed), "the target does not time calls"
    return step.executable


def rows_of(step: Step, times: Times, fields: Fields, bounds: Bounds) -> list[Row]:
    """Returns the rows of a step's calls, whose times are known, beside the bounds of a machine."""
    assert step.plan is not None
    lengths = lengths_by_dim(step, fields, times.order)
    works = works_of(step, sizes_of(step, times, fields), bounds, fields, lengths)
    return [
        Row(task, seconds, work, bounds.of(work))
        for task, seconds, work in zip(step.plan.tasks, times.calls, works, strict=True)
    ]


def sizes_of(step: Step, times: Times, fields: Fields) -> Sizes:
    """The samples of a batch, and the mean rows of each varying dimension in the batches that were timed."""
    batch = min(step.batch, len(next(iter(fields.values()))))
    return mean_sizes(lengths_by_dim(step, fields, times.order), batch)


def lengths_by_dim(step: Step, fields: Fields, order: Array) -> dict[str, Array]:
    """The lengths of the samples of `order` along each varying dimension of a step."""
    varying = step.varying if isinstance(step, SequenceStep) else {}
    lengths = {dim: field.lengths for name, dim in varying.items() if isinstance(field := fields.get(name), Ragged)}
    count = len(next(iter(fields.values())))
    return {dim: lengths_of(dim, lengths, count)[order] for dim in dims_of(step.graph.values())}


def mean_sizes(lengths: Mapping[str, Array], batch: int) -> Sizes:
    """The samples of a batch, and the mean rows of each varying dimension in batches of samples of these lengths."""
    if not lengths:
        return batch
    return {BATCH: batch, **{dim: round(float(steps.mean()) * batch) for dim, steps in lengths.items()}}


def works_of(step: Step, sizes: Sizes, bounds: Bounds, fields: Fields, lengths: Mapping[str, Array]) -> list[Work]:
    """Returns the work of each task of a step in the order of its plan, with the bytes where the machine keeps them."""
    assert step.plan is not None
    data = {name: _nbytes(field) for name, field in fields.items()}
    works, counted = [], set[Value]()
    for task, work in zip(step.plan.tasks, Locality(step.plan, sizes, step.members, data).works(bounds), strict=True):
        turns = sizes if task.walk is None else walked_rows(task, sizes)
        new = [value for value in task.values if value not in counted]
        done = sum((work_of(value, turns) for value in new), Arithmetic())
        done = replace(done, flops=round(done.flops * max((pairs_share(value, lengths) for value in new), default=1.0)))
        if isinstance(task.kernel, WinogradKernel):  # which computes other sums than those of its values
            names, counts = winograd.numbers(task.kernel.part), (number_of(count, task, sizes) for count in task.counts)
            done = Arithmetic(winograd.flops(task.kernel.part, dict(zip(names, counts, strict=True))))
        counted.update(task.values)  # a sum in shards is two tasks of the same values
        works.append(replace(work, **asdict(done), dtype=_dtype(task), accesses=accesses_of(task, sizes)))
    return works


def pairs_share(value: Value, lengths: Mapping[str, Array]) -> float:
    """The pairs of queries and keys of attention, divided by those of samples that all have the mean lengths.

    It is 1 for every other value: their work grows with the number of rows.
    """
    if value.definition not in (attend, attend_gradient):
        return 1.0
    first = int(value.definition is attend_gradient)  # behind the gradient of the result
    sides = [operand.type for operand in value.operands[first : first + 2]]
    if not all(map(is_packed, sides)):
        return 1.0
    queries, keys = (lengths[str(side.dims[0])] for side in sides)
    return float((queries * keys).mean() / (queries.mean() * keys.mean()))


def _dtype(task: Task) -> str:
    """The type that a task computes in, as bounds name it: bf16 for products of pairs, else that of its first float."""
    if isinstance(task.kernel, Contraction) and task.kernel.of_pairs:
        return "bf16 in tiles" if task.kernel.in_tiles else "bf16"
    return next((value.type.dtype for value in task.values if value.type.is_float), "f32")


def _nbytes(field: Field) -> int:
    """The bytes of a field of all samples."""
    array = field.rows if isinstance(field, Ragged) else field.array if isinstance(field, Bytes) else field
    return int(np.asarray(array).nbytes)
