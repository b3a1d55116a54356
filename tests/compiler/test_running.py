"""Running sums: elements are added in the order of the axis, so each has the bits of NumPy's."""

import numpy as np
import pytest
from both import compiled, evaluate

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import parse_type
from netc.compiler.ir.value import apply
from netc.compiler.passes.differentiate import differentiate

BATCH = 11


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ("batch, 1, 7", 1),
        ("batch, 2, 7", 1),
        ("batch, 9, 7", 1),
        ("batch, 13, 70", 1),
        ("batch, 4, 3, 21", 1),
        ("batch, 4, 6, 5", 2),
        ("batch, 30", 1),
        ("batch, 3, 30", 2),
        ("batch, 1", 1),
        ("9, 5", 0),
        ("40", 0),
    ],
)
def test_running_sums(shape: str, axis: int, dtype: str) -> None:
    graph = Graph()
    graph.precision = dtype
    x = graph.leaf(Role.INPUT, "x", parse_type(f"{dtype}[{shape}]"))
    rng = np.random.default_rng(0)
    array = rng.standard_normal(x.type.shape(BATCH)).astype({"f32": np.float32, "f64": np.float64}[dtype])
    array[..., 0] = -0.0
    running = apply("cumsum", x, over=(axis,))
    graph.results[parse_result("value.running")] = running
    graph.results[parse_result("value.back")] = apply("cumsum", x, over=(axis,), is_reversed=True)
    graph.results[parse_result("value.inner")] = apply("cumsum", apply("square", x) + 1.0, over=(axis,)) * 2.0
    for threads in (1, 2):
        results = compiled(graph, {"x": array}, BATCH, threads=threads)
        for name, expected in evaluate(graph, {"x": array}, BATCH).items():
            np.testing.assert_array_equal(results[str(name)], expected, str(name))
            np.testing.assert_array_equal(np.signbit(results[str(name)]), np.signbit(expected), str(name))


def test_the_gradient_runs_the_other_way() -> None:
    graph = Graph()
    x, g = (graph.leaf(Role.INPUT, name, parse_type("f32[batch, 5, 3]")) for name in "xg")
    (gradient,) = differentiate(graph, apply("sum", apply("cumsum", x, over=(1,)) * g, over=(0, 1, 2)), [x]).values()
    graph.results[parse_result("value.gradient")] = gradient
    arrays = {
        name: np.random.default_rng(n).standard_normal((4, 5, 3)).astype(np.float32) for n, name in enumerate("xg")
    }
    expected = np.flip(np.cumsum(np.flip(arrays["g"], 1), axis=1), 1)
    np.testing.assert_array_equal(compiled(graph, arrays, 4, threads=1)["value.gradient"], expected)
