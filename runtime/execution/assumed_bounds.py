"""Bounds that a file does not declare, where a value is stored at the bound of a varying dimension.

They are taken from the data at hand when a graph is made ready to run.
"""

from collections.abc import Collection, Mapping

from netc.compiler.ir.dims import lengths_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import Bounded, is_undeclared
from netc.compiler.passes.pack import at_length, undeclared
from netc.runtime.data.stored import Array


def undeclared_dims(graph: Graph) -> frozenset[str]:
    """The dimensions without a declared bound at whose bound a value is stored."""
    stored = (dim for value in undeclared(graph) for dim in value.type.dims)
    return frozenset(dim.name for dim in stored if isinstance(dim, Bounded) and is_undeclared(dim))


def assumed_bound(dims: Collection[str], lengths: Mapping[str, Array]) -> int:
    """The bound that all these dimensions get, for samples with these lengths along the declared dimensions.

    These are the steps of the longest sample, rounded up to a number of three significant bits: data of similar lengths
    share a program, and the longest sample takes a quarter more steps at most.
    """
    longest = max((int(lengths_of(dim, lengths, 0).max(initial=1)) for dim in dims), default=1)
    unit = 1 << max(longest.bit_length() - 3, 1)
    return -(-longest // unit) * unit


def at_assumed_bound(graph: Graph, lengths: Mapping[str, Array]) -> Graph:
    """The graph with the bound that samples with these lengths need; the graph itself if all bounds are declared."""
    dims = undeclared_dims(graph)
    return at_length(graph, assumed_bound(dims, lengths))[0] if dims else graph
