"""Whether a graph mixes samples, or draws random numbers: what decides if samples can be computed apart."""

from collections.abc import Iterable

from netc.compiler.graph import Body, Graph, needed_by
from netc.compiler.operations.random import RANDOM
from netc.compiler.types import BATCH
from netc.compiler.value import OPERATIONS, Value, Whole


def mixes_samples(graph: Graph, results: Iterable[str]) -> bool:
    """Whether some value that these results need is made of several samples: it depends on data and has no row a sample, or a sum or the like goes along rows."""
    return any(_mixes(value) for value in needed_by(graph.results[name] for name in results))


def is_random(graph: Graph, results: Iterable[str]) -> bool:
    """Whether the results depend on random numbers."""
    return any(
        value.operation in RANDOM or str(value.attributes.get("name", "")).startswith("random.")
        for value in needed_by(graph.results[name] for name in results)
    )


def _mixes(value: Value) -> bool:
    if value.operation == "scan":
        body = value.attributes["body"]
        assert isinstance(body, Body)
        return any(_mixes(one) for one in body.graph.values())
    if value.operation == "extent":
        dims = value.attributes["dims"]
        return isinstance(dims, tuple) and any(isinstance(dim, str) for dim in dims)
    if not value.operands or value.operation == "part":
        return False
    over = value.attributes.get("over", ())
    along_rows = isinstance(over, tuple) and 0 in over and value.operands[0].type.is_batched
    depends = any(operand.type.is_batched for operand in value.operands)
    is_whole = isinstance(OPERATIONS[value.operation].lower, Whole)
    return along_rows or is_whole or (depends and value.type.rows is None) or _folds_batch(value)


def _folds_batch(value: Value) -> bool:
    """Whether rows of the batch are moved into another axis."""
    moved = [dim for dim in value.type.dims[1:] if dim == BATCH]
    return bool(moved)
