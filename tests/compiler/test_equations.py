"""The equations of a model: golden texts, both sides compared as numbers, LaTeX that converts, and the algebra."""

from pathlib import Path

import numpy as np
import pytest
from formula_evaluator import Evaluator, Rows, Unsupported
from support import ROOT

import netc
from netc.compiler.analysis.equations import latex, text
from netc.compiler.analysis.equations.derivation import Derivation, derive
from netc.compiler.analysis.equations.formula import Name, divided, negative, number, plus, powered, times
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.situation import Situation
from netc.runtime.verification.subject import Subject, program_of, ready_fields

HERE = Path(__file__).parent
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.net"))
X, Y, BATCH = Name("x"), Name("y"), Name("batch", is_scalar=True)


def example(name: str) -> Model:
    return netc.load(ROOT / "examples" / f"{name}.net")


def written(derivation: Derivation) -> str:
    """All equations as text, with the lines of the file and the headings of loops."""
    lines = []
    for part in (derivation.forward, derivation.backward):
        for equation in part:
            lines += [text.heading(equation.opens)] if equation.opens is not None else []
            lines.append(f"{equation.line}: {text.text_of(equation.left)} = {text.text_of(equation.right)}")
        lines.append("")
    return "\n".join(lines)


def slopes_of(source: str) -> dict[str, str]:
    """The derivatives of a model's text, by the name of the value."""
    return {equation.left.text: text.text_of(equation.right) for equation in derive(netc.parse(source)).backward}


@pytest.mark.parametrize("name", ["neuron", "digits_conv", "sparse", "gunpoint", "japanese_vowels", "oscillator"])
def test_equations_of_examples(golden, name: str) -> None:
    golden(HERE / f"equations.{name}.txt", written(derive(example(name))))


@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy(logits, species)",
        "logsumexp(logits) - sum(where(one_hot(species, 3) == 1, logits, 0))",
        "logsumexp(logits) - sum(one_hot(species, 3) * logits)",
    ],
)
def test_the_slope_of_cross_entropy_is_read_not_recognised(loss: str) -> None:
    slopes = slopes_of(
        f"model {{\n  input x: float[4]\n  target species: class(3)\n  logits = x -> dense(3)\n  loss {loss}\n}}\n"
    )
    assert slopes["logits"] == "(softmax(logits) - onehot(species)) / batch"


def test_the_slope_of_a_squared_error() -> None:
    slopes = slopes_of(
        "model {\n  input x: float[4]\n  target y: float\n  z = sum(x)\n  param a: float = zeros\n"
        "  p = a * z\n  loss mse(p, y)\n}\n"
    )
    assert slopes["p"] == "2 * (p - y) / batch"
    assert slopes["a"] == "sum(∂p * z, over = batch)"


@pytest.mark.parametrize("name", ["neuron", "iris", "rings", "wine", "variational", "sparse", "anomaly", "line"])
def test_both_sides_of_every_equation_are_equal(name: str) -> None:
    """The formulas are evaluated from the numbers of the names in them, on a batch of three samples."""
    model = in_f64(example(name))
    compared, skipped = compare(model, samples=3)
    assert compared >= 3 * max(skipped, 1), (compared, skipped)


def test_both_sides_are_equal_inside_a_scan() -> None:
    """One sequence: the rows are its steps, so that the step before and after are the rows beside one."""
    model = netc.parse(
        "model {\n  input x: float[time, 2]\n  target y: float[time, 3]\n  h = x -> lstm(4)\n"
        "  z = h -> rnn(5) -> dense(3)\n  loss mse(z, y)\n}\n"
    )
    compared, skipped = compare(in_f64(model), samples=1)
    assert compared >= 25, (compared, skipped)
    assert skipped == 0


def compare(model: Model, samples: int) -> tuple[int, int]:
    """Compares both sides of each equation, and returns how many were compared and how many could not be evaluated."""
    derivation = derive(model)
    fields = ready_fields(model, synthetic_data(model, samples, longest=6))
    program = program_of(Subject(model, fields), "reference")
    arrays = Situation(model, fields, program.persistent, 0).values(derivation.graph)
    values = {Name("batch"): Rows(np.asarray(float(samples)), False)}
    equations = [*derivation.forward, *derivation.backward]
    pairs: list[tuple[Name, Value | None]] = [*derivation.leaves, *((each.left, each.value) for each in equations)]
    for name, value in pairs:
        if value is not None:
            values[Name(name.text, name.is_derivative)] = Rows(arrays[value], value.type.is_batched)
        if value is not None and value.type.is_varying:
            values[Name(value.type.rows or "")] = Rows(np.asarray(float(len(arrays[value]))), False)
    classes = {name: type_.classes for name, type_ in model.targets.items() if type_.classes is not None}
    evaluator, compared, skipped = Evaluator(values, classes), 0, 0
    for equation in equations:
        assert equation.value is not None
        try:
            right = evaluator.value(equation.right)
        except Unsupported:
            skipped += 1
            continue
        left = arrays[equation.value]
        expected = np.broadcast_to(right.array, left.shape) if right.array.size == 1 else right.array
        np.testing.assert_allclose(expected.reshape(left.shape), left, 1e-9, 1e-12, err_msg=str(equation))
        compared += 1
    return compared, skipped


@pytest.mark.parametrize("name", EXAMPLES)
def test_latex_converts(name: str) -> None:
    converter = pytest.importorskip("latex2mathml.converter")
    formula = latex.written(derive(example(name)))
    assert formula.startswith("\\begin{align*}\n")
    assert formula.count("\\left") == formula.count("\\right")
    assert converter.convert(formula).startswith("<math")


def test_latex_of_iris(golden) -> None:
    golden(HERE / "equations.iris.tex", latex.written(derive(example("iris"))) + "\n")


def test_symbols_are_as_short_as_they_may_be() -> None:
    names = ["logits.dense.W", "logits.dense_2.W", "a.b.W", "c.b.W", "z1", "h", "mean_of_code", "loss.mse"]
    symbols = latex.symbols(names)
    assert symbols["logits.dense.W"] == r"W_{\mathrm{dense}}"
    assert symbols["a.b.W"] == r"W_{\mathrm{a}, \mathrm{b}}"
    assert symbols["z1"] == "z_{1}"
    assert symbols["h"] == "h"
    assert symbols["mean_of_code"] == r"\mathrm{mean\_of\_code}"
    assert len(set(symbols.values())) == len(names)


def test_the_algebra_of_sums_and_products() -> None:
    share = divided(number(1), BATCH)
    assert text.text_of(plus(negative(times(share, Y)), times(share, X))) == "(x - y) / batch"
    assert text.text_of(times(X, X, X)) == "x ** 3"
    assert text.text_of(plus(X, X)) == "2 * x"
    assert text.text_of(plus(X, negative(X))) == "0"
    assert text.text_of(divided(X, X)) == "1"
    assert text.text_of(negative(plus(X, negative(Y)))) == "y - x"
    assert text.text_of(times(plus(X, Y), plus(X, Y))) == "(x + y) ** 2"
    assert text.text_of(divided(times(number(2), X), number(64))) == "2 * x / 64"
    assert text.text_of(plus(negative(X), negative(Y))) == "-(x + y)"
    assert text.text_of(powered(divided(X, number(2)), 2)) == "x ** 2 / 4"
    assert text.text_of(plus(number(1), negative(powered(X, 2)))) == "1 - x ** 2"
    assert text.text_of(times(number(0), X)) == "0"


def test_a_line_alone() -> None:
    derivation = derive(example("iris")).of_line(17)
    assert [equation.left.text for equation in derivation.forward] == ["loss"]
    assert not derivation.backward


def test_derivatives_are_those_of_a_training_step() -> None:
    model = in_f64(example("iris"))
    fields = ready_fields(model, synthetic_data(model, 5))
    program = program_of(Subject(model, fields), "reference")
    derivation = derive(model)
    arrays = Situation(model, fields, program.persistent, 0).values(derivation.graph)
    slopes = {each.left.text: arrays[each.value] for each in derivation.backward if each.value is not None}
    _, gradients = program.gradients(fields)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(slopes[name], gradient, 1e-10, 1e-14, err_msg=name)
