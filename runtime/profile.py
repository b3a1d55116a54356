"""Where the time of a training step goes: ticks of each kernel call, beside what the machine can do at most."""

import time
from dataclasses import dataclass

import numpy as np

from netc.compiler.cost import flops_of
from netc.compiler.kernels.peak import PeakLoop, peak_flops
from netc.compiler.passes.tasks import Task
from netc.compiler.value import Value
from netc.runtime.program import Fields, Program
from netc.runtime.workers import Workers


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel call: what it computes, its share of a step in seconds, the work that it does in a step."""

    task: Task
    seconds: float
    flops: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A step's calls in order; `seconds` of a whole step, of which `waiting` is neither theirs: barriers, and threads that have nothing to do.

    `peak` is the FLOP/s of all threads together. Seconds of a call are the mean over the threads, so all adds up.
    """

    rows: list[Row]
    seconds: float
    waiting: float
    peak: float
    threads: int


def profile(program: Program, fields: Fields, seconds: float = 1.0) -> Profile:
    """Run training steps over the fields for so long, timing each call. The program is trained by it."""
    step = program.profiled(fields)
    count = len(next(iter(fields.values())))
    batch = min(program.batch, count)
    chunk = count // batch * batch
    rng = np.random.default_rng(0)
    program.run_step(step, fields, rng.permutation(count)[:chunk], 0)  # the first one reads all from memory
    step.ticks[:] = 0
    steps, begin = 0, time.perf_counter()
    inside = 0.0
    while (now := time.perf_counter()) - begin < seconds:
        order = rng.permutation(count)[:chunk]
        now = time.perf_counter()
        program.run_step(step, fields, order, 0)
        inside += time.perf_counter() - now
        steps += chunk // batch
    ticks = step.ticks.mean(axis=0)
    tick = inside / ticks[-1]  # what a call costs outside of the steps is small beside a chunk of them
    assert step.plan is not None
    rows, counted = [], set[Value]()
    for task, spent in zip(step.plan.tasks, ticks[:-1], strict=True):
        work = sum(flops_of(value, batch) for value in task.values if value not in counted)
        counted.update(task.values)  # a sum in shards is two tasks
        rows.append(Row(task, spent * tick / steps, work, _touched(task, batch)))
    waiting = (ticks[-1] - ticks[:-1].sum()) * tick / steps
    peak = peak_of(program.model.train.precision, program.workers, step.members)
    return Profile(rows, inside / steps, waiting, peak, step.members)


def peak_of(dtype: str, workers: Workers, members: int) -> float:
    """FLOP/s of so many workers at once, never more than that many times one core's."""
    if members == 1:
        return peak_flops(dtype)
    loop, best = PeakLoop(dtype), float("inf")
    for _ in range(12):
        start = time.perf_counter()
        workers.run(lambda _: loop.run(), members)
        best = min(best, time.perf_counter() - start)
    return min(members * loop.flops / best, members * peak_flops(dtype))


def _touched(task: Task, batch: int) -> int:
    """Bytes of the buffers that a task reads or writes, each counted once, as if nothing were in a cache."""
    buffers = {pointer.buffer for pointer in task.pointers if pointer.buffer.kind not in ("order", "scratch")}
    return sum(buffer.type.nbytes(batch) for buffer in buffers)
