"""The lock of a run's folder, for whoever trains in it: its files are read and written under it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netc.dsl import temporary
from netc.dsl.diagnostics import fault
from netc.runtime.runs.checkpoint import place_of
from netc.runtime.runs.run_files import refuse


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Lock the folder of a run for this process, and remove what killed processes left in it. Yields the folder.

    Faults E1001 if there is no folder, or another process has locked it. The lock ends with its process, however that
    ends.
    """
    temporary.sweep(folder)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        refuse(folder, error)
    try:
        _lock(handle, folder)
        yield folder
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fault("E1001", f"another process trains in `{folder}`", place_of(folder), hint="wait for it, or give --out DIR")
