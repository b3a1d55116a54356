"""Windows over an axis, as a view, and windows of an image x[..., h, w, c] along its two axes before the channels.

Takes and returns values. Convolutions and pooling are built on it (convolution.py, pooling.py).
"""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import View
from netc.compiler.ir.strides import StridedLayout
from netc.compiler.ir.types import Dim, Mismatch, Type, describe_sample, fixed_size
from netc.compiler.ir.value import Operation, Value, apply, register

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


class Window(Attributes, frozen=True):
    """Windows of a size along an axis, `stride` apart, whose elements are `dilation` apart."""

    axis: int
    size: int
    stride: int
    dilation: int


def window_count(size: Dim, kernel: int, stride: int, dilation: int, around: int = 0) -> int:
    """Returns how many windows fit along an axis with `around` elements of padding. Raises Mismatch if none fits."""
    count = (fixed_size(size) + around - dilation * (kernel - 1) - 1) // stride + 1
    if count < 1:
        wide = f" (spread over {dilation * (kernel - 1) + 1})" if dilation > 1 else ""
        raise Mismatch(
            f"a window of {kernel}{wide} does not fit into {fixed_size(size) + around}",
            "a smaller kernel, or pad = same",
        )
    return count


def _window_type(x: Type, axis: int, size: int, stride: int, dilation: int) -> Type:
    return x.with_dims((*x.dims[:axis], window_count(x.dims[axis], size, stride, dilation), size, *x.dims[axis + 1 :]))


def _window_layout(
    strides: tuple[int, ...], r: Type, x: Type, axis: int, size: int, stride: int, dilation: int
) -> StridedLayout:
    walk = (strides[axis] * stride, strides[axis] * dilation)
    return StridedLayout((*strides[:axis], *walk, *strides[axis + 1 :]))


def _window_reference(x: Any, axis: int, size: int, stride: int, dilation: int) -> Any:
    all_windows = np.lib.stride_tricks.sliding_window_view(x, dilation * (size - 1) + 1, axis)
    return np.moveaxis(all_windows, -1, axis + 1)[(np.s_[:],) * axis + (np.s_[::stride], np.s_[::dilation])]


def window_gradient(g: Value, r: Value, x: Value, axis: int, size: int, stride: int, dilation: int) -> Value:
    """Adds the gradient of each window's element to the element that it was taken from."""
    length, count = fixed_size(x.type.dims[axis]), fixed_size(r.type.dims[axis])
    total: Value | None = None
    for i in range(size):
        part = apply("slice", g, axis=axis + 1, start=i, stop=i + 1)
        part = apply("reshape", part, dims=(*r.type.dims[: axis + 1], *r.type.dims[axis + 2 :]))
        before = i * dilation
        after = length - before - (count - 1) * stride - 1
        part = apply("pad", part, axes=(axis,), before=(before,), after=(after,), step=(stride,))
        total = part if total is None else total + part
    assert total is not None
    return total


window = register(
    Operation(
        "window",
        "Windows along an axis, `stride` apart, whose elements are `dilation` apart: a view with one more axis.",
        attributes=Window,
        type=_window_type,
        reference=_window_reference,
        lower=View(_window_layout),
        gradient=window_gradient,
        is_callable=False,
        examples=(
            (("f64[batch, 7, 2]",), {"axis": 1, "size": 3, "stride": 2, "dilation": 1}),
            (("f64[3, 8]",), {"axis": 1, "size": 2, "stride": 1, "dilation": 3}),
        ),
    )
)


def image_axes(x: Type) -> tuple[int, int]:
    """Height and width: the two axes before the channels."""
    return x.rank - 3, x.rank - 2


def image_size(x: Type) -> Pair:
    """Height and width. Raises Mismatch if one of them varies."""
    height, width = (x.dims[axis] for axis in image_axes(x))
    if not isinstance(height, int) or not isinstance(width, int):
        raise Mismatch(f"an image has a fixed height and width, and this is {describe_sample(x)}", code="E0402")
    return height, width


def padded(x: Value, pad: Pads, value: float = 0.0) -> Value:
    """The image with `value` around it, or the image itself if there is no padding."""
    if not any(pad):
        return x
    top, bottom, left, right = pad
    return apply("pad", x, axes=image_axes(x.type), before=(top, left), after=(bottom, right), step=(1, 1), value=value)


def windows_of(x: Value, kernel: Pair, stride: Pair, dilation: Pair) -> Value:
    """x[..., h, w, c] -> [..., oh, kh, ow, kw, c]."""
    h, w = image_axes(x.type)
    x = apply("window", x, axis=w, size=kernel[1], stride=stride[1], dilation=dilation[1])
    return apply("window", x, axis=h, size=kernel[0], stride=stride[0], dilation=dilation[0])


def parts_of(x: Value, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> list[tuple[Pair, Value]]:
    """For each place (i, j) in a window, the elements of all windows at that place: x[..., i::stride, j::stride, :]."""
    h, w = image_axes(x.type)
    counts = [window_count(x.type.dims[axis], kernel[n], stride[n], dilation[n]) for n, axis in enumerate((h, w))]
    parts = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            part = x
            for axis, at, n in ((h, i, 0), (w, j, 1)):
                start = at * dilation[n]
                part = apply(
                    "slice", part, axis=axis, start=start, stop=start + (counts[n] - 1) * stride[n] + 1, step=stride[n]
                )
            parts.append(((i, j), part))
    return parts
