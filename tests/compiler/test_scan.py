"""Recurrences.

Compiled code is compared with the interpreter, a batch with each sequence alone, gradients with finite differences, and
the library's layers with PyTorch.
"""

from typing import Literal

import numpy as np
import pytest
from support import run

import netc
from netc.compiler.backends import Backend
from netc.compiler.ir.roles import Role
from netc.compiler.operations.scan import Scan
from netc.compiler.pipeline import run_passes, training_graph
from netc.compiler.targets.named import machine_for
from netc.dsl.structs import replace

LENGTHS = (4, 1, 7, 2, 5, 7, 3)
RNG = np.random.default_rng(1)
X = [RNG.standard_normal((n, 3)) for n in LENGTHS]
V = RNG.standard_normal((len(LENGTHS), 4))
Y = RNG.standard_normal((len(LENGTHS), 4))
F = RNG.standard_normal((len(LENGTHS), 6, 3))
FIELDS = {"x": X, "v": V, "y": Y, "f": F}

# values float[4] of each sample, computed from x: float[time, 3], f: float[6, 3] and v: float[4]
MODELS = {
    "rnn": "last(x -> rnn(4))",
    "lstm": "last(x -> lstm(4))",
    "gru": "last(x -> gru(4))",
    "peepholes": "last(x -> lstm_peephole(4))",
    "normalised": "last(x -> lstm_layernorm(4))",
    "all states": "mean(x -> lstm(4), over = time)",
    "stacked": "last(x -> lstm(5) -> gru(4))",
    "bidirectional": "mean(x -> bidirectional(gru(2)), over = time)",
    "states from outside": "last(x -> gru(4, h0 = v))",
    "of known length": "mean(f -> lstm(4), over = 0)",
    "of known length, its last": "last(f -> gru(4)) + last(x -> rnn(4))",
    "stacked, of known length": "f -> lstm(5) -> rnn(4) -> last",
    "reversed": "last(reverse(x) -> gru(4))",
    "cells": "last(cells(x))",
    "a running sum": "last(running(x)) -> dense(4)",
    "two carries change places": "last(turning(x)) -> dense(4)",
    "a sample's own at each step": "last(pulled(x, v))",
    "a sample's own times a parameter": "last(led(x, v))",
    "a sample's own alone times a parameter": "led_alone(v)",
    "two sequences": "last(both(x, x * x)) -> dense(4)",
    "counted": "counted(v) -> dense(4)",
    "a weight per step": "last(weighed(x))",
    "no carry": "mean(each(x), over = time)",
    "a layer in a scan": "last(layered(x))",
    "carry yielded as it was": "sum(before(x), over = time)",
    "of single numbers": "last(x -> dense(1) -> lstm(64)) -> dense(4)",
    "matrices of a sample, summed": "last(matrices(x)) -> dense(4)",
    "linear attention": "last(attending(x)) -> dense(4)",
    "a scan in a scan, counted": "last(rounds(x)) -> dense(4)",
    "a scan in a scan, over parts": "last(parts(x)) -> dense(4)",
}
BLOCKS = """
block matrices(x: float[t, n]) {
  param A: float[n, 5] = uniform(0.1, 1)
  param B: float[5] = normal(0.5)
  param C: float[n, 5] = normal(0.5)
  hs = scan xt in x with s = zeros(n, 5) {
    s = exp(-A) * s + unsqueeze(xt) * B
    yield sum(s * C, over = -1)
  }
  return hs
}
block attending(x: float[t, n]) {
  k = x -> dense(2)
  q = x -> dense(2)
  hs = scan xt, kt, qt in x, k, q with s = zeros(2, n) {
    s = 0.9 * s + unsqueeze(kt) * unsqueeze(xt, 0)
    yield qt @ s
  }
  return hs
}
block cells(x: float[t, n]) {
  h, c = x -> lstm(4)
  return c * h
}
block running(x: float[t, n]) {
  s = scan xt in x with a = zeros(n) {
    a = a + xt * xt
    yield a
  }
  return s
}
block turning(x: float[t, n]) {
  s = scan xt in x with a = zeros(n), b = ones(n) {
    a, b = swap(a, b)
    a = a + xt
    yield a * b + a
  }
  return s
}
block swap(a: float[n], b: float[n]) {
  return b, a
}
block pulled(x: float[t, n], goal: float[m]) {
  param U: float[m, m] = orthogonal
  param W: float[n, m] = glorot_uniform
  s = scan xt in x with h = goal / 2 {
    h = tanh(xt @ W + h @ U + goal) * goal
    yield h
  }
  return s
}
block led(x: float[t, n], goal: float[m]) {
  param U: float[m, m] = orthogonal
  param W: float[n, m] = glorot_uniform
  s = scan xt in x with h = zeros(m) {
    h = tanh(xt @ W + goal @ U + h)
    yield h
  }
  return s
}
block led_alone(v: float[n]) {
  param U: float[n, n] = orthogonal
  s = scan i in 1..4 {
    yield v @ U
  }
  return sum(s, over = 0)
}
block both(x: float[t, n], z: float[t, n]) {
  s = scan xt, zt in x, z with a = zeros(n) {
    a = tanh(a * zt + xt)
    yield a
  }
  return s
}
block counted(v: float[n]) {
  s = scan i in 1..5 with h = v {
    h = tanh(h / i + v)
    yield h
  }
  return last(s)
}
block weighed(x: float[t, n]) {
  param U: float[4, 4] = orthogonal
  param W: float[n, 4] = glorot_uniform
  param g: float[4] = ones
  s = scan xt in x with h = zeros(4) {
    h = tanh(xt @ W + (h @ U) * tanh(g)) / (1 + g * g)
    yield h
  }
  return s
}
block each(x: float[t, n]) {
  param W: float[n, 4] = glorot_uniform
  s = scan xt in x {
    yield tanh(xt @ W)
  }
  return s
}
block layered(x: float[t, n]) {
  layer f = dense(4)
  layer g = dense(4)
  s = scan xt in x with h = zeros(4) {
    h = tanh(f(xt) + g(h))
    yield h
  }
  return s
}
block rounds(x: float[t, n]) {
  param U: float[n, n] = orthogonal
  hs = scan xt in x with h = zeros(n) {
    all = scan i in 1..4 with a = h {
      a = tanh(a @ U + xt / i)
      yield a
    }
    h = all[-1] + 0.1 * mean(all, over = 0)
    yield h
  }
  return hs
}
block parts(x: float[t, n]) {
  layer f = dense(2)
  hs = scan xt in x with h = ones(2) {
    all = scan p in unsqueeze(xt) with a = h, k = 0 {
      a = tanh(f(concat(a, p)))
      k = k + 1
      yield a * k
    }
    h = last(all)
    yield h
  }
  return hs
}
block before(x: float[t, n]) {
  param W: float[n, 4] = glorot_uniform
  s = scan xt in x with h = ones(4) {
    old = h
    h = tanh(xt @ W - h)
    yield old
  }
  return s
}
"""


def text_of(statement: str) -> str:
    return (
        f"{BLOCKS}\nmodel {{\n  input x: float[time, 3]\n  input f: float[6, 3]\n  input v: float[4]\n"
        "  target y: float[4]\n"
        f"  w = v * 2\n  z = {statement}\n  output p = z\n  loss mse(z, y)\n}}\n"
        "train {\n  precision = f64\n  batch = 7\n  optimizer = sgd(lr = 0.1)\n}\n"
    )


DRAWN = """
model {
  input x: float[time, 3]
  target y: float[4]
  param W: float[3, 4]
  param U: float[4, 4]
  hs = scan xt in x with h = zeros(4) {
    h = tanh(dropout(xt @ W, 0.3) + dropout(h, 0.5) @ U) + 0.1 * normal_like(h) if training else tanh(xt @ W + h @ U)
    yield h
  }
  output p = last(hs)
  loss mse(last(hs), y)
}
train {
  precision = f64
  batch = 7
}
"""


def test_random_values_are_drawn_anew_at_each_step() -> None:
    programs = [run(DRAWN, "reference"), run(DRAWN), run(DRAWN, threads=2)]
    parameters, fields = programs[0].parameters, {"x": X, "y": Y}
    for i, x in enumerate(X):  # prediction draws no random numbers
        h = np.zeros(4)
        for step in x:
            h = np.tanh(step @ parameters["W"] + h @ parameters["U"])
        for program in programs:
            np.testing.assert_allclose(program.predict({"x": X})["p"][i], h, rtol=1e-10)
    loss, gradients = programs[0].gradients(fields)
    for program in programs[1:]:
        other, actual = program.gradients(fields)
        assert other == pytest.approx(loss, rel=1e-12)
        for name, gradient in actual.items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=1e-9, atol=1e-13)
    still = programs[0].gradients({"x": [np.zeros((1, 3))] * 7, "y": Y * 0})[0]
    long = programs[0].gradients({"x": [np.zeros((40, 3))] * 7, "y": Y * 0})[0]
    assert 0 < still < 0.05, "noise of one step"
    assert long != still


@pytest.mark.every(3)
@pytest.mark.parametrize("name", MODELS)
def test_a_recurrence_on_both_backends_and_for_each_sample_alone(name: str, backend: Backend) -> None:
    text = text_of(MODELS[name])
    reference, *compiled = run(text, "reference"), *(run(text, backend, threads) for threads in (1, 2, 3))
    names = {key: FIELDS[key] for key in (*reference.model.inputs, *reference.model.targets)}
    expected, (loss, gradients) = reference.predict(names)["p"], reference.gradients(names, wrt=("v", "f"))
    alone = [{key: field[i : i + 1] for key, field in names.items()} for i in range(len(LENGTHS))]
    for i, sample in enumerate(alone):
        np.testing.assert_allclose(reference.predict(sample)["p"][0], expected[i], rtol=1e-12, atol=1e-14)
    parts = [reference.gradients(sample) for sample in alone]
    assert loss == pytest.approx(np.mean([part[0] for part in parts]), rel=1e-12)
    for key in reference.model.parameters:
        mean_gradient = np.mean([part[1][key] for part in parts], axis=0)
        np.testing.assert_allclose(gradients[key], mean_gradient, rtol=1e-9, atol=1e-12, err_msg=key)
    first = compiled[0].gradients(names, wrt=("v", "f"))[1]
    for program in compiled:
        np.testing.assert_allclose(program.predict(names)["p"], expected, rtol=1e-10, atol=1e-13)
        for key, gradient in program.gradients(names, wrt=("v", "f"))[1].items():
            np.testing.assert_allclose(gradient, gradients[key], rtol=1e-9, atol=1e-12, err_msg=key)
            np.testing.assert_array_equal(gradient, first[key])
    rng = np.random.default_rng(0)
    for key, parameter in reference.parameters.items():
        direction, sides = rng.standard_normal(parameter.shape), []
        for step in (1e-6, -2e-6):
            parameter += step * direction
            sides.append(reference.gradients(names)[0])
        parameter += 1e-6 * direction
        slope = (sides[0] - sides[1]) / 2e-6
        assert float((gradients[key] * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-8), key


def test_two_dimensions_that_rank_samples_differently() -> None:
    """A scan along each of them. One begins with the result of the other, and both read a value of the sample."""
    text = (
        "model {\n  input a: float[s, 3]\n  input b: float[t, 2]\n  target y: float[4]\n  c = last(a -> gru(4))\n"
        "  z = last(b -> gru(4, h0 = c)) + c + mean(b -> reverse -> lstm(4), over = t) + last(a -> rnn(4, h0 = c))"
        " + last(pull(b, c))\n"
        "  output p = z\n  loss mse(z, y)\n}\nblock pull(x: float[t, n], goal: float[m]) {\n"
        "  param W: float[n, m] = glorot_uniform\n"
        "  s = scan xt in x with h = goal {\n    h = tanh(xt @ W + h * goal)\n    yield h\n  }\n  return s\n}\n"
        "train {\n  precision = f64\n  batch = 6\n}\n"
    )
    rng = np.random.default_rng(0)
    a = [rng.standard_normal((n, 3)) for n in (3, 1, 5, 2, 4, 2)]
    b = [rng.standard_normal((n, 2)) for n in (2, 6, 1, 3, 3, 7)]
    fields = {"a": a, "b": b, "y": rng.standard_normal((6, 4))}
    reference, *compiled = run(text, "reference"), run(text), run(text, threads=2), run(text, threads=8)
    expected, gradients = reference.predict(fields)["p"], reference.gradients(fields)[1]
    for i in range(6):
        alone = reference.predict({name: field[i : i + 1] for name, field in fields.items()})["p"][0]
        np.testing.assert_allclose(alone, expected[i], rtol=1e-12)
    first = compiled[0].gradients(fields)[1]
    for program in compiled:
        np.testing.assert_allclose(program.predict(fields)["p"], expected, rtol=1e-10)
        for name, gradient in program.gradients(fields)[1].items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=1e-9, atol=1e-13, err_msg=name)
            np.testing.assert_array_equal(gradient, first[name])


@pytest.mark.parametrize("threads", [1, 2])
def test_training_steps_agree_with_the_interpreter(threads: int) -> None:
    text = text_of(MODELS["stacked"])
    reference, compiled = run(text, "reference"), run(text, threads=threads)
    names = {key: FIELDS[key] for key in (*reference.model.inputs, *reference.model.targets)}
    short = {key: field[2:5] for key, field in names.items()}
    for fields in (names, short, names):
        assert compiled.step(fields)["loss"] == pytest.approx(reference.step(fields)["loss"], rel=1e-12)
    for key, parameter in reference.parameters.items():
        np.testing.assert_allclose(compiled.parameters[key], parameter, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_agree_with_pytorch(layer: str) -> None:
    torch = pytest.importorskip("torch")
    program = run(text_of(f"last(x -> {layer.lower()}(4))"))
    parameters = {name.rpartition(".")[2]: array for name, array in program.parameters.items()}
    theirs = getattr(torch.nn, layer)(3, 4, dtype=torch.float64)
    order = {"LSTM": (0, 1, 2, 3), "GRU": (0, 1, 2), "RNN": (0,)}[layer]

    def columns(array: np.ndarray) -> "torch.Tensor":
        parts = np.split(array, len(order), axis=-1)
        return torch.tensor(np.concatenate([parts[i] for i in order], axis=-1).T.copy())

    with torch.no_grad():
        theirs.weight_ih_l0.copy_(columns(parameters["W"]))
        theirs.weight_hh_l0.copy_(columns(parameters["U"]))
        theirs.bias_ih_l0.copy_(columns(parameters["b"]))
        theirs.bias_hh_l0.copy_(columns(parameters["c"]) if "c" in parameters else torch.zeros(4 * len(order)))
    loss = 0
    ends = []
    for i, x in enumerate(X):
        states, _ = theirs(torch.tensor(x)[:, None])
        ends.append(states[-1, 0].detach().numpy())
        loss = loss + ((states[-1, 0] - torch.tensor(Y[i])) ** 2).mean() / len(X)
    loss.backward()
    np.testing.assert_allclose(program.predict(FIELDS)["p"], ends, atol=1e-9)
    actual, gradients = program.gradients(FIELDS)
    assert actual == pytest.approx(loss.item(), abs=1e-12)
    mine = {name.rpartition(".")[2]: array for name, array in gradients.items()}
    for name, other in (
        ("W", theirs.weight_ih_l0),
        ("U", theirs.weight_hh_l0),
        ("b", theirs.bias_ih_l0),
        ("c", theirs.bias_hh_l0),
    ):
        if name in mine:
            np.testing.assert_allclose(columns(mine[name]).numpy(), other.grad.numpy(), atol=1e-9, err_msg=name)


def test_a_layer_after_a_scan_is_named_after_its_statement() -> None:
    """It is not named after the last statement of the scan's body. Values of the body are not values of the model."""
    model = netc.parse("""model {
  input x: float[time, 2]
  total = last(scan xt in x with h = zeros(2) {
    h = tanh(h + xt)
    yield h
  }) -> dense(1)
  output y = total
}
""")
    assert [*model.parameters] == ["total.dense.W", "total.dense.b"]
    assert [*model.values] == ["y", "total"]


@pytest.mark.parametrize("backend", ["plan", "cpu"])
def test_passes_may_drop_the_reader_of_a_yielded_value(backend: Literal["plan", "cpu"]) -> None:
    """The derivative of a constant carry by `h` is 0.

    Nothing then reads the values of the derivative's scan (generated program 200006).
    """
    model = netc.parse("""
block attend(h: float[time, 3]) {
  s = scan xt in h with a = 0.5 {
    a = tanh(a ** 3)
    b = tanh(xt)
    yield b
  }
  return s -> self_attention
}
model {
  input x: float[time <= 9, 3]
  h = attend(x)
  s, n = scan xt in h with a = zeros(5), k = 0, b = zeros(3) {
    a = tanh(a + k)
    k = k
    b = tanh(b + xt)
    yield b, k
  }
  loss tanh(grad(n, h))
}
""")
    fields = {"x": X[:3]}
    loss, gradients = netc.compile(model, backend=backend, seed=0).gradients(fields)
    expected_loss, expected = netc.compile(model, backend="reference", seed=0).gradients(fields)
    assert loss == expected_loss
    for name, gradient in expected.items():
        np.testing.assert_array_equal(gradients[name], gradient)


@pytest.mark.parametrize(("precision", "units", "panels"), [("f32", 512, 16), ("f64", 512, 16), ("f32", 530, 17)])
def test_large_weights_of_a_scan_are_read_in_panels(precision: str, units: int, panels: int) -> None:
    """Forwards and backwards, on one and two threads, with the numbers of the interpreter."""
    text = (
        "model {\n  input x: float[time, 8]\n  target y: float\n"
        f"  z = last(x -> rnn({units})) -> dense(1) -> squeeze\n"
        f"  loss mse(z, y)\n}}\ntrain {{\n  optimizer = sgd(0.1)\n  batch = 4\n  precision = {precision}\n}}\n"
    )
    graph = run_passes(training_graph(netc.parse(text)))
    bodies = [Scan.of(value).body for value in graph.values(Role.SCAN)]
    assert [product.type.dims for body in bodies for product in body.values(Role.CONTRACTION)] == [
        ("batch", panels, 32),
        ("batch", panels, 32),
    ]
    fields = {"x": [np.random.default_rng(n).standard_normal((n, 8)) for n in (3, 1, 4, 2)], "y": np.ones(4)}
    losses = [
        [program.step(fields)["loss"] for _ in range(3)]
        for program in (
            netc.compile(netc.parse(text), backend="reference"),
            *(netc.compile(netc.parse(text), threads=threads) for threads in (1, 2)),
        )
    ]
    assert losses[1] == losses[2]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4 if precision == "f32" else 1e-11)


@pytest.mark.parametrize(("units", "panels"), [(64, 2), (50, 2), (33, 0)])
def test_rounded_weights_of_a_scan_are_read_in_pairs(units: int, panels: int) -> None:
    """Forwards and backwards, if their depth is even: with the numbers of the interpreter, on any number of threads and
    whether or not the machine multiplies pairs. A weight is copied once, not by the products of each step."""
    text = (
        "model {\n  input x: float[time, 8]\n  target y: float\n"
        f"  z = last(x -> rnn({units})) -> dense(1) -> squeeze\n"
        "  loss mse(z, y)\n}\ntrain {\n  optimizer = sgd(0.1)\n  batch = 4\n  precision = bf16\n}\n"
    )
    graph = run_passes(training_graph(netc.parse(text)))
    bodies = [Scan.of(value).body for value in graph.values(Role.SCAN)]
    dims = [product.type.dims for body in bodies for product in body.values(Role.CONTRACTION)]
    assert dims == [("batch", panels, 32) if panels else ("batch", units)] * 2
    fields = {"x": [np.random.default_rng(n).standard_normal((n, 8)) for n in (3, 1, 4, 2)], "y": np.ones(4)}
    expected = netc.compile(netc.parse(text), backend="reference").gradients(fields)[1]
    for has_pairs, has_tiles in ((False, False), (True, False), (True, True)):
        machine = replace(machine_for(), has_pairs=has_pairs, has_tiles=has_tiles)
        of_threads = [
            netc.Program(netc.parse(text), backend=backend, threads=threads, machine=machine).gradients(fields)
            for backend, threads in (("cpu", 1), ("cpu", 2), ("plan", 2))
        ]
        assert of_threads[0][0] == of_threads[1][0]
        for name, gradient in expected.items():
            np.testing.assert_array_equal(of_threads[0][1][name], of_threads[1][1][name])
            for _, gradients in of_threads:
                np.testing.assert_allclose(gradients[name], gradient, rtol=0.02, atol=2e-3, err_msg=name)
