"""The receptive field of each value of a convolutional model, and how many parameters its windows save beside a dense
layer.

Walks the elaborated graph, in which layers are gone, and conv2d and pools are one value each. `netc check` prints it.
"""

import math
from collections.abc import Iterator

from msgspec import Struct

from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.convolution import Convolution, conv2d
from netc.compiler.operations.pooling import Pool, avgpool2d, maxpool2d
from netc.compiler.operations.shape import reshape

_WINDOWS = (conv2d, maxpool2d, avgpool2d)


class Field(Struct, frozen=True):
    """A receptive field: its size in pixels of the input, and the distance of neighbouring fields (`step`), height
    first. On a line the width of both is 1, and is not printed."""

    size: tuple[int, int]
    step: tuple[int, int]

    def __str__(self) -> str:
        is_line = self.size[1] == self.step[1] == 1
        is_even = is_line or self.step[0] == self.step[1]
        size = str(self.size[0]) if is_line else f"{self.size[0]} x {self.size[1]}"
        apart = str(self.step[0]) if is_even else f"{self.step[0]} x {self.step[1]}"
        return size if self.step == (1, 1) else f"{size}, {apart} apart"


class Windowed(Struct, frozen=True):
    """A convolution or a pool, its number of parameters, and that of a dense layer of the same sizes (`dense`).

    `kernel` and `stride` have one number on a line and two on an image, `pad` two (before, after) and four.
    """

    value: Value
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    parameters: int
    dense: int
    sees: Field | None


def receptive_fields(graph: Graph) -> dict[Value, Field]:
    """The receptive field, in the input image or line, of each value that is computed from it by windows and
    element-wise operations. Windows see a line as an image one column wide."""
    fields: dict[Value, Field] = {}
    for value in graph.values():
        if not value.operands:
            if value.role is Role.INPUT and len(value.type.sample) in (2, 3):
                fields[value] = Field((1, 1), (1, 1))
            continue
        before = fields.get(value.operands[0])
        if before is not None and value.definition is reshape and _as_image(value) == _as_image(value.operands[0]):
            fields[value] = before
            continue
        if value.definition in _WINDOWS and before is not None:
            fields[value] = _through(value, before)
            continue
        aligned = [
            fields[operand]
            for operand in value.operands
            if operand in fields and operand.type.sample[:2] == value.type.sample[:2]
        ]
        if aligned and isinstance(value.lower, Scalar):
            (height, rows), (width, columns) = (
                (max(each.size[n] for each in aligned), max(each.step[n] for each in aligned)) for n in (0, 1)
            )
            fields[value] = Field((height, width), (rows, columns))
    return fields


def _as_image(value: Value) -> tuple[Dim, ...]:
    """The dimensions of an image, or of a line as an image one column wide."""
    sample = value.type.sample
    return (sample[0], 1, sample[1]) if len(sample) == 2 else sample


def _kernel(value: Value) -> tuple[int, int]:
    if value.definition is conv2d:
        dims = value.operands[1].type.dims
        return int(dims[0]), int(dims[1])
    return value.attributes_as(Pool).size


def _windows(value: Value) -> Convolution | Pool:
    attributes = value.attributes
    return attributes if isinstance(attributes, Pool) else value.attributes_as(Convolution)


def _through(value: Value, before: Field) -> Field:
    """The field behind a window: (kernel - 1) * dilation steps larger than before, its step times the stride."""
    window = _windows(value)
    kernel, stride = _kernel(value), window.stride
    dilation = window.dilation if isinstance(window, Convolution) else (1, 1)
    size = tuple(before.size[n] + (kernel[n] - 1) * dilation[n] * before.step[n] for n in (0, 1))
    return Field((size[0], size[1]), (before.step[0] * stride[0], before.step[1] * stride[1]))


def windowed(graph: Graph) -> Iterator[Windowed]:
    """All convolutions and pools, in order."""
    fields = receptive_fields(graph)
    for value in graph.values():
        if value.definition not in _WINDOWS:
            continue
        x = value.operands[0].type
        weights = value.operands[1].type.size(1) if value.definition is conv2d else 0
        dense = math.prod(int(dim) for dim in (*x.sample, *value.type.sample)) if weights else 0
        windows, axes = _windows(value), 1 if x.sample[1] == 1 else 2
        kernel, stride, pad = _kernel(value)[:axes], windows.stride[:axes], windows.pad[: 2 * axes]
        yield Windowed(value, kernel, stride, pad, weights, dense, fields.get(value))
