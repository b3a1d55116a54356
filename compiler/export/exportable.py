"""A model to be exported: its prediction graph in the operations that both file formats have, and its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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


@dataclass(frozen=True, slots=True)
class Exported:
    """A model to be written: its prediction graph, and the values of its parameters and states (`arrays`).

    `notes` describe inputs and outputs to the reader of the file; `labels` are the names of their classes or places.
    `facts` are further tables about inputs, by the name of the table and the input: plain data, as of JSON.
    """

    name: str
    graph: Graph
    inputs: Mapping[str, Type]
    outputs: Mapping[str, Type]
    arrays: Mapping[str, Array]
    notes: Mapping[str, str]
    labels: Mapping[str, Sequence[str]]
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def exportable(graph: Graph) -> Graph:
    """Returns the graph with composite operations expanded, except those that both formats have, and simplified."""
    graph = trimmed(graph)
    for rewrite in (lambda graph: expand(graph, KEPT), simplify):
        graph = in_bodies(rewrite(graph), rewrite)
    return graph
