"""Pooling: the largest element or the mean of each window of an image, and their gradients.

A small window is computed element by element: the elements at (i, j) of all windows are a slice of the image, and
slices fuse with the values around them.
"""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Expansion, Form, SpecialForm
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Mismatch, Type
from netc.compiler.ir.value import OPERATIONS, Operation, Value, apply, register
from netc.compiler.operations.window import (
    Pads,
    Pair,
    image_axes,
    image_size,
    padded,
    parts_of,
    window_count,
    window_gradient,
    windows_of,
)

_MOST_IN_A_LOOP = 9  # the largest window whose elements one loop takes one by one


class Pool(Attributes, frozen=True):
    """The windows of a pool."""

    size: Pair
    stride: Pair
    pad: Pads


class Interleave(Attributes, frozen=True):
    """The numbers of parts along the height and the width."""

    size: Pair


def _pool_type(x: Type, size: Pair, stride: Pair, pad: Pads) -> Type:
    if len(x.sample) != 3:
        hint = None
        if len(x.sample) == 1 and isinstance(x.sample[0], int):
            hint = f"a vector has no neighbours: `-> reshape({x.sample[0]}, 1)` before it makes a line of it"
        raise Mismatch("pooling takes float[h, w, c], or float[t, c]", hint, "E0401")
    for n in (0, 1):
        if max(pad[2 * n : 2 * n + 2]) >= size[n]:
            raise Mismatch(f"a border of {max(pad[2 * n : 2 * n + 2])} is as wide as the window")
    out = [
        window_count(count, size[n], stride[n], 1, pad[2 * n] + pad[2 * n + 1]) for n, count in enumerate(image_size(x))
    ]
    return x.with_dims((*x.dims[:-3], *out, x.dims[-1]))


def _interleave_type(*parts: Type, size: Pair) -> Type:
    (*lead, _, _, c), (h, w) = parts[0].dims, image_size(parts[0])
    return parts[0].with_dims((*lead, h * size[0], w * size[1], c))


def _interleave_reference(*parts: Any, size: Pair) -> Any:
    *lead, h, w, c = parts[0].shape
    result = np.empty((*lead, h * size[0], w * size[1], c), parts[0].dtype)
    for n, part in enumerate(parts):
        result[..., n // size[1] :: size[0], n % size[1] :: size[1], :] = part
    return result


def _interleave_gradient(g: Value, r: Value, *parts: Value, size: Pair) -> tuple[Value, ...]:
    return tuple(part for _, part in parts_of(g, size, size))


interleave = register(
    Operation(
        "interleave",
        "Puts images together: part i * width + j is every size-th element of the result, from (i, j) on.",
        role=Role.ASSEMBLY,
        attributes=Interleave,
        type=_interleave_type,
        reference=_interleave_reference,
        lower=SpecialForm(Form.INTERLEAVE),
        is_callable=False,
        gradient=_interleave_gradient,
        examples=(((("f64[batch, 3, 2, 5]"),) * 6, {"size": (2, 3)}),),
    )
)


def enlarged(image: Value, size: Pair) -> Value:
    """Repeats each element of an image along its height and width: in one loop, unless the loop would have too many
    parts."""
    if _is_small(size):
        return apply("interleave", *[image] * (size[0] * size[1]), size=size)
    *lead, h, w, c = image.type.dims
    beside = apply("reshape", image, dims=(*lead, h, 1, w, 1, c))
    tiles = apply("broadcast", beside, dims=(*lead, h, size[0], w, size[1], c))
    return apply("reshape", tiles, dims=(*lead, int(h) * size[0], int(w) * size[1], c))


def _fitted(image: Value, x: Value) -> Value:
    """Pads an image with zeros to the size of x, whose last elements no window may cover."""
    rest = tuple(int(x.type.dims[axis]) - int(image.type.dims[axis]) for axis in image_axes(x.type))
    if not any(rest):
        return image
    return apply("pad", image, axes=image_axes(x.type), before=(0, 0), after=rest, step=(1, 1))


def _spread(parts: list[tuple[Pair, Value]], x: Value, stride: Pair, pad: Pads) -> Value:
    """Adds the gradient of each place in the windows to the elements that it was taken from."""
    axes, total = image_axes(x.type), None
    padded_size = [int(x.type.dims[axis]) + pad[2 * n] + pad[2 * n + 1] for n, axis in enumerate(axes)]
    for offset, part in parts:
        after = tuple(
            padded_size[n] - offset[n] - (int(part.type.dims[axis]) - 1) * stride[n] - 1 for n, axis in enumerate(axes)
        )
        term = apply("pad", part, axes=axes, before=offset, after=after, step=stride)
        total = term if total is None else total + term
    assert total is not None
    for n, axis in enumerate(axes):
        if pad[2 * n] or pad[2 * n + 1]:
            total = apply("slice", total, axis=axis, start=pad[2 * n], stop=padded_size[n] - pad[2 * n + 1])
    return total


def _is_small(size: Pair) -> bool:
    """Whether one loop takes the elements of a window one by one."""
    return size[0] * size[1] <= _MOST_IN_A_LOOP


def _around(x: Value) -> tuple[int, int]:
    """The axes of the window in [..., oh, kh, ow, kw, c]."""
    return x.type.rank - 4, x.type.rank - 2


def _build_maxpool(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    if not _is_small(size):
        seen = windows_of(padded(x, pad, -float("inf")), size, stride, (1, 1))
        return apply("max", seen, over=_around(seen))
    result: Value | None = None
    for _, part in parts_of(padded(x, pad, -float("inf")), size, stride):
        result = part if result is None else apply("maximum", result, part)
    assert result is not None
    return result


def _maxpool_gradient(g: Value, r: Value, x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    """Sends the gradient to the first largest element of a window; in a large window, to all of them in equal parts."""
    if not _is_small(size):
        image = padded(x, pad, -float("inf"))
        seen = windows_of(image, size, stride, (1, 1))
        back = OPERATIONS["max"].gradient(g, r, seen, over=_around(seen))  # type: ignore[misc]
        columns = apply("window", image, axis=image.type.rank - 2, size=size[1], stride=stride[1], dilation=1)
        back = window_gradient(back, seen, columns, seen.type.rank - 5, size[0], stride[0], 1)
        back = window_gradient(back, columns, image, image.type.rank - 2, size[1], stride[1], 1)
        for n, axis in enumerate(image_axes(x.type)):
            if pad[2 * n] or pad[2 * n + 1]:
                end = int(back.type.dims[axis]) - pad[2 * n + 1]
                back = apply("slice", back, axis=axis, start=pad[2 * n], stop=end)
        return back
    which = apply("maxplace2d", x, size=size, stride=stride, pad=pad)
    shares = [
        ((i, j), apply("where", apply("equal", which, float(i * size[1] + j)), g, 0.0))
        for i in range(size[0])
        for j in range(size[1])
    ]
    if size == stride and not any(pad):
        return _fitted(apply("interleave", *(part for _, part in shares), size=size), x)
    return _spread(shares, x, stride, pad)


def _build_maxplace(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    """Computes the place of the maximum beside the maximum, in one loop: the place changes where the maximum does."""
    (_, best), *rest = parts_of(padded(x, pad, -float("inf")), size, stride)
    position = x.graph.constant(0.0, x.type)
    for (i, j), part in rest:
        position = apply("where", part > best, x.graph.constant(float(i * size[1] + j), x.type), position)
        best = apply("maximum", best, part)
    return position if rest else apply("broadcast", position, dims=best.type.dims)


def _maxplace_reference(x: Any, size: Pair, stride: Pair, pad: Pads) -> Any:
    windows = _pool_reference(x, size, stride, pad, -np.inf)
    return windows.reshape(*windows.shape[:-2], -1).argmax(axis=-1).astype(x.dtype)


maxplace2d = register(
    Operation(
        "maxplace2d",
        "The position of the largest element in each window, counted by rows, as a float; of equal ones, the first.",
        attributes=Pool,
        type=lambda x, size, stride, pad: _pool_type(x, size, stride, pad),
        reference=_maxplace_reference,
        lower=Expansion(_build_maxplace),
        is_callable=False,
        gradient=lambda g, r, x, size, stride, pad: (None,),
    )
)


def _pool_reference(x: Any, size: Pair, stride: Pair, pad: Pads, value: float) -> Any:
    border = [(0, 0)] * (x.ndim - 3) + [(pad[0], pad[1]), (pad[2], pad[3]), (0, 0)]
    image = np.pad(x, border, constant_values=value)
    windows = np.lib.stride_tricks.sliding_window_view(image, size, (-3, -2))
    return windows[..., :: stride[0], :: stride[1], :, :, :]


def _avgpool_reference(x: Any, size: Pair, stride: Pair, pad: Pads) -> Any:
    total = _pool_reference(x, size, stride, pad, 0.0).sum(axis=(-2, -1))
    inside = _pool_reference(np.ones((*x.shape[-3:-1], 1)), size, stride, pad, 0.0).sum(axis=(-2, -1))
    return (total / inside).astype(x.dtype)


def _build_avgpool(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    total: Value | None = None
    for _, part in parts_of(padded(x, pad), size, stride):
        total = part if total is None else total + part
    assert total is not None
    return total / _inside(x, size, stride, pad)


def _inside(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value | float:
    """The number of elements of each window that are not padding."""
    if not any(pad):
        return float(size[0] * size[1])
    h, w = (int(x.type.dims[axis]) for axis in image_axes(x.type))
    inside = apply("broadcast", x.graph.constant(1.0, Type(x.type.dtype)), dims=(h, w, 1))
    count: Value | None = None
    for _, part in parts_of(padded(inside, pad), size, stride):
        count = part if count is None else count + part
    assert count is not None
    return count


def _avgpool_gradient(g: Value, r: Value, x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    share = g / _inside(x, size, stride, pad)
    if size == stride and not any(pad):
        return _fitted(enlarged(share, size), x)
    offsets = [(i, j) for i in range(size[0]) for j in range(size[1])]
    return _spread([(offset, share) for offset in offsets], x, stride, pad)


_POOL_EXAMPLES = (
    (("f64[batch, 4, 6, 3]",), {"size": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}),
    (("f64[batch, 5, 7, 2]",), {"size": (2, 3), "stride": (2, 3), "pad": (0, 0, 0, 0)}),
    (("f64[batch, 5, 6, 2]",), {"size": (3, 3), "stride": (2, 1), "pad": (1, 1, 0, 1)}),
)

maxpool2d = register(
    Operation(
        "maxpool2d",
        "The largest element of each window of x[h, w, c].",
        attributes=Pool,
        type=_pool_type,
        reference=lambda x, size, stride, pad: _pool_reference(x, size, stride, pad, -np.inf).max(axis=(-2, -1)),
        lower=Expansion(_build_maxpool),
        is_callable=False,
        gradient=_maxpool_gradient,
        examples=_POOL_EXAMPLES,
    )
)
avgpool2d = register(
    Operation(
        "avgpool2d",
        "The mean of each window of x[h, w, c]; at the border, of the elements that lie inside.",
        attributes=Pool,
        type=_pool_type,
        reference=_avgpool_reference,
        lower=Expansion(_build_avgpool),
        is_callable=False,
        gradient=_avgpool_gradient,
        examples=_POOL_EXAMPLES,
    )
)
