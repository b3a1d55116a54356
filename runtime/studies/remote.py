"""Trains segments of a study in another process: on a rank of MPI, or in a helper process (helper.py).

Run as a module, it is such a helper process.
"""

import os
import queue
import signal
import sys
import threading
from functools import cache
from pathlib import Path
from typing import IO, Any

from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime import plugins
from netc.runtime.environment import fingerprint
from netc.runtime.studies.helper import Fields, read, write
from netc.runtime.studies.job import Job
from netc.runtime.studies.segments import Segment, SegmentResult, Segments


def train(job: Job, segment: Segment) -> SegmentResult:
    """Trains a segment of a study in this process."""
    return _segments(job).train(segment)


@cache
def _segments(job: Job) -> Segments:
    name, text, path, constants, names = job
    plugins.load(names)
    return Segments(parse(Source(name, text, Path(path) if path is not None else None)), dict(constants))


def _train_plainly(job: Job, fields: Fields) -> Fields | None:
    """The fields of a segment's result, None if it has an error."""
    result = train(job, Segment(*fields))
    return result.fields if result.error is None else None


def _with_tuples(value: Any) -> Any:
    match value:
        case list():
            return tuple(map(_with_tuples, value))
        case dict():
            return {key: _with_tuples(entry) for key, entry in value.items()}
        case _:
            return value


def _serve() -> None:
    """Runs a helper process. Its input is the path of modules, a fingerprint of netc's files and a job, then segments;
    its output are the fields of their results. It ends with its input, so with the process that has started it.

    Exits with status 1 if netc's files have changed since that process was started.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches it too
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model's data step prints is not a reply
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    path, expected, job = requests.get()
    sys.path[:] = path
    if fingerprint() != expected:
        os._exit(1)
    while True:
        write(replies, _train_plainly(job, requests.get()))


def _receive(stream: IO[bytes], requests: "queue.SimpleQueue[Any]") -> None:
    """Reads requests; ends the process when there are no more."""
    try:
        while True:
            requests.put(_with_tuples(read(stream)))
    finally:
        os._exit(0)


if __name__ == "__main__":
    _serve()
