"""Recognises the recurrent layers that ONNX has an operation for.

The scan's body is compared, value by value, with the equations of each layer. Names do not matter: a layer that the
user writes with the same equations becomes the same operation.
"""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from netc.compiler.export.exportable import Array, exportable
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import BATCH, Dim, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.scan import Scan, SlotKind, add_leaf

Equations = Callable[[Value, Sequence[Value], Sequence[Value]], tuple[Value, ...]]


def _lstm(x: Value, carries: Sequence[Value], parameters: Sequence[Value]) -> tuple[Value, ...]:
    (h, c), (w, u, b) = carries, parameters
    i, f, g, o = _split(_product(x, w) + _product(h, u) + b, 4)
    cell = apply("sigmoid", f) * c + apply("sigmoid", i) * apply("tanh", g)
    return apply("sigmoid", o) * apply("tanh", cell), cell


def _gru(x: Value, carries: Sequence[Value], parameters: Sequence[Value]) -> tuple[Value, ...]:
    (h,), (w, b, u, c) = carries, parameters
    xr, xz, xn = _split(_product(x, w) + b, 3)
    hr, hz, hn = _split(_product(h, u) + c, 3)
    r, z = apply("sigmoid", xr + hr), apply("sigmoid", xz + hz)
    return ((1 - z) * apply("tanh", xn + r * hn) + z * h,)


def _rnn(x: Value, carries: Sequence[Value], parameters: Sequence[Value]) -> tuple[Value, ...]:
    (h,), (w, u, b) = carries, parameters
    return (apply("tanh", _product(x, w) + _product(h, u) + b),)


def _product(rows: Value, matrix: Value) -> Value:
    return apply("einsum", rows, matrix, subscripts="Bk,kn->Bn")


def _split(gates: Value, count: int) -> list[Value]:
    units = int(gates.type.dims[1]) // count
    return [apply("slice", gates, axis=1, start=i * units, stop=(i + 1) * units) for i in range(count)]


class Cell(Struct, frozen=True):
    """A recurrent operation of ONNX: the order of its gates there, its attributes, and its equations.

    `equations` returns the next carries from a step, the carries and the captured parameters. `parameters` has a letter
    for each of these: the weights `W` of the step, the weights `U` of the state, a bias `b`.
    """

    operation: str
    order: tuple[int, ...]
    carries: int
    parameters: str
    equations: Equations
    attributes: tuple[tuple[str, int], ...] = ()


CELLS = (
    Cell("LSTM", (0, 3, 1, 2), 2, "WUb", _lstm),  # netc: i f g o, ONNX: i o f c
    Cell("GRU", (1, 0, 2), 1, "WbUb", _gru, (("linear_before_reset", 1),)),  # netc: r z n, ONNX: z r h
    Cell("RNN", (0,), 1, "WUb", _rnn),
)


def cell_of(scan: Scan) -> Cell | None:
    """Returns the cell that a scan computes, or None if ONNX has no operation for it."""
    if len(scan.sequences) != 1 or scan.sequences[0].type.rank != 2:
        return None
    if not scan.begins or scan.begins[0].type.rank != 2:
        return None
    carries = scan.body.results_of(ResultKind.NEXT)
    if any(value not in carries.values() for value in scan.body.results.values()):
        return None  # an operation of ONNX yields the next carries alone
    return next((cell for cell in CELLS if _computes(scan, cell, carries)), None)


def _computes(scan: Scan, cell: Cell, carries: dict[str, Value]) -> bool:
    """Whether the next carries of a scan are those of a cell with as many units."""
    if (len(scan.begins), len(scan.captured)) != (cell.carries, len(cell.parameters)):
        return False
    expected = _transition(cell, int(scan.sequences[0].type.dims[1]), int(scan.begins[0].type.dims[1]), scan.body)
    return all(_is_same(carries[name], value) for name, value in expected.results_of(ResultKind.NEXT).items())


def _transition(cell: Cell, width: int, units: int, like: Graph) -> Graph:
    """Returns the body of a cell's scan with the results `next.N`, in the precision of `like`, as it is exported."""
    graph = Graph()
    graph.precision = like.precision
    gates = len(cell.order) * units
    dims = {"W": (width, gates), "U": (units, gates), "b": (gates,)}

    def leaf(kind: SlotKind, i: int, *dims: Dim) -> Value:
        return add_leaf(graph, kind.slot(i), Type(graph.precision, dims))

    x = leaf(SlotKind.STEP_INPUT, 0, BATCH, width)
    carries = [leaf(SlotKind.CARRY, i, BATCH, units) for i in range(cell.carries)]
    parameters = [leaf(SlotKind.CAPTURED, i, *dims[kind]) for i, kind in enumerate(cell.parameters)]
    graph.results = {ResultKind.NEXT.named(i): value for i, value in enumerate(cell.equations(x, carries, parameters))}
    return exportable(graph)


def _is_same(value: Value, expected: Value) -> bool:
    """Whether two values of different graphs are computed in the same way from leaves of the same names."""
    if value.definition is not expected.definition or value.role is not expected.role:
        return False
    if value.type != expected.type or value.attributes != expected.attributes:
        return False
    if len(value.operands) != len(expected.operands):
        return False
    return all(_is_same(*operands) for operands in zip(value.operands, expected.operands, strict=True))


def gates(array: Array, order: tuple[int, ...]) -> Array:
    """Reorders the gates along the last axis, which has gates * units elements."""
    parts = np.split(array, len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1)
