"""Outputs belong to targets by the graph: by what the losses compare with a target."""

import numpy as np
import pytest

import netc
from netc.runtime.target_outputs import compared_with, probability_outputs, target_of_tokens

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
    """The match for a model whose outputs of these names are distributions over 3 classes."""
    return probability_outputs(netc.parse(text), {name: np.full((2, 3), 1 / 3) for name in names})


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
def test_two_heads_of_as_many_classes(losses: str) -> None:
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
    ],
)
def test_the_target_of_tokens(losses: str, target: str | None) -> None:
    text = HEADS.replace("softmax(zb)", "argmax(zb, over = -1)").replace("LOSSES", losses)
    assert target_of_tokens(netc.parse(text), "last", ["a", "b"]) == target


def test_what_no_loss_reads_takes_the_first_output() -> None:
    text = HEADS.replace("LOSSES", "  loss mean(square(za)) + mean(square(zb))\n")
    assert outputs_of(text, "last", "first") == {"a": "last", "b": "last"}
    assert compared_with(netc.parse(text).graph, "a") == []


def test_what_is_no_distribution_is_left_out() -> None:
    model = netc.parse(HEADS.replace("LOSSES", "  loss la = cross_entropy(za, a)\n  loss lb = cross_entropy(zb, b)\n"))
    assert probability_outputs(model, {"first": np.full((2, 3), 1.0)}) == {}
    assert probability_outputs(model, {"first": np.full((2, 4), 0.25)}) == {}
    steps = [np.full((n, 3), 1 / 3) for n in (2, 4)]
    assert probability_outputs(model, {"first": steps}) == {"a": "first"}
