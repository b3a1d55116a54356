"""Functions that are copied into exported Python files. They use only NumPy and the standard library."""

import math
from typing import Any

import numpy as np


def _sigmoid(x: Any) -> Any:
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[x.dtype])(x) if x.size else x


def _normal_cdf(x: Any) -> Any:
    return np.vectorize(lambda element: math.erfc(-element / math.sqrt(2)) / 2, otypes=[x.dtype])(x) if x.size else x


def _gelu(x: Any) -> Any:
    return x * _normal_cdf(x)


def _pow(x: Any, y: Any) -> Any:
    with np.errstate(invalid="ignore"):
        powers = np.power(x, y)  # the square root for an exponent of 0.5, which differs at -inf and at -0
        return np.where(np.equal(y, 0.5), np.where(np.equal(x, -np.inf), np.inf, powers + 0), powers)


def _softmax(x: Any, axis: int) -> Any:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _logsumexp(x: Any, axis: int) -> Any:
    top = x.max(axis, keepdims=True)
    return np.squeeze(np.log(np.exp(x - top).sum(axis, keepdims=True)) + top, axis)


def _log_softmax(x: Any, axis: int) -> Any:
    top = x.max(axis, keepdims=True)
    return x - top - np.log(np.exp(x - top).sum(axis, keepdims=True))


def _fold(combine: Any, initial: float, x: Any, axes: Any) -> Any:
    """Reduces x over axes with a function of two arguments, one element after the other."""
    moved = np.moveaxis(x, axes, range(len(axes)))
    total = np.full(moved.shape[len(axes) :], initial, x.dtype)
    for element in moved.reshape(-1, *total.shape):
        total = combine(total, element)
    return total


def _attend(q: Any, k: Any, v: Any, scale: Any, causal: bool, **tables: Any) -> Any:
    """Attention in each head. Tables say how many queries and keys a sample has, and which rows are theirs."""

    def of_sample(side: str, x: Any, i: int) -> Any:
        if f"{side}_rows" in tables:
            start, length = tables[f"{side}_starts"][i], tables[f"{side}_lengths"][i]
            return tables[f"{side}_rows"][start : start + length]
        return (i, slice(tables[f"{side}_lengths"][i] if f"{side}_lengths" in tables else None))

    result = np.zeros((*q.shape[:-1], v.shape[-1]), q.dtype)
    for i in range(len(tables["key_lengths"]) if tables else len(q)):
        queries, keys = of_sample("query", q, i), of_sample("key", k, i)
        scores = np.einsum("thd,shd->hts", q[queries], k[keys]) * np.asarray(scale, q.dtype)
        if causal:
            later = np.arange(scores.shape[2]) > np.arange(scores.shape[1])[:, None]
            scores = np.where(later, -np.inf, scores).astype(q.dtype)
        if scores.size:
            attended = np.einsum("hts,shm->thm", _softmax(scores, -1), v[keys])
            result[queries] = attended
            if "query_lengths" in tables and "query_rows" not in tables:
                result[i, len(attended) :] = attended[-1]
    return result


def _pad(x: Any, axes: Any, before: Any, after: Any, step: Any, value: float) -> Any:
    """Pads x with a value along axes, and between its elements where the step is above 1."""
    shape, inside = list(x.shape), [slice(None)] * x.ndim
    for axis, first, last, distance in zip(axes, before, after, step, strict=True):
        extent = (x.shape[axis] - 1) * distance + 1
        shape[axis], inside[axis] = first + extent + last, slice(first, first + extent, distance)
    result = np.full(shape, value, x.dtype)
    result[tuple(inside)] = x
    return result


def _window(x: Any, axis: int, size: int, stride: int, dilation: int) -> Any:
    """Returns the windows along an axis; the elements of a window are a new axis after it."""
    windows = np.lib.stride_tricks.sliding_window_view(x, dilation * (size - 1) + 1, axis)
    return np.moveaxis(windows, -1, axis + 1)[(np.s_[:],) * axis + (np.s_[::stride], np.s_[::dilation])]


def _image_windows(x: Any, size: Any, stride: Any, dilation: Any, pad: Any, value: float) -> Any:
    """x[..., h, w, c] -> [..., oh, ow, c, kh, kw]."""
    border = [(0, 0)] * (x.ndim - 3) + [(pad[0], pad[1]), (pad[2], pad[3]), (0, 0)]
    padded = np.pad(x, border, constant_values=value)
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, (-3, -2))
    return windows[..., :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def _conv2d(x: Any, w: Any, stride: Any, dilation: Any, pad: Any, groups: int) -> Any:
    windows = _image_windows(x, w.shape[:2], stride, dilation, pad, 0.0)
    parts = np.split(windows, groups, axis=-3)
    products = [
        np.tensordot(part, weights, ((-2, -1, -3), (0, 1, 2)))
        for part, weights in zip(parts, np.split(w, groups, -1), strict=True)
    ]
    return np.concatenate(products, axis=-1)


def _conv2d_input(y: Any, w: Any, stride: Any, dilation: Any, pad: Any, groups: int, size: Any) -> Any:
    """A transposed convolution: each pixel of y adds its multiple of w to its window of the result."""
    top, bottom, left, right = pad
    result = np.zeros((*y.shape[:-3], size[0] + top + bottom, size[1] + left + right, w.shape[2] * groups), y.dtype)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            pairs = zip(np.split(y, groups, -1), np.split(w[i, j], groups, -1), strict=True)
            part = np.concatenate([pixels @ weights.T for pixels, weights in pairs], axis=-1)
            first, second = i * dilation[0], j * dilation[1]
            down = slice(first, first + (y.shape[-3] - 1) * stride[0] + 1, stride[0])
            across = slice(second, second + (y.shape[-2] - 1) * stride[1] + 1, stride[1])
            result[..., down, across, :] += part
    return result[..., top : top + size[0], left : left + size[1], :]


def _maxpool2d(x: Any, size: Any, stride: Any, pad: Any) -> Any:
    return _image_windows(x, size, stride, (1, 1), pad, -np.inf).max((-2, -1))


def _avgpool2d(x: Any, size: Any, stride: Any, pad: Any) -> Any:
    """Average pooling; padding does not count."""
    total = _image_windows(x, size, stride, (1, 1), pad, 0.0).sum((-2, -1))
    return total / _image_windows(np.ones_like(x), size, stride, (1, 1), pad, 0.0).sum((-2, -1))


def _interleave(parts: Any, size: Any) -> Any:
    *lead, h, w, c = parts[0].shape
    result = np.empty((*lead, h * size[0], w * size[1], c), parts[0].dtype)
    for n, part in enumerate(parts):
        result[..., n // size[1] :: size[0], n % size[1] :: size[1], :] = part
    return result


def _scatter(combine: Any, initial: float, x: Any, index: Any, rows: int) -> Any:
    """Combines the rows of x that have the same index."""
    result = np.full((rows, *x.shape[index.ndim :]), initial, x.dtype)
    combine.at(result, index, x)
    return result


def _from_steps(x: Any, index: Any, samples: int, size: int) -> Any:
    """Pads rows to sequences of `size` steps, with zeros beyond their ends."""
    result = np.zeros((samples * size, *x.shape[1:]), x.dtype)
    result[index] = x
    return result.reshape(samples, size, *x.shape[1:])


def _scramble(x: Any, y: Any) -> Any:
    """Returns pseudo-random 32-bit words: for every y, a permutation of x."""

    def mix(word: Any) -> Any:
        word = (word ^ (word >> np.uint32(16))) * np.uint32(0x7FEB352D)
        word = (word ^ (word >> np.uint32(15))) * np.uint32(0x846CA68B)
        return word ^ (word >> np.uint32(16))

    x, y = np.asarray(x, np.int32).view(np.uint32), np.asarray(y, np.int32).view(np.uint32)
    with np.errstate(over="ignore"):
        return np.asarray(mix(mix(x ^ y) + y)).view(np.int32)


def _unit(x: Any) -> Any:
    """Converts 32-bit words to numbers in [0, 1)."""
    return (np.asarray(x, np.int32).view(np.uint32) >> np.uint32(8)) * np.float32(2**-24)


def _as_bf16(x: Any) -> Any:
    """Rounds to the nearest bf16 number, halves to the one whose last bit is 0; subnormal numbers become 0."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    rounded = np.where(np.isnan(x), bits | np.uint32(0x00400000), rounded)
    rounded = np.where(bits & np.uint32(0x7F800000) == 0, bits & np.uint32(0x80000000), rounded)
    return rounded.view(np.float32).reshape(np.shape(x)).astype(np.asarray(x).dtype)


def _each(function: Any, shape: Any, dtype: Any, batched: Any, operands: Any, numbers: Any) -> Any:
    """Runs a custom kernel on each sample."""
    if not any(batched):
        result = np.zeros(shape, dtype)
        function(result, *operands, **numbers)
        return result
    count = next(len(operand) for operand, is_batched in zip(operands, batched, strict=True) if is_batched)
    result = np.zeros((count, *shape), dtype)
    for i in range(count):
        function(
            result[i, ...],
            *(
                operand[i, ...] if is_batched else operand
                for operand, is_batched in zip(operands, batched, strict=True)
            ),
            **numbers,
        )
    return result
