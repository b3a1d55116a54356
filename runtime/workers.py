"""Threads that enter compiled code together and stay there for a chunk of steps, meeting at barriers; one of them is the caller's own."""

import ctypes
import queue
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from netc.compiler.kernels.schedule import ABORT, BARRIER_WORDS

Array = np.ndarray[Any, Any]
_Jobs = queue.SimpleQueue[Callable[[], object] | None]


def yield_address() -> int:
    """The C function that gives the processor to another thread, for a barrier with more workers than cores; 0 where there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (OSError, AttributeError, TypeError):
        return 0


class Workers:
    """`count` workers: the thread that calls `run`, and helpers that wait between calls. Raises ValueError for less than 1."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"{count} threads: at least 1 is needed")
        self.count = count
        self.shares_small_steps = False  # whether all take part in steps that are too small to gain by it: for tests
        self.barrier: Array = np.zeros(BARRIER_WORDS, np.int64)
        self._jobs: list[_Jobs] = [queue.SimpleQueue() for _ in range(count - 1)]
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for jobs in self._jobs:
            threading.Thread(target=_help, args=(jobs, self._done, self.barrier), daemon=True).start()
        weakref.finalize(self, _dismiss, self._jobs)

    def run(self, work: Callable[[int], object], members: int | None = None) -> None:
        """Call `work` with the number of each worker (or of so many), at the same time. If one raises, the others leave at their next barrier,
        and it is raised here.
        """
        helpers = self._jobs[: None if members is None else members - 1]
        self.barrier[:] = 0
        for number, jobs in enumerate(helpers, 1):
            jobs.put(partial(work, number))
        failed = _try(partial(work, 0), self.barrier)
        for _ in helpers:
            failed = self._wait() or failed
        if failed is not None:
            raise failed

    def _wait(self) -> BaseException | None:
        """What a helper ended with. The memory that it works on is held until then, so an interruption waits as well."""
        interrupted: BaseException | None = None
        while True:
            try:
                return self._done.get() or interrupted
            except KeyboardInterrupt as error:
                interrupted = error


# What helpers run holds no Workers: they are sent home when that is gone.


def _help(jobs: _Jobs, done: "queue.SimpleQueue[BaseException | None]", barrier: Array) -> None:
    while (job := jobs.get()) is not None:
        done.put(_try(job, barrier))
        del job


def _dismiss(helpers: list[_Jobs]) -> None:
    for jobs in helpers:
        jobs.put(None)


def _try(job: Callable[[], object], barrier: Array) -> BaseException | None:
    try:
        job()
    except BaseException as error:  # it goes to the caller's thread
        barrier[ABORT] = 1
        return error
    return None
