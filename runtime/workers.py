"""Threads that enter compiled code together and stay there for a chunk of steps, meeting at barriers; one of them is the caller's own."""

import ctypes
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from netc.compiler.kernels.schedule import ABORT, BARRIER_WORDS

Array = np.ndarray[Any, Any]


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def yield_address() -> int:
    """The C function that gives the processor to another thread, for a barrier with more workers than cores; 0 where there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (OSError, AttributeError, TypeError):
        return 0


class Workers:
    """`count` workers: the thread that calls `run`, and helpers that wait between calls."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.barrier: Array = np.zeros(BARRIER_WORDS, np.int64)
        self._jobs: list[queue.SimpleQueue[Callable[[], object]]] = [queue.SimpleQueue() for _ in range(count - 1)]
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for jobs in self._jobs:
            threading.Thread(target=self._help, args=(jobs,), daemon=True).start()

    def run(self, work: Callable[[int], object]) -> None:
        """Call `work` with each worker's number, at the same time. If one raises, the others leave at their next barrier, and it is raised here."""
        self.barrier[:] = 0
        for number, jobs in enumerate(self._jobs, 1):
            jobs.put(lambda number=number: work(number))  # type: ignore[misc]
        failed = self._try(lambda: work(0))
        for _ in self._jobs:
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

    def _help(self, jobs: "queue.SimpleQueue[Callable[[], object]]") -> None:
        while True:
            self._done.put(self._try(jobs.get()))

    def _try(self, job: Callable[[], object]) -> BaseException | None:
        try:
            job()
        except BaseException as error:  # it goes to the caller's thread
            self.barrier[ABORT] = 1
            return error
        return None
