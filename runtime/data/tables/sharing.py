"""Processes on one host that read the same data, such as the ranks of a training: they share the work and the memory.

A process that reads a file keeps its content in a folder that all of them map into memory (shared_tables.py, store.py,
pictures/reader.py). Locks of the system decide which process that is, so processes wait for nobody who has ended, and
send one another nothing. Each begins with its own share of several files.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

try:
    import fcntl
except ImportError:  # this system has no file locks
    fcntl = None  # type: ignore[assignment]

WORTH_A_COPY = 1 << 20  # bytes of a file that several processes read
Item = TypeVar("Item")


class Sharing(Struct, frozen=True):
    """The process `number` of `count` on a host, and the folder of what they share, which is gone after all of them
    have read their data.
    """

    folder: Path
    number: int
    count: int

    def name(self, *key: object) -> Path:
        """A name in the folder for what this key says."""
        return self.folder / hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The share of this process in items that each of them can work on alone."""
        return items[self.number :: self.count]

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        """The body of this context runs in one process at a time, for each path in the folder. If the folder is full
        or gone, all run it at once, which takes longer.
        """
        try:
            descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield
            return
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


_sharing: ContextVar[Sharing | None] = ContextVar("sharing", default=None)


def current() -> Sharing | None:
    """The processes that read the same data at present; None for a process by itself."""
    return _sharing.get()


@contextmanager
def sharing(processes: Sharing) -> Iterator[None]:
    """Shares what is read inside with these processes, which all read the same."""
    token = _sharing.set(processes)
    try:
        yield
    finally:
        _sharing.reset(token)
