"""How a field is kept that is no plain array: as the bytes that it came in, or as sequences of different lengths one
behind the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Bytes:
    """`array` (uint8, samples first) times `scale`: a quarter of the memory and of what a step reads; the factor is
    applied while a batch is gathered.

    Where an array is wanted (`np.asarray`), it is one of float32.
    """

    array: Array
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.array.shape
        return shape

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        kind = np.dtype(dtype or np.float32).type
        numbers: Array = self.array.astype(kind) * kind(self.scale)
        return numbers


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences: `rows` holds the steps of the first, then those of the second, ...; `lengths` says how many each has."""

    rows: Array
    lengths: Array

    @classmethod
    def of(cls, sequences: Sequence[Any], dtype: Any) -> "Ragged":
        """From a list of arrays, one a sample."""
        arrays = [np.asarray(one, dtype) for one in sequences]
        return cls(np.concatenate(arrays), np.array([len(one) for one in arrays], np.int64))

    @property
    def starts(self) -> Array:
        """Where each sequence begins in the rows."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Array]:
        return iter(np.split(self.rows, np.cumsum(self.lengths)[:-1]))

    def take(self, chosen: Array) -> "Ragged":
        """The sequences of these numbers, in this order."""
        lengths = self.lengths[chosen]
        step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged(self.rows[np.repeat(self.starts[chosen], lengths) + step], lengths)


Field = Array | Bytes | Ragged
