"""Whether a graph mixes samples or draws random numbers. If it does neither, samples can be computed separately."""

from collections.abc import Iterable

from netc.compiler.analysis import mixing
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind, parse_supplied
from netc.compiler.ir.value import Value
from netc.compiler.passes.simplify import expand


def mixes_samples(graph: Graph, results: Iterable[Result]) -> bool:
    """Whether some value that these results need depends on several samples at once."""
    expanded = expand(graph)
    return any(mixing.mixes_samples(value) for value in needed_by(expanded.results[result] for result in results))


def is_random(graph: Graph, results: Iterable[Result]) -> bool:
    """Whether the results depend on random numbers."""
    values = needed_by(graph.results[result] for result in results)
    return any(value.role is Role.RANDOM or _is_random_leaf(value) for value in values)


def _is_random_leaf(value: Value) -> bool:
    supplied = parse_supplied(value.name)
    return supplied is not None and supplied.kind in (SuppliedKind.RANDOM, SuppliedKind.SAMPLES)
