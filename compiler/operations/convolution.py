"""Convolution and its two adjoints.

A convolution is trilinear: the sum over all positions of x[position + offset] * w[offset] * y[position]. `conv2d`,
`conv2d_input` and `conv2d_weights` are its derivatives with respect to y, x and w. Each is therefore the gradient of
the others, and gradients of any order consist of these three operations. They are expanded to products over windows
of the padded input, which are a view: nothing is copied.

`stride` and `dilation` are (along h, along w); `pad` is (top, bottom, left, right); `groups` is the number of groups
that the channels of input and output are split into.
"""

from typing import Any

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Expansion, View
from netc.compiler.ir.types import Dim, Mismatch, Type, fixed_size
from netc.compiler.ir.value import Operation, Value, apply, register
from netc.compiler.operations.convolution_reference import conv_reference, input_reference, weights_reference
from netc.compiler.operations.strided import spread_by_phases
from netc.compiler.operations.window import Pads, Pair, image_axes, image_size, padded, window_count
from netc.compiler.operations.window_product import is_depthwise, transposed_weights, window_product, window_weights

# Zeros in a window that phases would leave out. With a stride of 2 or 3, phases of a convolution by channel take 0.9 to
# 1.2 times as long up to 12 zeros (3 x 3, 4 x 4), and 0.5 to 0.9 times from 15 on (5 x 5, 7 x 7), on Zen 4.
_FEW_ZEROS = 12


class Convolution(Attributes, frozen=True):
    """The geometry of the windows of a convolution."""

    stride: Pair
    dilation: Pair
    pad: Pads
    groups: int


class ConvolutionInput(Convolution, frozen=True):
    """`size` is the height and width of the input."""

    size: Pair


class ConvolutionWeights(Convolution, frozen=True):
    """`kernel` is the height and width of a window."""

    kernel: Pair


def _check(x: Type, w: Type, groups: int) -> None:
    if len(x.sample) != 3 or w.rank != 4:
        raise Mismatch("a convolution takes float[h, w, c] and weights float[kh, kw, c, n]", code="E0401")
    channels, outputs = fixed_size(x.dims[-1]), fixed_size(w.dims[-1])
    if channels % groups or outputs % groups:
        raise Mismatch(f"{groups} groups do not divide {channels if channels % groups else outputs} channels")
    if w.dims[2] != channels // groups:
        of = f" in {groups} groups" if groups > 1 else ""
        raise Mismatch(f"the weights take {w.dims[2]} channels, the image has {channels}{of}")


def _conv_type(x: Type, w: Type, stride: Pair, dilation: Pair, pad: Pads, groups: int) -> Type:
    _check(x, w, groups)
    (h, wide), (kh, kw) = image_size(x), (int(w.dims[0]), int(w.dims[1]))
    out = (
        window_count(h, kh, stride[0], dilation[0], pad[0] + pad[1]),
        window_count(wide, kw, stride[1], dilation[1], pad[2] + pad[3]),
    )
    return x.with_dims((*x.dims[:-3], *out, w.dims[-1]))


def _build_conv(x: Value, w: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int) -> Value:
    _conv_type(x.type, w.type, stride, dilation, pad, groups)
    if isinstance(w.lower, View):  # the register tile needs contiguous columns
        w = apply("copied", w)
    return window_product(padded(x, pad), w, stride, dilation, groups)


def _input_type(y: Type, w: Type, stride: Pair, dilation: Pair, pad: Pads, groups: int, size: Pair) -> Type:
    channels = fixed_size(w.dims[2])
    return y.with_dims((*y.dims[:-3], *size, channels * groups))


def _build_input(y: Value, w: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int, size: Pair) -> Value:
    """Builds a convolution of y, spread by the stride and padded, with the flipped weights.

    With a stride (and no dilation), it is one convolution for each phase of the stride (strided.py). One for each
    channel is bound by memory, so that a few zeros between the elements cost it no time.
    """
    kernel = (int(w.type.dims[0]), int(w.type.dims[1]))
    elements = kernel[0] * kernel[1]
    has_few_zeros = is_depthwise(w, groups) and elements - elements // (stride[0] * stride[1]) <= _FEW_ZEROS
    if stride != (1, 1) and dilation == (1, 1) and not has_few_zeros:
        return spread_by_phases(y, w, stride, pad, size, groups)
    before, after, cut = [], [], []
    for n, axis in enumerate(image_axes(y.type)):
        reach, count = (kernel[n] - 1) * dilation[n], fixed_size(y.type.dims[axis])
        # the elements at the end that no window covers
        rest = size[n] + pad[2 * n] + pad[2 * n + 1] - (count - 1) * stride[n] - reach - 1
        first, last = reach - pad[2 * n], reach + rest - pad[2 * n + 1]
        before.append(max(first, 0))
        after.append(max(last, 0))
        cut.append((max(-first, 0), max(-last, 0)))
    if any(before) or any(after) or stride != (1, 1):
        y = apply("pad", y, axes=image_axes(y.type), before=tuple(before), after=tuple(after), step=stride)
    for axis, (first, last) in zip(image_axes(y.type), cut, strict=True):
        if first or last:
            y = apply("slice", y, axis=axis, start=first, stop=fixed_size(y.type.dims[axis]) - last)
    turned = apply("reverse", apply("reverse", w, over=(0,)), over=(1,))
    return window_product(y, transposed_weights(turned, groups), (1, 1), dilation, groups)


def _weights_type(x: Type, y: Type, stride: Pair, dilation: Pair, pad: Pads, groups: int, kernel: Pair) -> Type:
    channels = fixed_size(x.dims[-1])
    return Type(x.dtype, (*kernel, channels // groups, y.dims[-1]))


def _build_weights(x: Value, y: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int, kernel: Pair) -> Value:
    x = padded(x, pad)
    for n, axis in enumerate(image_axes(x.type)):  # cut off the elements that no window covers
        count = fixed_size(y.type.dims[axis])
        used = (count - 1) * stride[n] + dilation[n] * (kernel[n] - 1) + 1
        if used != x.type.dims[axis]:
            x = apply("slice", x, axis=axis, start=0, stop=used)
    x, y = _with_lead(x, y)
    return window_weights(x, y, kernel, stride, dilation, groups)


def _with_lead(x: Value, y: Value) -> tuple[Value, Value]:
    """Broadcasts the operand without a batch if the other has one."""
    if x.type.is_batched == y.type.is_batched:
        return x, y
    batch: tuple[Dim, ...] = ("batch",)
    if x.type.is_batched:
        return x, apply("broadcast", y, dims=(*batch, *y.type.dims))
    return apply("broadcast", x, dims=(*batch, *x.type.dims)), y


def _image_size(x: Value) -> tuple[Dim, ...]:
    return tuple(x.type.dims[axis] for axis in image_axes(x.type))


# In the gradients below, `geometry` are the fields of `Convolution`, which the three operations share.


def _conv_gradient(g: Value, r: Value, x: Value, w: Value, **geometry: Any) -> tuple[Value, Value]:
    to_x = apply("conv2d_input", g, w, **geometry, size=_image_size(x))
    return to_x, apply("conv2d_weights", x, g, **geometry, kernel=w.type.dims[:2])


def _input_gradient(g: Value, r: Value, y: Value, w: Value, size: Pair, **geometry: Any) -> tuple[Value, Value]:
    return apply("conv2d", g, w, **geometry), apply("conv2d_weights", g, y, **geometry, kernel=w.type.dims[:2])


def _weights_gradient(g: Value, r: Value, x: Value, y: Value, kernel: Pair, **geometry: Any) -> tuple[Value, Value]:
    return apply("conv2d_input", y, g, **geometry, size=_image_size(x)), apply("conv2d", x, g, **geometry)


_PLAIN = {"stride": (1, 1), "dilation": (1, 1), "pad": (1, 1, 1, 1), "groups": 1}
_ODD = {"stride": (2, 1), "dilation": (1, 2), "pad": (0, 1, 2, 1), "groups": 2}
_STRIDED = {"stride": (2, 2), "dilation": (1, 1), "pad": (0, 0, 0, 0), "groups": 1}
CONVOLUTION = {
    "x": "value",
    "w": "value",
    "stride": "pair = 1",
    "dilation": "pair = 1",
    "pad": "pads = valid",
    "groups": "number = 1",
}

conv2d = register(
    Operation(
        "conv2d",
        "Sums of products of w[kh, kw, c, n] with each window of x[h, w, c]: [oh, ow, n].",
        attributes=Convolution,
        type=_conv_type,
        reference=conv_reference,
        lower=Expansion(_build_conv),
        arguments=CONVOLUTION,
        gradient=_conv_gradient,
        examples=(
            (("f64[batch, 5, 4, 3]", "f64[3, 3, 3, 5]"), _PLAIN),
            (("f64[batch, 6, 7, 4]", "f64[2, 3, 2, 6]"), _ODD),
            (("f64[batch, 5, 5, 3]", "f64[3, 3, 1, 3]"), {**_PLAIN, "groups": 3}),
        ),
    )
)
conv2d_input = register(
    Operation(
        "conv2d_input",
        "The gradient of conv2d's input for the gradient y[oh, ow, n]: each element of y spreads w over its window.",
        attributes=ConvolutionInput,
        type=_input_type,
        reference=input_reference,
        lower=Expansion(_build_input),
        is_callable=False,
        gradient=_input_gradient,
        examples=(
            (("f64[batch, 5, 4, 5]", "f64[3, 3, 3, 5]"), {**_PLAIN, "size": (5, 4)}),
            (("f64[batch, 3, 6, 6]", "f64[2, 3, 2, 6]"), {**_ODD, "size": (6, 7)}),
            (("f64[batch, 5, 5, 3]", "f64[3, 3, 1, 3]"), {**_PLAIN, "groups": 3, "size": (5, 5)}),
            # phases of a stride: in one product and one by one, of different sizes, without a tap, outside the padding
            (("f64[batch, 4, 3, 3]", "f64[3, 3, 1, 3]"), {**_STRIDED, "pad": (1, 0, 0, 1), "size": (8, 6)}),
            (("f64[batch, 4, 3, 3]", "f64[3, 3, 9, 3]"), {**_STRIDED, "pad": (1, 0, 0, 1), "size": (8, 6)}),
            (("f64[batch, 3, 3, 2]", "f64[5, 4, 7, 2]"), {**_STRIDED, "pad": (2, 3, 3, 2), "size": (4, 3)}),
            (
                ("f64[batch, 3, 3, 3]", "f64[5, 4, 1, 3]"),
                {**_STRIDED, "pad": (2, 3, 3, 2), "groups": 3, "size": (4, 3)},
            ),
            (("f64[batch, 3, 3, 2]", "f64[2, 1, 2, 2]"), {**_STRIDED, "stride": (3, 2), "size": (8, 6)}),
            (
                ("f64[batch, 2, 3, 4]", "f64[1, 5, 6, 4]"),
                {**_STRIDED, "stride": (1, 3), "pad": (0, 0, 1, 2), "size": (2, 8)},
            ),
        ),
    )
)
conv2d_weights = register(
    Operation(
        "conv2d_weights",
        "The gradient of conv2d's weights: sums of products of the windows of x with y, over positions and samples.",
        attributes=ConvolutionWeights,
        type=_weights_type,
        reference=weights_reference,
        lower=Expansion(_build_weights),
        is_callable=False,
        gradient=_weights_gradient,
        examples=(
            (("f64[batch, 5, 4, 3]", "f64[batch, 5, 4, 5]"), {**_PLAIN, "kernel": (3, 3)}),
            (("f64[batch, 6, 7, 4]", "f64[batch, 3, 6, 6]"), {**_ODD, "kernel": (2, 3)}),
        ),
    )
)
