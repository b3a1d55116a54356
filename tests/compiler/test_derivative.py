"""`grad(y, x)` in losses: compared with finite differences, compiled with interpreted, and on threads."""

import numpy as np
import pytest
from support import run, slope

import netc
from netc.compiler.backends import Backend

RNG = np.random.default_rng(4)
FIELDS = {
    "x": RNG.standard_normal((5, 4)),
    "im": RNG.standard_normal((5, 6, 6, 2)),
    "f": RNG.standard_normal((5, 6, 3)),
    "s": [RNG.standard_normal((n, 3)) for n in (4, 1, 6, 3, 5)],
    "y": RNG.standard_normal(5),
}

# statements that end in a loss, with x: float[4], im: float[6, 6, 2], f: float[6, 3], s: float[time, 3] and y: float
LOSSES = {
    "a penalty on a gradient": (
        "h = x -> dense(6) -> tanh -> dense(1) -> squeeze\n  g = grad(h, x)\n  loss (h - y) ** 2 + sum(g * g)"
    ),
    "contractive": (
        "c = x -> dense(3) -> sigmoid\n"
        "  loss (sum(c) - y) ** 2 + sum(grad(c[0], x) ** 2) + sum(grad(c[1], x) ** 2) + sum(grad(c[2], x) ** 2)"
    ),
    "an equation": (
        "u = x[0:1] -> dense(8) -> tanh -> dense(1) -> squeeze\n  d = grad(u, x)[0]\n  loss (d + u - y) ** 2"
    ),
    "of second order": (
        "u = x[0:2] -> dense(8) -> tanh -> dense(1) -> squeeze\n  d = grad(u, x)\n"
        "  dd = grad(d[0], x)[0] + grad(d[1], x)[1]\n  loss (dd - y) ** 2"
    ),
    "of third order": (
        "u = x -> dense(5) -> sin -> dense(1) -> squeeze\n  d = grad(u, x)[0]\n  dd = grad(d, x)[1]\n"
        "  ddd = grad(dd, x)[0]\n  loss (ddd - y) ** 2"
    ),
    "softplus": "u = x -> dense(5) -> softplus -> dense(1) -> squeeze\n  loss sum(grad(u, x) ** 2) + u * y",
    "products": (
        "A = x -> dense(16) -> reshape(4, 4)\n  u = sum(A @ A * outer(x, x))\n  loss (sum(grad(u, x)) - y) ** 2"
    ),
    "softmax": "p = x -> dense(5) -> softmax\n  u = sum(p * log(p))\n  loss sum(grad(u, x) ** 2) + y * u",
    "logsumexp": "u = logsumexp(x -> dense(5))\n  loss sum(exp(grad(u, x))) * y",
    "layernorm": "u = sum(x -> dense(6) -> layernorm -> tanh)\n  loss norm(grad(u, x)) * y",
    "a convolution": "u = im -> conv(3) -> tanh -> conv(2, stride = 2) -> sum\n  loss sum(grad(u, im) ** 2) + y * u",
    "a pool": "u = sum((im -> conv(3) -> tanh -> avgpool(2)) ** 2)\n  loss mean(grad(u, im) ** 2) + y * u",
    "a line": "u = sum((f -> conv(4) -> tanh) ** 2)\n  loss sum(grad(u, f) ** 2) * y",
    "an LSTM of known length": (
        "h = f -> lstm(4) -> last\n  u = h -> dense(1) -> squeeze\n  loss sum(grad(u, f) ** 2) + y * u"
    ),
    "a GRU of any length": (
        "h = s -> gru(4) -> last\n  u = h -> dense(1) -> squeeze\n  loss sum(grad(u, s) ** 2) + y * u"
    ),
    "attention": "u = sum(tanh(s -> self_attention(heads = 1)))\n  loss sum(grad(u, s) ** 2) * y",
    "with respect to a middle value": (
        "h = x -> dense(5) -> tanh\n  u = h -> dense(4) -> sigmoid -> dense(1) -> squeeze\n"
        "  loss sum(grad(u, h) ** 2) + y * u"
    ),
    "gelu, erf, cos": "u = sum(gelu(x -> dense(4)) * cos(x -> dense(4)))\n  loss sum(grad(u, x) ** 2) * y",
    "a square root": "u = sqrt(1 + sum((x -> dense(4)) ** 2))\n  loss (sum(grad(u, x)) - y) ** 2",
}


def text_of(statement: str) -> str:
    inputs = {"x": "float[4]", "im": "float[6, 6, 2]", "f": "float[6, 3]", "s": "float[time <= 6, 3]"}
    declared = "".join(
        f"  input {name}: {kind}\n"
        for name, kind in inputs.items()
        if f"({name}" in statement
        or f", {name})" in statement
        or f"= {name} " in statement
        or f"= {name}[" in statement
    )
    return f"model {{\n{declared}  target y: float\n  {statement}\n}}\ntrain {{\n  precision = f64\n  batch = 5\n}}\n"


def fields_of(program: netc.Program) -> dict:
    return {name: FIELDS[name] for name in (*program.model.inputs, *program.model.targets)}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_gradients_agree_with_finite_differences(name: str, backend: Backend) -> None:
    rng = np.random.default_rng(3)
    reference, *compiled = (
        run(text_of(LOSSES[name]), "reference"),
        run(text_of(LOSSES[name]), backend),
        run(text_of(LOSSES[name]), backend, threads=2),
    )
    fields = fields_of(reference)
    loss, gradients = reference.gradients(fields)
    for program in compiled:
        other, actual = program.gradients(fields)
        assert other == pytest.approx(loss, rel=1e-10)
        for key, gradient in actual.items():
            np.testing.assert_allclose(gradient, gradients[key], rtol=1e-8, atol=1e-11, err_msg=key)
    for key, gradient in gradients.items():
        for index in {tuple(int(rng.integers(0, n)) for n in gradient.shape) for _ in range(3)}:
            assert gradient[index] == pytest.approx(slope(reference, fields, key, index, 1e-5), rel=2e-5, abs=1e-7), key


def test_a_derivative_is_an_output() -> None:
    rng = np.random.default_rng(3)
    program = run(
        "model {\n  input x: float[3]\n  u = sum(x ** 3)\n  output g = grad(u, x)\n"
        "  output h = grad(sum(grad(u, x)), x)\n}\ntrain { precision = f64 }\n"
    )
    x = rng.standard_normal((4, 3))
    predicted = program.predict({"x": x})
    np.testing.assert_allclose(predicted["g"], 3 * x**2, rtol=1e-12)
    np.testing.assert_allclose(predicted["h"], 6 * x, rtol=1e-12)


KEPT = {
    "a softmax below a logarithm": ("p = softmax(x)\n  u = sum(log(p))", lambda x, p: 1 / p),
    "a sigmoid below a logarithm": ("p = sigmoid(x)\n  u = sum(log(1 - p))", lambda x, p: -1 / (1 - p)),
    "a power below a logarithm": ("p = exp(x)\n  u = sum(log(1 + p))", lambda x, p: 1 / (1 + p)),
    "a power minus one": ("p = exp(x)\n  u = sum((p - 1) ** 2)", lambda x, p: 2 * (p - 1)),
    "an equal value": ("p = exp(x)\n  q = exp(x)\n  u = sum(p * q)", lambda x, p: p),
    "a sum with nothing": ("p = x + 0\n  u = sum(p * x)", lambda x, p: x),
    "a negative number": ("p = -x\n  u = sum(-p * x)", lambda x, p: -x),
    "below a maximum": ("p = tanh(x)\n  u = max(p)", lambda x, p: (p == p.max(-1, keepdims=True)) * 1.0),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("more", ["", "  output other = dropout(x, 0.5)\n"])
def test_a_derivative_is_taken_with_respect_to_the_value_that_is_named(name: str, more: str) -> None:
    """Passes that run before derivatives are written out merge equal values and look through operations; what a
    derivative is taken with respect to stays. `dropout` makes a model differ in training, so that it is simplified."""
    statements, expected = KEPT[name]
    program = run(
        f"model {{\n  input x: float[3]\n  {statements}\n  output g = grad(u, p)\n  output p_ = p\n{more}}}\n"
        "train { precision = f64 }\n"
    )
    x = np.random.default_rng(3).standard_normal((4, 3))
    predicted = program.predict({"x": x})
    np.testing.assert_allclose(predicted["g"], expected(x, predicted["p_"]), rtol=1e-12)
