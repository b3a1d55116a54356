"""Loops over short rows, whose body computes several rows: the element-wise operations are exact, so is the result."""

import pytest
from test_rows_of_sums import agree, leaf

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.value import apply

LENGTHS = (7, 8, 10, 16, 19, 24, 33, 48)


@pytest.mark.parametrize("batch", [1, 5, 70])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rows(dtype: str, batch: int) -> None:
    """Rows with what is the same in all, in a stride, of a known number and of one that the call says."""
    graph = Graph()
    graph.precision = dtype
    leaves = []
    for length in LENGTHS:
        x, c = (
            leaf(graph, f"{name}{length}", dims, dtype)
            for name, dims in (("x", f"batch, 5, {length}"), ("c", f"{length}"))
        )
        leaves += [x, c]
        stored = apply("square", x)
        graph.results[parse_result(f"value.stored{length}")] = stored
        graph.results[parse_result(f"value.less{length}")] = apply("relu", stored - c) * c
        graph.results[parse_result(f"value.same{length}")] = apply("broadcast", c, dims=x.type.dims)
        padded = apply("pad", stored - c, axes=(1,), before=(1,), after=(2,), step=(1,))
        graph.results[parse_result(f"value.padded{length}")] = padded
        graph.results[parse_result(f"value.first{length}")] = apply("slice", stored, axis=1, start=1, stop=4) + c
    agree(graph, leaves, batch, dtype)
