"""Convolution and its two adjoints in NumPy, by their definitions: sums over the elements of a window."""

from typing import Any

import numpy as np

from netc.compiler.operations.window import Pads, Pair


def _taken(x: Any, i: int, j: int, counts: Pair, stride: Pair, dilation: Pair) -> tuple[Any, ...]:
    """The index that takes the element (i, j) of all windows."""
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


def conv_reference(x: Any, w: Any, stride: Pair, dilation: Pair, pad: Pads, groups: int) -> Any:
    """Computes the convolution by its definition, as a sum over the elements of a window."""
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


def input_reference(y: Any, w: Any, stride: Pair, dilation: Pair, pad: Pads, groups: int, size: Pair) -> Any:
    """Adds each element of y, times the weights, to the elements of its window."""
    top, bottom, left, right = pad
    padded_size = (size[0] + top + bottom, size[1] + left + right)
    result = np.zeros((*y.shape[:-3], *padded_size, w.shape[2] * groups), y.dtype)
    counts = (y.shape[-3], y.shape[-2])
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            part = np.einsum("...go,cgo->...gc", _grouped(y, groups), _grouped(w[i, j], groups))
            result[_taken(result, i, j, counts, stride, dilation)] += part.reshape(*part.shape[:-2], -1)
    return result[..., top : top + size[0], left : left + size[1], :]


def weights_reference(x: Any, y: Any, stride: Pair, dilation: Pair, pad: Pads, groups: int, kernel: Pair) -> Any:
    x, counts = _bordered(x, pad), (y.shape[-3], y.shape[-2])
    grouped_y = _grouped(y.reshape(-1, y.shape[-1]), groups)
    rows = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            seen = x[_taken(x, i, j, counts, stride, dilation)].reshape(-1, x.shape[-1])
            rows.append(np.einsum("pgc,pgo->cgo", _grouped(seen, groups), grouped_y))
    return np.stack(rows).reshape(*kernel, x.shape[-1] // groups, y.shape[-1])
