"""Loops that read operands across their rows, square by square: values are moved, so the result is exact."""

import numpy as np
import pytest
from both import compiled, evaluate
from test_rows_of_sums import check_agreement, leaf

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.value import Value, apply
from netc.compiler.lowering.lower import lower
from netc.compiler.pipeline import run_passes
from netc.compiler.targets.cpu.nests.transposed_loads import transposed_loads
from netc.compiler.targets.named import NAMED

SIZES = ((16, 16), (17, 33), (40, 15), (48, 64), (15, 80), (8, 40), (24, 8))


def graph_of(dtype: str) -> tuple[Graph, list[Value]]:
    graph, leaves = Graph(), []
    graph.precision = dtype
    for rows, columns in SIZES:
        name = f"{rows}x{columns}"
        x, y = (leaf(graph, f"{side}{name}", f"batch, {rows}, {columns}", dtype) for side in "xy")
        c = leaf(graph, f"c{name}", f"batch, {rows}", dtype)
        leaves += [x, y, c]
        across = [apply("transpose", operand, order=(0, 2, 1)) for operand in (x, y)]
        c = apply("reshape", c, dims=("batch", 1, rows))
        graph.results[parse_result(f"value.copy{name}")] = across[0]
        graph.results[parse_result(f"value.two{name}")] = apply("relu", across[0] - across[1] * c)
        back = apply("transpose", x - y, order=(0, 2, 1))
        graph.results[parse_result(f"value.back{name}")] = apply("reverse", back, over=(2,)) + across[1]
        cube = apply("reshape", x, dims=("batch", 1, rows, columns))
        graph.results[parse_result(f"value.cube{name}")] = apply("transpose", cube, order=(0, 3, 1, 2)) * 2.0
    return graph, leaves


@pytest.mark.parametrize("batch", [1, 19])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_squares(dtype: str, batch: int) -> None:
    check_agreement(*graph_of(dtype), batch, dtype)


def test_squares_without_machine_code() -> None:
    graph, leaves = graph_of("f32")
    rng = np.random.default_rng(0)
    arrays = {leaf.name: rng.standard_normal(leaf.type.shape(3)).astype(np.float32) for leaf in leaves}
    expected = evaluate(graph, arrays, 3)
    for name, array in compiled(graph, arrays, 3, backend="plan").items():
        np.testing.assert_array_equal(array, expected[name], name)


def test_only_long_rows_are_taken_by_squares() -> None:
    graph = run_passes(graph_of("f32")[0])
    kernels = [task.kernel for task in lower(graph, 5, NAMED["avx512"]).tasks]
    assert any(transposed_loads(kernel) for kernel in kernels)
    for kernel in kernels:
        assert all(kernel.extents[access.strides.index(1)] != 15 for access in transposed_loads(kernel).values())
