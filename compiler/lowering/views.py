"""Strides of views: operations that move nothing (reshape, slice, window, ...) read the memory of their operand."""

from dataclasses import replace

from netc.compiler.ir.attributes import Dims, Over
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.shape import Order, Pad, Slice
from netc.compiler.operations.shape import broadcast as broadcast_
from netc.compiler.operations.window import Window
from netc.compiler.program.tasks import Place, broadcast, contiguous


def view(value: Value, place: Place) -> Place | None:
    """Returns the place of a view whose operand is at `place`; None if no strides describe it (some reshapes)."""
    (operand,) = value.operands
    strides = place.strides
    match value.attributes:
        case Order(order):
            return replace(place, strides=tuple(strides[axis] for axis in order))
        case Slice(axis=axis, start=start, stride=step):
            apart = tuple(stride * step if i == axis else stride for i, stride in enumerate(strides))
            return replace(place, offset=place.offset + start * strides[axis], strides=apart)
        case Window(axis=axis, stride=step, dilation=dilation):
            walk = (strides[axis] * step, strides[axis] * dilation)
            return replace(place, strides=(*strides[:axis], *walk, *strides[axis + 1 :]))
        case Over((axis,)):
            size = value.type.dims[axis]
            assert isinstance(size, int)
            return replace(
                place,
                offset=place.offset + (size - 1) * strides[axis],
                strides=tuple(-stride if i == axis else stride for i, stride in enumerate(strides)),
            )
        case Dims() if value.definition is broadcast_:
            return replace(place, strides=broadcast(place.strides, operand.type.dims, value.type.dims))
    reshaped = _reshape(place.strides, operand.type.dims, value.type.dims)
    return None if reshaped is None else replace(place, strides=reshaped)


def inside_of(padded: Value) -> Place:
    """Returns the place of the operand inside of a padded value; its buffer is not set."""
    strides, offset = list(contiguous(padded.type.dims)), 0
    own = padded.attributes_as(Pad)
    for axis, first, apart in zip(own.axes, own.before, own.step, strict=True):
        offset += first * strides[axis]
        strides[axis] *= apart
    return Place(None, tuple(strides), offset)


def _reshape(strides: tuple[int, ...], before: tuple[Dim, ...], after: tuple[Dim, ...]) -> tuple[int, ...] | None:
    """Strides of the same memory in another shape, or None if there are none."""
    old = [(dim, stride) for dim, stride in zip(before, strides, strict=True) if dim != 1]
    result: list[int] = []
    i = 0
    groups: list[tuple[Dim, int]] = []
    for dim, stride in old:  # runs of axes that are contiguous with one another
        if groups and isinstance(dim, int) and groups[-1][1] == dim * stride and isinstance(groups[-1][0], int):
            groups[-1] = (groups[-1][0] * dim, stride)
        else:
            groups.append((dim, stride))
    left: Dim = 1
    for dim in after:
        if dim == 1:
            result.append(0)
            continue
        if left == 1:
            if i == len(groups):
                return None
            left, step = groups[i][0], groups[i][1]
            i += 1
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
    return tuple(result) if left == 1 and i == len(groups) else None
