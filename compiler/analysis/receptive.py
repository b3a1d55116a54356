"""The receptive field of each value of a convolutional model, and how many parameters its windows save beside a dense
layer.

Walks the elaborated graph, in which layers are gone, and conv2d and pools are one value each. `netc check` prints it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Scalar, Value
from netc.compiler.operations.convolution import Convolution, conv2d
from netc.compiler.operations.pooling import Pool, avgpool2d, maxpool2d

_WINDOWS = (conv2d, maxpool2d, avgpool2d)


@dataclass(frozen=True, slots=True)
class Field:
    """A receptive field: its size in pixels of the input, and the distance of neighbouring fields (`step`), height
    first."""

    size: tuple[int, int]
    step: tuple[int, int]

    def __str__(self) -> str:
        apart = (
            f", {self.step[0]} apart" if self.step[0] == self.step[1] else f", {self.step[0]} x {self.step[1]} apart"
        )
        return f"{self.size[0]} x {self.size[1]}" + (apart if self.step != (1, 1) else "")


@dataclass(frozen=True, slots=True)
class Windowed:
    """A convolution or a pool, its number of parameters, and that of a dense layer of the same sizes (`dense`)."""

    value: Value
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int, int, int]
    parameters: int
    dense: int
    sees: Field | None


def receptive_fields(graph: Graph) -> dict[Value, Field]:
    """The receptive field, in the input image, of each value that is computed from it by windows and element-wise
    operations."""
    fields: dict[Value, Field] = {}
    for value in graph.values():
        if not value.operands:
            if value.role is Role.INPUT and len(value.type.sample) == 3:
                fields[value] = Field((1, 1), (1, 1))
            continue
        before = fields.get(value.operands[0])
        if value.definition in _WINDOWS and before is not None:
            fields[value] = _through(value, before)
            continue
        aligned = [
            fields[operand]
            for operand in value.operands
            if operand in fields and operand.type.sample[:2] == value.type.sample[:2]
        ]
        if aligned and isinstance(OPERATIONS[value.operation].lower, Scalar):
            (height, rows), (width, columns) = (
                (max(each.size[n] for each in aligned), max(each.step[n] for each in aligned)) for n in (0, 1)
            )
            fields[value] = Field((height, width), (rows, columns))
    return fields


def _kernel(value: Value) -> tuple[int, int]:
    if value.definition is conv2d:
        dims = value.operands[1].type.dims
        return int(dims[0]), int(dims[1])
    return value.attributes_as(Pool).size


def _windows(value: Value) -> Convolution | Pool:
    own = value.attributes
    return own if isinstance(own, Pool) else value.attributes_as(Convolution)


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
        own = _windows(value)
        yield Windowed(value, _kernel(value), own.stride, own.pad, weights, dense, fields.get(value))
