"""Threads that enter compiled code together and stay there for a chunk of steps, meeting at barriers.

One of them is the caller's own. Several threads may call at once: idle helpers are divided among the calls, and a call
that gets none runs on its own thread alone.
"""

import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from msgspec import Struct, field

from netc.compiler.targets.target import Ranks
from netc.runtime.arguments import integer
from netc.runtime.locks import renew_after_fork

_Done = queue.SimpleQueue[BaseException | None]
_Jobs = queue.SimpleQueue[
    tuple[Callable[[], object], Callable[[], object], _Done] | None
]  # the work, what to do if it fails, the queue for the outcome


class Team(Struct, frozen=True):
    """The workers of one call: its own thread, and helpers."""

    helpers: list[_Jobs]
    done: _Done = field(default_factory=queue.SimpleQueue)

    @property
    def count(self) -> int:
        return len(self.helpers) + 1

    def run(self, work: Callable[[int], object], abandon: Callable[[], object]) -> None:
        """Calls `work` with the number of each worker, at the same time.

        If one raises, `abandon` tells the others not to wait for it, and its exception is raised here.
        """
        if not self.helpers:
            work(0)
            return
        for number, jobs in enumerate(self.helpers, 1):
            jobs.put((partial(work, number), abandon, self.done))
        failed = _try(partial(work, 0), abandon)
        for _ in self.helpers:
            failed = self._wait() or failed
        if failed is not None:
            raise failed

    def _wait(self) -> BaseException | None:
        """The exception that a helper ended with, or None.

        An interruption waits for the helper too, because it still uses the memory of the call.
        """
        interrupted: BaseException | None = None
        while True:
            try:
                return self.done.get() or interrupted
            except KeyboardInterrupt as error:
                interrupted = error


class Workers:
    """`count` workers: the thread that calls, and helpers that wait between calls.

    A helper is started when it is first needed. `ranks` are the processes that share the work with this one; None in a
    process by itself. Raises ValueError for less than 1 worker.
    """

    def __init__(self, count: int, ranks: Ranks | None = None) -> None:
        count = integer("threads", count)
        self.count, self.ranks = count, ranks
        self.shares_small_steps = False  # for tests: all take part in small steps too
        self._helpers: list[_Jobs] = []  # all of them, to be dismissed in the end
        self.after_fork()
        weakref.finalize(self, _dismiss, self._helpers)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Begins without helpers: those of a parent process are not in its child."""
        self._lock = threading.Lock()
        self._idle: list[_Jobs] = []
        self._busy = 0  # workers in calls, those included that came when none was idle
        self._helpers.clear()

    def team(self, most: int) -> AbstractContextManager[Team]:
        """At most `most` workers for a call: fewer while others are busy, but always the caller's thread."""
        return _Taken(self, most)

    def take(self, most: int) -> int:
        """Counts at most `most` workers as busy, and returns how many."""
        with self._lock:
            count = max(min(most, self.count - self._busy), 1)
            self._busy += count
        return count

    def give_back(self, count: int, helpers: list[_Jobs]) -> None:
        """Counts workers as idle again."""
        with self._lock:
            self._idle += reversed(helpers)
            self._busy -= count

    def helper(self) -> _Jobs:
        """An idle helper, or a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            jobs: _Jobs = queue.SimpleQueue()
            self._helpers.append(jobs)
        threading.Thread(target=_help, args=(jobs,), daemon=True).start()
        return jobs

    def run(self, work: Callable[[int], object], members: int | None = None) -> None:
        """Calls `work`, in which nobody waits for another, with the number of each idle worker, `members` at most."""
        with self.team(self.count if members is None else members) as team:
            team.run(work, lambda: None)


class _Taken:
    """The workers of one call, until it ends. A class, because the calls of small steps enter it often."""

    __slots__ = ("count", "helpers", "most", "workers")

    def __init__(self, workers: Workers, most: int) -> None:
        self.workers, self.most, self.count, self.helpers = workers, most, 0, list[_Jobs]()

    def __enter__(self) -> Team:
        self.count = self.workers.take(self.most)
        try:
            while len(self.helpers) < self.count - 1:
                self.helpers.append(self.workers.helper())
        except BaseException:
            self.__exit__()
            raise
        return Team(self.helpers)

    def __exit__(self, *error: object) -> None:
        self.workers.give_back(self.count, self.helpers)


# Helpers keep no reference to Workers: they are dismissed when it is collected.


def _help(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        work, abandon, done = job
        done.put(_try(work, abandon))
        del job, work, abandon, done


def _dismiss(helpers: list[_Jobs]) -> None:
    for jobs in helpers:
        jobs.put(None)


def _try(work: Callable[[], object], abandon: Callable[[], object]) -> BaseException | None:
    try:
        work()
    except BaseException as error:  # it goes to the caller's thread
        abandon()
        return error
    return None
