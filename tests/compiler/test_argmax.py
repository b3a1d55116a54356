"""The kernel of argmax against NumPy: ties, infinities, NaN, and zeros of both signs."""

import numpy as np
import pytest
from both import compiled

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import parse_type
from netc.compiler.ir.value import apply

ROWS = (
    [0.0, -0.0, 0.0, -1.0, 0.0],
    [-0.0, 0.0, -2.0, 0.0, -0.0],
    [-np.inf, -np.inf, -np.inf, -np.inf, -np.inf],
    [1.0, np.nan, 3.0, np.nan, np.inf],
    [1.0, np.inf, 3.0, np.inf, 2.0],
    [-3.0, -2.0, -1.0, -1.0, -2.0],
)


@pytest.mark.parametrize("length", [5, 16, 333])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_argmax(dtype: str, length: int) -> None:
    kind = {"f32": np.float32, "f64": np.float64, "i32": np.int32}[dtype]
    rng = np.random.default_rng(1)
    rows = rng.integers(-4, 5, (len(ROWS) + 3, length, 7)).astype(kind)
    if dtype != "i32":
        rows[: len(ROWS), -5:, 2] = ROWS
        rows[: len(ROWS), :-5, 2] = -np.inf
        rows[: len(ROWS), 0, 2:] = np.array(ROWS, kind)
    graph = Graph()
    x = graph.leaf(Role.INPUT, "x", parse_type(f"{dtype}[batch, {length}, 7]"))
    for axis in (1, 2):
        graph.results[parse_result(f"value.at{axis}")] = apply("argmax", x, over=(axis,))
    results = compiled(graph, {"x": rows}, len(rows), threads=1)
    for axis in (1, 2):
        np.testing.assert_array_equal(results[f"value.at{axis}"], rows.argmax(axis))
