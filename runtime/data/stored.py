"""Numbers kept as the bytes that they came in: a quarter of the memory and of what a step reads; the factor is applied while a batch is gathered."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Bytes:
    """`array` (uint8, samples first) times `scale`. Where an array is wanted (`np.asarray`), it is one of float32."""

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


Field = Array | Bytes
