"""How evenly the threads share the phases of a step: how long each works in a phase, and for which they wait.

Between the phases of a plan is a barrier, so a phase takes as long as its slowest thread. Threads wait where a phase
has fewer pieces than threads, or a number of them that does not divide: 3 rows on 2 threads, or one sample.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.program.plan import Plan, PlannedGroup
from netc.compiler.program.schedule import Group
from netc.compiler.program.tasks import Task
from netc.runtime.data.stored import Array


class SharedPhase(Struct, frozen=True):
    """A phase of a plan: its number, what it does, how many pieces each of its groups has, and the seconds in which
    each thread works."""

    number: int
    tasks: tuple[Task, ...]
    pieces: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def waiting(self) -> float:
        """The mean seconds in which a thread waits for the slowest one."""
        return max(max(self.seconds) - sum(self.seconds) / len(self.seconds), 0.0)  # the mean is rounded


def phases_of(plan: Plan, by_thread: Array, sizes: Sizes) -> list[SharedPhase]:
    """Returns the phases of a plan, whose calls take `by_thread[thread, call]` seconds in a step of some sizes."""
    phases, call = [], 0
    for number, groups in _phases(plan):
        tasks = tuple(task for group in groups for _, task in group.calls)
        seconds = by_thread[:, call : call + len(tasks)].sum(axis=1)
        pieces = tuple(pieces_of(group.group, sizes) for group in groups)
        phases.append(SharedPhase(number, tasks, pieces, tuple(map(float, seconds))))
        call += len(tasks)
    return phases


def expected_speed(plan: Plan, calls: Sequence[float], sizes: Sizes, threads: int) -> float:
    """Returns how many times faster than one thread some threads do a step, if they repeat no work and meet in no time.

    `calls` are the seconds of each call of the plan on all threads together. The result is at most `threads`; it is
    less where pieces do not divide.
    """
    longest, begin = 0.0, 0
    for _, groups in _phases(plan):
        seconds, alone = [0.0] * threads, 0
        for group in groups:
            end = begin + len(group.calls)
            for thread, share in enumerate(_shares(group.group, pieces_of(group.group, sizes), threads, alone)):
                seconds[thread] += share * sum(calls[begin:end])
            alone += group.group.kind == "one"
            begin = end
        longest += max(seconds)
    return sum(calls) / longest if longest else 1.0


def pieces_of(group: Group, sizes: Sizes) -> int:
    """The pieces of a group that threads take, none of which is cut: rows, blocks of rows, samples or shards."""
    match group.kind:
        case "samples":
            return size_of(group.dim, sizes)
        case "pieces":
            return -(-group.extent // group.grain)
        case "shards":
            return group.extent
        case "steps":
            return size_of(BATCH, sizes)
    return 1


def _shares(group: Group, pieces: int, threads: int, alone: int) -> Iterator[float]:
    """Yields each thread's share of a group, as machine code shares it out (cpu/schedule/group_loops.py). Groups of a
    single piece for one worker go to the threads in turn: `alone` counts those before."""
    for thread in range(threads):
        if group.kind == "one":
            yield float(alone % threads == thread)
        else:
            yield (pieces * (thread + 1) // threads - pieces * thread // threads) / pieces


def _phases(plan: Plan) -> Iterator[tuple[int, list[PlannedGroup]]]:
    """Yields the number and the groups of each phase."""
    for number, groups in groupby(plan.groups(), lambda group: group.phase):
        yield number, list(groups)
