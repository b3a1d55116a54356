"""The steps of an input that a value reads, by the analysis and by changing one step after another."""

import math

import numpy as np
import pytest
from support import run

import netc
from netc.compiler.analysis.reach import Reach, reaches
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role

STEPS, CLASSES = 7, 5
EVERY = (-math.inf, math.inf)
FOLLOWED = {  # the interval of distances that each value reads
    "x -> embed(4)": (0, 0),
    "one_hot(x) -> dense(4) -> relu -> layernorm": (0, 0),
    "x -> embed(4) -> lstm(4)": (-math.inf, 0),
    "x -> embed(4) -> rnn(4) -> gru(4)": (-math.inf, 0),
    "x -> embed(4) -> bidirectional(gru(4))": EVERY,
    "reverse(reverse(x) -> embed(4) -> gru(4), over = 0)": (0, math.inf),
    "shift(x, 0) -> embed(4) -> lstm(4)": (-math.inf, -1),
    "shift(x, 0) -> embed(4) -> bidirectional(lstm(4))": EVERY,
    "x -> embed(4) -> positions -> self_attention(2, causal = true)": (-math.inf, 0),
    "x -> embed(4) -> positions -> self_attention(2)": EVERY,
    "x -> embed(4) -> conv(4, kernel = 3, pad = same)": (-1, 1),
    "cumsum(x -> embed(4), over = 0)": (-math.inf, 0),
    "concat(x -> embed(4), shift(x, 0) -> embed(4), over = 1)": (-1, 0),
}
NOT_FOLLOWED = ("x -> embed(4) -> lstm(4) -> last", "mean(x -> embed(4), over = 0) -> dense(4)")
FIXED_ONLY = {
    "(x -> embed(4))[2:7]": (2, 2),
    "(x -> embed(4) -> lstm(4))[1:6]": (-math.inf, 1),
    "reshape(x -> embed(4), 7, 2, 2)": (0, 0),
}


def text_of(expression: str, dim: object) -> str:
    return f"model {{\n  input x: class({CLASSES})[{dim}]\n  output p = {expression}\n}}"


def reach_of(text: str) -> dict[int, Reach]:
    graph = netc.parse(text).graph
    (leaf,) = graph.values(Role.INPUT)
    return reaches(graph, leaf).get(graph.results[ResultKind.OUTPUT.named("p")], {})


def interval_by_changes(text: str) -> tuple[int, int]:
    """The least and the greatest distance of a step whose change changes the output."""
    program, rng = run(text, backend="reference"), np.random.default_rng(0)
    for parameter in program.parameters.values():
        parameter[...] = rng.standard_normal(parameter.shape)
    x = rng.integers(0, CLASSES, STEPS).astype(np.int32)
    before, distances = np.asarray(program.predict({"x": [x]})["p"][0]), set()
    for step in range(STEPS):
        changed = x.copy()
        changed[step] = (x[step] + 1) % CLASSES
        after = np.asarray(program.predict({"x": [changed]})["p"][0])
        differs = (before != after).reshape(len(before), -1).any(axis=1)
        distances |= {step - t for t in np.flatnonzero(differs).tolist()}
    return min(distances), max(distances)


@pytest.mark.parametrize("dim", ["t", STEPS])
@pytest.mark.parametrize("expression", FOLLOWED)
def test_the_reach_is_the_interval_of_steps_that_matter(expression: str, dim: object) -> None:
    check_reach(expression, dim, FOLLOWED[expression])


@pytest.mark.parametrize("expression", FIXED_ONLY)
def test_the_reach_of_parts_of_a_sequence(expression: str) -> None:
    check_reach(expression, STEPS, FIXED_ONLY[expression])


def check_reach(expression: str, dim: object, expected: tuple[float, float]) -> None:
    text = text_of(expression, dim)
    (reach,) = reach_of(text).values()
    assert (reach.first, reach.last, reach.turned) == (*expected, False)
    first, last = interval_by_changes(text)
    assert expected[0] <= first <= last <= expected[1]
    for side, end in ((first, expected[0]), (last, expected[1])):
        assert side == end or math.isinf(end), (side, end)


@pytest.mark.parametrize("dim", ["t", STEPS])
@pytest.mark.parametrize("expression", NOT_FOLLOWED)
def test_a_value_without_steps_ends_the_path(expression: str, dim: object) -> None:
    assert reach_of(text_of(expression, dim)) == {}


def test_a_reversed_value_counts_from_the_end() -> None:
    (reach,) = reach_of(text_of("reverse(x -> embed(4), over = 0)", "t")).values()
    assert reach == Reach(0, 0, turned=True)
    assert not reach.includes(0)
    assert reach.distance is None


def codes(body: str) -> list[str]:
    return [warning.code for warning in netc.parse(f"model {{\n{body}\n}}").warnings]


@pytest.mark.parametrize("dim", ["t", "50"])
def test_a_model_that_reads_the_step_it_has_to_say_is_warned_of(dim: str) -> None:
    def body(layers: str, read: str = "letters") -> str:
        return f"input letters: class(9)[{dim}]\nz = {read} -> {layers} -> dense(9)\nloss cross_entropy(z, letters)"

    assert codes(body("embed(4) -> lstm(4)")) == ["W0511"]
    assert codes(body("embed(4) -> bidirectional(lstm(4))", "shift(letters, 0)")) == ["W0511"]
    assert codes(body("embed(4) -> lstm(4)", "shift(letters, 0)")) == []
    assert codes(body("embed(4) -> self_attention(2, causal = true)", "shift(letters, 0)")) == []


LETTERS = "input letters: class(9)[t]\n"
MOVED = (
    "the shift belongs in front of the model, not in the loss: the model reads `shift(letters)`, "
    "and `cross_entropy` compares with `letters`"
)


@pytest.mark.parametrize(
    ("wrong", "hint", "right"),
    [
        (
            ("letters", "lstm(4)", "letters"),
            "let the model read `shift(letters)`",
            ("shift(letters)", "lstm(4)", "letters"),
        ),
        (
            ("letters", "lstm(4)", "shift(letters)"),
            MOVED,
            ("shift(letters)", "lstm(4)", "letters"),
        ),
        (
            ("shift(letters)", "lstm(4)", "shift(letters)"),
            "`letters` in place of `shift(letters)`",
            ("shift(letters)", "lstm(4)", "letters"),
        ),
        (
            ("letters", "bidirectional(lstm(4))", "letters"),
            "let the model read `shift(letters)`, and `lstm(4)` in place of `bidirectional(lstm(4))`",
            ("shift(letters)", "lstm(4)", "letters"),
        ),
        (
            ("letters", "bidirectional(lstm(4))", "shift(letters)"),
            f"{MOVED}; and `lstm(4)` in place of `bidirectional(lstm(4))`",
            ("shift(letters)", "lstm(4)", "letters"),
        ),
        (
            ("shift(letters)", "bidirectional(lstm(4))", "letters"),
            "lstm(4)",
            ("shift(letters)", "lstm(4)", "letters"),
        ),
        (
            ("shift(letters)", "conv(4, 3, pad = same)", "letters"),
            "layers that read no later step",
            ("shift(letters)", "conv(4, 3, pad = causal)", "letters"),
        ),
    ],
)
def test_a_model_that_follows_the_hint_cannot_copy(
    wrong: tuple[str, str, str], hint: str, right: tuple[str, str, str]
) -> None:
    def warnings(read: str, layer: str, asked: str) -> list[tuple[str, str | None]]:
        body = f"{LETTERS}z = {read} -> embed(4) -> {layer} -> dense(9)\nloss cross_entropy(z, {asked})"
        return [(warning.code, warning.hint) for warning in netc.parse(f"model {{\n{body}\n}}").warnings]

    assert warnings(*wrong) == [("W0511", hint)]
    assert warnings(*right) == []


def test_autoencoders_and_denoising_models_are_not() -> None:
    assert codes("input x: float[8]\nz = x -> dense(3) -> relu -> dense(8)\nloss mse(z, x)") == []
    assert codes("input x: float[t, 3]\nz = x -> dense(2) -> dense(3)\nloss mse(z, x)") == []
    code = "c = x -> embed(4) -> lstm(4) -> last\nh = shift(x, 0) -> embed(4) -> gru(4, c)\n"
    assert codes(f"input x: class(9)[t]\n{code}z = h -> dense(9)\nloss cross_entropy(z, x)") == []
    hidden = "seen = where(uniform_like(one_hot(x)) < 0.3, 0, one_hot(x))\n"
    assert codes(f"input x: class(9)[t]\n{hidden}z = seen -> dense(9)\nloss cross_entropy(z, x)") == []


def test_a_loss_may_compare_with_an_input_where_it_solves_an_equation() -> None:
    equation = "input x: float\ny = unsqueeze(x) -> dense(8) -> tanh -> dense(1) -> squeeze\n"
    assert codes(f"{equation}output p = y\nloss mse(grad(y, x), x)") == []
    assert codes("input x: float[2]\ninput y: float\nz = x -> dense(1) -> squeeze\nloss mse(z, y)") == ["W0512"]


def test_an_autoencoder_may_have_a_target_for_its_metrics() -> None:
    model = "input x: float[8]\ntarget y: float\nz = x -> dense(3) -> dense(8)\n"
    assert codes(f"{model}loss mse(z, x)\nmetric mae(sum(z), y)") == []
    assert codes(f"{model}loss sum(square(x - z))\nmetric mae(sum(z), y)") == []
    assert codes(f"{model}loss sum(square(1 - z))\nmetric mae(sum(z), y)") == ["W0510"]
