"""Windows: convolution, its two adjoints, and pooling, over the two axes before the channels: x[..., h, w, c].

A convolution is trilinear: the sum over all places of x[place + offset] * w[offset] * y[place]. `conv2d`, `conv2d_input` and `conv2d_weights` are
what is left when y, x or w is taken away, so each is the gradient of the others, and gradients of any order stay among them. They are expanded
to products over a `window` of the padded input: a view, nothing is copied.

`stride` and `dilation` are (along h, along w); `pad` is (top, bottom, left, right); `groups` part the channels of both sides.
"""

from typing import Any

import numpy as np

from netc.compiler.types import Dim, Mismatch, Type
from netc.compiler.value import OPERATIONS, Expansion, Kernel, Operation, Value, View, apply, register

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
_MOST_PARTS, _MOST_IN_A_LOOP = 25, 9  # of a window that are taken one by one: added up, or with what is kept beside


def places(size: Dim, kernel: int, stride: int, dilation: int, around: int = 0) -> int:
    """How many windows fit along an axis. Raises Mismatch if none does."""
    assert isinstance(size, int)
    count = (size + around - dilation * (kernel - 1) - 1) // stride + 1
    if count < 1:
        wide = f" (spread over {dilation * (kernel - 1) + 1})" if dilation > 1 else ""
        raise Mismatch(
            f"a window of {kernel}{wide} does not fit into {size + around}", "a smaller kernel, or pad = same"
        )
    return count


def _window_type(x: Type, axis: int, size: int, stride: int, dilation: int) -> Type:
    return x.with_dims((*x.dims[:axis], places(x.dims[axis], size, stride, dilation), size, *x.dims[axis + 1 :]))


def _window_reference(x: Any, axis: int, size: int, stride: int, dilation: int) -> Any:
    whole = np.lib.stride_tricks.sliding_window_view(x, dilation * (size - 1) + 1, axis)
    chosen = np.moveaxis(whole, -1, axis + 1)
    return chosen[(np.s_[:],) * axis + (np.s_[::stride], np.s_[::dilation])]


def _window_gradient(g: Value, r: Value, x: Value, axis: int, size: int, stride: int, dilation: int) -> Value:
    """Each element goes back to where it was taken from; where windows overlap, they add up."""
    whole, count = x.type.dims[axis], r.type.dims[axis]
    assert isinstance(whole, int)
    assert isinstance(count, int)
    total: Value | None = None
    for i in range(size):
        part = apply("slice", g, axis=axis + 1, start=i, stop=i + 1)
        part = apply("reshape", part, dims=(*r.type.dims[: axis + 1], *r.type.dims[axis + 2 :]))
        before = i * dilation
        after = whole - before - (count - 1) * stride - 1
        part = apply("pad", part, axes=(axis,), before=(before,), after=(after,), step=(stride,))
        total = part if total is None else total + part
    assert total is not None
    return total


window = register(
    Operation(
        "window",
        "Windows of a size along an axis, a stride apart, whose elements are `dilation` apart: a view with one axis more.",
        type=_window_type,
        reference=_window_reference,
        lower=View(),
        gradient=_window_gradient,
        is_callable=False,
        examples=(
            (("f64[batch, 7, 2]",), {"axis": 1, "size": 3, "stride": 2, "dilation": 1}),
            (("f64[3, 8]",), {"axis": 1, "size": 2, "stride": 1, "dilation": 3}),
        ),
    )
)


# ------------------------------------------------------------------ convolution


def _axes(x: Type) -> tuple[int, int]:
    """Height and width: the two axes before the channels."""
    return x.rank - 3, x.rank - 2


def _padded(x: Value, pad: Pads, value: float = 0.0) -> Value:
    if not any(pad):
        return x
    top, bottom, left, right = pad
    return apply("pad", x, axes=_axes(x.type), before=(top, left), after=(bottom, right), step=(1, 1), value=value)


def _check(x: Type, w: Type, groups: int) -> None:
    if len(x.sample) != 3 or w.rank != 4:
        raise Mismatch("a convolution takes float[h, w, c] and weights float[kh, kw, c, n]", code="E0401")
    channels, outputs = x.dims[-1], w.dims[-1]
    assert isinstance(channels, int)
    assert isinstance(outputs, int)
    if channels % groups or outputs % groups:
        raise Mismatch(f"{groups} groups do not divide {channels if channels % groups else outputs} channels")
    if w.dims[2] != channels // groups:
        of = f" in {groups} groups" if groups > 1 else ""
        raise Mismatch(f"the weights take {w.dims[2]} channels, the image has {channels}{of}")


def _conv_type(x: Type, w: Type, stride: Pair, dilation: Pair, pad: Pads, groups: int) -> Type:
    _check(x, w, groups)
    (h, wide), (kh, kw) = (x.dims[axis] for axis in _axes(x)), (int(w.dims[0]), int(w.dims[1]))
    out = (
        places(h, kh, stride[0], dilation[0], pad[0] + pad[1]),
        places(wide, kw, stride[1], dilation[1], pad[2] + pad[3]),
    )
    return x.with_dims((*x.dims[:-3], *out, w.dims[-1]))


def _windows(x: Value, kernel: Pair, stride: Pair, dilation: Pair) -> Value:
    """x[..., h, w, c] -> [..., oh, kh, ow, kw, c]."""
    h, w = _axes(x.type)
    x = apply("window", x, axis=w, size=kernel[1], stride=stride[1], dilation=dilation[1])
    return apply("window", x, axis=h, size=kernel[0], stride=stride[0], dilation=dilation[0])


def _in_groups(x: Value, groups: int, axis: int = -1) -> Value:
    """An axis in so many parts, as two axes."""
    at = axis % x.type.rank
    size = x.type.dims[at]
    assert isinstance(size, int)
    return apply("reshape", x, dims=(*x.type.dims[:at], groups, size // groups, *x.type.dims[at + 1 :]))


def _lead(x: Value) -> str:
    """The letter of the batch, if there is one."""
    return "b" if x.type.is_batched else ""


def _build_conv(x: Value, w: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int) -> Value:
    out = _conv_type(x.type, w.type, stride, dilation, pad, groups)
    kernel = (int(w.type.dims[0]), int(w.type.dims[1]))
    x, lead = _padded(x, pad), _lead(x)
    if groups == x.type.dims[-1] == out.dims[-1] and kernel[0] * kernel[1] <= _MOST_PARTS and groups > 1:
        return _build_depthwise(x, w, kernel, stride, dilation)
    if groups == 1:
        return apply("einsum", _windows(x, kernel, stride, dilation), w, subscripts=f"{lead}hiwjc,ijco->{lead}hwo")
    seen = _in_groups(_windows(x, kernel, stride, dilation), groups)
    product = apply("einsum", seen, _in_groups(w, groups), subscripts=f"{lead}hiwjgc,ijcgo->{lead}hwgo")
    return apply("reshape", product, dims=out.dims)


def _build_depthwise(x: Value, w: Value, kernel: Pair, stride: Pair, dilation: Pair) -> Value:
    """A channel each by itself: the parts of a window times its weight, added up in one loop over the channels."""
    total: Value | None = None
    for (i, j), part in _parts(x, kernel, stride, dilation):
        weight = apply("slice", apply("slice", w, axis=0, start=i, stop=i + 1), axis=1, start=j, stop=j + 1)
        term = part * apply("reshape", weight, dims=w.type.dims[-1:])
        total = term if total is None else total + term
    assert total is not None
    return total


def _parts(x: Value, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> list[tuple[Pair, Value]]:
    """Of each place in a window what all windows hold there: x[..., i::stride, j::stride, :]."""
    h, w = _axes(x.type)
    counts = [places(x.type.dims[axis], kernel[n], stride[n], dilation[n]) for n, axis in enumerate((h, w))]
    found = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            part = x
            for axis, at, n in ((h, i, 0), (w, j, 1)):
                start = at * dilation[n]
                part = apply(
                    "slice", part, axis=axis, start=start, stop=start + (counts[n] - 1) * stride[n] + 1, step=stride[n]
                )
            found.append(((i, j), part))
    return found


def _input_type(y: Type, w: Type, stride: Pair, dilation: Pair, pad: Pads, groups: int, size: Pair) -> Type:
    channels = w.dims[2]
    assert isinstance(channels, int)
    return y.with_dims((*y.dims[:-3], *size, channels * groups))


def _build_input(y: Value, w: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int, size: Pair) -> Value:
    """A convolution of y, spread by the stride and with a border, with the weights turned round."""
    result = _input_type(y.type, w.type, stride, dilation, pad, groups, size)
    kernel = (int(w.type.dims[0]), int(w.type.dims[1]))
    before, after, cut = [], [], []
    for n, axis in enumerate(_axes(y.type)):
        reach, count = (kernel[n] - 1) * dilation[n], y.type.dims[axis]
        assert isinstance(count, int)
        rest = size[n] + pad[2 * n] + pad[2 * n + 1] - (count - 1) * stride[n] - reach - 1  # what no window saw
        first, last = reach - pad[2 * n], reach + rest - pad[2 * n + 1]
        before.append(max(first, 0))
        after.append(max(last, 0))
        cut.append((max(-first, 0), max(-last, 0)))
    if any(before) or any(after) or stride != (1, 1):
        y = apply("pad", y, axes=_axes(y.type), before=tuple(before), after=tuple(after), step=stride)
    for axis, (first, last) in zip(_axes(y.type), cut, strict=True):
        whole = y.type.dims[axis]
        assert isinstance(whole, int)
        if first or last:
            y = apply("slice", y, axis=axis, start=first, stop=whole - last)
    lead = _lead(y)
    turned = apply("reverse", apply("reverse", w, over=(0,)), over=(1,))
    if groups == result.dims[-1] == w.type.dims[-1] and kernel[0] * kernel[1] <= _MOST_PARTS and groups > 1:
        return _build_depthwise(y, turned, kernel, (1, 1), dilation)
    if groups == 1:
        back = apply("copied", apply("transpose", turned, order=(0, 1, 3, 2)))
        return apply("einsum", _windows(y, kernel, (1, 1), dilation), back, subscripts=f"{lead}hiwjo,ijoc->{lead}hwc")
    seen = _in_groups(_windows(y, kernel, (1, 1), dilation), groups)
    product = apply("einsum", seen, _in_groups(turned, groups), subscripts=f"{lead}hiwjgo,ijcgo->{lead}hwgc")
    return apply("reshape", product, dims=result.dims)


def _weights_type(x: Type, y: Type, stride: Pair, dilation: Pair, pad: Pads, groups: int, kernel: Pair) -> Type:
    channels = x.dims[-1]
    assert isinstance(channels, int)
    return Type(x.dtype, (*kernel, channels // groups, y.dims[-1]))


def _build_weights(x: Value, y: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int, kernel: Pair) -> Value:
    result = _weights_type(x.type, y.type, stride, dilation, pad, groups, kernel)
    x = _padded(x, pad)
    for n, axis in enumerate(_axes(x.type)):  # what no window sees takes no part
        count, whole = y.type.dims[axis], x.type.dims[axis]
        assert isinstance(count, int)
        used = (count - 1) * stride[n] + dilation[n] * (kernel[n] - 1) + 1
        if used != whole:
            x = apply("slice", x, axis=axis, start=0, stop=used)
    x, y = _with_lead(x, y)
    lead = _lead(x)
    seen = _windows(x, kernel, stride, dilation)
    if groups == 1:
        return apply("einsum", seen, y, subscripts=f"{lead}hiwjc,{lead}hwo->ijco")
    seen, y = _in_groups(seen, groups), _in_groups(y, groups)
    product = apply("einsum", seen, y, subscripts=f"{lead}hiwjgc,{lead}hwgo->ijcgo")
    return apply("reshape", product, dims=result.dims)


def _with_lead(x: Value, y: Value) -> tuple[Value, Value]:
    """Both with a batch, if one has it."""
    if x.type.is_batched == y.type.is_batched:
        return x, y
    batch: tuple[Dim, ...] = ("batch",)
    if x.type.is_batched:
        return x, apply("broadcast", y, dims=(*batch, *y.type.dims))
    return apply("broadcast", x, dims=(*batch, *x.type.dims)), y


def _conv_gradient(
    g: Value, r: Value, x: Value, w: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int
) -> tuple[Value, Value]:
    how = {"stride": stride, "dilation": dilation, "pad": pad, "groups": groups}
    h, wide = (x.type.dims[axis] for axis in _axes(x.type))
    return (
        apply("conv2d_input", g, w, **how, size=(h, wide)),
        apply("conv2d_weights", x, g, **how, kernel=w.type.dims[:2]),
    )


def _input_gradient(
    g: Value, r: Value, y: Value, w: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int, size: Pair
) -> tuple[Value, Value]:
    how = {"stride": stride, "dilation": dilation, "pad": pad, "groups": groups}
    return apply("conv2d", g, w, **how), apply("conv2d_weights", g, y, **how, kernel=w.type.dims[:2])


def _weights_gradient(
    g: Value, r: Value, x: Value, y: Value, stride: Pair, dilation: Pair, pad: Pads, groups: int, kernel: Pair
) -> tuple[Value, Value]:
    how = {"stride": stride, "dilation": dilation, "pad": pad, "groups": groups}
    h, wide = (x.type.dims[axis] for axis in _axes(x.type))
    return apply("conv2d_input", y, g, **how, size=(h, wide)), apply("conv2d", x, g, **how)


def _taken(x: Any, i: int, j: int, counts: Pair, stride: Pair, dilation: Pair) -> tuple[Any, ...]:
    """The index of what all windows hold at (i, j)."""
    first, second = i * dilation[0], j * dilation[1]
    return (
        ...,
        np.s_[first : first + (counts[0] - 1) * stride[0] + 1 : stride[0]],
        np.s_[second : second + (counts[1] - 1) * stride[1] + 1 : stride[1]],
        np.s_[:],
    )


def _bordered(x: Any, pad: Pads) -> Any:
    return np.pad(x, [(0, 0)] * (x.ndim - 3) + [(pad[0], pad[1]), (pad[2], pad[3]), (0, 0)])


def _grouped(x: Any, groups: int) -> Any:
    return x.reshape(*x.shape[:-1], groups, -1)


def _conv_reference(x: Any, w: Any, stride: Pair, dilation: Pair, pad: Pads, groups: int) -> Any:
    """The sum over the places of a window, by its definition."""
    x, (kh, kw) = _bordered(x, pad), w.shape[:2]
    counts = (
        (x.shape[-3] - dilation[0] * (kh - 1) - 1) // stride[0] + 1,
        (x.shape[-2] - dilation[1] * (kw - 1) - 1) // stride[1] + 1,
    )
    parts = [
        np.einsum(
            "...gc,cgo->...go",
            _grouped(x[_taken(x, i, j, counts, stride, dilation)], groups),
            _grouped(w[i, j], groups),
        )
        for i in range(kh)
        for j in range(kw)
    ]
    total = np.sum(parts, axis=0)
    return total.reshape(*total.shape[:-2], -1)


def _input_reference(y: Any, w: Any, stride: Pair, dilation: Pair, pad: Pads, groups: int, size: Pair) -> Any:
    """What each place of y sends back to where it was taken from."""
    top, bottom, left, right = pad
    whole = (size[0] + top + bottom, size[1] + left + right)
    result = np.zeros((*y.shape[:-3], *whole, w.shape[2] * groups), y.dtype)
    counts = (y.shape[-3], y.shape[-2])
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            part = np.einsum("...go,cgo->...gc", _grouped(y, groups), _grouped(w[i, j], groups))
            result[_taken(result, i, j, counts, stride, dilation)] += part.reshape(*part.shape[:-2], -1)
    return result[..., top : top + size[0], left : left + size[1], :]


def _weights_reference(x: Any, y: Any, stride: Pair, dilation: Pair, pad: Pads, groups: int, kernel: Pair) -> Any:
    x, counts = _bordered(x, pad), (y.shape[-3], y.shape[-2])
    given = _grouped(y.reshape(-1, y.shape[-1]), groups)
    rows = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            seen = x[_taken(x, i, j, counts, stride, dilation)].reshape(-1, x.shape[-1])
            rows.append(np.einsum("pgc,pgo->cgo", _grouped(seen, groups), given))
    return np.stack(rows).reshape(*kernel, x.shape[-1] // groups, y.shape[-1])


_PLAIN = {"stride": (1, 1), "dilation": (1, 1), "pad": (1, 1, 1, 1), "groups": 1}
_ODD = {"stride": (2, 1), "dilation": (1, 2), "pad": (0, 1, 2, 1), "groups": 2}
_ARGUMENTS = {
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
        "The products of w[kh, kw, c, n] with each window of x[h, w, c], added up: [oh, ow, n].",
        type=_conv_type,
        reference=_conv_reference,
        lower=Expansion(_build_conv),
        arguments=_ARGUMENTS,
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
        "What conv2d's input gets back from y[oh, ow, n]: each place spreads w over its window.",
        type=_input_type,
        reference=_input_reference,
        lower=Expansion(_build_input),
        is_callable=False,
        gradient=_input_gradient,
        examples=(
            (("f64[batch, 5, 4, 5]", "f64[3, 3, 3, 5]"), {**_PLAIN, "size": (5, 4)}),
            (("f64[batch, 3, 6, 6]", "f64[2, 3, 2, 6]"), {**_ODD, "size": (6, 7)}),
            (("f64[batch, 5, 5, 3]", "f64[3, 3, 1, 3]"), {**_PLAIN, "groups": 3, "size": (5, 5)}),
        ),
    )
)
conv2d_weights = register(
    Operation(
        "conv2d_weights",
        "What conv2d's weights get back: the products of x's windows with y, added up over all places and samples.",
        type=_weights_type,
        reference=_weights_reference,
        lower=Expansion(_build_weights),
        is_callable=False,
        gradient=_weights_gradient,
        examples=(
            (("f64[batch, 5, 4, 3]", "f64[batch, 5, 4, 5]"), {**_PLAIN, "kernel": (3, 3)}),
            (("f64[batch, 6, 7, 4]", "f64[batch, 3, 6, 6]"), {**_ODD, "kernel": (2, 3)}),
        ),
    )
)


# ------------------------------------------------------------------ pooling


def _pool_type(x: Type, size: Pair, stride: Pair, pad: Pads) -> Type:
    if len(x.sample) != 3:
        raise Mismatch("pooling takes float[h, w, c], or float[t, c]", code="E0401")
    for n in (0, 1):
        if max(pad[2 * n : 2 * n + 2]) >= size[n]:
            raise Mismatch(f"a border of {max(pad[2 * n : 2 * n + 2])} is as wide as the window")
    out = [places(x.dims[axis], size[n], stride[n], 1, pad[2 * n] + pad[2 * n + 1]) for n, axis in enumerate(_axes(x))]
    return x.with_dims((*x.dims[:-3], *out, x.dims[-1]))


def _interleave_type(*parts: Type, size: Pair) -> Type:
    *lead, h, w, c = parts[0].dims
    assert isinstance(h, int)
    assert isinstance(w, int)
    return parts[0].with_dims((*lead, h * size[0], w * size[1], c))


def _interleave_reference(*parts: Any, size: Pair) -> Any:
    *lead, h, w, c = parts[0].shape
    result = np.empty((*lead, h * size[0], w * size[1], c), parts[0].dtype)
    for n, part in enumerate(parts):
        result[..., n // size[1] :: size[0], n % size[1] :: size[1], :] = part
    return result


def _interleave_gradient(g: Value, r: Value, *parts: Value, size: Pair) -> tuple[Value, ...]:
    return tuple(part for _, part in _parts(g, size, size))


interleave = register(
    Operation(
        "interleave",
        "An image of which part i * width + j holds every size-th element from (i, j) on.",
        type=_interleave_type,
        reference=_interleave_reference,
        lower=Kernel("interleave"),
        is_callable=False,
        gradient=_interleave_gradient,
        examples=(((("f64[batch, 3, 2, 5]"),) * 6, {"size": (2, 3)}),),
    )
)


def _fitted(image: Value, x: Value) -> Value:
    """As large as x: zeros where no window was."""
    rest = tuple(int(x.type.dims[axis]) - int(image.type.dims[axis]) for axis in _axes(x.type))
    if not any(rest):
        return image
    return apply("pad", image, axes=_axes(x.type), before=(0, 0), after=rest, step=(1, 1))


def _spread(parts: list[tuple[Pair, Value]], x: Value, stride: Pair, pad: Pads) -> Value:
    """What each place of each window gives back, added up at where it was taken from."""
    axes, total = _axes(x.type), None
    whole = [int(x.type.dims[axis]) + pad[2 * n] + pad[2 * n + 1] for n, axis in enumerate(axes)]
    for place, part in parts:
        after = tuple(
            whole[n] - place[n] - (int(part.type.dims[axis]) - 1) * stride[n] - 1 for n, axis in enumerate(axes)
        )
        term = apply("pad", part, axes=axes, before=place, after=after, step=stride)
        total = term if total is None else total + term
    assert total is not None
    for n, axis in enumerate(axes):
        if pad[2 * n] or pad[2 * n + 1]:
            total = apply("slice", total, axis=axis, start=pad[2 * n], stop=whole[n] - pad[2 * n + 1])
    return total


def _is_small(size: Pair) -> bool:
    """Whether a window's elements are taken one by one, in one loop."""
    return size[0] * size[1] <= _MOST_IN_A_LOOP


def _around(x: Value) -> tuple[int, int]:
    """The axes of the window in [..., oh, kh, ow, kw, c]."""
    return x.type.rank - 4, x.type.rank - 2


def _build_maxpool(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    if not _is_small(size):
        seen = _windows(_padded(x, pad, -float("inf")), size, stride, (1, 1))
        return apply("max", seen, over=_around(seen))
    result: Value | None = None
    for _, part in _parts(_padded(x, pad, -float("inf")), size, stride):
        result = part if result is None else apply("maximum", result, part)
    assert result is not None
    return result


def _maxpool_gradient(g: Value, r: Value, x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    """To the first of its window that is the largest; in a large window to all that are, in equal parts."""
    if not _is_small(size):
        whole = _padded(x, pad, -float("inf"))
        seen = _windows(whole, size, stride, (1, 1))
        back = OPERATIONS["max"].gradient(g, r, seen, over=_around(seen))  # type: ignore[misc]
        columns = apply("window", whole, axis=whole.type.rank - 2, size=size[1], stride=stride[1], dilation=1)
        back = _window_gradient(back, seen, columns, seen.type.rank - 5, size[0], stride[0], 1)
        back = _window_gradient(back, columns, whole, whole.type.rank - 2, size[1], stride[1], 1)
        for n, axis in enumerate(_axes(x.type)):
            if pad[2 * n] or pad[2 * n + 1]:
                end = int(back.type.dims[axis]) - pad[2 * n + 1]
                back = apply("slice", back, axis=axis, start=pad[2 * n], stop=end)
        return back
    which = apply("maxplace2d", x, size=size, stride=stride, pad=pad)
    given = [
        ((i, j), apply("where", apply("equal", which, float(i * size[1] + j)), g, 0.0))
        for i in range(size[0])
        for j in range(size[1])
    ]
    if size == stride and not any(pad):
        return _fitted(apply("interleave", *(part for _, part in given), size=size), x)
    return _spread(given, x, stride, pad)


def _build_maxplace(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    """Beside the maximum, in one loop: where it changes, the place does."""
    (_, best), *rest = _parts(_padded(x, pad, -float("inf")), size, stride)
    place = x.graph.constant(0.0, x.type)
    for (i, j), part in rest:
        place = apply("where", part > best, x.graph.constant(float(i * size[1] + j), x.type), place)
        best = apply("maximum", best, part)
    return place if rest else apply("broadcast", place, dims=best.type.dims)


def _maxplace_reference(x: Any, size: Pair, stride: Pair, pad: Pads) -> Any:
    windows = _pool_reference(x, size, stride, pad, -np.inf)
    return windows.reshape(*windows.shape[:-2], -1).argmax(axis=-1).astype(x.dtype)


register(
    Operation(
        "maxplace2d",
        "Which element of each window, counted by rows, is the first of the largest, as a number.",
        type=lambda x, size, stride, pad: _pool_type(x, size, stride, pad),
        reference=_maxplace_reference,
        lower=Expansion(_build_maxplace),
        is_callable=False,
        gradient=lambda g, r, x, size, stride, pad: (None,),
    )
)


def _pool_reference(x: Any, size: Pair, stride: Pair, pad: Pads, value: float) -> Any:
    border = [(0, 0)] * (x.ndim - 3) + [(pad[0], pad[1]), (pad[2], pad[3]), (0, 0)]
    whole = np.pad(x, border, constant_values=value)
    windows = np.lib.stride_tricks.sliding_window_view(whole, size, (-3, -2))
    return windows[..., :: stride[0], :: stride[1], :, :, :]


def _avgpool_reference(x: Any, size: Pair, stride: Pair, pad: Pads) -> Any:
    total = _pool_reference(x, size, stride, pad, 0.0).sum(axis=(-2, -1))
    inside = _pool_reference(np.ones((*x.shape[-3:-1], 1)), size, stride, pad, 0.0).sum(axis=(-2, -1))
    return (total / inside).astype(x.dtype)


def _build_avgpool(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    total: Value | None = None
    for _, part in _parts(_padded(x, pad), size, stride):
        total = part if total is None else total + part
    assert total is not None
    return total / _inside(x, size, stride, pad)


def _inside(x: Value, size: Pair, stride: Pair, pad: Pads) -> Value | float:
    """How many elements of each window are not border."""
    if not any(pad):
        return float(size[0] * size[1])
    h, w = (int(x.type.dims[axis]) for axis in _axes(x.type))
    ones = apply("broadcast", x.graph.constant(1.0, Type(x.type.dtype)), dims=(h, w, 1))
    count: Value | None = None
    for _, part in _parts(_padded(ones, pad), size, stride):
        count = part if count is None else count + part
    assert count is not None
    return count


def _avgpool_gradient(g: Value, r: Value, x: Value, size: Pair, stride: Pair, pad: Pads) -> Value:
    share = g / _inside(x, size, stride, pad)
    if size == stride and not any(pad):
        *lead, h, w, c = r.type.dims
        beside = apply("reshape", share, dims=(*lead, h, 1, w, 1, c))
        tiles = apply("broadcast", beside, dims=(*lead, h, size[0], w, size[1], c))
        return _fitted(apply("reshape", tiles, dims=(*lead, int(h) * size[0], int(w) * size[1], c)), x)
    places_of = [(i, j) for i in range(size[0]) for j in range(size[1])]
    return _spread([(place, share) for place in places_of], x, stride, pad)


_POOL_EXAMPLES = (
    (("f64[batch, 4, 6, 3]",), {"size": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}),
    (("f64[batch, 5, 7, 2]",), {"size": (2, 3), "stride": (2, 3), "pad": (0, 0, 0, 0)}),
    (("f64[batch, 5, 6, 2]",), {"size": (3, 3), "stride": (2, 1), "pad": (1, 1, 0, 1)}),
)

maxpool2d = register(
    Operation(
        "maxpool2d",
        "The largest element of each window of x[h, w, c].",
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
        "The mean of each window of x[h, w, c]; of one at the border, of what lies inside.",
        type=_pool_type,
        reference=_avgpool_reference,
        lower=Expansion(_build_avgpool),
        is_callable=False,
        gradient=_avgpool_gradient,
        examples=_POOL_EXAMPLES,
    )
)


# ------------------------------------------------------------------ what the language calls: lines too, and other ways round


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
        image, was_line = _as_image(x)
        return _as_line(apply(name, image, size=size, stride=stride, pad=pad), was_line)

    return build


def _build_conv1d(x: Value, w: Value, **how: Any) -> Value:
    if len(x.type.sample) != 2 or w.type.rank != 3:
        raise Mismatch("conv1d takes float[t, c] and weights float[k, c, n]")
    image, _ = _as_image(x)
    kernel = apply("reshape", w, dims=(w.type.dims[0], 1, *w.type.dims[1:]))
    return _as_line(apply("conv2d", image, kernel, **how), True)


def _build_depthwise_op(x: Value, w: Value, **how: Any) -> Value:
    if len(x.type.sample) != 3 or w.type.rank != 4 or w.type.dims[2] != x.type.dims[-1]:
        raise Mismatch("depthwise_conv2d takes float[h, w, c] and weights float[kh, kw, c, m]")
    kh, kw, c, m = (int(dim) for dim in w.type.dims)
    return apply("conv2d", x, apply("reshape", w, dims=(kh, kw, 1, c * m)), **how, groups=c)


def _build_transpose(x: Value, w: Value, stride: Pair, pad: Any) -> Value:
    if len(x.type.sample) != 3 or w.type.rank != 4 or w.type.dims[2] != x.type.dims[-1]:
        raise Mismatch("conv_transpose2d takes float[h, w, c] and weights float[kh, kw, c, n]")
    size, pads = [], []
    for n, axis in enumerate(_axes(x.type)):
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
    *lead, h, w, c = image.type.dims
    beside = apply("reshape", image, dims=(*lead, h, 1, w, 1, c))
    wide = apply("broadcast", beside, dims=(*lead, h, size[0], w, size[1], c))
    return _as_line(apply("reshape", wide, dims=(*lead, int(h) * size[0], int(w) * size[1], c)), was_line)


def _drawn_later(*_: Any, **__: Any) -> Any:
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
        _ARGUMENTS,
    ),
    (
        "depthwise_conv2d",
        "Each channel of x[h, w, c] by m kernels of its own, w[kh, kw, c, m]: [oh, ow, c * m].",
        _build_depthwise_op,
        {name: kind for name, kind in _ARGUMENTS.items() if name != "groups"},
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
            _name, _doc, type=_unknown_type, lower=Expansion(_build), reference=_drawn_later, arguments=_arguments
        )
    )
