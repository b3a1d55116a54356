"""Memory that compiled code works on, and a pool of it: each call in progress has arenas of its own."""

import math
import os

import numpy as np
from msgspec import Struct

from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.program.plan import ALIGNMENT
from netc.compiler.program.schedule import NAN_BYTE
from netc.compiler.targets.machine import cores
from netc.runtime.available import pledge, require
from netc.runtime.data.stored import Array


def footprint(size: int) -> int:
    """The bytes that a Memory of this size takes: some are skipped before its first address."""
    return size + ALIGNMENT


def is_debugging() -> bool:
    """Whether NETC_DEBUG=1 is set, as it is in all tests.

    Then every plan is verified, and arenas (before each step) and results are filled with NaN bytes, so that a stale
    read shows at once.
    """
    return os.environ.get("NETC_DEBUG") == "1"


class Memory:
    """Bytes at an address that is a multiple of ALIGNMENT, and arrays that are views of them.

    They begin as zeros; with `unwritten`, in the debugging mode, as NaN. Raises NotEnough if the machine has less.
    """

    def __init__(self, size: int, unwritten: bool = False) -> None:
        is_spoiled = unwritten and is_debugging()
        size_in_all = footprint(size)
        require(size_in_all, "an array")
        self._bytes = np.full(size_in_all, NAN_BYTE, np.uint8) if is_spoiled else np.zeros(size_in_all, np.uint8)
        pledge(self._bytes)
        self._start = -self._bytes.ctypes.data % ALIGNMENT
        self.address = self._bytes.ctypes.data + self._start
        self.bytes = self._bytes[self._start : self._start + size]

    def view(self, offset: int, type_: Type, batch: int) -> Array:
        return self.array(offset, type_.dtype, type_.shape(batch))

    def array(self, offset: int, dtype: str, shape: tuple[int, ...]) -> Array:
        size = DTYPES[dtype].bytes * math.prod(shape)
        raw = self._bytes[self._start + offset : self._start + offset + size]
        return raw.view(DTYPES[dtype].numpy).reshape(shape)


class Arena(Struct, frozen=True):
    """The temporary memory of one call: `shared` by its workers, and `private` to each of them."""

    shared: Memory
    private: list[Memory]


class ArenaPool:
    """Idle arenas of one plan. The first, for `members` workers, is made at once; others when calls overlap."""

    def __init__(self, shared: int, private: int, members: int) -> None:
        self._shared, self._private = shared, private
        self._idle: list[Arena] = [self._new(members)]  # `pop` and `append` of a list are atomic

    def take(self, members: int) -> Arena:
        """An arena with private memory for `members` workers; its contents are undefined."""
        try:
            arena = self._idle.pop()
        except IndexError:
            return self._new(members)
        while len(arena.private) < members:
            arena.private.append(Memory(self._private))
        return arena

    def give_back(self, arena: Arena) -> None:
        """Keeps an arena for the next call, but no more of them than there are cores."""
        if not self._idle or len(self._idle) < cores():
            self._idle.append(arena)

    def _new(self, members: int) -> Arena:
        return Arena(Memory(self._shared), [Memory(self._private) for _ in range(members)])


class Borrowed:
    """An arena of a pool, which gets it back unless an exception ends its use."""

    __slots__ = ("arena", "members", "pool")

    def __init__(self, pool: ArenaPool, members: int) -> None:
        self.pool, self.members = pool, members

    def __enter__(self) -> Arena:
        self.arena = self.pool.take(self.members)
        return self.arena

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.pool.give_back(self.arena)
