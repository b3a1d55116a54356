"""Measures the time of each kernel call of a training step, and compares it with the peak of the machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netc.compiler.analysis.cost import flops_of
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.value import Value
from netc.compiler.program.tasks import Task
from netc.compiler.targets.target import Timed
from netc.runtime.execution.fields import Fields
from netc.runtime.program import Program


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel call: its task, and its seconds, floating-point operations and bytes in a step."""

    task: Task
    seconds: float
    flops: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """The cost of one line of the file in a step; `rows` are the calls most of whose values belong to it."""

    number: int
    rows: tuple[Row, ...]

    @property
    def seconds(self) -> float:
        """The time of all calls."""
        return sum(row.seconds for row in self.rows)

    @property
    def flops(self) -> int:
        """The work of all calls."""
        return sum(row.flops for row in self.rows)


def line_of(task: Task) -> int:
    """The line that most values of a call come from."""
    lines = [value.span.line for value in task.values]
    return max(sorted(set(lines)), key=lines.count)


@dataclass(frozen=True, slots=True)
class Profile:
    """The calls of a step in order, and the `seconds` of the whole step.

    `waiting` is the part of it in which threads wait at barriers or have nothing to do; with the calls' seconds, which
    are means over the threads, it adds up to `seconds`. `peak` is the FLOP/s of all threads together. `phase_of` says
    whether a task belongs to the forward pass, the backward pass or the update.
    """

    rows: list[Row]
    seconds: float
    waiting: float
    peak: float
    threads: int
    phase_of: Callable[[Task], str]

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


def profile(program: Program, fields: Fields, seconds: float = 1.0) -> Profile:
    """Runs training steps over the fields for so many seconds and times each call. The program is trained by it.

    Its target must be one that times calls.
    """
    step = program.profiled(fields)
    count = len(next(iter(fields.values())))
    batch = min(program.batch, count)
    chunk = count // batch * batch
    rng = np.random.default_rng(0)
    program.run_step(
        step, fields, rng.permutation(count)[:chunk], 0
    )  # warms the caches: the first chunk reads everything from memory
    executable = step.executable
    assert isinstance(executable, Timed), "the target does not time calls"
    executable.ticks[:] = 0
    steps, inside, begin = 0, 0.0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        order = rng.permutation(count)[:chunk]
        start = time.perf_counter()
        program.run_step(step, fields, order, 0)
        inside += time.perf_counter() - start
        steps += chunk // batch
    ticks = executable.ticks.mean(axis=0)
    tick = inside / ticks[-1]  # the time of a call outside of its steps is small beside a chunk of steps
    assert step.plan is not None
    rows, counted = [], set[Value]()
    for task, spent in zip(step.plan.tasks, ticks[:-1], strict=True):
        work = sum(flops_of(value, batch) for value in task.values if value not in counted)
        counted.update(task.values)  # a sum in shards is two tasks of the same values
        rows.append(Row(task, spent * tick / steps, work, _touched(task, batch)))
    waiting = (ticks[-1] - ticks[:-1].sum()) * tick / steps
    peak = executable.peak_flops(program.model.train.precision, step.members, program.workers.run)
    return Profile(rows, inside / steps, waiting, peak, step.members, phase_of(step.graph))


def _touched(task: Task, batch: int) -> int:
    """The bytes of the buffers that a task reads or writes, each counted once, as if no cache held any of them."""
    buffers = {pointer.buffer for pointer in task.pointers if pointer.buffer.kind not in ("order", "scratch")}
    return sum(buffer.type.nbytes(batch) for buffer in buffers)
