"""The forms of a field in memory: a plain array, bytes with a scale, or sequences of different lengths."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

Array = np.ndarray[Any, Any]
_MOST_SHOWN = 24  # arrays in the printed form of a dictionary


class Arrays(dict[str, Array]):
    """Arrays by name. They print as their types and shapes: all numbers of a model fill many screens."""

    def __repr__(self) -> str:
        shown = [f"{name!r}: {array.dtype}{[*array.shape]}" for name, array in self.items()]
        return "{" + ", ".join([*shown[:_MOST_SHOWN], *["..."] * (len(shown) > _MOST_SHOWN)]) + "}"


class Bytes(Struct, frozen=True):
    """The values `array` * `scale`, where `array` is uint8 with the samples first.

    A step reads a quarter of the memory that floats would take: the factor is applied while a batch is gathered.
    `np.asarray` gives the values as float32.
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


class Ragged(Struct, frozen=True):
    """Sequences: `rows` are the steps of the first, then those of the second, ...; `lengths` is how many each has."""

    rows: Array
    lengths: Array

    @classmethod
    def of(cls, sequences: Sequence[Any], dtype: Any) -> "Ragged":
        """Sequences from a list with an array for each sample."""
        arrays = [np.asarray(sequence, dtype) for sequence in sequences]
        return cls(np.concatenate(arrays), np.array([len(array) for array in arrays], np.int64))

    @property
    def starts(self) -> Array:
        """The row at which each sequence begins."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Array]:
        return iter(np.split(self.rows, np.cumsum(self.lengths)[:-1]))

    def take(self, chosen: Array) -> "Ragged":
        """The sequences with the numbers `chosen`, in this order."""
        lengths = self.lengths[chosen]
        step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged(self.rows[np.repeat(self.starts[chosen], lengths) + step], lengths)


Field = Array | Bytes | Ragged


def taken(field: Field, rows: Array) -> Field:
    """The samples with the numbers `rows` of a field, in this order."""
    if isinstance(field, Ragged):
        return field.take(rows)
    return Bytes(field.array[rows], field.scale) if isinstance(field, Bytes) else np.asarray(field)[rows]
