"""Processes that train segments beside this one.

Threads of one process take turns in Python: epochs of a small model last less than a millisecond, so two threads spend
more time waiting for each other than a second core gives. So a study whose workers have trained for a while starts a
process for each worker but one. A process that fails is not used again, and its segment is trained here.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import IO, Any

from netc.runtime.environment import fingerprint
from netc.runtime.locks import Mutex

_WORTH_A_PROCESS = 1.0  # seconds of training by several workers: a process needs as long to start
_Train = Callable[[Any], Any]


class Helper:
    """A process that trains segments of a job (job.py), one at a time. It ends with this object, or this process."""

    def __init__(self, job: object) -> None:
        command = [sys.executable, "-P", "-m", "netc.runtime.studies.helper"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.end = weakref.finalize(self, _end, self._process)
        self._first: tuple[object, ...] | None = ([*sys.path], fingerprint(), job)  # comes before the first segment

    def train(self, segment: object) -> Any:
        """The result of a segment. Raises OSError, EOFError, ValueError or PickleError if the process fails."""
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None
        assert replies is not None
        if self._first is not None:
            pickle.dump(self._first, requests)
            self._first = None
        pickle.dump(segment, requests)
        requests.flush()
        return pickle.load(replies)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        try:
            stream.close()
        except OSError:  # what was not sent yet
            continue


@dataclass(slots=True)
class Helpers:
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

    def train(self, segment: Any, here: _Train, workers: int, is_abandoned: threading.Event) -> Any:
        """The result of a segment, trained by an idle helper, or by `here` if there is none.

        `workers` are the threads that call this. Raises CancelledError if the segments are abandoned.
        """
        while (helper := self._taken()) is not None:
            try:
                result = helper.train(segment)
            except (OSError, EOFError, ValueError, pickle.PickleError):  # ended, or ended meanwhile
                helper.end()
                if is_abandoned.is_set():
                    raise CancelledError from None
            else:
                with self._lock:
                    self._idle.append(helper)
                return result
        with self._lock:
            self._here += 1
            begin, is_shared = time.perf_counter(), self._here > 1
        try:
            return here(segment)
        finally:
            with self._lock:
                self._here -= 1
                self._seconds += time.perf_counter() - begin if is_shared else 0.0
                is_worth_it = self._seconds > _WORTH_A_PROCESS * (len(self._all) + 1) and len(self._all) < workers - 1
                if is_worth_it and not is_abandoned.is_set() and sys.executable and self.is_allowed():
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


def _serve() -> None:
    """Runs a helper process. Its input is the path of modules, a fingerprint of netc's files and a job, then segments;
    its output are their results. It ends with its input, so with the process that has started it.

    Exits with status 1 if netc's files have changed since that process was started.
    """
    from netc.runtime.studies.job import train

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches it too
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model's data step prints is no reply
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    sys.path[:], expected, job = requests.get()
    if fingerprint() != expected:
        os._exit(1)
    while True:
        pickle.dump(train(job, requests.get()), replies)
        replies.flush()


def _receive(stream: IO[bytes], requests: "queue.SimpleQueue[Any]") -> None:
    """Reads requests; ends the process when there are no more."""
    try:
        while True:
            requests.put(pickle.load(stream))
    finally:
        os._exit(0)


if __name__ == "__main__":
    _serve()
