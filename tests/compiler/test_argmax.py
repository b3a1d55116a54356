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


@pytest.mark.every(2)  # each length has one of the types
@pytest.mark.parametrize(
    "length", [1, 5, 8, 9, 15, 16, 17, 31, 33, 48, 49, 63, 64, 65, 66, 72, 73, 81, 95, 97, 128, 150, 333]
)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rows_of_neighbours(dtype: str, length: int, is_long: bool) -> None:
    """Rows that vectors search: special numbers at the beginning, across the ends of vectors, and at the end.

    The emulator has no vectors, so that few lengths are enough for it.
    """
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    rng = np.random.default_rng(2)
    rows = []
    for special in ROWS:
        for start in {0, max(length // 2 - 2, 0), max(length - len(special), 0)}:
            for rest in (rng.integers(-9, 0, length), np.full(length, -np.inf), rng.standard_normal(length)):
                row = rest.astype(kind)
                row[start : start + len(special)] = special[:length]
                rows.append(row)
    array = np.array(rows)
    graph = Graph()
    x = graph.leaf(Role.INPUT, "x", parse_type(f"{dtype}[batch, {length}]"))
    graph.results[parse_result("value.gathered")] = apply("argmax", x, over=(1,))
    graph.results[parse_result("value.stored")] = apply("argmax", x * 2.0, over=(1,))
    for backend in ("cpu", *["plan"] * (is_long or length in (1, 8, 65))):
        results = compiled(graph, {"x": array}, len(rows), threads=1, backend=backend)
        for result in results.values():
            np.testing.assert_array_equal(result, array.argmax(1))
