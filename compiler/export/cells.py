"""Recognises the recurrent layers that ONNX has an operation for.

The scan's body is compared with the body of the library's layer. Names do not matter: a layer that the user writes with
the same equations becomes the same operation.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.export.writer import Array, exportable
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan
from netc.compiler.pipeline import prediction_graph
from netc.dsl.parser import parse
from netc.dsl.source import Source


@dataclass(frozen=True, slots=True)
class Cell:
    """A layer of the library, and its operation in ONNX: the order of the gates there, and its attributes."""

    block: str
    operation: str
    order: tuple[int, ...]
    carries: int
    attributes: tuple[tuple[str, int], ...] = ()


CELLS = (
    Cell("lstm", "LSTM", (0, 3, 1, 2), 2),  # netc: i f g o, ONNX: i o f c
    Cell("gru", "GRU", (1, 0, 2), 1, (("linear_before_reset", 1),)),  # netc: r z n, ONNX: z r h
    Cell("rnn", "RNN", (0,), 1),
)


def cell_of(scan: Scan) -> Cell | None:
    """Returns the cell that a scan computes, or None if ONNX has no operation for it.

    The scan of a cell captures W, U and the biases, in this order.
    """
    if len(scan.sequences) != 1 or scan.sequences[0].type.rank != 2:
        return None
    if not scan.begins or scan.begins[0].type.rank != 2:
        return None
    width, units = int(scan.sequences[0].type.dims[1]), int(scan.begins[0].type.dims[1])
    text = _transition(scan)
    return next((cell for cell in CELLS if _text_of(cell.block, width, units, scan.body.precision) == text), None)


def _transition(scan: Scan) -> str:
    """Returns the text of the graph that computes the next carries, or "" if the scan yields any other value."""
    nexts = {result: value for result, value in scan.body.results.items() if result.kind is ResultKind.NEXT}
    if any(value not in nexts.values() for value in scan.body.results.values()):
        return ""
    return print_graph(_without_spans(scan.body.subgraph(nexts)[0]))


def _without_spans(graph: Graph) -> Graph:
    """Copies a graph without the places in the source, which its text would show."""
    copy, copies = Graph(), dict[Value, Value]()
    for value in graph.values():
        copies[value] = copy.add_copy(value, [copies[operand] for operand in value.operands])
    copy.results = {result: copies[value] for result, value in graph.results.items()}
    return copy


@cache
def _text_of(block: str, width: int, units: int, precision: str) -> str:
    """Returns the text of the transition of a library's layer."""
    states = "y, c" if block == "lstm" else "y"
    text = (
        f"model {{\n input x: float[time, {width}]\n {states} = {block}(x, {units})\n output z = y\n}}\n"
        f"train {{\n precision = {precision}\n}}\n"
    )
    model = elaborate(parse(Source(f"{block}.net", text)), {}, lambda *_: 0)
    (scan,) = exportable(prediction_graph(model)).values(Role.SCAN)
    return _transition(Scan.of(scan))


def gates(array: Array, order: tuple[int, ...]) -> Array:
    """Reorders the gates along the last axis, which has gates * units elements."""
    parts = np.split(array, len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1)
