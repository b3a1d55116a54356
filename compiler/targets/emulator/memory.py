"""Memory with a shadow: for each byte, which buffer's value it holds, and which unit of work of this phase read or
wrote it.

An element is read through a pointer to a buffer. It must lie in that buffer and must have been written as an element
of that buffer since the step began, and no other unit of work of the same phase may write it. The planner promises
this; it is checked at each access. Knows no kernels and no schedule.

Most arrays are small, so `np.count_nonzero` is used in place of `any`, which takes three times as long for them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.bf16 import from_bits, to_bits
from netc.compiler.ir.types import DTYPES
from netc.compiler.program.tasks import Buffer

Array = np.ndarray[Any, Any]
_WORD = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
_ONES = {size: sum(1 << 8 * byte for byte in range(size)) for size in _WORD}
_SEVERAL = 255  # several units have read the byte
MOST_TAGS = 254


class BrokenPlan(AssertionError):
    """A task read or wrote an element that no plan may let it read or write."""


class Region:
    """Bytes somewhere in memory, with the shadow of each.

    `tags` say which buffer's value a byte holds (0: none in this step). `writers` and `readers` are numbers of units
    of work, recorded only if the region `is_shared`.
    """

    def __init__(self, name: str, data: Array, is_shared: bool = False, is_written: bool = True) -> None:
        self.name, self.data, self.is_shared, self.is_written = name, data, is_shared, is_written
        self.tags = np.zeros(len(data), np.uint8)
        self.writers = np.zeros(len(data) if is_shared else 0, np.uint8)
        self.readers = np.zeros(len(data) if is_shared else 0, np.uint8)

    def forget_units(self) -> None:
        """Clears the readers and writers. Called at a barrier, where all units of a phase are done."""
        self.writers[:] = 0
        self.readers[:] = 0


class Reference(Struct):
    """A pointer of a task that runs: its position in a region, and the bytes `low` to `high` of its buffer there."""

    region: Region
    start: int
    low: int
    high: int
    tag: int
    buffer: Buffer

    def __str__(self) -> str:
        return f"{self.buffer.type} ({self.buffer.kind} {self.buffer.name})".replace(" )", ")")


class Access(Struct, frozen=True):
    """Loads and stores for one call of a task, which a member does for `frame` in a `unit` of work (0: the only one
    in its phase)."""

    task: object
    member: int
    frame: object
    unit: int

    def fail(self, message: str) -> BrokenPlan:
        """Returns the exception to raise, with the task and the frame in its message."""
        return BrokenPlan(f"{self.task}, member {self.member}, {self.frame}: {message}")

    # -------------------------------------------------------------- elements that strides walk

    def load(self, pointer: Reference, dtype: str, at: int, shape: Sequence[int], strides: Sequence[int]) -> Array:
        """Returns the elements from `at` on that `strides` walk, as an array of `shape`."""
        kind = DTYPES[dtype].numpy
        if 0 in shape:
            return _values(np.empty(shape, kind), dtype)
        size = kind.itemsize
        offset, apart = self._span(pointer, at, shape, strides, size, "reads")
        shadow = np.ndarray(shape, _WORD[size], pointer.region.tags, offset, apart)
        unwritten = shadow != pointer.tag * _ONES[size]
        if np.count_nonzero(unwritten):
            raise self._unwritten(pointer, shadow[unwritten], unwritten)
        if self.unit and pointer.region.is_shared:
            self._note_read(pointer, shape, size, offset, apart)
        return _values(np.ndarray(shape, kind, pointer.region.data, offset, apart).copy(), dtype)

    def store(
        self, pointer: Reference, dtype: str, at: int, shape: Sequence[int], strides: Sequence[int], value: Any
    ) -> None:
        """Stores an array of `shape` into the elements from `at` on that `strides` walk."""
        if 0 in shape:
            return
        kind = DTYPES[dtype].numpy
        size = kind.itemsize
        offset, apart = self._span(pointer, at, shape, strides, size, "writes")
        if not pointer.region.is_written:
            raise self.fail(f"writes to {pointer}, which is only read")
        if self.unit and pointer.region.is_shared:
            self._note_write(pointer, shape, size, offset, apart)
        np.ndarray(shape, _WORD[size], pointer.region.tags, offset, apart)[...] = pointer.tag * _ONES[size]
        np.ndarray(shape, kind, pointer.region.data, offset, apart)[...] = _elements_of(value, dtype)

    def _span(
        self, pointer: Reference, at: int, shape: Sequence[int], strides: Sequence[int], size: int, verb: str
    ) -> tuple[int, tuple[int, ...]]:
        """The byte of the first element, and the strides in bytes. Raises BrokenPlan if an element is outside of the
        buffer."""
        offset = low = high = pointer.start + at * size
        for count, stride in zip(shape, strides, strict=True):
            reach = (count - 1) * stride * size
            if reach < 0:
                low += reach
            else:
                high += reach
        if low < pointer.low or high + size > pointer.high:
            raise self._outside(pointer, low, high, size, verb)
        return offset, tuple([stride * size for stride in strides])

    def _note_read(
        self, pointer: Reference, shape: Sequence[int], size: int, offset: int, apart: tuple[int, ...]
    ) -> None:
        region = pointer.region
        self._refuse(pointer, np.ndarray(shape, _WORD[size], region.writers, offset, apart), size, "reads", "writes")
        readers = np.ndarray(shape, _WORD[size], region.readers, offset, apart)
        readers[...] = self._readers_with_this(readers, size)

    def _note_write(
        self, pointer: Reference, shape: Sequence[int], size: int, offset: int, apart: tuple[int, ...]
    ) -> None:
        region = pointer.region
        self._refuse(pointer, np.ndarray(shape, _WORD[size], region.readers, offset, apart), size, "writes", "reads")
        writers = np.ndarray(shape, _WORD[size], region.writers, offset, apart)
        self._refuse(pointer, writers, size, "writes", "writes")
        writers[...] = self.unit * _ONES[size]

    def _refuse(self, pointer: Reference, units: Array, size: int, verb: str, other: str) -> None:
        """Raises BrokenPlan if another unit of work has read or written these elements."""
        if np.count_nonzero(units) and np.count_nonzero((units != 0) & (units != self.unit * _ONES[size])):
            raise self.fail(f"{verb} of {pointer} what another unit of work {other} in the same phase")

    def _readers_with_this(self, readers: Array, size: int) -> Any:
        word = readers.dtype.type  # NumPy 2.5 takes no int beyond 63 bits
        this = word(self.unit * _ONES[size])
        if not np.count_nonzero(readers):
            return this
        return np.where((readers == 0) | (readers == this), this, word(_SEVERAL * _ONES[size]))

    # -------------------------------------------------------------- elements that an index names

    def load_at(self, pointer: Reference, dtype: str, index: Any) -> Any:
        """Returns the elements at an array of indices."""
        kind, index = DTYPES[dtype].numpy, np.asarray(index)
        where = self._elements(pointer, index, kind.itemsize, "reads")
        size = kind.itemsize
        shadow = _words(pointer.region.tags, size)[where]
        unwritten = shadow != pointer.tag * _ONES[size]
        if np.count_nonzero(unwritten):
            raise self._unwritten(pointer, shadow[unwritten], unwritten)
        if self.unit and pointer.region.is_shared:
            self._refuse(pointer, _words(pointer.region.writers, size)[where], size, "reads", "writes")
            readers = _words(pointer.region.readers, size)
            readers[where] = self._readers_with_this(readers[where], size)
        return _values(_words(pointer.region.data, size, kind)[where], dtype)

    def store_at(self, pointer: Reference, dtype: str, index: Any, value: Any) -> None:
        """Stores values into the elements at an array of indices."""
        kind, index = DTYPES[dtype].numpy, np.asarray(index)
        size = kind.itemsize
        where = self._elements(pointer, index, size, "writes")
        if not pointer.region.is_written:
            raise self.fail(f"writes to {pointer}, which is only read")
        if self.unit and pointer.region.is_shared:
            self._refuse(pointer, _words(pointer.region.readers, size)[where], size, "writes", "reads")
            writers = _words(pointer.region.writers, size)
            self._refuse(pointer, writers[where], size, "writes", "writes")
            writers[where] = self.unit * _ONES[size]
        _words(pointer.region.tags, size)[where] = pointer.tag * _ONES[size]
        _words(pointer.region.data, size, kind)[where] = _elements_of(value, dtype)

    def _elements(self, pointer: Reference, index: Array, size: int, verb: str) -> Array:
        """Turns indices from a pointer into indices from the beginning of its region."""
        if pointer.start % size:
            raise self.fail(f"{verb} {pointer} at an address that is not a multiple of {size}")
        if index.size:
            low, high = int(index.min()) * size + pointer.start, int(index.max()) * size + pointer.start
            if low < pointer.low or high + size > pointer.high:
                raise self._outside(pointer, low, high, size, verb)
        where: Array = index + pointer.start // size
        return where

    def _outside(self, pointer: Reference, low: int, high: int, size: int, verb: str) -> BrokenPlan:
        first, last = (low - pointer.low) // size, (high - pointer.low) // size
        count = (pointer.high - pointer.low) // size
        return self.fail(f"{verb} elements {first} to {last} of {pointer}, which has {count}")

    def _unwritten(self, pointer: Reference, tags: Array, unwritten: Array) -> BrokenPlan:
        index = tuple(int(number) for number in np.argwhere(unwritten)[0])
        why = "nobody has written" if int(tags.flat[0]) == 0 else "holds another buffer's value"
        return self.fail(f"reads an element of {pointer} that {why} (at {index}, {int(unwritten.sum())} such)")


def _words(data: Array, size: int, kind: np.dtype[Any] | None = None) -> Array:
    """Bytes as elements of a size, or of a type."""
    return data[: len(data) // size * size].view(kind or _WORD[size])


def _values(elements: Array, dtype: str) -> Array:
    """The values that elements in memory stand for."""
    return np.asarray(from_bits(elements)) if dtype == "bf16" else elements


def _elements_of(values: Any, dtype: str) -> Any:
    """The elements in memory that stand for values."""
    return to_bits(values) if dtype == "bf16" else values
