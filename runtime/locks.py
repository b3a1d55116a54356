"""Locks that survive a fork: one for building, a reentrant mutex, and a guard with many readers or one writer.

A fork copies only the thread that calls it. A lock held by another thread would stay locked in the child for ever, and
memory that it was writing would stay half written. So a fork waits until nothing is built or written, and the child
creates its locks again.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Forkable(Protocol):
    """An object with threads or locks, which a child process must create again."""

    def after_fork(self) -> None: ...


class Mutex:
    """A reentrant lock that is free in a child process, whoever held it in the parent."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        renew_after_fork(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def after_fork(self) -> None:
        self._lock = threading.RLock()


class Guard:
    """Lets many threads read at once, or one thread write; requests are served in the order of their arrival.

    A thread that reads or writes may read again, and a thread that writes may write again. Raises RuntimeError if a
    thread that reads asks to write: two such threads would wait for each other.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers: dict[int, int] = {}  # thread -> how many times it has entered
        self._writer, self._depth = 0, 0  # the thread, 0 for none, and how many times it has entered
        self._queue: deque[object] = deque()
        self._waiting = 0  # threads that wait: without any, nobody is to be woken
        self.reading, self.writing = _Entry(self.read, self.end_read), _Entry(self.write, self.end_write)
        renew_after_fork(self)

    def read(self, is_urgent: bool = False) -> None:
        """Begins to read. With `is_urgent` it waits for the current writer, but not for earlier requests."""
        me = threading.get_ident()
        if (count := self._readers.get(me, 0)) or self._writer == me:
            self._readers[me] = count + 1  # nobody else looks at how many there are
            return
        try:
            with self._changed:
                if self._writer or self._queue:
                    self._wait(lambda: not self._writer, is_urgent)
                self._readers[me] = 1
        except BaseException:  # an interruption
            self._change(lambda: self._forget_reader(me))
            raise

    def end_read(self) -> None:
        me = threading.get_ident()
        if self._readers[me] > 1:
            self._readers[me] -= 1
        else:
            self._change(lambda: self._forget_reader(me))

    def write(self) -> None:
        """Begins to write."""
        me = threading.get_ident()
        if self._writer == me:
            self._depth += 1
            return
        if me in self._readers:
            raise RuntimeError("a call that changes parameters was made inside of a call that reads them")
        try:
            with self._changed:
                self._wait(lambda: not self._writer and not self._readers, False)
                self._writer, self._depth = me, 1
        except BaseException:
            self._change(lambda: self._forget_writer(me))
            raise

    def end_write(self) -> None:
        if self._depth > 1:
            self._depth -= 1
        else:
            me = threading.get_ident()
            self._change(lambda: self._forget_writer(me))

    def _wait(self, is_free: Callable[[], bool], is_urgent: bool) -> None:
        """Waits until a request may be served, in its turn."""
        if is_free() and (is_urgent or not self._queue):
            return
        ticket = object()
        if not is_urgent:
            self._queue.append(ticket)
        self._waiting += 1
        try:
            while not is_free() or not (is_urgent or self._queue[0] is ticket):
                self._changed.wait()
        finally:
            self._waiting -= 1
            if not is_urgent:
                self._queue.remove(ticket)
            self._changed.notify_all()  # the next one may read as well

    def _forget_reader(self, thread: int) -> None:
        self._readers.pop(thread, None)

    def _forget_writer(self, thread: int) -> None:
        if self._writer == thread:
            self._writer, self._depth = 0, 0

    def _change(self, change: Callable[[], None]) -> None:
        """Makes a change that may be made twice, and wakes the waiting threads, even if it is interrupted."""
        interruption: KeyboardInterrupt | None = None
        is_done = False
        while not is_done:
            try:
                with self._changed:
                    change()
                    if self._waiting:
                        self._changed.notify_all()
                is_done = True
            except KeyboardInterrupt as error:
                interruption = error
        if interruption is not None:
            raise interruption

    def after_fork(self) -> None:
        """In the child: forget the other threads, none of which was writing."""
        me = threading.get_ident()
        self._changed = threading.Condition(threading.Lock())
        self._readers = {me: self._readers[me]} if me in self._readers else {}
        if self._writer != me:
            self._writer, self._depth = 0, 0
        self._queue, self._waiting = deque(), 0


class _Entry:
    """A context manager of two functions. It has no state, so many threads may enter it, each any number of times."""

    def __init__(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        self._enter, self._leave = enter, leave

    def __enter__(self) -> None:
        self._enter()

    def __exit__(self, *error: object) -> None:
        self._leave()


class _Fork(threading.local):
    """The guards that a thread reads under while it forks."""

    def __init__(self) -> None:
        self.guards: list[Guard] = []


# Plans, machine code and whatever else is built at its first use are built under this lock. LLVM has locks
# of their own, which a fork must not copy in their locked state: a thread that forks holds this one.
building = threading.RLock()
_registry = threading.RLock()
_renewed: "weakref.WeakSet[Forkable]" = weakref.WeakSet()
_fork = _Fork()


def renew_after_fork(shared: Forkable) -> None:
    """Have `after_fork` called in each child process, as long as the object lives."""
    with _registry:
        _renewed.add(shared)


def _before_fork() -> None:
    with _registry:
        guards = [shared for shared in _renewed if isinstance(shared, Guard)]
    for guard in guards:
        guard.read(is_urgent=True)
        _fork.guards.append(guard)
    building.acquire()
    _registry.acquire()


def _after_fork_in_parent() -> None:
    _registry.release()
    building.release()
    while _fork.guards:
        _fork.guards.pop().end_read()


def _after_fork_in_child() -> None:
    for shared in list(_renewed):
        shared.after_fork()
    _after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
