"""The printed graph reads back, and the graphs after each pass are those of the golden files."""

import re
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.compiler import pipeline
from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.graph import Graph, print_graph, verify
from netc.compiler.ir.graph_parser import parse_graph
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.operations.pooling import interleave
from netc.compiler.operations.reduce import sum_
from netc.compiler.passes.simplify import simplify
from netc.compiler.passes.stabilise import stabilise
from netc.compiler.reference import evaluate
from netc.runtime.runs.resume import _meaning

HERE = Path(__file__).parent
NEURON = """model {
  input x: float[3]
  target y: float
  output z = x -> dense(1) -> squeeze -> tanh
  loss mse(z, y)
}
train { optimizer = sgd(lr = 0.1) }
"""


def without_places(text: str) -> str:
    return "\n".join(line.split("  #")[0] for line in text.splitlines())


def test_the_printed_graph_reads_back() -> None:
    graph = pipeline.training_graph(netc.parse(NEURON))
    again = parse_graph(print_graph(graph))
    verify(again)
    assert without_places(print_graph(again)) == without_places(print_graph(graph))


def test_every_kind_of_graph_reads_back() -> None:
    """Infinite numbers and NaN, any text, varying dimensions with their bounds, and nested bodies."""
    text = """precision f64
%0 = input[name='x']() : f64[time, 3]
%1 = input[name='it\\'s "]#" \\\\ (%0) : f32']() : class(4)[batch, time <= 40]
%2 = input[name="a 'b'"]() : f64[min(ceil(time / 2), 3), 2]
%3 = constant[value=inf]() : f64
%4 = constant[value=-inf]() : f64
%5 = constant[value=nan]() : f64
%6 = constant[value=-0.0]() : f64
%7 = constant[value=-1e-300]() : f64
%8 = constant[value=True]() : bool
%9 = broadcast[dims=('batch', 'time - 1' <= 39, 2)](%6) : f64[batch, time - 1 <= 39, 2]
%10 = broadcast[dims=('batch',)](%6) : f64[batch]
%11 = scan[dim='time', reverse=True, counts=(1, 1)](%0, %10) : f32 {
  precision f64
  %0 = given[name='x0']() : f64[batch, 3]
  %1 = given[name='c0']() : f64[batch]
  %2 = scan[dim='steps of 3', reverse=False, counts=(0, 1)](%1) : f32 {
    precision f64
    %0 = given[name='c0']() : f64[batch]
    %1 = neg(%0) : f64[batch]
    next.0 = %1
  }
  %3 = part[of='last.0', type='f64[batch]'](%2) : f64[batch]
  next.0 = %3
}
%12 = part[of='last.0', type='f64[batch]'](%11) : f64[batch]
total.weights of the 3 rows = %12
"""
    graph = parse_graph(text)
    assert print_graph(graph) == text
    name, bound = graph.values()[1].name, graph.values()[9].attributes_as(Dims).dims[1]
    assert name == 'it\'s "]#" \\ (%0) : f32'
    assert (bound, bound.name) == (39, "time - 1")
    assert graph.values()[2].type.dims == ("min(ceil(time / 2), 3)", 2)


def test_a_graph_can_be_written_by_hand() -> None:
    written = """# values have names, and places in a text are left out
%x = input[name='x']() : f32[batch, 3]

%double = add(%x, %x) : f32[batch, 3]  # twice
output.y = %double
"""
    assert print_graph(parse_graph(written)) == (
        "%0 = input[name='x']() : f32[batch, 3]\n%1 = add(%0, %0) : f32[batch, 3]\noutput.y = %1\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%0 = add(%1, %1) : f32", "there is no %1 before: %0 = add(%1, %1) : f32"),
        ("%0 = input[name='x']() : f32\n%0 = neg(%0) : f32", "a second %0: %0 = neg(%0) : f32"),
        ("%0 = neg() f32", "neither a value nor a result: %0 = neg() f32"),
        ("%0 = scan() : f32 {\n  next.0 = %1", "a body without an end: %0 = scan() : f32 {"),
    ],
)
def test_a_text_that_is_no_graph_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_graph(text)


def test_graphs_with_equal_scans_print_alike() -> None:
    """Whether a run can be resumed is decided by the printed graphs without source locations."""
    text = """model {
  input x: float[time, 3]
  target y: float
  h = scan xt in x[:2, :] with a = zeros(3) {
    a = tanh(a + xt)
    yield a
  }
  z = last(h) -> dense(1) -> squeeze
  loss mse(z, y)
}
train { optimizer = sgd(lr = 0.1) }
"""
    first, other = netc.parse(text), netc.parse(text.replace("tanh", "relu"))
    again = netc.parse(text)
    assert _meaning(first.graph, ResultKind.LOSS) == _meaning(again.graph, ResultKind.LOSS)
    assert _meaning(first.graph, ResultKind.LOSS) != _meaning(other.graph, ResultKind.LOSS)
    verify(parse_graph(print_graph(pipeline.training_graph(first))))


def test_stages_of_one_neuron(golden) -> None:
    graphs = pipeline.training_stages(netc.parse(NEURON, "neuron.net"))
    for stage in ("elaborate", "update", "simplify"):
        golden(HERE / f"neuron.{stage}.txt", print_graph(graphs[stage]))


@pytest.mark.parametrize(
    ("written", "stable"),
    [
        ("log(softmax(x))", "log_softmax(x)"),
        ("log(sigmoid(x))", "-softplus(-x)"),
        ("log(1 - sigmoid(x))", "-softplus(x)"),
        ("log(1 + exp(x))", "softplus(x)"),
        ("log(exp(x) + 1)", "softplus(x)"),
        ("log(1 + x)", "log1p(x)"),
        ("exp(x) - 1", "expm1(x)"),
        ("log(2 + exp(x))", "log(2 + exp(x))"),
    ],
)
def test_textbook_formulas_become_stable(written: str, stable: str) -> None:
    first, second = (
        netc.parse(f"model {{\n  input x: float[3]\n  output y = {text}\n}}").graph for text in (written, stable)
    )
    assert without_places(print_graph(simplify(stabilise(first)))) == without_places(print_graph(simplify(second)))


def test_a_probability_of_zero_has_a_logarithm() -> None:
    model = netc.parse(
        "model {\n  input x: float[3]\n  target y: class(3)\n  param scale: float = ones\n"
        "  p = softmax(scale * x)\n  output q = log(p)\n  loss cross_entropy(log(p), y)\n}"
    )
    fields = {"x": np.array([[1000, 0, -1000]], np.float32), "y": np.array([2], np.int32)}
    for backend in ("cpu", "reference"):
        program = netc.compile(model, backend=backend)
        assert program.evaluate(fields)["loss"] == 2000
        np.testing.assert_allclose(program.gradients(fields, wrt=("x",))[1]["x"], [[1, 0, -1]])


def test_axes_have_names() -> None:
    model = netc.parse("""block spread(x: float[h, w, c]) {
  y = x * 2
  return mean(y, over = (h, w)) + sum(x[0, 0, :]) / c
}
model {
  input x: float[2, 5, 3]
  output y = spread(x)
  output z = mean(x - mean(x, over = batch), over = 0)
}""")
    assert model.outputs["y"].dims == ("batch", 3)
    assert model.outputs["z"].dims == ("batch", 5, 3)


def test_the_gradient_of_a_normalised_pool_is_computed_part_by_part() -> None:
    """A normalisation before a pool: each sum over the image is taken once, and every pass keeps the meaning."""
    model = netc.parse(
        "model {\n  input x: float[4, 6, 8]\n  target y: float\n"
        "  p = x -> batchnorm -> maxpool(2) -> flatten -> dense(1) -> squeeze\n"
        "  loss mse(p, y)\n}\ntrain {\n  precision = f64\n  batch = 5\n}"
    )
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((5, 4, 6, 8)), "y": rng.standard_normal(5)}
    stages: dict[str, Graph] = {}
    share = {str(SuppliedKind.BATCH_SHARE.named()): 1.0}
    leaves = {**netc.compile(model).persistent, **arrays, **share}
    graph = pipeline.gradient_graph(model, ("x",))
    pipeline.run_passes(graph, stages.__setitem__)
    expected = evaluate(graph, leaves, 5)
    for stage in stages.values():
        verify(stage)
        for name, value in evaluate(stage, leaves, 5).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-14)
    before, after = stages["simplify"], stages["lift"]
    assert len(after.values(sum_)) < len(before.values(sum_))
    (image,) = after.values(interleave)
    assert image is after.results[parse_result("gradient.x")], "no other image is whole"


def test_names_of_axes_in_a_block_are_local() -> None:
    """Outside of a block, an axis has the name that the input declares, whatever the block calls it."""
    model = netc.parse(
        "model {\n  input x: float[time <= 6, 4]\n  k = attention(x, x, x)\n"
        "  output before = mean(x, over = time)\n  output after = mean(k, over = 0)\n}\n"
    )
    assert model.outputs["before"].sample == (4,)


def test_a_block_and_its_caller_may_swap_the_names_of_axes() -> None:
    blocks = (
        "block means(x: float[t, n], y: float[s, n]) {\n  h = x * 2\n"
        "  return mean(h, over = t) + mean(y * 3, over = s)\n}\n"
        "block wider(x: float[t, n]) {\n  h: float[t, width] = x -> dense(4)\n  return h\n}\n"
    )
    inputs = "model {\n  input x: float[s, 3]\n  input y: float[t, 3]\n"
    model = netc.parse(blocks + inputs + "  output p = means(x, y)\n  output q = mean(wider(x), over = s)\n}\n")
    assert (model.outputs["p"].sample, model.outputs["q"].sample) == ((3,), (4,))
    with pytest.raises(netc.Fault, match="no axis of this value is called `width`"):
        netc.parse(blocks + inputs + "  output q = mean(wider(x), over = width)\n}\n")


def test_an_einsum_of_parameters_may_be_a_number() -> None:
    model = netc.parse(
        'model {\n  input x: float[8]\n  param w: float[8] = normal(1)\n  output y = x * einsum(w, w, "i,i->")\n}\n'
    )
    program = netc.compile(model, backend="reference")
    w, x = program.parameters["w"], np.ones((2, 8), np.float32)
    np.testing.assert_allclose(program.predict({"x": x})["y"], np.full((2, 8), w @ w), rtol=1e-6)
