"""Whole operations as nodes of ONNX: shapes, products, reductions, gathers, images. Each takes the file, the value, and what its operands are called there."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.export.onnx_nodes import OnnxNodes
from netc.compiler.export.scalar import Term
from netc.compiler.ir.attributes import Axis, Dims, Over
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Value
from netc.compiler.operations.convolution import Convolution, ConvolutionInput
from netc.compiler.operations.linear import Subscripts, is_matmul
from netc.compiler.operations.pooling import Interleave, Pool
from netc.compiler.operations.reduce import logsumexp
from netc.compiler.operations.shape import Count, Order, Pad, Slice, scatter_add
from netc.compiler.operations.window import Window


def _reshape(file: OnnxNodes, value: Value, x: Term) -> Term:
    wanted = [-1 if isinstance(dim, str) else int(dim) for dim in value.type.dims]
    return file.node("Reshape", [x.text, file.constant(wanted, "i64").text], x.dtype)


def _broadcast(file: OnnxNodes, value: Value, x: Term) -> Term:
    return file.node("Expand", [x.text, file.shape(value.type.dims).text], x.dtype)


def _slice(file: OnnxNodes, value: Value, x: Term) -> Term:
    own = value.attributes_as(Slice)
    inputs = [file.constant([one], "i64").text for one in (own.start, own.stop, own.axis, own.stride)]
    return file.node("Slice", [x.text, *inputs], x.dtype)


def _pad(file: OnnxNodes, value: Value, x: Term) -> Term:
    own = value.attributes_as(Pad)
    fill = file.number(float(own.fill), x.dtype).text
    dims = list(value.operands[0].type.dims)
    for axis, apart in zip(own.axes, own.step, strict=True):
        if apart > 1:  # each element with what follows it, then without what follows the last
            x = file.node("Unsqueeze", [x.text, file.constant([axis + 1], "i64").text], x.dtype)
            pads = file.constant([0, apart - 1], "i64").text
            x = file.node("Pad", [x.text, pads, fill, file.constant([axis + 1], "i64").text], x.dtype)
            wide = (int(dims[axis]) - 1) * apart + 1
            dims[axis] = int(dims[axis]) * apart
            wanted = [-1 if isinstance(dim, str) else int(dim) for dim in dims]
            x = file.node("Reshape", [x.text, file.constant(wanted, "i64").text], x.dtype)
            ends = [file.constant([n], "i64").text for n in (0, wide, axis)]
            x, dims[axis] = file.node("Slice", [x.text, *ends], x.dtype), wide
    pads = file.constant([*own.before, *own.after], "i64").text
    return file.node("Pad", [x.text, pads, fill, file.constant(own.axes, "i64").text], x.dtype)


def _concat(file: OnnxNodes, value: Value, *parts: Term) -> Term:
    return file.node("Concat", [part.text for part in parts], value.type.dtype, axis=value.attributes_as(Axis).axis)


def _einsum(file: OnnxNodes, value: Value, x: Term, y: Term) -> Term:
    subscripts = value.attributes_as(Subscripts).subscripts
    if is_matmul(subscripts):
        return file.node("MatMul", [x.text, y.text], x.dtype)
    letters = dict.fromkeys(subscripts.partition("->")[0].replace(",", ""))  # ONNX knows small ones alone
    names = str.maketrans({letter: chr(ord("a") + i) for i, letter in enumerate(letters)})
    return file.node("Einsum", [x.text, y.text], x.dtype, equation=subscripts.translate(names))


def _reduced(file: OnnxNodes, value: Value, x: Term) -> Term:
    kind = {"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"}[value.operation]
    return file.node(kind, [x.text, file.constant(value.attributes_as(Over).over, "i64").text], x.dtype, keepdims=0)


def _argmax(file: OnnxNodes, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    return file.cast(file.node("ArgMax", [x.text], "i64", axis=over[0], keepdims=0), "i32")


def _scatter(file: OnnxNodes, value: Value, x: Term, index: Term) -> Term:
    kind, initial = ("add", 0.0) if value.definition is scatter_add else ("max", -math.inf)
    room = file.node("Expand", [file.number(initial, x.dtype).text, file.shape(value.type.dims).text], x.dtype)
    places = file.cast(index, "i64")
    if value.operands[1].type.rank > 1:
        places = file.node("Reshape", [places.text, file.constant([-1], "i64").text], "i64")
        x = file.flat(x, value.operands[1].type.rank, value.type.dims[1:])
    return file.node("ScatterND", [room.text, file.column(places).text, x.text], x.dtype, reduction=kind)


def _to_steps(file: OnnxNodes, value: Value, x: Term, place: Term) -> Term:
    return file.take(file.flat(x, 2, value.operands[0].type.dims[2:]), place)


def _from_steps(file: OnnxNodes, value: Value, x: Term, place: Term) -> Term:
    size, rest = int(value.type.dims[1]), value.type.dims[2:]
    samples = file.node("Mul", [file.size(BATCH), file.constant([size], "i64").text], "i64").text
    parts = [samples, *([file.constant([int(dim) for dim in rest], "i64").text] if rest else [])]
    shape = file.node("Concat", parts, "i64", axis=0)
    zeros = file.node("Expand", [file.number(0, x.dtype).text, shape.text], x.dtype)
    made = file.node("ScatterND", [zeros.text, file.column(file.cast(place, "i64")).text, x.text], x.dtype)
    return _reshape(file, value, made)


def _extent(file: OnnxNodes, value: Value) -> Term:
    dims = value.attributes_as(Dims).dims
    whole = file.node("ReduceProd", [file.shape(dims).text], "i64", keepdims=0)
    return file.cast(whole, value.type.dtype)


def _window(file: OnnxNodes, value: Value, x: Term) -> Term:
    """Windows by their elements' numbers."""
    own = value.attributes_as(Window)
    count = int(value.type.dims[own.axis])
    places = np.add.outer(np.arange(count) * own.stride, np.arange(own.size) * own.dilation)
    return file.node("Gather", [x.text, file.constant(places, "i64").text], x.dtype, axis=own.axis)


def _interleave(file: OnnxNodes, value: Value, *parts: Term) -> Term:
    tall, wide = value.attributes_as(Interleave).size
    rank, (h, w, c) = value.type.rank, (int(dim) for dim in value.operands[0].type.dims[-3:])
    axis = file.constant([rank - 3], "i64").text
    stacked = file.node(
        "Concat",
        [file.node("Unsqueeze", [part.text, axis], part.dtype).text for part in parts],
        value.type.dtype,
        axis=rank - 3,
    )
    lead = [-1 if isinstance(dim, str) else int(dim) for dim in value.type.dims[:-3]]
    apart = file.node(
        "Reshape", [stacked.text, file.constant([*lead, tall, wide, h, w, c], "i64").text], value.type.dtype
    )
    n = len(lead)
    order = [*range(n), n + 2, n, n + 3, n + 1, n + 4]
    return _reshape(file, value, file.node("Transpose", [apart.text], value.type.dtype, perm=order))


# ------------------------------------------------------------ images: netc has channels last, ONNX first


def _channels_first(file: OnnxNodes, x: Term, rank: int) -> Term:
    return file.node("Transpose", [x.text], x.dtype, perm=[*range(rank - 3), rank - 1, rank - 3, rank - 2])


def _channels_last(file: OnnxNodes, x: Term, rank: int) -> Term:
    return file.node("Transpose", [x.text], x.dtype, perm=[*range(rank - 3), rank - 2, rank - 1, rank - 3])


def _on_images(file: OnnxNodes, value: Value, x: Term, make: Any) -> Term:
    """`make` of images [n, c, h, w], whatever axes stand before them."""
    own, rank = value.operands[0].type, value.operands[0].type.rank
    if rank != 4:
        x = file.node("Reshape", [x.text, file.constant([-1, *map(int, own.dims[-3:])], "i64").text], x.dtype)
    made = _channels_last(file, make(_channels_first(file, x, 4)), 4)
    return made if rank == 4 else _reshape(file, value, made)


def _conv2d(file: OnnxNodes, value: Value, x: Term, w: Term) -> Term:
    own = value.attributes_as(Convolution)
    kernel = file.node("Transpose", [w.text], w.dtype, perm=[3, 2, 0, 1])
    top, bottom, left, right = own.pad

    def make(image: Term) -> Term:
        return file.node(
            "Conv",
            [image.text, kernel.text],
            x.dtype,
            strides=list(own.stride),
            dilations=list(own.dilation),
            pads=[top, left, bottom, right],
            group=own.groups,
        )

    return _on_images(file, value, x, make)


def _conv2d_input(file: OnnxNodes, value: Value, y: Term, w: Term) -> Term:
    own = value.attributes_as(ConvolutionInput)
    kh, kw = (int(dim) for dim in value.operands[1].type.dims[:2])
    groups = own.groups
    # [kh, kw, c, groups * n'] -> [groups * n', c, kh, kw]
    kernel = file.node("Transpose", [w.text], w.dtype, perm=[3, 2, 0, 1])
    places = value.operands[0].type.dims[-3:-1]
    top, bottom, left, right = own.pad
    reach = [
        (int(dim) - 1) * own.stride[i] + own.dilation[i] * (k - 1) + 1
        for i, (dim, k) in enumerate(zip(places, (kh, kw), strict=True))
    ]
    # what a window never reached at the far end is 0
    rest = [own.size[0] + top + bottom - reach[0], own.size[1] + left + right - reach[1]]

    def make(image: Term) -> Term:
        whole = file.node(
            "ConvTranspose",
            [image.text, kernel.text],
            y.dtype,
            strides=list(own.stride),
            dilations=list(own.dilation),
            group=groups,
        )
        pads = [-top, -left, rest[0] - bottom, rest[1] - right]
        if not any(pads):
            return whole
        axes = file.constant([2, 3], "i64").text
        return file.node(
            "Pad", [whole.text, file.constant(pads, "i64").text, file.number(0, y.dtype).text, axes], y.dtype
        )

    return _on_images(file, value, y, make)


def _pool(file: OnnxNodes, value: Value, x: Term) -> Term:
    own = value.attributes_as(Pool)
    top, bottom, left, right = own.pad
    kind = {"maxpool2d": "MaxPool", "avgpool2d": "AveragePool"}[value.operation]

    def make(image: Term) -> Term:
        pads = [top, left, bottom, right]
        return file.node(kind, [image.text], x.dtype, kernel_shape=list(own.size), strides=list(own.stride), pads=pads)

    return _on_images(file, value, x, make)


def _soft(file: OnnxNodes, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    (axis,) = over
    if value.definition is logsumexp:
        return file.node("ReduceLogSumExp", [x.text, file.constant([axis], "i64").text], x.dtype, keepdims=0)
    return file.node({"softmax": "Softmax", "log_softmax": "LogSoftmax"}[value.operation], [x.text], x.dtype, axis=axis)


def _extreme(file: OnnxNodes, operation: str, value: Value, pair: Sequence[Term]) -> Term:
    return file.node(operation, [file.cast(one, value.type.dtype).text for one in pair], value.type.dtype)


def _flipped(file: OnnxNodes, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    axes = list(over)
    own = [file.constant([n] * len(axes), "i64").text for n in (-1, -(2**31))]
    return file.node(
        "Slice",
        [x.text, *own, file.constant(axes, "i64").text, file.constant([-1] * len(axes), "i64").text],
        x.dtype,
    )


FORMS: Mapping[str, Callable[..., Term]] = {
    "reshape": _reshape,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "einsum": _einsum,
    "sum": _reduced,
    "max": _reduced,
    "min": _reduced,
    "argmax": _argmax,
    "scatter_add": _scatter,
    "segment_max": _scatter,
    "to_steps": _to_steps,
    "from_steps": _from_steps,
    "extent": _extent,
    "window": _window,
    "interleave": _interleave,
    "conv2d": _conv2d,
    "conv2d_input": _conv2d_input,
    "maxpool2d": _pool,
    "avgpool2d": _pool,
    "softmax": _soft,
    "log_softmax": _soft,
    "logsumexp": _soft,
    "relu": lambda file, value, x: file.node("Relu", [x.text], x.dtype),
    "minimum": lambda file, value, *pair: _extreme(file, "Min", value, pair),
    "maximum": lambda file, value, *pair: _extreme(file, "Max", value, pair),
    "transpose": lambda file, value, x: file.node(
        "Transpose", [x.text], x.dtype, perm=list(value.attributes_as(Order).order)
    ),
    "reverse": lambda file, value, x: _flipped(file, value, x),
    "gather": lambda file, value, table, index: file.take(table, index),
    "arange": lambda file, value: file.constant(np.arange(value.attributes_as(Count).n), "i32"),
}
