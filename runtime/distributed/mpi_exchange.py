"""Messages of a step as persistent requests of MPI, which machine code starts and waits for.

Who sends what to whom is in rounds.py. All requests are between two ranks, so each rank can make its own at any time.
"""

import ctypes
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from mpi4py import MPI
from msgspec import Struct

from netc.compiler.targets.target import NativeCall, Part
from netc.runtime.data.stored import Array
from netc.runtime.distributed.rounds import bytes_of, rounds

_C_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class MpiExchange(Struct, frozen=True, weakref=True):
    """The requests of a message, and the calls that start them and wait for them."""

    starts: list[NativeCall]
    waits: list[NativeCall]
    kept: list[Array]  # the memory that the calls point to

    def run(self) -> None:
        """Sends the message, and waits for those of the others."""
        for function, *arguments in (*self.starts, *self.waits):
            if code := _C_FUNCTION(function)(*arguments):
                raise MPI.Exception(code)

    @classmethod
    def of(cls, world: Any, parts: Sequence[Part]) -> "MpiExchange":
        """The exchange of the parts of a message among the ranks of a communicator."""
        calls: list[NativeCall] = []
        kept: list[Array] = []
        every: list[Any] = []
        for block, partners in rounds(world.rank, world.size):
            requests = [
                make([MPI.buffer.fromaddress(part.address + low, high - low), MPI.BYTE], partner, tag)
                for tag, part in enumerate(parts)
                for partner, theirs in partners
                for make, ranks in ((world.Recv_init, theirs), (world.Send_init, block))
                for low, high in [bytes_of(part, ranks)]
                if low < high
            ]
            handles, statuses = _handles(requests), np.empty(MPI._sizeof(MPI.Status) * len(requests), np.uint8)
            every += requests
            kept += [handles, statuses]
            count, at = len(requests), handles.ctypes.data
            if requests:
                calls += [(_address("MPI_Startall"), count, at, 0)]
                calls += [(_address("MPI_Waitall"), count, at, statuses.ctypes.data)]
        exchange = cls(calls[:1], calls[1:], kept)
        weakref.finalize(exchange, _free, every).atexit = False
        return exchange


def _handles(requests: Sequence[Any]) -> Array:
    """MPI's handles of requests, one behind another as in an array of C."""
    size = MPI._sizeof(MPI.Request)
    content = b"".join(ctypes.string_at(MPI._addressof(request), size) for request in requests)
    return np.frombuffer(content, np.uint8).copy()


@cache
def _address(name: str) -> int:
    """The address of a function of the library of MPI that mpi4py has loaded."""
    return ctypes.cast(getattr(ctypes.CDLL(MPI.__file__), name), ctypes.c_void_p).value or 0


def _free(requests: Sequence[Any]) -> None:
    if not MPI.Is_finalized():
        for request in requests:
            request.Free()
