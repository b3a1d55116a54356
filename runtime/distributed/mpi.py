"""Ranks over MPI: what one rank sends to all others between steps.

Only this file, mpi_exchange.py and studies/mpi.py import mpi4py. `exchange` serves compiled steps
(compiler/targets/target.py), the other methods training.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from msgspec import Struct

from netc.compiler.targets.target import Part
from netc.dsl.storage import home, temporary
from netc.runtime.data.stored import Array
from netc.runtime.data.tables import store
from netc.runtime.data.tables.sharing import Sharing
from netc.runtime.distributed.mpi_exchange import MpiExchange
from netc.runtime.distributed.network import Network
from netc.runtime.execution.memory import is_debugging

_PATIENCE = 2.0  # seconds in which the other ranks of a failed one fail too, if they have the same reason
_SIZES = (64, 1 << 12, 1 << 13, 1 << 15, 1 << 17, 1 << 19, 1 << 21)  # bytes of messages that measure a network
_TRIALS = 101  # of each size
_PAUSE = 0.01  # seconds between two looks at a message


class MpiRanks(Struct, frozen=True):
    """The ranks of a communicator, and those on the host of this one. Messages about the end of the program use one of
    their own, so that they pass those of a step that some ranks are still in."""

    world: Any
    ending: Any
    host: Any

    @classmethod
    def of_world(cls) -> "MpiRanks":
        """The ranks that the launcher started. All of them must call this."""
        world = MPI.COMM_WORLD
        return cls(world.Dup(), world.Dup(), world.Split_type(MPI.COMM_TYPE_SHARED, world.rank))

    @property
    def rank(self) -> int:
        return int(self.world.rank)

    @property
    def count(self) -> int:
        return int(self.world.size)

    @property
    def must_share(self) -> bool:
        """See Ranks.must_share: in the debugging mode, whose tests compare bits."""
        return is_debugging()

    def exchange(self, parts: Sequence[Part]) -> "MpiExchange":
        """See Ranks.exchange. The requests are persistent, and between two ranks each: so they are made once, and by
        each rank when it likes."""
        return MpiExchange.of(self.world, parts)

    def failure(self, code: int) -> Exception:
        """See Ranks.failure."""
        return MPI.Exception(code)

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """The largest number of all ranks at each position."""
        local = np.array(numbers, np.int64)
        largest = np.empty_like(local)
        self.world.Allreduce(local, largest, MPI.MAX)
        return [int(number) for number in largest]

    def texts(self, text: str) -> list[str]:
        """The text of every rank."""
        content = np.frombuffer(text.encode(), np.uint8)
        sizes = np.empty(self.count, np.int64)
        self.world.Allgather(np.array([len(content)], np.int64), sizes)
        everything = np.empty(int(sizes.sum()), np.uint8)
        self.world.Allgatherv([content, MPI.BYTE], [everything, sizes.tolist(), MPI.BYTE])
        ends = np.cumsum(sizes)
        return [everything[end - size : end].tobytes().decode() for size, end in zip(sizes, ends, strict=True)]

    def from_first(self, content: bytes) -> bytes:
        """The content that rank 0 has, for all ranks."""
        return _from_first(self.world, content)

    @contextmanager
    def sharing_on_host(self) -> Iterator[Sharing | None]:
        """The ranks of this host as processes that share what they read, until all of them leave this context.

        None if there is no other one, or no folder for what they share.
        """
        if self.host.size == 1:
            yield None
            return
        with ExitStack() as stack:
            folder, cache = b"", home.folder() if self.host.rank == 0 else None
            if cache is not None:
                with suppress(OSError):
                    folder = os.fsencode(stack.enter_context(temporary.folder(cache)))
            folder = _from_first(self.host, folder)
            try:
                yield Sharing(Path(os.fsdecode(folder)), self.host.rank, self.host.size) if folder else None
            finally:
                self._wait_on_host()

    def _wait_on_host(self) -> None:
        """Waits for all ranks of the host, and leaves the processor to them."""
        request = self.host.Ibarrier()
        while not request.Test():
            time.sleep(_PAUSE)

    def shared_on_host(self, array: Array) -> Array:
        """The array of the first rank on each host, whose copies on the other ranks are equal: in a file that they all
        map into memory. The array itself if there is no room for the file."""
        if self.host.size == 1:
            return array
        path = store.written(array) if self.host.rank == 0 else None
        name = _from_first(self.host, os.fsencode(path) if path is not None else b"")
        if not name:
            return array
        mapped: Array = np.memmap(os.fsdecode(name), array.dtype, "c", shape=array.shape)
        self.host.Barrier()
        if path is not None:
            path.unlink()  # the mapped memory stays
        return mapped

    def copy_from_first(self, array: Array) -> None:
        """Fills an array, which all ranks have with the same shape, with the elements that rank 0 has."""
        copy = np.ascontiguousarray(array)
        self.world.Bcast([copy.reshape(-1).view(np.uint8), MPI.BYTE])
        array[...] = copy

    def network(self) -> Network:
        """Measures the network between this rank and its neighbour. All ranks must call this."""
        pair = self.world.Split(self.rank // 2)
        return Network(
            tuple((nbytes, _seconds_of(pair, [nbytes])) for nbytes in _SIZES),
            max(_seconds_of(pair, [_SIZES[0]] * 2) - _seconds_of(pair, [_SIZES[0]]), 0.0),
        )

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


def _from_first(ranks: Any, content: bytes) -> bytes:
    """The content that the first rank of a communicator has, for all its ranks."""
    size = np.array([len(content)], np.int64)
    ranks.Bcast(size)
    received = np.frombuffer(content, np.uint8).copy() if ranks.rank == 0 else np.empty(int(size[0]), np.uint8)
    ranks.Bcast([received, MPI.BYTE])
    return received.tobytes()


def _seconds_of(pair: Any, sizes: Sequence[int]) -> float:
    """The time of a message with parts of these sizes between two ranks, which have just written them: so they
    are in the cache of one core and not in that of the other."""
    arrays = [np.zeros(size * 2, np.uint8) for size in sizes]
    parts = [Part(array.ctypes.data, (0, size, 2 * size)) for array, size in zip(arrays, sizes, strict=True)]
    exchange, seconds = MpiExchange.of(pair, parts), []
    for trial in range(_TRIALS):
        for array in arrays:
            array.fill(trial)
        pair.Barrier()
        begin = time.perf_counter()
        exchange.run()
        seconds.append(time.perf_counter() - begin)
    return float(np.quantile(seconds, 0.25))  # other programs delay some of them
