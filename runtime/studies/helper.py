"""Processes that train segments beside this one.

Threads of one process take turns in Python: epochs of a small model last less than a millisecond, so two threads spend
more time waiting for each other than a second core gives. So a study whose workers have trained for a while starts a
process for each worker but one. A process that fails is not used again, and its segment is trained here.
"""

import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import IO, Any

import msgspec
from msgspec import Struct, field

from netc.runtime.environment import fingerprint
from netc.runtime.locks import Mutex

_WORTH_A_PROCESS = 1.0  # seconds of training by several workers: a process needs as long to start
Fields = tuple[Any, ...]  # of a segment, or of its result without `error`


class Helper:
    """A process that trains segments of a job (remote.py), one at a time. It ends with this object, or this process."""

    def __init__(self, job: object) -> None:
        command = [sys.executable, "-P", "-m", "netc.runtime.studies.remote"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.end = weakref.finalize(self, _end, self._process)
        self._first: tuple[object, ...] | None = ([*sys.path], fingerprint(), job)  # comes before the first segment

    def train(self, segment: Fields) -> Fields | None:
        """The result of a segment, None if it has an error. Raises OSError or ValueError if the process fails."""
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None
        assert replies is not None
        if self._first is not None:
            write(requests, self._first)
            self._first = None
        write(requests, segment)
        result = read(replies)
        return None if result is None else tuple(result)


def write(stream: IO[bytes], value: object) -> None:
    content = msgspec.msgpack.encode(value)
    stream.write(len(content).to_bytes(8) + content)
    stream.flush()


def read(stream: IO[bytes]) -> Any:
    """The value that `write` has sent, with lists for tuples. Raises OSError at the end."""
    size = stream.read(8)
    content = stream.read(int.from_bytes(size))
    if len(size) < 8 or len(content) < int.from_bytes(size):
        raise OSError("the stream ended")
    return msgspec.msgpack.decode(content)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        try:
            stream.close()
        except OSError:  # what was not sent yet
            continue


class Helpers(Struct):
    """The helpers of a job, for any number of threads that each train a segment at a time.

    `is_allowed` says whether processes may be started.
    """

    job: Callable[[], object]
    is_allowed: Callable[[], bool]
    _idle: list[Helper] = field(default_factory=list)
    _all: list[Helper] = field(default_factory=list)
    _here: int = 0  # segments that are trained in this process
    _seconds: float = 0.0  # in which several were
    _lock: Mutex = field(default_factory=Mutex)

    def train(self, segment: Fields, is_abandoned: threading.Event) -> Fields | None:
        """The fields of a segment's result from an idle helper. None if there is none, or if the result has an error.

        Raises CancelledError if the segments are abandoned.
        """
        while (helper := self._taken()) is not None:
            try:
                result = helper.train(segment)
            except (OSError, ValueError):  # it has ended, perhaps just now
                helper.end()
                if is_abandoned.is_set():
                    raise CancelledError from None
            else:
                with self._lock:
                    self._idle.append(helper)
                return result
        return None

    @contextmanager
    def beside(self, workers: int) -> Iterator[None]:
        """A segment is trained in this process meanwhile, by one of so many threads. At the end a process is started
        if that is worth it."""
        with self._lock:
            self._here += 1
            begin, is_shared = time.perf_counter(), self._here > 1
        try:
            yield
        finally:
            with self._lock:
                self._here -= 1
                self._seconds += time.perf_counter() - begin if is_shared else 0.0
                is_worth_it = self._seconds > _WORTH_A_PROCESS * (len(self._all) + 1) and len(self._all) < workers - 1
                if is_worth_it and sys.executable and self.is_allowed():
                    self._start()

    def end(self) -> None:
        """Ends all processes, also in the middle of a segment."""
        with self._lock:
            for helper in self._all:
                helper.end()
            self._all.clear()
            self._idle.clear()

    def _start(self) -> None:
        try:
            self._all.append(Helper(self.job()))
        except OSError:  # the system starts no more processes
            return
        self._idle.append(self._all[-1])

    def _taken(self) -> Helper | None:
        with self._lock:
            return self._idle.pop() if self._idle else None
