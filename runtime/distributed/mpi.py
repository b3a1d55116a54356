"""Ranks over MPI: what one rank sends to all others while a step runs, and between steps.

Only this file and studies/mpi.py import mpi4py. `gather` serves compiled steps (compiler/targets/target.py), the other
methods training.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from netc.runtime.data.stored import Array

_PATIENCE = 2.0  # seconds in which the other ranks of a failed one fail too, if they have the same reason
_SHORT, _LONG = 64, 1 << 20  # bytes of messages that measure a network
_TRIALS = 101  # of each length
_PAUSE = 0.01  # seconds between two looks at a message


@dataclass(frozen=True, slots=True)
class MpiRanks:
    """The ranks of a communicator. Messages about the end of the program use one of their own, so that they pass
    those of a step that some ranks are still in."""

    world: Any
    ending: Any

    @classmethod
    def of_world(cls) -> "MpiRanks":
        """The ranks that the launcher started. All of them must call this."""
        return cls(MPI.COMM_WORLD.Dup(), MPI.COMM_WORLD.Dup())

    @property
    def rank(self) -> int:
        return int(self.world.rank)

    @property
    def count(self) -> int:
        return int(self.world.size)

    def gather(self, own: Array, sizes: Sequence[int], everything: Array, is_due: bool) -> Callable[[], None]:
        """See Ranks.gather."""
        received = [everything, list(sizes), MPI.BYTE]
        if is_due:
            self.world.Allgatherv([own, MPI.BYTE], received)
            return lambda: None
        request = self.world.Iallgatherv([own, MPI.BYTE], received)
        return lambda: request.Wait()

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """The largest number of all ranks at each position."""
        own = np.array(numbers, np.int64)
        largest = np.empty_like(own)
        self.world.Allreduce(own, largest, MPI.MAX)
        return [int(number) for number in largest]

    def texts(self, own: str) -> list[str]:
        """The text of every rank."""
        content = np.frombuffer(own.encode(), np.uint8)
        sizes = np.empty(self.count, np.int64)
        self.world.Allgather(np.array([len(content)], np.int64), sizes)
        everything = np.empty(int(sizes.sum()), np.uint8)
        self.gather(content, [int(size) for size in sizes], everything, True)()
        ends = np.cumsum(sizes)
        return [everything[end - size : end].tobytes().decode() for size, end in zip(sizes, ends, strict=True)]

    def from_first(self, content: bytes) -> bytes:
        """The content that rank 0 has, for all ranks."""
        size = np.array([len(content)], np.int64)
        self.world.Bcast(size)
        received = np.frombuffer(content, np.uint8).copy() if self.rank == 0 else np.empty(int(size[0]), np.uint8)
        self.world.Bcast([received, MPI.BYTE])
        return received.tobytes()

    def copy_from_first(self, array: Array) -> None:
        """Fills an array, which all ranks have with the same shape, with the elements that rank 0 has."""
        copy = np.ascontiguousarray(array)
        self.world.Bcast([copy.reshape(-1).view(np.uint8), MPI.BYTE])
        array[...] = copy

    def network(self) -> tuple[float, float]:
        """Measures the seconds that a short message of all ranks to all others takes for each doubling of their number,
        and the bytes per second that a rank receives in long ones: the medians of this rank. All ranks must call it."""
        short, long = (self._seconds_of_gather(nbytes) for nbytes in (_SHORT, _LONG))
        received = (self.count - 1) * (_LONG - _SHORT)
        return short / math.log2(self.count), received / max(long - short, 1e-9)

    def _seconds_of_gather(self, nbytes: int) -> float:
        own, everything = np.zeros(nbytes, np.uint8), np.empty(nbytes * self.count, np.uint8)
        seconds = []
        for _ in range(_TRIALS):
            begin = time.perf_counter()
            self.gather(own, [nbytes] * self.count, everything, True)()
            seconds.append(time.perf_counter() - begin)
        return float(np.median(seconds))

    def failed_together(self, has_failed: bool, patience: float | None = None) -> list[bool] | None:
        """Waits for the end of all ranks, and returns which of them have failed.

        A rank that has failed waits for some seconds only (`patience`, if it is not None). None if others have not
        ended by then: they do not know that this one has failed, and wait for its rows.
        """
        if patience is None:
            patience = _PATIENCE if has_failed else float("inf")
        every = np.empty(self.count, np.int8)
        request = self.ending.Iallgather(np.array([has_failed], np.int8), every)
        end = time.monotonic() + patience
        while not request.Test():
            if time.monotonic() > end:
                return None
            time.sleep(_PAUSE)
        return [bool(failed) for failed in every]

    def finish(self) -> None:
        """Ends MPI in this process: all ranks do, once none of them needs another one."""
        MPI.Finalize()

    def abort(self, status: int) -> None:
        """Ends all ranks at once."""
        MPI.COMM_WORLD.Abort(status)
