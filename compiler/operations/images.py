"""What the language calls of convolution and pooling: for lines x[t, c] too, which are images one column wide, and other ways round.

All of these are expanded where they are applied.
"""

from typing import Any

from netc.compiler.operations.convolution import CONVOLUTION
from netc.compiler.operations.sequence import moved
from netc.compiler.operations.window import Pads, Pair, image_axes
from netc.compiler.types import Mismatch, Type
from netc.compiler.value import Expansion, Operation, Value, apply, register


def _as_image(x: Value) -> tuple[Value, bool]:
    """A line x[t, c] as an image one column wide."""
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
            raise Mismatch(f"pooling along {x.type.rows} does not run yet", code="E0901")
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


def _conv_over_steps(x: Value, w: Value, stride: Pair, pad: Pads, dilation: Pair, groups: int) -> Value:
    """Along a varying dimension: for each of the kernel's elements the steps that it sees, times its weights; as many steps come out as went in."""
    (size, channels, _), reach = w.type.dims, dilation[0] * (int(w.type.dims[0]) - 1)
    if stride[0] != 1 or groups != 1 or pad[0] + pad[1] != reach:
        told = "stride = 1, groups = 1, pad = same"
        raise Mismatch(f"such a convolution along {x.type.rows} does not run yet", told, code="E0901")
    if x.type.dims[1] != channels:
        raise Mismatch(f"the kernel has {channels} channels, and {x.type} has {x.type.dims[1]}")
    total: Value | None = None
    for i in range(int(size)):
        seen = moved(x, i * dilation[0] - pad[0])
        weights = apply("reshape", apply("slice", w, axis=0, start=i, stop=i + 1), dims=w.type.dims[1:])
        term = apply("einsum", seen, weights, subscripts="tc,cn->tn")
        total = term if total is None else total + term
    assert total is not None
    return total


def _build_depthwise_op(x: Value, w: Value, **how: Any) -> Value:
    if len(x.type.sample) != 3 or w.type.rank != 4 or w.type.dims[2] != x.type.dims[-1]:
        raise Mismatch("depthwise_conv2d takes float[h, w, c] and weights float[kh, kw, c, m]")
    kh, kw, c, m = (int(dim) for dim in w.type.dims)
    return apply("conv2d", x, apply("reshape", w, dims=(kh, kw, 1, c * m)), **how, groups=c)


def _build_transpose(x: Value, w: Value, stride: Pair, pad: Any) -> Value:
    if len(x.type.sample) != 3 or w.type.rank != 4 or w.type.dims[2] != x.type.dims[-1]:
        raise Mismatch("conv_transpose2d takes float[h, w, c] and weights float[kh, kw, c, n]")
    size, pads = [], []
    for n, axis in enumerate(image_axes(x.type)):
        count, reach = int(x.type.dims[axis]), int(w.type.dims[n])
        whole = (count - 1) * stride[n] + reach
        if pad == "same":
            more = max(reach - stride[n], 0)
            pads += [more // 2, more - more // 2]
            size.append(count * stride[n])
        else:
            pads += [0, 0] if pad == "valid" else list(pad[2 * n : 2 * n + 2])
            size.append(whole - sum(pads[-2:]))
        if size[-1] < 1:
            raise Mismatch(f"a border of {sum(pads[-2:])} takes all {whole} places away")
    turned = apply("transpose", w, order=(0, 1, 3, 2))
    return apply("conv2d_input", x, turned, stride=stride, dilation=(1, 1), pad=tuple(pads), groups=1, size=tuple(size))


def _build_upsample(x: Value, size: Pair) -> Value:
    image, was_line = _as_image(x)
    if len(image.type.sample) != 3:
        raise Mismatch("upsample takes float[h, w, c], or float[t, c]")
    if x.type.is_varying:
        raise Mismatch(f"upsample along {x.type.rows} does not run yet", code="E0901")
    *lead, h, w, c = image.type.dims
    beside = apply("reshape", image, dims=(*lead, h, 1, w, 1, c))
    wide = apply("broadcast", beside, dims=(*lead, h, size[0], w, size[1], c))
    return _as_line(apply("reshape", wide, dims=(*lead, int(h) * size[0], int(w) * size[1], c)), was_line)


def _no_reference(*_: Any, **__: Any) -> Any:
    raise AssertionError("expanded where it is applied")


_POOL_ARGUMENTS = {"x": "value", "size": "pair = 2", "stride": "pair = size", "pad": "pads = valid"}
for _name, _doc, _build, _arguments in (
    ("maxpool", "The largest element of each window of x[h, w, c] or x[t, c].", _pool("maxpool2d"), _POOL_ARGUMENTS),
    (
        "avgpool",
        "The mean of each window of x[h, w, c] or x[t, c]; at the border, of what lies inside.",
        _pool("avgpool2d"),
        _POOL_ARGUMENTS,
    ),
    (
        "conv1d",
        "The products of w[k, c, n] with each window of x[t, c] along t, added up: [places, n].",
        _build_conv1d,
        CONVOLUTION,
    ),
    (
        "depthwise_conv2d",
        "Each channel of x[h, w, c] by m kernels of its own, w[kh, kw, c, m]: [oh, ow, c * m].",
        _build_depthwise_op,
        {name: kind for name, kind in CONVOLUTION.items() if name != "groups"},
    ),
    (
        "conv_transpose2d",
        "The adjoint of a convolution: each place of x[h, w, c] spreads w[kh, kw, c, n], a stride apart.",
        _build_transpose,
        {"x": "value", "w": "value", "stride": "pair = 2", "pad": "border = same"},
    ),
    (
        "upsample",
        "Each element repeated along h and w (or along t).",
        _build_upsample,
        {"x": "value", "size": "pair = 2"},
    ),
):
    register(
        Operation(
            _name, _doc, type=_unknown_type, lower=Expansion(_build), reference=_no_reference, arguments=_arguments
        )
    )
