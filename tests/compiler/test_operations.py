"""Tests that are generated from the operations' definitions (netc.testing), and tests of their edge cases."""

import numpy as np
import pytest
from both import BATCH, compiled, evaluate, examples, graph_of, random_array

import netc
from netc.compiler.export import copied_functions
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.value import OPERATIONS, apply
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.pipeline import run_passes
from netc.testing import check


@pytest.mark.every(3)
@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.examples])
def test_an_operation_agrees_with_its_reference(name: str, is_long: bool) -> None:
    """Its type rule, kernel, and first and second gradients, as for an operation of a plug-in."""
    check(OPERATIONS[name], "cpu" if is_long else "plan")


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.examples])
def test_an_operation_and_its_gradient_in_machine_code(name: str) -> None:
    """The first example of an operation in f32, compiled, agrees with the interpreter."""
    operation = OPERATIONS[name]
    types, attributes = operation.examples[0]
    graph, leaves, *results = graph_of(operation, types, attributes, "f32")
    graph.results = {parse_result(f"y{i}"): result for i, result in enumerate(results)}
    wrt = [leaf for leaf in leaves if leaf.type.is_float]
    if operation.gradient is not None and results[0].type.is_float and wrt:
        total = apply("sum", results[0], over=tuple(range(results[0].type.rank)))
        gradients = differentiate(graph, total, wrt)
        graph.results |= {parse_result(f"gradient of {leaf.name}"): gradients[leaf] for leaf in wrt}
    rng = np.random.default_rng(0)
    arrays = {leaf.name: random_array(leaf.type, rng, operation.domain) for leaf in leaves}
    computed = compiled(graph, arrays)
    for result, expected in evaluate(graph, arrays, BATCH).items():
        np.testing.assert_allclose(computed[result], expected, rtol=1e-4, atol=2e-5, err_msg=result)


# These have tests of their own: random values in test_random.py, windows in test_convolution.py, split metrics in
# test_losses.py, the others in test_models.py, test_scan.py, test_sequences.py, test_derivative.py and
# test_attention.py.
WITHOUT_EXAMPLES = {
    *("dropout", "normal_like", "uniform_like", "scan", "part", "to_steps", "from_steps", "extent", "arange", "grad"),
    *("avgpool", "maxpool", "maxplace2d", "conv1d", "conv_transpose1d", "conv_transpose2d"),
    *("depthwise_conv2d", "upsample"),
    *("calibration_error", "conformal_quantile", "temperature"),
    *("auc", "ranked_above", "quantile", "edits", "edit_distance", "flatten", "squeeze", "unsqueeze", "stop_gradient"),
    *("attend", "attend_sums", "attend_gradient"),
}


def test_every_other_operation_has_an_example() -> None:
    assert {name for name, operation in OPERATIONS.items() if not operation.examples} == WITHOUT_EXAMPLES


def test_softmax_does_not_change_when_a_constant_is_added() -> None:
    graph, leaves, result = graph_of(OPERATIONS["softmax"], ("f64[3, 4]",), {"over": (1,)}, "f32")
    graph.results[parse_result("y")] = result
    x = random_array(leaves[0].type, np.random.default_rng(0))
    np.testing.assert_allclose(
        compiled(graph, {"x0": x})["y"], compiled(graph, {"x0": x + np.float32(1e4)})["y"], atol=2e-3
    )
    huge = np.array([[1e4, 0, 0, 0]] * 3, np.float32)
    np.testing.assert_array_equal(compiled(graph, {"x0": huge})["y"], [[1, 0, 0, 0]] * 3)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, _, types, _ in examples()
        if types == ("f64[3, 4]",) and OPERATIONS[name].gradient is not None and name != "pad"
    ],
)
def test_nan_is_kept(name: str) -> None:
    types, attributes = OPERATIONS[name].examples[0]
    graph, _, result = graph_of(OPERATIONS[name], types, attributes, "f32")
    graph.results[parse_result("y")] = result
    assert np.isnan(compiled(graph, {"x0": np.full((3, 4), np.nan, np.float32)})["y"]).all()


def test_a_gradient_of_a_gradient_agrees_with_finite_differences() -> None:
    """The derivative of the sum of the squared derivative of sum(tanh(x))."""
    graph, (x,), y = graph_of(OPERATIONS["tanh"], ("f64[3, 4]",), {})
    total = apply("sum", y, over=(0, 1))
    first = differentiate(graph, total, [x])[x]
    penalty = apply("sum", first * first, over=(0, 1))
    graph.results[parse_result("penalty")] = penalty
    graph.results[parse_result("gradient")] = differentiate(graph, penalty, [x])[x]
    value = np.random.default_rng(3).uniform(-1, 1, (3, 4))
    t = np.tanh(value)
    np.testing.assert_allclose(compiled(graph, {"x0": value})["gradient"], -4 * t * (1 - t * t) ** 2, atol=1e-12)


def test_passes_keep_the_meaning() -> None:
    graph = Graph()
    graph.precision = "f64"
    _, (x,), y = graph_of(OPERATIONS["log_softmax"], ("f64[batch, 10]",), {"over": (1,)})
    x.graph.results[parse_result("y")] = y * 1.0 + 0.0 * 2.0
    arrays = {"x0": np.random.default_rng(0).standard_normal((BATCH, 10))}
    before = evaluate(x.graph, arrays, BATCH)["y"]
    after = evaluate(run_passes(x.graph), arrays, BATCH)["y"]
    np.testing.assert_allclose(before, after, atol=1e-13)


def gradient_at(text: str, x: list[float]) -> np.ndarray:
    """The derivative of the sum of an expression of x. Both backends must agree, also on infinity and NaN."""
    model = netc.parse(
        f"model {{\n  input x: float[{len(x)}]\n  param one: float = ones\n  output z = x\n"
        f"  loss sum({text}) * one\n}}\ntrain {{ precision = f64 }}"
    )
    results = [
        netc.compile(model, backend=backend).gradients({"x": np.array([x])}, wrt=("x",))[1]["x"][0]
        for backend in ("cpu", "reference")
    ]
    np.testing.assert_array_equal(*results)
    return results[0]


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        ("x ** 0", [0, 1, -2], [0, 0, 0]),
        ("x ** 2", [0, 1, -2], [0, 2, -4]),
        ("x ** 3", [0, 1, -2], [0, 3, 12]),
        ("2 ** x", [0, 1, -1], [np.log(2), 2 * np.log(2), np.log(2) / 2]),
        ("0 ** x", [1, 2, 3], [0, 0, 0]),
        ("sqrt(x)", [0, 4, 1], [np.inf, 0.25, 0.5]),
        ("log(x)", [0, 4, 1], [np.inf, 0.25, 1]),
        ("log1p(x)", [-1, 0, 1], [np.inf, 1, 0.5]),
        ("norm(x)", [0, 0, 0], [0, 0, 0]),
        ("sqrt(sum(square(x)))", [0, 3, 4], [0, 0.6, 0.8]),
        ("abs(x)", [0, -3, 4], [0, -1, 1]),
        ("max(x)", [5, 5, 1], [0.5, 0.5, 0]),
        ("maximum(x, 2)", [1, 2, 3], [0, 1, 1]),
        ("clip(x, 0, 1)", [-1, 0, 2], [0, 1, 0]),
        ("relu(x)", [-1, 0, 2], [0, 0, 1]),
        ("where(x > 0, log(x), 0)", [1, 2, 4], [1, 0.5, 0.25]),
        ("softmax(10000 * x)[0]", [1, 0, -1], [0, 0, 0]),
        ("logsumexp(10000 * x) / 10000", [1, 0, -1], [1, 0, 0]),
        ("softplus(x)", [1000, 0, -1000], [1, 0.5, 0]),
        ("sigmoid(x)", [1000, 0, -1000], [0, 0.25, 0]),
        ("cumsum(x)", [1, 2, 3], [3, 2, 1]),
    ],
)
def test_slopes_at_the_edges(text: str, x: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(gradient_at(text, x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        ("log(x)", [0, 1], [-np.inf, 0]),
        ("sqrt(x)", [0, -1], [0, np.nan]),
        ("x ** 0", [0, np.inf], [1, 1]),
        ("x ** 0.5", [-np.inf, 4], [np.inf, 2]),
        ("1 / x ** 0.5", [-0.0, np.inf], [np.inf, 0]),
        ("x / x", [0, 2], [np.nan, 1]),
        ("softmax(x)", [1e4, 0], [1, 0]),
        ("clip(x, 0, 1)", [np.nan, 3], [np.nan, 1]),
        ("sigmoid(x)", [-1e4, 1e4], [0, 1]),
        ("x % 3", [-1, 4], [2, 1]),
        ("x // 3", [-1, 4], [-1, 1]),
        ("round(x)", [0.5, 1.5], [0, 2]),
        ("where(argmax(x) == 0, x, 0)", [7, 7], [7, 7]),
        ("exp(x)", [1e4, -1e4], [np.inf, 0]),
    ],
)
def test_values_at_the_edges(text: str, x: list[float], expected: list[float]) -> None:
    model = netc.parse(f"model {{\n  input x: float[2]\n  output z = {text}\n}}\ntrain {{ precision = f64 }}")
    for backend in ("cpu", "reference"):
        predicted = netc.compile(model, backend=backend).predict({"x": np.array([x], float)})["z"][0]
        np.testing.assert_allclose(predicted, expected, atol=1e-12, err_msg=backend)


@pytest.mark.parametrize("text", ["sigmoid(x)", "silu(x) / x", "grad(softplus(x), x)"])
def test_small_probabilities_keep_their_digits(text: str) -> None:
    x = np.array([-700.0, -88, -40, -20, -1])
    expected = np.exp(x) / (1 + np.exp(x))
    model = netc.parse(f"model {{\n  input x: float\n  output z = {text}\n}}\ntrain {{ precision = f64 }}")
    for backend in ("cpu", "reference"):
        predicted = netc.compile(model, backend=backend).predict({"x": x})["z"]
        np.testing.assert_allclose(predicted, expected, rtol=1e-14, atol=0, err_msg=backend)
    with np.errstate(over="raise", invalid="raise"):  # exported files compute this
        np.testing.assert_allclose(
            copied_functions._sigmoid(np.append(x, [0, 1e4])), [*expected, 0.5, 1], rtol=1e-14, atol=0
        )


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_remainder_beside_a_whole_quotient_has_the_same_bits_everywhere(precision: str) -> None:
    """The quotient is rounded before it is rounded down: 0.3 % 0.1 in f32 is 0, as 0.3 / 0.1 is 3 there."""
    rng = np.random.default_rng(4)
    y = rng.choice([0.1, 0.9, 0.3, -0.7, 1 / 3, 7, 1e-3], 400).astype({"f32": np.float32, "f64": np.float64}[precision])
    x = (rng.integers(-50, 50, 400) * y).astype(y.dtype)
    outputs = "output rest = x % y\n  output quotient = x // y"
    model = netc.parse(
        f"model {{\n  input x: float\n  input y: float\n  {outputs}\n}}\ntrain {{ precision = {precision} }}"
    )
    compiled_results, expected = (
        netc.compile(model, backend=backend).predict({"x": x, "y": y}) for backend in ("cpu", "reference")
    )
    for name in expected:
        np.testing.assert_array_equal(compiled_results[name], expected[name], err_msg=name)
    np.testing.assert_array_equal(expected["quotient"], np.floor(x / y))
