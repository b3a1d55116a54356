"""Outputs are matched with targets by the graph: by the losses that compare them."""

import pytest

import netc
from netc.runtime.target_outputs import compared_with, distributions, field_of_tokens, reconstructions

HEADS = """model {
  input x: float[4]
  target a: class(3)
  target b: class(3)
  h = x -> dense(8) -> relu
  za = h -> dense(3)
  zb = h -> dense(3)
  output last = softmax(zb)
  output first = softmax(za)
LOSSES}
"""


def outputs_of(text: str, *names: str) -> dict[str, str]:
    """The output of each target among these outputs."""
    return {target: entry.output for target, entry in distributions(netc.parse(text), names).items()}


@pytest.mark.parametrize(
    "losses",
    [
        "  loss la = cross_entropy(za, a)\n  loss lb = cross_entropy(zb, b)\n",
        "  loss cross_entropy(za, a) + 0.5 * cross_entropy(zb, b)\n",
        "  loss la = nll(log(softmax(za)), a)\n  loss lb = hinge(zb, b)\n",
        "  loss mean(square(za)) + mean(square(zb))\n  metric ma = accuracy(za, a)\n  metric mb = accuracy(zb, b)\n",
        (
            "  loss la = mean(square(one_hot(a, 3) - softmax(za)))\n"
            "  loss lb = mean(square(one_hot(b, 3) - softmax(zb)))\n"
        ),
    ],
)
def test_two_heads_with_the_same_number_of_classes(losses: str) -> None:
    assert outputs_of(HEADS.replace("LOSSES", losses), "last", "first") == {"a": "first", "b": "last"}


def test_a_target_whose_output_is_missing_takes_no_other() -> None:
    text = HEADS.replace("LOSSES", "  loss la = cross_entropy(za, a)\n  loss lb = cross_entropy(zb, b)\n")
    assert outputs_of(text, "first") == {"a": "first"}
    assert outputs_of(text, "last") == {"b": "last"}


def test_targets_that_share_a_head_share_its_output() -> None:
    text = HEADS.replace("LOSSES", "  loss la = cross_entropy(za, a)\n  loss lb = cross_entropy(za, b)\n")
    assert outputs_of(text, "last", "first") == {"a": "first", "b": "first"}


def test_other_distributions_are_no_probabilities_of_a_target() -> None:
    text = HEADS.replace("  target b: class(3)\n", "").replace("LOSSES", "  loss cross_entropy(za, a)\n")
    assert outputs_of(text, "last", "first") == {"a": "first"}


@pytest.mark.parametrize(
    ("losses", "target"),
    [
        ("  loss la = cross_entropy(za, a)\n  loss lb = cross_entropy(zb, b)\n", "b"),
        ("  loss la = cross_entropy(zb, a)\n  loss lb = cross_entropy(za, b)\n", "a"),
        ("  loss la = cross_entropy(zb, a)\n  loss lb = cross_entropy(zb, b)\n", None),
        ("  loss mean(square(za)) + mean(square(zb))\n", None),
        ("  loss la = cross_entropy(za, a)\n  loss lb = cross_entropy(za, b)\n", None),
    ],
)
def test_the_target_of_tokens(losses: str, target: str | None) -> None:
    text = HEADS.replace("softmax(zb)", "argmax(zb, over = -1)").replace("LOSSES", losses)
    field = field_of_tokens(netc.parse(text), "last")
    assert (None if field is None else field[0]) == target


def test_a_target_that_no_loss_compares_has_no_output() -> None:
    text = HEADS.replace("LOSSES", "  loss mean(square(za)) + mean(square(zb))\n")
    assert outputs_of(text, "last", "first") == {}
    assert compared_with(netc.parse(text).graph, "a") == []


@pytest.mark.parametrize(
    ("output", "is_labelled"),
    [
        ("softmax(za)", True),
        ("softmax(za / 2)", True),
        ("softmax(h @ w)", True),  # the same expression, written twice
        ("exp(log_softmax(za))", False),
        ("za", False),
        ("softmax(zb)", False),  # a gate of the same width that no loss compares
        ("softmax(2 * zb + za)", False),
        ("sigmoid(za)", False),
    ],
)
def test_an_output_has_labels_if_it_is_the_softmax_of_the_logits_in_the_loss(output: str, is_labelled: bool) -> None:
    text = f"""model {{
  input x: float[4]
  target a: class(3)
  param w: float[4, 3]
  h = x
  za = h @ w
  zb = h -> dense(3)
  output p = {output}
  loss cross_entropy(za, a)
}}
"""
    assert outputs_of(text, "p") == ({"a": "p"} if is_labelled else {})


def test_probabilities_whose_logarithm_is_compared_need_no_softmax() -> None:
    text = """model {
  input x: float[4]
  target a: class(3)
  e = x -> dense(3) -> exp
  output p = e / unsqueeze(sum(e, over = -1))
  loss nll(log(p), a)
}
"""
    assert outputs_of(text, "p") == {"a": "p"}


def test_the_sigmoid_of_the_logit_belongs_to_a_float_target() -> None:
    text = """model {
  input x: float[4]
  target a: float
  target b: float
  za = x -> dense(1) -> squeeze
  zb = x -> dense(1) -> squeeze
  output second = sigmoid(zb)
  output first = sigmoid(za)
  loss binary_cross_entropy(za, a) + binary_cross_entropy(zb, b)
}
"""
    assert outputs_of(text, "second", "first") == {"a": "first", "b": "second"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("  again = x -> dense(2)\n  output again = again\n  loss mse(again, x)\n", {"again": "x"}),
        ("  z = x -> dense(2)\n  output p = sigmoid(z)\n  loss sum(binary_cross_entropy(z, x))\n", {"p": "x"}),
        ("  z = x -> dense(2)\n  output p = softmax(z)\n  loss cross_entropy(z, y)\n", {}),
        ("  f = x -> dense(2)\n  output f = f\n  loss cross_entropy(x + f, y)\n", {}),
        ("  g = x -> dense(2) -> sigmoid\n  output g = g\n  z = (x * g) -> dense(2)\n  loss cross_entropy(z, y)\n", {}),
    ],
)
def test_a_reconstruction_is_compared_with_its_input(body: str, expected: dict[str, str]) -> None:
    """A classifier, a residual and a gate of the input's shape are not reconstructions."""
    assert reconstructions(netc.parse(f"model {{\n  input x: float[2]\n  target y: class(2)\n{body}}}\n")) == expected
