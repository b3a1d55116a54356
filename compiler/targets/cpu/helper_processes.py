"""Starts the processes that compile kernels (compile.py), the first of them before its kernels are chosen."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from netc.compiler.targets.machine import cores

Helper = subprocess.Popen[bytes]
_idle: list[Helper] = []  # helpers without a kernel so far
_programs = count()


@contextmanager
def expecting_kernels() -> Iterator[None]:
    """Starts a helper while this process still finds out which kernels it needs, which takes as long as the start.

    Only the first program of a process does this: later ones mostly find their kernels in the cache. A helper that got
    no kernel ends with the context.
    """
    if can_start() and cores() > 1 and next(_programs) == 0:
        with suppress(OSError):
            _idle.append(_started())
    try:
        yield
    finally:
        while _idle:
            with _idle.pop() as helper:
                helper.kill()


def can_start() -> bool:
    """Whether this process knows the Python that it is run by."""
    return bool(sys.executable)


def idle_or_new() -> Helper:
    """A helper process that has no kernel yet. Raises OSError if it cannot be started."""
    try:
        return _idle.pop()
    except IndexError:
        return _started()


def _started() -> Helper:
    command = [sys.executable, "-P", "-m", "netc.compiler.targets.cpu.compile"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
