"""The table of layers: names, parameters counted once, and FLOPs that follow the length of a sample."""

import pytest
from support import ROOT

import netc
from netc.compiler.analysis.layers import Layer, layers_of
from netc.compiler.model import Model
from netc.runtime.execution.step_cost import longest_of

TEXT = """model {
  input x: float[4]
  input s: float[time <= 5, 3]
  target y: float[2]
  layer shared = dense(4)
  param scale: float[4] = ones
  h = x -> shared -> tanh
  a = shared(h) * scale
  r = s -> rnn(6) -> last
  z = concat(a, r) -> dense(2)
  output z = z
  output again = z
  loss mse(z, y)
}
"""


def row(layer: Layer) -> tuple[int, str, str, int, int | None]:
    return layer.line, layer.title, layer.type, layer.parameters, layer.flops


def test_rows_follow_the_file() -> None:
    layers = layers_of(netc.parse(TEXT), {"time": 5})
    assert [(layer.title, layer.type, layer.parameters) for layer in layers] == [
        ("input x", "float[4]", 0),
        ("input s", "float[time, 3]", 0),
        ("target y", "float[2]", 0),
        ("shared (dense)", "float[4]", 4 * 4 + 4),
        ("h (tanh)", "float[4]", 0),
        ("shared (dense)", "float[4]", 0),
        ("a (*)", "float[4]", 4),
        ("r.rnn", "float[time, 6]", 3 * 6 + 6 * 6 + 6),
        ("r (last)", "float[6]", 0),
        ("concat", "float[10]", 0),
        ("output z (dense)", "float[2]", 10 * 2 + 2),
        ("loss mse", "float", 0),
        ("output again", "float[2]", 0),
    ]
    assert [layer.title for layer in layers if layer.is_shared] == ["shared (dense)"]
    dense = layers[3]
    assert dense.flops == 2 * 4 * 4 + 4, "a multiply-add counts as two"


def test_flops_follow_the_length_of_a_sample() -> None:
    model = netc.parse(TEXT)
    work = {steps: {layer.title: layer.flops for layer in layers_of(model, {"time": steps})} for steps in (1, 5)}
    assert work[5]["r.rnn"] == 5 * (work[1]["r.rnn"] or 0) > 0
    assert work[5]["h (tanh)"] == work[1]["h (tanh)"]
    assert {layer.title for layer in layers_of(model) if layer.flops is None} == {"r.rnn", "r (last)"}


@pytest.mark.parametrize("name", ["lenet", "resnet", "variational", "names", "cmudict", "oscillator"])
def test_every_parameter_is_counted_once(name: str) -> None:
    model: Model = netc.load(ROOT / "examples" / f"{name}.net")
    layers = layers_of(model, longest_of(model))
    assert sum(layer.parameters for layer in layers) == sum(type_.size(1) for type_ in model.parameters.values())
    assert all(layer.flops is not None for layer in layers)


@pytest.mark.parametrize("causal", ["false", "true"])
def test_attention_without_a_bound_costs_as_much_as_for_a_fixed_length(causal: str) -> None:
    """It was counted as for 16 million steps, the number that stands for a bound that the file does not declare."""
    text = f"""model {{
  input x: float[LENGTH, 8]
  h = x -> self_attention(heads = 2, causal = {causal})
  output y = mean(h, over = 0)
}}
"""
    varying = netc.parse(text.replace("LENGTH", "t").replace("over = 0", "over = t"))
    fixed = netc.parse(text.replace("LENGTH", "20"))
    attention, at_fixed_length = layers_of(varying, {"t": 20})[1], layers_of(fixed)[1]
    assert at_fixed_length.flops is not None
    assert attention.flops == pytest.approx(at_fixed_length.flops, rel=0.01), "but for the mask of real steps"
    assert any(layer.flops is None for layer in layers_of(varying))
