"""A campaign runs checks on generated programs and reduces those that fail.

It takes seeds and the names of checks, and returns a Report. Each program runs in a process of its own, with a time
limit. The campaign does not know how programs are generated or what a check compares.
"""

import collections
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice

from msgspec import Struct, field

import netc
from netc.compiler import pipeline
from netc.runtime.verification import CHECKS, verify
from netc.runtime.verification.subject import Subject
from tests.programs.generator import outcome
from tests.programs.growth import Profile
from tests.programs.program import Program
from tests.programs.reduce import as_test, reduced
from tests.support import at_most

PYTORCH = "pytorch"  # the name of this check
FRONT_END = "front end"  # the check that a program becomes a graph or is refused with a message
PLAIN = tuple(name for name, check in CHECKS.items() if not check.needs_kernels)
COMPILED = tuple(name for name, check in CHECKS.items() if check.needs_kernels)


class Failure(Struct, frozen=True):
    """A failure of a check. `kind` stays the same while the program is reduced."""

    seed: int
    check: str
    kind: str
    detail: str


class Task(Struct, frozen=True):
    """A seed, and what is to be done with its program."""

    seed: int
    profile: Profile
    checks: tuple[str, ...]
    seconds: int
    attempts: int  # the number of candidates that reduction may run; 0 means no reduction


class Result(Struct, frozen=True):
    """The result of a seed."""

    seed: int
    rejected: int
    features: frozenset[str]
    failures: tuple[Failure, ...]
    reduced: tuple[str, ...] = ()  # a minimal file and a test to paste, for each failure


class Report(Struct):
    """The sum of all results."""

    programs: int = 0
    rejected: int = 0
    compiled: int = 0
    features: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, task: Task, result: Result) -> None:
        self.programs += 1
        self.rejected += result.rejected
        self.compiled += any(name in COMPILED for name in task.checks)
        self.features.update(result.features)
        self.failures += result.failures

    def lines(self) -> Iterator[str]:
        """The report as lines of text."""
        yield (
            f"{self.programs} programs, {self.compiled} of them compiled; "
            f"{self.rejected} more were refused by the compiler"
        )
        columns = [f"{name} {number}" for name, number in sorted(self.features.items())]
        yield f"features: {', '.join(columns)}"
        by_kind: dict[str, list[int]] = {}
        for failure in self.failures:
            by_kind.setdefault(f"{failure.check}: {failure.kind}", []).append(failure.seed)
        yield f"{len(self.failures)} failures" if self.failures else "no failure"
        for kind, seeds in sorted(by_kind.items(), key=lambda item: -len(item[1])):
            yield f"  {kind}: seeds {', '.join(map(str, sorted(set(seeds))))}"


class OutOfTime(BaseException):
    """Raised if a check takes too long. It is not an Exception, so that no check handles it as one of its own."""


def failures_of(program: Program, checks: Sequence[str], seconds: int) -> Iterator[Failure]:
    """The failures of a program, at most one for each check."""
    for name in checks:
        try:
            with at_most(seconds, OutOfTime):
                difference = first_difference(program, name)
        except OutOfTime as late:
            difference = ("it takes too long", str(late))
        except Exception as error:
            difference = (_kind_of(error), "".join(traceback.format_exception(error, limit=-6)))
        if difference is not None:
            yield Failure(program.seed, name, *difference)


def first_difference(program: Program, check: str) -> tuple[str, str] | None:
    """The kind and the text of the first difference that a check finds."""
    if check == FRONT_END:
        pipeline.training_graph(netc.parse(program.text))
        return None
    if check == PYTORCH:
        from tests.programs.pytorch import differences_from_pytorch

        difference = next(differences_from_pytorch(program), None)
        return difference and ("differs", difference)
    differences = verify(Subject(netc.parse(program.text), program.data, program.seed), [check])
    if not differences:
        return None
    texts = [str(text) for text in differences]
    return _kind_of_text(differences[0].where, differences[0].detail), "\n".join(texts[:5])


def _kind_of(error: Exception) -> str:
    """The names of an exception and of the function that raised it."""
    if isinstance(error, netc.Fault):
        return f"Fault {error.diagnostics[0].code} after the model was accepted"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}"


def _kind_of_text(where: str, detail: str) -> str:
    """A difference without the names and numbers of this program."""
    if where == "an exception":
        function = re.search(r"in (\w+)\)$", detail)
        return f"{detail.partition(':')[0]} in {function[1] if function else '?'}"
    return re.sub(r"\b[a-z_]+\d+\b|\d+", "#", where.partition(": ")[0])


def run(task: Task) -> Result:
    """Generates the program of a seed, runs the checks, and reduces failures."""
    result = outcome(task.seed, task.profile)
    failures, texts = [], []
    for program, error in result.findings:
        failures.append(Failure(task.seed, FRONT_END, _kind_of(error), "".join(traceback.format_exception(error))))
        texts.append(described(program, failures[-1], task))
    if result.program is None:
        return Result(task.seed, len(result.rejected), frozenset(), tuple(failures), tuple(texts))
    for failure in failures_of(result.program, task.checks, task.seconds):
        failures.append(failure)
        texts.append(described(result.program, failure, task))
    return Result(task.seed, len(result.rejected), result.program.features, tuple(failures), tuple(texts))


def described(program: Program, failure: Failure, task: Task) -> str:
    """The reduced text of a failing program, and a test to paste."""

    def fails(candidate: Program) -> bool:
        return any(other.kind == failure.kind for other in failures_of(candidate, [failure.check], task.seconds))

    smallest = reduced(program, fails, task.attempts) if task.attempts else program
    return f"{smallest.text}\n{as_test(smallest, [failure.check], f'seed {failure.seed} {failure.check}')}"


def campaign(tasks: Sequence[Task], jobs: int, each: Callable[[Task, Result], bool]) -> None:
    """Runs tasks in a number of processes. `each` is called with every result and returns whether to continue."""
    if jobs == 1:
        for task in tasks:
            if not each(task, run(task)):
                return
        return
    with ProcessPoolExecutor(jobs, max_tasks_per_child=50) as pool:
        pending = iter(tasks)
        running = {pool.submit(run, task): task for task in islice(pending, jobs)}
        while running:
            done = next(as_completed(running))
            task = running.pop(done)
            if not each(task, done.result()):
                pool.shutdown(wait=False, cancel_futures=True)
                return
            running.update({pool.submit(run, following): following for following in islice(pending, 1)})
