"""The lock of a run's folder, for whoever trains in it: its files are read and written under it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netc.dsl.diagnostics import fault
from netc.dsl.storage import temporary
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.runs.run_files import refuse

_TRIES, _PAUSE = 5, 0.02  # `is_claimed` locks a folder for a moment, and pauses in seconds


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Lock the folder of a run for this process, and remove what killed processes left in it. Yields the folder.

    Raises E1001 if there is no folder, or another process has locked it. The lock ends with its process, however that
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


def is_claimed(folder: Path) -> bool:
    """Whether a process has locked a folder at this moment. False if there is none, or the system has no such locks."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError, ValueError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    for _ in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return
    else:
        fault(
            "E1001", f"another process trains in `{folder}`", path_span(folder), hint="wait for it, or give --out DIR"
        )
