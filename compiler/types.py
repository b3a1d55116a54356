"""What a value is made of: an element type and dimensions. Knows nothing of graphs.

A dimension is a whole number, or a name for a size known only when a program runs; `batch` is the only such name that runs today,
and it stands first wherever it stands.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

BATCH = "batch"
DType = Literal["f32", "f64", "i32", "u8", "bool"]
Dim = int | str

NUMPY: dict[str, np.dtype[np.generic]] = {
    name: np.dtype(kind)
    for name, kind in {
        "f32": np.float32,
        "f64": np.float64,
        "i32": np.int32,
        "u8": np.uint8,
        "bool": np.bool_,
    }.items()
}


class Mismatch(Exception):
    """Types that do not fit together. Whoever knows the place in the text makes a Fault of this code of it."""

    def __init__(self, message: str, hint: str | None = None, code: str = "E0401") -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


@dataclass(frozen=True, slots=True)
class Type:
    """`f32[batch, 64]`. `classes` is set where the elements are labels, 0 to classes - 1, stored as i32."""

    dtype: DType
    dims: tuple[Dim, ...] = ()
    classes: int | None = None

    @property
    def is_batched(self) -> bool:
        return self.dims[:1] == (BATCH,)

    @property
    def sample(self) -> tuple[Dim, ...]:
        """The dimensions of one sample."""
        return self.dims[1:] if self.is_batched else self.dims

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def is_float(self) -> bool:
        return self.dtype in ("f32", "f64")

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return NUMPY[self.dtype].itemsize

    def with_dims(self, dims: tuple[Dim, ...]) -> "Type":
        return Type(self.dtype, dims, self.classes)

    def shape(self, batch: int) -> tuple[int, ...]:
        """The dimensions as numbers, for a batch of the given size."""
        return tuple(batch if isinstance(dim, str) else dim for dim in self.dims)

    def size(self, batch: int) -> int:
        """How many elements a value of this type has."""
        return math.prod(self.shape(batch))

    def nbytes(self, batch: int) -> int:
        return self.size(batch) * self.itemsize

    def __str__(self) -> str:
        kind = f"class({self.classes})" if self.classes is not None else self.dtype
        return kind + (f"[{', '.join(map(str, self.dims))}]" if self.dims else "")


def describe_sample(type_: Type) -> str:
    """The type as the user writes it, without the batch: `float[10]`, `class(3)`."""
    kind = (
        f"class({type_.classes})"
        if type_.classes is not None
        else {"i32": "int", "bool": "bool"}.get(type_.dtype, "float")
    )
    return kind + (f"[{', '.join(map(str, type_.sample))}]" if type_.sample else "")


def parse_type(text: str) -> Type:
    """The inverse of `str(type)`."""
    kind, _, rest = text.partition("[")
    dims = (
        tuple(int(dim) if dim.strip().isdigit() else dim.strip() for dim in rest.rstrip("]").split(",")) if rest else ()
    )
    if kind.startswith("class("):
        return Type("i32", dims, int(kind[6:-1]))
    if kind in NUMPY:
        return Type(kind, dims)  # type: ignore[arg-type]
    raise ValueError(f"not a type: {text}")


def broadcast_dims(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The dimensions of an element-wise result, by NumPy's rule. Raises Mismatch if two differ and neither is 1."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for column in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        found: set[Dim] = {dim for dim in column if dim != 1}
        if len(found) > 1:
            raise Mismatch(f"the dimensions {' and '.join(str(dim) for dim in column)} do not fit together")
        result.append(found.pop() if found else 1)
    return tuple(result)
