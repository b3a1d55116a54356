"""Convolution and pooling as the language calls them.

They also take sequences x[t, c], as images that are one column wide, and include the transposed and depthwise forms.
All of them are expanded where they are applied.
"""

import math
from typing import Any

from netc.compiler.ir.forms import Expansion
from netc.compiler.ir.types import Mismatch, Type, fixed_size
from netc.compiler.ir.value import Operation, Value, apply, register
from netc.compiler.operations.convolution import CONVOLUTION
from netc.compiler.operations.pooling import enlarged
from netc.compiler.operations.sequence import repeated, taps
from netc.compiler.operations.window import Pads, Pair, image_size


def _as_image(x: Value) -> tuple[Value, bool]:
    """Turns a sequence x[t, c] into an image one column wide; also returns whether x was a sequence."""
    if len(x.type.sample) != 2:
        return x, False
    return apply("reshape", x, dims=(*x.type.dims[:-1], 1, x.type.dims[-1])), True


def _as_line(x: Value, was_line: bool) -> Value:
    return apply("reshape", x, dims=(*x.type.dims[:-2], x.type.dims[-1])) if was_line else x


def _unknown_type(*_: Type, **__: Any) -> Type:
    raise AssertionError("expanded where it is applied")


def _pool(name: str) -> Any:
    def build(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
        if x.type.is_varying:
            return _pool_over_steps(name, x, size[0], stride[0], (pad[0], pad[1]))
        image, was_line = _as_image(x)
        return _as_line(apply(name, image, size=size, stride=stride, pad=pad), was_line)

    return build


def _build_conv1d(x: Value, w: Value, **how: Any) -> Value:
    if len(x.type.sample) != 2 or w.type.rank != 3:
        raise Mismatch("conv1d takes float[t, c] and weights float[k, c, n]")
    if x.type.is_varying:
        return _conv_over_steps(x, w, **how)
    image, _ = _as_image(x)
    kernel = apply("reshape", w, dims=(w.type.dims[0], 1, *w.type.dims[1:]))
    return _as_line(apply("conv2d", image, kernel, **how), True)


def _pool_over_steps(name: str, x: Value, size: int, stride: int, pad: tuple[int, int]) -> Value:
    """The maximum or the mean of each window over a sample's steps."""
    if len(x.type.dims) != 2:
        raise Mismatch(f"a pool along {x.type.rows} takes float[{x.type.rows}, c]")
    if name == "maxpool2d":
        first, *others = taps(x, size, stride, pad, beyond=-math.inf)
        for other in others:
            first = apply("maximum", first, other)
        return first
    inside = apply("broadcast", x.graph.constant(1.0, x.type), dims=(*x.type.dims[:1], 1))
    total, count = (_added(taps(value, size, stride, pad)) for value in (x, inside))
    return total / count


def _added(values: list[Value]) -> Value:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _conv_over_steps(x: Value, w: Value, stride: Pair, pad: Pads, dilation: Pair, groups: int) -> Value:
    """A convolution along a varying dimension: the sum over the kernel's elements of the steps times their weights."""
    if w.type.lead:
        raise Mismatch("a convolution along a varying dimension takes weights that all samples share", code="E0901")
    (size, channels, n), c = tuple(map(int, w.type.dims)), fixed_size(x.type.dims[1])
    if c != channels * groups or n % groups:
        raise Mismatch(f"the kernel has {channels * groups} channels, and {x.type} has {c}")
    terms = []
    for i, seen in enumerate(taps(x, size, stride[0], (pad[0], pad[1]), dilation[0])):
        weights = apply("slice", w, axis=0, start=i, stop=i + 1)
        dim = str(seen.type.rows)
        if groups == 1:
            weights = apply("reshape", weights, dims=(channels, n))
            terms.append(apply("einsum", seen, weights, subscripts="tc,cn->tn"))
        else:
            parted = apply("reshape", seen, dims=(dim, groups, channels))
            weights = apply("reshape", weights, dims=(channels, groups, n // groups))
            product = apply("einsum", parted, weights, subscripts="tgc,cgn->tgn")
            terms.append(apply("reshape", product, dims=(dim, n)))
    return _added(terms)


def _build_depthwise_op(x: Value, w: Value, **how: Any) -> Value:
    if len(x.type.sample) != 3 or w.type.rank != 4 or w.type.dims[2] != x.type.dims[-1]:
        raise Mismatch("depthwise_conv2d takes float[h, w, c] and weights float[kh, kw, c, m]")
    kh, kw, c, m = (int(dim) for dim in w.type.dims)
    return apply("conv2d", x, apply("reshape", w, dims=(kh, kw, 1, c * m)), **how, groups=c)


def _build_transpose(x: Value, w: Value, stride: Pair, pad: Any) -> Value:
    if len(x.type.sample) != 3 or w.type.rank != 4 or w.type.dims[2] != x.type.dims[-1]:
        raise Mismatch("conv_transpose2d takes float[h, w, c] and weights float[kh, kw, c, n]")
    size, pads = [], []
    for n, count in enumerate(image_size(x.type)):
        reach = int(w.type.dims[n])
        length = (count - 1) * stride[n] + reach
        if pad == "same":
            more = max(reach - stride[n], 0)
            pads += [more // 2, more - more // 2]
            size.append(count * stride[n])
        else:
            pads += [0, 0] if pad == "valid" else list(pad[2 * n : 2 * n + 2])
            size.append(length - sum(pads[-2:]))
        if size[-1] < 1:
            raise Mismatch(f"a border of {sum(pads[-2:])} takes all {length} places away")
    turned = apply("transpose", w, order=(0, 1, 3, 2))
    return apply("conv2d_input", x, turned, stride=stride, dilation=(1, 1), pad=tuple(pads), groups=1, size=tuple(size))


def _build_transpose1d(x: Value, w: Value, stride: Pair, pad: Any) -> Value:
    if len(x.type.sample) != 2 or w.type.rank != 3 or w.type.dims[1] != x.type.dims[-1]:
        raise Mismatch("conv_transpose1d takes float[t, c] and weights float[k, c, n]")
    if x.type.is_varying:
        title = "a transposed convolution along a varying dimension does not run yet"
        raise Mismatch(title, "`upsample(2)`, then `conv`, makes a sequence longer too", "E0901")
    image, _ = _as_image(x)
    kernel = apply("reshape", w, dims=(w.type.dims[0], 1, *w.type.dims[1:]))
    return _as_line(_build_transpose(image, kernel, stride, pad), True)


def _build_upsample(x: Value, size: Pair) -> Value:
    if x.type.is_varying and len(x.type.dims) == 2:
        return repeated(x, size[0])
    image, was_line = _as_image(x)
    if len(image.type.sample) != 3:
        raise Mismatch("upsample takes float[h, w, c], or float[t, c]")
    return _as_line(enlarged(image, size), was_line)


def _no_reference(*_: Any, **__: Any) -> Any:
    raise AssertionError("expanded where it is applied")


_POOL_ARGUMENTS = {"x": "value", "size": "pair = 2", "stride": "pair = size", "pad": "pads = valid"}
for _name, _doc, _build, _arguments in (
    ("maxpool", "The largest element of each window of x[h, w, c] or x[t, c].", _pool("maxpool2d"), _POOL_ARGUMENTS),
    (
        "avgpool",
        "The mean of each window of x[h, w, c] or x[t, c]; at the border, of the elements that lie inside.",
        _pool("avgpool2d"),
        _POOL_ARGUMENTS,
    ),
    (
        "conv1d",
        "Sums of products of w[k, c, n] with each window of x[t, c] along t: [ot, n].",
        _build_conv1d,
        CONVOLUTION,
    ),
    (
        "depthwise_conv2d",
        "Convolves each channel of x[h, w, c] with its m kernels of w[kh, kw, c, m]: [oh, ow, c * m].",
        _build_depthwise_op,
        {name: kind for name, kind in CONVOLUTION.items() if name != "groups"},
    ),
    (
        "conv_transpose2d",
        "The adjoint of a convolution: each element of x[h, w, c] adds a multiple of w[kh, kw, c, n] to the result, "
        "`stride` apart.",
        _build_transpose,
        {"x": "value", "w": "value", "stride": "pair = 2", "pad": "border = same"},
    ),
    (
        "conv_transpose1d",
        "The adjoint of a convolution along t: each element of x[t, c] adds a multiple of w[k, c, n] to the result, "
        "`stride` apart.",
        _build_transpose1d,
        {"x": "value", "w": "value", "stride": "pair = 2", "pad": "border = same"},
    ),
    (
        "upsample",
        "Repeats each element along h and w (or along t).",
        _build_upsample,
        {"x": "value", "size": "pair = 2"},
    ),
):
    register(
        Operation(
            _name, _doc, type=_unknown_type, lower=Expansion(_build), reference=_no_reference, arguments=_arguments
        )
    )
