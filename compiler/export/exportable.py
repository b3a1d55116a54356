"""A model to be exported: its prediction graph in the operations that both file formats have, and its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct, field

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import Type
from netc.compiler.operations.convolution import conv2d, conv2d_input
from netc.compiler.operations.pooling import avgpool2d, maxpool2d
from netc.compiler.operations.reduce import log_softmax, logsumexp, softmax
from netc.compiler.passes.scans import in_bodies, trimmed
from netc.compiler.passes.simplify import expand, simplify

Array = np.ndarray[Any, Any]

# operations that are not expanded, since both formats have them
KEPT = frozenset({conv2d, conv2d_input, maxpool2d, avgpool2d, softmax, log_softmax, logsumexp})


class RawColumns(Struct, frozen=True):
    """The columns of a table that become one input of the model: each is an input [batch] of the file, of f64 numbers
    or of texts.

    `codes` has the number of each text, for each column of texts, and `other` is that of all other texts. With
    `is_date`, numbers are seconds since 1970 in UTC, and become a year with its fraction (`has_time`: that of the time
    of day too). Missing numbers become `fills`; the bounds in `edges` number the buckets of each column, and
    `positions` replaces these numbers. With `width`, a number becomes a vector of this many elements, 1 at its own
    position and 0 elsewhere; a number beyond the width becomes zeros. `left` are the steps that the texts went through
    before.
    """

    columns: tuple[str, ...]
    codes: tuple[Mapping[str, int], ...] = ()
    other: int = -1
    width: int | None = None
    is_date: bool = False
    has_time: bool = True
    fills: tuple[float, ...] = ()
    edges: tuple[tuple[float, ...], ...] = ()
    positions: tuple[int, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The words for what the file takes as a cell."""
        return "text" if self.codes else "date" if self.is_date else "number"


class Exported(Struct, frozen=True):
    """A model to be written: its prediction graph, and the values of its parameters and states (`arrays`).

    `notes` describe inputs and outputs to the reader of the file; `labels` are the names of their classes or places.
    `facts` are further tables about inputs, by the name of the table and the input: plain data, as of JSON. `raw` are
    the inputs that an ONNX file computes from columns of a table.
    """

    name: str
    graph: Graph
    inputs: Mapping[str, Type]
    outputs: Mapping[str, Type]
    arrays: Mapping[str, Array]
    notes: Mapping[str, str]
    labels: Mapping[str, Sequence[str]]
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    raw: Mapping[str, RawColumns] = field(default_factory=dict)


def exportable(graph: Graph) -> Graph:
    """Returns the graph with composite operations expanded, except those that both formats have, and simplified."""
    graph = trimmed(graph)
    for rewrite in (lambda graph: expand(graph, KEPT), simplify):
        graph = in_bodies(rewrite(graph), rewrite)
    return graph
