"""The layout of a value in memory: an offset, and a stride for each axis, in elements. Knows no buffers.

A view (reshape, transpose, slice, ...) moves nothing: it only reads the memory of its operand with other strides, which
its operation computes with these functions.
"""

from collections.abc import Sequence

from msgspec import Struct

from netc.compiler.ir.types import Dim


class StridedLayout(Struct, frozen=True):
    """The strides of a view, and the offset of its first element from that of its operand."""

    strides: tuple[int, ...]
    offset: int = 0


def contiguous(dims: Sequence[Dim]) -> tuple[int, ...]:
    """Strides of row-major memory. The batch stands first, so no stride depends on it."""
    strides, step = [], 1
    for dim in reversed(dims):
        strides.append(step)
        step *= dim if isinstance(dim, int) else 1
    return tuple(reversed(strides))


def row_axis(dims: Sequence[Dim]) -> int:
    """The axis along which workers share the rows of a value: the first of more than one element."""
    return next((axis for axis, dim in enumerate(dims) if dim != 1), 0)


def elements_of_row(dims: Sequence[Dim]) -> int:
    """The elements of a row along that axis in row-major memory."""
    return contiguous(dims)[row_axis(dims)] if dims else 1


def broadcast(strides: tuple[int, ...], dims: tuple[Dim, ...], space: tuple[Dim, ...]) -> tuple[int, ...]:
    """Strides over a wider space: 0 where an element is repeated."""
    lead = len(space) - len(dims)
    return (0,) * lead + tuple(
        stride if dim == wide else 0 for stride, dim, wide in zip(strides, dims, space[lead:], strict=True)
    )


def reshaped(strides: tuple[int, ...], before: tuple[Dim, ...], after: tuple[Dim, ...]) -> StridedLayout | None:
    """The layout of the same memory in the shape `after`, or None if no strides describe it."""
    groups = iter(_contiguous_groups(strides, before))
    result: list[int] = []
    left: Dim = 1  # elements of the current group that no axis of the result covers yet
    step = 0
    for dim in after:
        if dim == 1:
            result.append(0)
            continue
        if left == 1:
            group = next(groups, None)
            if group is None:
                return None
            left, step = group
        if isinstance(dim, str) or isinstance(left, str):
            if dim != left:
                return None
            result.append(step)
            left = 1
            continue
        if left % dim:
            return None
        left //= dim
        result.append(step * left)
    return StridedLayout(tuple(result)) if left == 1 and next(groups, None) is None else None


def _contiguous_groups(strides: tuple[int, ...], dims: tuple[Dim, ...]) -> list[tuple[Dim, int]]:
    """Joins neighbouring axes that are contiguous with one another. Returns the elements and the stride of each group.

    Axes of one element are left out.
    """
    groups: list[tuple[Dim, int]] = []
    for dim, stride in zip(dims, strides, strict=True):
        if dim == 1:
            continue
        if groups and isinstance(dim, int) and groups[-1][1] == dim * stride and isinstance(groups[-1][0], int):
            groups[-1] = (groups[-1][0] * dim, stride)
        else:
            groups.append((dim, stride))
    return groups
