"""A nest of loops as plain data: an iteration space with loads, scalar expressions, stores and folds.

Neighbouring axes that all accesses walk as one are joined here. loops.py writes the text. Knows no graph.
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Access:
    """An element of a buffer for each point of the iteration space: sum of stride * index (+ stride * a loaded index).

    `pointer` is the number of the kernel's address; None means that the offset itself is the element (a range of
    numbers). `indirect` is the name of the line with the loaded index, and its stride.
    """

    pointer: int | None
    dtype: str
    strides: tuple[int, ...]
    indirect: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """`name = access`, or `name = expression` in Python."""

    name: str
    value: Access | str


@dataclass(frozen=True, slots=True)
class Output:
    """Stores the value of a line at `target`. With `fold` (initial, combine) the value is first reduced over the
    nest's folded axes; `keyed` ("max" or "min") reduces integer keys in place of floats (math.py)."""

    line: str
    target: Access
    fold: tuple[str, str] | None = None
    keyed: str | None = None


@dataclass(frozen=True, slots=True)
class Nest:
    """Loops over `extents` (None: a count that the kernel takes as an argument), with the lines and outputs inside.

    `folded` says which axes the folds reduce, and `scopes` is each pointer's alias scope. With `combine`, an
    expression of a and b, the only output is combined with the element at its target (a: that element, b: the line).
    With `argmax`, the only output is the index along the folded axis where the line is largest.
    """

    extents: tuple[int | None, ...]
    lines: tuple[Line, ...]
    outputs: tuple[Output, ...]
    scopes: tuple[int, ...]
    folded: tuple[bool, ...]
    combine: str | None = None
    argmax: bool = False

    def accesses(self) -> list[Access]:
        """All loads, then all stores."""
        return [line.value for line in self.lines if isinstance(line.value, Access)] + [
            output.target for output in self.outputs
        ]


@dataclass(frozen=True, slots=True)
class Extent:
    """The count of a loop: a factor times the extent of an `axis` of the nest (None: the factor alone)."""

    factor: int
    axis: int | None


def collapse(nest: Nest) -> tuple[Nest, tuple[Extent, ...]]:
    """Joins neighbouring axes that every access can walk as one, and removes axes of one element.

    Returns the smaller nest and the extent of each of its axes.
    """
    kept: list[list[int]] = []
    for axis, extent in _longer(nest):
        joined = (
            kept
            and extent is not None
            and nest.folded[kept[-1][-1]] == nest.folded[axis]
            and not nest.argmax
            and all(access.strides[kept[-1][-1]] == access.strides[axis] * extent for access in nest.accesses())
        )
        if joined:
            kept[-1].append(axis)
        else:
            kept.append([axis])
    extents = tuple(
        Extent(
            math.prod(extent for extent in (nest.extents[axis] for axis in group) if extent is not None),
            next((axis for axis in group if nest.extents[axis] is None), None),
        )
        for group in kept
    )

    def pick(access: Access) -> Access:
        return replace(access, strides=tuple(access.strides[group[-1]] for group in kept))

    smaller = replace(
        nest,
        extents=tuple(extent.factor if extent.axis is None else None for extent in extents),
        lines=tuple(
            Line(line.name, pick(line.value) if isinstance(line.value, Access) else line.value) for line in nest.lines
        ),
        outputs=tuple(replace(output, target=pick(output.target)) for output in nest.outputs),
        folded=tuple(nest.folded[group[0]] for group in kept),
    )
    return smaller, extents


def _longer(nest: Nest) -> list[tuple[int, int | None]]:
    """The axes of more than one element, and their extents. A nest that folds keeps at least one folded axis."""
    axes = list(enumerate(nest.extents))
    longer = [(axis, extent) for axis, extent in axes if extent != 1]
    if any(nest.folded) and not any(nest.folded[axis] for axis, _ in longer):
        longer = sorted([*longer, next((axis, extent) for axis, extent in axes if nest.folded[axis])])
    return longer or axes[-1:]
