"""Types and values of the language in the generator.

They are written without the compiler, so an annotation in a generated file is a second opinion.
"""

import math

from msgspec import Struct

OPAQUE = "opaque"  # the first letter of dimensions for which a file has no expression
USUAL_STEPS = 5  # the number of steps that estimates of sizes assume


class Steps(Struct, frozen=True):
    """A varying dimension. `name` is its text in a file.

    It follows from the declared dimension `base`: it has at least k steps if `base` has at least `times * (k - 1) + 1 +
    plus`.
    """

    name: str
    base: str
    times: int = 1
    plus: int = 0

    def needs(self, steps: int) -> int:
        """The length of `base` that gives this dimension so many steps."""
        return self.times * (steps - 1) + 1 + self.plus

    def count(self, counts: dict[str, int]) -> int:
        """The number of steps for these lengths of the declared dimensions."""
        return int(eval(self.name, {"ceil": math.ceil}, counts))

    @property
    def is_expression(self) -> bool:
        """Whether a file can write the length of this dimension."""
        return not self.name.startswith(OPAQUE)

    @property
    def _inner(self) -> str:
        return f"({self.name})" if " - " in self.name and not self.name.startswith("ceil") else self.name

    def divided(self, by: int) -> "Steps":
        return Steps(f"ceil({self._inner} / {by})", self.base, self.times * by, self.plus)

    def shortened(self, by: int) -> "Steps":
        return Steps(f"{self.name} - {by}", self.base, self.times, self.plus + self.times * by)


Dim = int | Steps


class Type(Struct, frozen=True):
    """The type of one sample: `float[time, 3]`, `class(5)`, `bool[4]`."""

    kind: str = "float"
    dims: tuple[Dim, ...] = ()
    classes: int = 0

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def steps(self) -> Steps | None:
        """The varying dimension, if it is the first one and there is no other."""
        first = self.dims[0] if self.dims else None
        return first if isinstance(first, Steps) and not self.is_held else None

    @property
    def is_held(self) -> bool:
        """Whether a varying dimension is stored at its bound: there are two of them, or it is not the first."""
        return any(isinstance(dim, Steps) for dim in self.dims[1:])

    @property
    def is_varying(self) -> bool:
        return any(isinstance(dim, Steps) for dim in self.dims)

    @property
    def is_fixed(self) -> bool:
        return not self.is_varying

    @property
    def numbers(self) -> tuple[int, ...]:
        """The fixed dimensions."""
        return tuple(dim for dim in self.dims if isinstance(dim, int))

    @property
    def count(self) -> int:
        """About how many elements there are."""
        return math.prod(USUAL_STEPS if isinstance(dim, Steps) else dim for dim in self.dims)

    def of(self, *dims: Dim) -> "Type":
        return Type(self.kind, dims, self.classes)

    def text(self, bounds: dict[str, int] | None = None) -> str:
        """The type as a file writes it. With `bounds`, varying dimensions have theirs (`time <= 9`)."""
        kind = f"class({self.classes})" if self.kind == "class" else self.kind
        dims = ", ".join(_dim_text(dim, bounds or {}) for dim in self.dims)
        return f"{kind}[{dims}]" if dims else kind


def _dim_text(dim: Dim, bounds: dict[str, int]) -> str:
    if isinstance(dim, int):
        return str(dim)
    return f"{dim.name} <= {bounds[dim.name]}" if dim.name in bounds else dim.name


def floats(*dims: Dim) -> Type:
    return Type("float", dims)


class Value(Struct, frozen=True):
    """The type and the traits of a named value.

    `scale` estimates its largest magnitude, so that numbers stay in a range in which differences are significant.
    """

    name: str
    type: Type
    number: int = 0  # unique among all values of a program
    is_batched: bool = True
    scale: float = 1.0
    is_trained: bool = False  # depends on a parameter
    is_discrete: bool = (
        False  # has few different values, so that rounding or comparing it again may depend on the last bit
    )
    ancestors: frozenset[int] = frozenset()  # the numbers of the values that it is computed from, and its own
    mixed: frozenset[int] = (
        frozenset()
    )  # values with respect to which it has no derivative, because a sum over the batch is in between
    is_parameter: bool = False


def broadcast(*types: Type) -> tuple[Dim, ...] | None:
    """The dimensions of NumPy's broadcasting on the shapes of one sample, or None if they do not fit."""
    rank = max(type_.rank for type_ in types)
    dims: list[Dim] = []
    for axis in range(rank):
        column = {type_.dims[axis - rank] for type_ in types if axis - rank >= -type_.rank} - {1}
        if len(column) > 1:
            return None
        dims.append(column.pop() if column else 1)
    return tuple(dims)
