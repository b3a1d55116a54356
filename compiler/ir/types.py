"""The type of a value: an element type and dimensions. Knows nothing of graphs.

A dimension is a whole number, or a name for a size that is known only when a program runs. Only the first dimension
of a value can be a name: `batch`, a row for each sample, or a varying dimension (`time`), a row for each step of each
sample (rows.py defines their order). If a value has two varying dimensions, or one that is not the first, they are
`Bounded`: numbers, with space for the largest number of steps that a sample may have.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from msgspec import Struct

BATCH = "batch"
SHARD_COUNT = 16  # of a batch of any size: the rounding of a sum over the batch depends on where it is cut
DTypeName = Literal["f32", "f64", "i32", "u8", "bool", "bf16"]
Precision = Literal["f32", "f64", "bf16"]  # of a model's floats; bf16: f32, but products read operands rounded to bf16
Dim = int | str
Sizes = int | Mapping[str, int]  # of the named dimensions: of the batch alone, or each by its name


class DType(Struct, frozen=True):
    """All facts about an element type. `conversion` is the function of kernel text that converts to it, `spelling`
    its name in the language.

    No value has the type bf16: memory has it that keeps values of f32 which are rounded to bf16. NumPy sees their bits.
    """

    name: DTypeName
    numpy: np.dtype[Any]
    conversion: str
    spelling: str
    is_float: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of an element, and what its address is a multiple of."""
        return self.numpy.itemsize


DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        DType("f32", np.dtype(np.float32), "F32", "float", is_float=True),
        DType("f64", np.dtype(np.float64), "F64", "float", is_float=True),
        DType("i32", np.dtype(np.int32), "I32", "int"),
        DType("u8", np.dtype(np.uint8), "U8", "float"),
        DType("bool", np.dtype(np.bool_), "bool", "bool"),
        DType("bf16", np.dtype(np.uint16), "F32", "float"),
    )
}


class Bounded(int):
    """A varying dimension that is stored at its bound, `time <= 40`, behind the batch.

    Passes and kernels treat it as a number. Only elaboration uses its name, to exclude the elements beyond a sample's
    own length from every result. A dimension whose bound the file does not declare is UNDECLARED steps long: such a
    value has a meaning, but no memory. The passes must replace it (passes/pack.py).
    """

    name: str

    def __new__(cls, most: int, name: str) -> "Bounded":
        dim = super().__new__(cls, most)
        dim.name = name
        return dim


UNDECLARED = (1 << 24) - 3  # stands for a bound that nobody knows, and is none that anybody would declare


def is_undeclared(dim: Dim) -> bool:
    """Whether a dimension is one that is stored at a bound, and this bound is not declared."""
    return isinstance(dim, Bounded) and dim == UNDECLARED


def bound_text(most: int) -> str:
    """A bound as it is printed: `?` if it is not declared."""
    return "?" if most == UNDECLARED else str(int(most))


def parse_bound(text: str) -> int:
    """The inverse of `bound_text`."""
    return UNDECLARED if text == "?" else int(text)


class Mismatch(Exception):
    """Types that do not fit together.

    A caller that knows the span in the text turns it into a Fault with this code. `about` is the varying dimension
    that the message concerns.
    """

    def __init__(self, message: str, hint: str | None = None, code: str = "E0401", about: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.code, self.about = message, hint, code, about


class Type(Struct, frozen=True):
    """`f32[batch, 64]`. `classes` is set where the elements are labels, 0 to classes - 1, stored as i32."""

    dtype: DTypeName
    dims: tuple[Dim, ...] = ()
    classes: int | None = None

    @property
    def is_batched(self) -> bool:
        """Whether there is a row for each sample, or for each step of each sample: whether it depends on data."""
        return self.rows is not None

    @property
    def rows(self) -> str | None:
        """The first dimension if it is a name, `batch` or a varying dimension; otherwise None."""
        first = self.dims[0] if self.dims else None
        return first if isinstance(first, str) else None

    @property
    def is_varying(self) -> bool:
        """Whether the first dimension is a varying one: each sample has its own number of rows."""
        return self.rows not in (None, BATCH)

    @property
    def lead(self) -> int:
        """The index of the first axis that belongs to a sample: 1 if the batch comes first, 0 otherwise."""
        return int(self.rows == BATCH)

    @property
    def sample(self) -> tuple[Dim, ...]:
        """The dimensions of one sample, varying ones by their names."""
        sample_dims = self.dims[1:] if self.dims and self.dims[0] == BATCH else self.dims
        if not any([type(dim) is Bounded for dim in sample_dims]):  # noqa: C419  a list is faster, and this is called often
            return sample_dims
        return tuple(dim.name if isinstance(dim, Bounded) else dim for dim in sample_dims)

    @property
    def is_held(self) -> bool:
        """Whether some varying dimension is stored at its bound."""
        return any(isinstance(dim, Bounded) for dim in self.dims)

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def is_float(self) -> bool:
        return DTYPES[self.dtype].is_float

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return DTYPES[self.dtype].bytes

    def with_dims(self, dims: tuple[Dim, ...]) -> "Type":
        return Type(self.dtype, dims, self.classes)

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """The dimensions as numbers, the named ones as `sizes` says."""
        return tuple(size_of(dim, sizes) for dim in self.dims)

    def size(self, sizes: Sizes) -> int:
        """The number of elements of a value of this type."""
        return math.prod(self.shape(sizes))

    def nbytes(self, sizes: Sizes) -> int:
        return self.size(sizes) * self.itemsize

    def __str__(self) -> str:
        kind = f"class({self.classes})" if self.classes is not None else self.dtype
        dims = (f"{dim.name} <= {bound_text(dim)}" if isinstance(dim, Bounded) else str(dim) for dim in self.dims)
        return kind + (f"[{', '.join(dims)}]" if self.dims else "")


def fixed_size(dim: Dim) -> int:
    """Returns a dimension that is a number: every dimension but the first, which may be a name."""
    assert isinstance(dim, int), f"the dimension `{dim}` has no fixed size"
    return dim


def size_of(dim: Dim, sizes: Sizes) -> int:
    """A dimension as a number."""
    if isinstance(dim, int):
        return int(dim)
    return sizes if isinstance(sizes, int) else sizes[dim]


def describe_sample(type_: Type) -> str:
    """The type as the user writes it, without the batch: `float[10]`, `class(3)`."""
    kind = f"class({type_.classes})" if type_.classes is not None else DTYPES[type_.dtype].spelling
    return kind + (f"[{', '.join(map(str, type_.sample))}]" if type_.sample else "")


def parse_type(text: str) -> Type:
    """The inverse of `str(type)`."""
    kind, _, rest = text.partition("[")
    dims = tuple(_parse_dim(dim.strip()) for dim in _between_commas(rest.rstrip("]"))) if rest else ()
    if kind.startswith("class("):
        return Type("i32", dims, int(kind[6:-1]))
    if kind in DTYPES:
        return Type(DTYPES[kind].name, dims)
    raise ValueError(f"not a type: {text}")


def _between_commas(text: str) -> list[str]:
    """The text cut at its commas, except those in parentheses: `min(time, 3), 4` is two dimensions."""
    pieces, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def _parse_dim(text: str) -> Dim:
    name, bounded, most = text.partition(" <= ")
    return Bounded(parse_bound(most), name) if bounded else int(text) if text.isdigit() else text


def broadcast_dims(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The dimensions of an element-wise result, by NumPy's rule. Raises Mismatch if two differ and neither is 1."""
    longest = max(shapes, key=len, default=())
    if 1 not in longest and all([not shape or shape == longest for shape in shapes]):  # noqa: C419  as in `sample`
        return longest
    rank = len(longest)
    result: list[Dim] = []
    for column in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        sizes: set[Dim] = {dim for dim in column if dim != 1}
        if len(sizes) > 1:
            raise Mismatch(f"the dimensions {' and '.join(str(dim) for dim in column)} do not fit together")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)
