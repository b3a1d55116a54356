"""Writes shapes, products, reductions, gathers and image operations as ONNX nodes.

Each function takes the file, the value and the terms of its operands, and returns the term of the result.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from netc.compiler.export.onnx_attention import attend
from netc.compiler.export.onnx_nodes import OnnxNodes
from netc.compiler.export.scalar import Term
from netc.compiler.ir.attributes import Axis, Dims, Over
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Value
from netc.compiler.operations.convolution import Convolution, ConvolutionInput
from netc.compiler.operations.gathering import scatter_add
from netc.compiler.operations.linear import Subscripts, is_matmul
from netc.compiler.operations.pooling import Interleave, Pool
from netc.compiler.operations.reduce import logsumexp
from netc.compiler.operations.running import RunningSum
from netc.compiler.operations.shape import Count, Order, Pad, Slice
from netc.compiler.operations.window import Window


def _reshape(file: OnnxNodes, value: Value, x: Term) -> Term:
    shape = [-1 if isinstance(dim, str) else int(dim) for dim in value.type.dims]
    return file.node("Reshape", [x.text, file.constant(shape, "i64").text], x.dtype)


def _broadcast(file: OnnxNodes, value: Value, x: Term) -> Term:
    return file.node("Expand", [x.text, file.shape(value.type.dims).text], x.dtype)


def _slice(file: OnnxNodes, value: Value, x: Term) -> Term:
    slice_ = value.attributes_as(Slice)
    bounds = (slice_.start, slice_.stop, slice_.axis, slice_.stride)
    inputs = [file.constant([bound], "i64").text for bound in bounds]
    return file.node("Slice", [x.text, *inputs], x.dtype)


def _pad(file: OnnxNodes, value: Value, x: Term) -> Term:
    padding = value.attributes_as(Pad)
    fill = file.number(float(padding.fill), x.dtype).text
    dims = list(value.operands[0].type.dims)
    for axis, step in zip(padding.axes, padding.step, strict=True):
        if step > 1:  # fills behind every element, then cuts the filling behind the last one off
            x = file.node("Unsqueeze", [x.text, file.constant([axis + 1], "i64").text], x.dtype)
            pads = file.constant([0, step - 1], "i64").text
            x = file.node("Pad", [x.text, pads, fill, file.constant([axis + 1], "i64").text], x.dtype)
            size = (int(dims[axis]) - 1) * step + 1
            dims[axis] = int(dims[axis]) * step
            shape = [-1 if isinstance(dim, str) else int(dim) for dim in dims]
            x = file.node("Reshape", [x.text, file.constant(shape, "i64").text], x.dtype)
            ends = [file.constant([n], "i64").text for n in (0, size, axis)]
            x, dims[axis] = file.node("Slice", [x.text, *ends], x.dtype), size
    pads = file.constant([*padding.before, *padding.after], "i64").text
    return file.node("Pad", [x.text, pads, fill, file.constant(padding.axes, "i64").text], x.dtype)


def _concat(file: OnnxNodes, value: Value, *parts: Term) -> Term:
    return file.node("Concat", [part.text for part in parts], value.type.dtype, axis=value.attributes_as(Axis).axis)


def _einsum(file: OnnxNodes, value: Value, x: Term, y: Term) -> Term:
    subscripts = value.attributes_as(Subscripts).subscripts
    if is_matmul(subscripts):
        return file.node("MatMul", [x.text, y.text], x.dtype)
    letters = dict.fromkeys(subscripts.partition("->")[0].replace(",", ""))  # ONNX accepts lower case only
    names = str.maketrans({letter: chr(ord("a") + i) for i, letter in enumerate(letters)})
    return file.node("Einsum", [x.text, y.text], x.dtype, equation=subscripts.translate(names))


def _reduced(file: OnnxNodes, value: Value, x: Term) -> Term:
    kind = {"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"}[value.operation]
    return file.node(kind, [x.text, file.constant(value.attributes_as(Over).over, "i64").text], x.dtype, keepdims=0)


def _argmax(file: OnnxNodes, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    return file.cast(file.node("ArgMax", [x.text], "i64", axis=over[0], keepdims=0), "i32")


def _running_sum(file: OnnxNodes, value: Value, x: Term) -> Term:
    attributes = value.attributes_as(RunningSum)
    axis = file.constant(attributes.over[0], "i64").text
    return file.node("CumSum", [x.text, axis], x.dtype, reverse=int(bool(attributes.is_reversed)))


def _scatter(file: OnnxNodes, value: Value, x: Term, index: Term) -> Term:
    kind, initial = ("add", 0.0) if value.definition is scatter_add else ("max", -math.inf)
    target = file.node("Expand", [file.number(initial, x.dtype).text, file.shape(value.type.dims).text], x.dtype)
    rows = file.cast(index, "i64")
    if value.operands[1].type.rank > 1:
        rows = file.node("Reshape", [rows.text, file.constant([-1], "i64").text], "i64")
        x = file.flat(x, value.type.dims[1:])
    return file.node("ScatterND", [target.text, file.column(rows).text, x.text], x.dtype, reduction=kind)


def _to_steps(file: OnnxNodes, value: Value, x: Term, position: Term) -> Term:
    return file.take(file.flat(x, value.operands[0].type.dims[2:]), position)


def _from_steps(file: OnnxNodes, value: Value, x: Term, position: Term) -> Term:
    size, rest = int(value.type.dims[1]), value.type.dims[2:]
    samples = file.node("Mul", [file.size(BATCH), file.constant([size], "i64").text], "i64").text
    parts = [samples, *([file.constant([int(dim) for dim in rest], "i64").text] if rest else [])]
    shape = file.node("Concat", parts, "i64", axis=0)
    zeros = file.node("Expand", [file.number(0, x.dtype).text, shape.text], x.dtype)
    indices = file.column(file.cast(position, "i64"))
    return _reshape(file, value, file.node("ScatterND", [zeros.text, indices.text, x.text], x.dtype))


def _extent(file: OnnxNodes, value: Value) -> Term:
    dims = value.attributes_as(Dims).dims
    product = file.node("ReduceProd", [file.shape(dims).text], "i64", keepdims=0)
    return file.cast(product, value.type.dtype)


def _window(file: OnnxNodes, value: Value, x: Term) -> Term:
    """Gathers the elements of each window by their indices along the axis."""
    window = value.attributes_as(Window)
    count = int(value.type.dims[window.axis])
    indices = np.add.outer(np.arange(count) * window.stride, np.arange(window.size) * window.dilation)
    return file.node("Gather", [x.text, file.constant(indices, "i64").text], x.dtype, axis=window.axis)


def _interleave(file: OnnxNodes, value: Value, *parts: Term) -> Term:
    rows, columns = value.attributes_as(Interleave).size
    rank, (h, w, c) = value.type.rank, (int(dim) for dim in value.operands[0].type.dims[-3:])
    axis = file.constant([rank - 3], "i64").text
    stacked = file.node(
        "Concat",
        [file.node("Unsqueeze", [part.text, axis], part.dtype).text for part in parts],
        value.type.dtype,
        axis=rank - 3,
    )
    lead = [-1 if isinstance(dim, str) else int(dim) for dim in value.type.dims[:-3]]
    split = file.node(
        "Reshape", [stacked.text, file.constant([*lead, rows, columns, h, w, c], "i64").text], value.type.dtype
    )
    n = len(lead)
    order = [*range(n), n + 2, n, n + 3, n + 1, n + 4]
    return _reshape(file, value, file.node("Transpose", [split.text], value.type.dtype, perm=order))


# ------------------------------------------------------------ images: netc has channels last, ONNX first


def _channels_first(file: OnnxNodes, x: Term) -> Term:
    return file.node("Transpose", [x.text], x.dtype, perm=[0, 3, 1, 2])


def _channels_last(file: OnnxNodes, x: Term) -> Term:
    return file.node("Transpose", [x.text], x.dtype, perm=[0, 2, 3, 1])


def _on_images(file: OnnxNodes, value: Value, x: Term, apply: Callable[[Term], Term]) -> Term:
    """Calls `apply` on the images as [n, c, h, w] and returns its result in netc's layout, leading axes restored."""
    type_ = value.operands[0].type
    if type_.rank != 4:
        x = file.node("Reshape", [x.text, file.constant([-1, *map(int, type_.dims[-3:])], "i64").text], x.dtype)
    result = _channels_last(file, apply(_channels_first(file, x)))
    return result if type_.rank == 4 else _reshape(file, value, result)


def _conv2d(file: OnnxNodes, value: Value, x: Term, w: Term) -> Term:
    convolution = value.attributes_as(Convolution)
    kernel = file.node("Transpose", [w.text], w.dtype, perm=[3, 2, 0, 1])
    top, bottom, left, right = convolution.pad

    def convolve(image: Term) -> Term:
        return file.node(
            "Conv",
            [image.text, kernel.text],
            x.dtype,
            strides=list(convolution.stride),
            dilations=list(convolution.dilation),
            pads=[top, left, bottom, right],
            group=convolution.groups,
        )

    return _on_images(file, value, x, convolve)


def _conv2d_input(file: OnnxNodes, value: Value, y: Term, w: Term) -> Term:
    convolution = value.attributes_as(ConvolutionInput)
    kernel_size = [int(dim) for dim in value.operands[1].type.dims[:2]]
    # [kh, kw, c, groups * n'] -> [groups * n', c, kh, kw]
    kernel = file.node("Transpose", [w.text], w.dtype, perm=[3, 2, 0, 1])
    image_size = value.operands[0].type.dims[-3:-1]
    top, bottom, left, right = convolution.pad
    covered = [
        (int(dim) - 1) * convolution.stride[i] + convolution.dilation[i] * (k - 1) + 1
        for i, (dim, k) in enumerate(zip(image_size, kernel_size, strict=True))
    ]
    # rows and columns at the far end that no window reached are 0
    rest = [convolution.size[0] + top + bottom - covered[0], convolution.size[1] + left + right - covered[1]]

    def spread(image: Term) -> Term:
        result = file.node(
            "ConvTranspose",
            [image.text, kernel.text],
            y.dtype,
            strides=list(convolution.stride),
            dilations=list(convolution.dilation),
            group=convolution.groups,
        )
        pads = [-top, -left, rest[0] - bottom, rest[1] - right]
        if not any(pads):
            return result
        axes = file.constant([2, 3], "i64").text
        return file.node(
            "Pad", [result.text, file.constant(pads, "i64").text, file.number(0, y.dtype).text, axes], y.dtype
        )

    return _on_images(file, value, y, spread)


def _pool(file: OnnxNodes, value: Value, x: Term) -> Term:
    pool = value.attributes_as(Pool)
    top, bottom, left, right = pool.pad
    kind = {"maxpool2d": "MaxPool", "avgpool2d": "AveragePool"}[value.operation]

    def reduce(image: Term) -> Term:
        size, strides, pads = list(pool.size), list(pool.stride), [top, left, bottom, right]
        return file.node(kind, [image.text], x.dtype, kernel_shape=size, strides=strides, pads=pads)

    return _on_images(file, value, x, reduce)


def _soft(file: OnnxNodes, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    (axis,) = over
    if value.definition is logsumexp:
        return file.node("ReduceLogSumExp", [x.text, file.constant([axis], "i64").text], x.dtype, keepdims=0)
    return file.node({"softmax": "Softmax", "log_softmax": "LogSoftmax"}[value.operation], [x.text], x.dtype, axis=axis)


def _extreme(file: OnnxNodes, operation: str, value: Value, pair: Sequence[Term]) -> Term:
    return file.node(operation, [file.cast(operand, value.type.dtype).text for operand in pair], value.type.dtype)


def _flipped(file: OnnxNodes, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    axes = list(over)
    bounds = [file.constant([n] * len(axes), "i64").text for n in (-1, -(2**31))]
    return file.node(
        "Slice",
        [x.text, *bounds, file.constant(axes, "i64").text, file.constant([-1] * len(axes), "i64").text],
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
    "cumsum": _running_sum,
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
    "attend": attend,
    "arange": lambda file, value: file.constant(np.arange(value.attributes_as(Count).n), "i32"),
}
