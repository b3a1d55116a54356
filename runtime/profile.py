"""Where the time of a training step goes: ticks of each kernel call, beside what the machine can do at most."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netc.compiler.cost import flops_of
from netc.compiler.graph import Graph, needed_by
from netc.compiler.kernels.machine import Machine
from netc.compiler.kernels.peak import PeakLoop, peak_flops
from netc.compiler.passes.tasks import Task
from netc.compiler.value import Value
from netc.runtime.execution.fields import Fields
from netc.runtime.execution.workers import Workers
from netc.runtime.program import Program


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel call: what it computes, its share of a step in seconds, the work that it does in a step."""

    task: Task
    seconds: float
    flops: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of the file costs in a step; `rows` are the calls most of whose values are of it."""

    number: int
    rows: tuple[Row, ...]

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    @property
    def flops(self) -> int:
        return sum(row.flops for row in self.rows)


def line_of(task: Task) -> int:
    """The line that a call is told under: the one that most of its values are from."""
    lines = [value.span.line for value in task.values]
    return max(sorted(set(lines)), key=lines.count)


@dataclass(frozen=True, slots=True)
class Profile:
    """A step's calls in order; `seconds` of a whole step, of which `waiting` is neither theirs: barriers, and threads that have nothing to do.

    `peak` is the FLOP/s of all threads together. Seconds of a call are the mean over the threads, so all adds up.
    `phase_of` says of a task whether it is forward, backward or update.
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
        found: dict[int, list[Row]] = {}
        for row in self.rows:
            found.setdefault(line_of(row.task), []).append(row)
        return [Line(number, tuple(found[number])) for number in sorted(found)]


def phase_of(graph: Graph) -> Callable[[Task], str]:
    """What a call of a step is for: `forward` to the loss and the figures, `backward` for the gradients, `update` of what stays."""
    forward = needed_by([value for name, value in graph.results.items() if not name.startswith("update.")])

    def phase(task: Task) -> str:
        if any(buffer.kind == "persistent" for buffer in task.writes):
            return "update"
        return "forward" if any(value in forward for value in task.values) else "backward"

    return phase


def profile(program: Program, fields: Fields, seconds: float = 1.0) -> Profile:
    """Run training steps over the fields for so long, timing each call. The program is trained by it."""
    step = program.profiled(fields)
    count = len(next(iter(fields.values())))
    batch = min(program.batch, count)
    chunk = count // batch * batch
    rng = np.random.default_rng(0)
    program.run_step(step, fields, rng.permutation(count)[:chunk], 0)  # the first one reads all from memory
    assert step.executable is not None
    step.executable.ticks[:] = 0
    steps, begin = 0, time.perf_counter()
    inside = 0.0
    while (now := time.perf_counter()) - begin < seconds:
        order = rng.permutation(count)[:chunk]
        now = time.perf_counter()
        program.run_step(step, fields, order, 0)
        inside += time.perf_counter() - now
        steps += chunk // batch
    ticks = step.executable.ticks.mean(axis=0)
    tick = inside / ticks[-1]  # what a call costs outside of the steps is small beside a chunk of them
    assert step.plan is not None
    rows, counted = [], set[Value]()
    for task, spent in zip(step.plan.tasks, ticks[:-1], strict=True):
        work = sum(flops_of(value, batch) for value in task.values if value not in counted)
        counted.update(task.values)  # a sum in shards is two tasks
        rows.append(Row(task, spent * tick / steps, work, _touched(task, batch)))
    waiting = (ticks[-1] - ticks[:-1].sum()) * tick / steps
    peak = peak_of(program.model.train.precision, program.workers, step.members, program.machine)
    return Profile(rows, inside / steps, waiting, peak, step.members, phase_of(step.graph))


def peak_of(dtype: str, workers: Workers, members: int, machine: Machine | None = None) -> float:
    """FLOP/s of so many workers at once on a machine, never more than that many times one core's."""
    if members == 1:
        return peak_flops(dtype, machine)
    loop, best = PeakLoop(dtype, machine), float("inf")
    for _ in range(12):
        start = time.perf_counter()
        workers.run(lambda _: loop.run(), members)
        best = min(best, time.perf_counter() - start)
    return min(members * loop.flops / best, members * peak_flops(dtype, machine))


def _touched(task: Task, batch: int) -> int:
    """Bytes of the buffers that a task reads or writes, each counted once, as if nothing were in a cache."""
    buffers = {pointer.buffer for pointer in task.pointers if pointer.buffer.kind not in ("order", "scratch")}
    return sum(buffer.type.nbytes(batch) for buffer in buffers)
