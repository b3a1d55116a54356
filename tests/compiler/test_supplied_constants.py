"""Numbers of a graph as leaves: which are replaced, that graphs which differ in them alone become equal, and bits."""

import numpy as np
import pytest

from netc.compiler import pipeline
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.graph import print_graph
from netc.compiler.ir.graph_parser import parse_graph
from netc.compiler.passes.supplied_constants import with_supplied_constants
from netc.compiler.reference import evaluate
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.verification import Subject, verify

PLAIN = """let a = 0.3
let b = 2.5
model {
  input x: float[3]
  target y: float
  h = x -> dense(4)
  z = where(h > a, h, a * h) / b -> dense(1) -> squeeze
  output guess = z
  loss mse(z, y)
}
train {
  optimizer = adam(lr = 0.01)
  batch = 4
}
"""
SCAN = """let a = 0.3
let b = 2.5
model {
  input x: float[time, 3]
  target y: float
  s = scan xt in x with h = zeros(3) {
    h = a * h + tanh(xt / b)
    yield h
  }
  z = last(s) -> dense(1) -> squeeze
  output guess = z
  loss mse(z, y)
}
train {
  optimizer = adam(lr = 0.01)
  batch = 4
}
"""


def graph_of(text: str, a: float, b: float) -> tuple[str, dict[str, float]]:
    """The printed graph of a training step whose numbers are leaves, and these."""
    model = elaborate(parse(Source("m.net", text)), {"a": a, "b": b})
    graph, numbers = with_supplied_constants(pipeline.run_passes(pipeline.training_graph(model)))
    return print_graph(graph), numbers


@pytest.mark.parametrize("text", [PLAIN, SCAN])
def test_graphs_that_differ_in_numbers_alone_become_equal(text: str) -> None:
    first, numbers = graph_of(text, 0.3, 2.5)
    second, others = graph_of(text, 0.7, 1.5)
    assert first == second
    assert numbers.keys() == others.keys()
    assert {0.3, 2.5} <= {*numbers.values()}
    assert {0.7, 1.5} <= {*others.values()}
    assert graph_of(text, 0.7, 1.0)[0] != first, "a division by 1 is left out"


@pytest.mark.parametrize("text", [PLAIN, SCAN])
def test_numbers_as_leaves_give_the_same_bits(text: str) -> None:
    model = elaborate(parse(Source("m.net", text)))
    assert verify(Subject(model, synthetic_data(model, 7, longest=5)), ["constants"]) == []


def test_numbers_that_others_read_stay() -> None:
    before = parse_graph("""
%x = input[name='x']() : f32[batch, 3]
%zero = constant[value=0.0]() : f32
%largest = maximum(%x, %zero) : f32[batch, 3]
%near = constant[value=0.25]() : f32
%column = broadcast[dims=('batch', 1)](%near) : f32[batch, 1]
%joined = concat[axis=1](%largest, %column) : f32[batch, 4]
%far = constant[value=0.75]() : f32
%scaled = multiply(%joined, %far) : f32[batch, 4]
%result = constant[value=0.5]() : f32
output.scaled = %scaled
output.number = %result
""")
    after, numbers = with_supplied_constants(before)
    assert numbers == {"constant.0": 0.75}
    x = np.linspace(-1.0, 1.0, 6, dtype=np.float32).reshape(2, 3)
    expected = evaluate(before, {"x": x}, 2)
    actual = evaluate(after, {"x": x, "constant.0": np.float32(0.75)}, 2)
    assert all(np.array_equal(actual[name], expected[name]) for name in expected)
