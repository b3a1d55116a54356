"""Recurrent layers that ONNX has an operation for: whether a scan is one of the library's, by comparing its body with what the library's own comes to.

What the file calls its layer decides nothing: who writes the same equations gets the same operation.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.export.writer import Array, exportable
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan
from netc.compiler.pipeline import prediction_graph
from netc.dsl.parser import parse
from netc.dsl.source import Source


@dataclass(frozen=True, slots=True)
class Cell:
    """A layer of the library, and the operation of ONNX that it is: in which order that has the gates, and the attributes it takes."""

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


def cell_of(one: Scan) -> Cell | None:
    """The layer that a scan is, if ONNX has it. Its captured values are then W, U and the biases, in this order."""
    if len(one.sequences) != 1 or one.sequences[0].type.rank != 2 or not one.begins or one.begins[0].type.rank != 2:
        return None
    width, units = int(one.sequences[0].type.dims[1]), int(one.begins[0].type.dims[1])
    own = _moves(one)
    return next((cell for cell in CELLS if _text_of(cell.block, width, units, one.body.precision) == own), None)


def _moves(one: Scan) -> str:
    """How the carries go on, as text; what else is yielded must be one of them."""
    nexts = {name: value for name, value in one.body.results.items() if name.startswith("next.")}
    if any(value not in nexts.values() for value in one.body.results.values()):
        return ""
    return print_graph(_without_places(one.body.subgraph(nexts)[0]))


def _without_places(graph: Graph) -> Graph:
    copy, made = Graph(), dict[Value, Value]()
    for value in graph.values():
        made[value] = copy.add_copy(value, [made[one] for one in value.operands])
    copy.results = {name: made[value] for name, value in graph.results.items()}
    return copy


@cache
def _text_of(block: str, width: int, units: int, precision: str) -> str:
    states = "y, c" if block == "lstm" else "y"
    text = f"model {{\n input x: float[time, {width}]\n {states} = {block}(x, {units})\n output z = y\n}}\ntrain {{\n precision = {precision}\n}}\n"
    model = elaborate(parse(Source(f"{block}.net", text)), {}, lambda *_: 0)
    (found,) = exportable(prediction_graph(model)).values("scan")
    return _moves(Scan.of(found))


def gates(array: Array, order: tuple[int, ...]) -> Array:
    """The last axis in another order of gates: [n, gates * units]."""
    parts = np.split(array, len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1)
