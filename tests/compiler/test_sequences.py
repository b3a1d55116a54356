"""Varying dimensions: a batch of sequences gives the results of each sequence alone.

Compiled and interpreted, and on any number of threads.
"""

import numpy as np
import pytest
from support import run, slope

import netc
from netc.compiler import pipeline
from netc.compiler.backends import Backend
from netc.runtime.data.stored import Ragged
from netc.runtime.execution.memory import footprint
from netc.runtime.execution.resources import state_layout
from netc.runtime.execution.step_cost import step_memory

LENGTHS = (4, 1, 7, 2, 5, 7, 3)
RNG = np.random.default_rng(0)
X = [RNG.standard_normal((n, 3)) for n in LENGTHS]
TOKENS = [RNG.integers(0, 5, n).astype(np.int32) for n in LENGTHS]
Y = RNG.integers(0, 4, len(LENGTHS)).astype(np.int32)
FIELDS = {"x": X, "k": TOKENS, "y": Y}

# values of each sample (float[4]) or each step (float[time, 4]), computed from h[time, 5]
FOR_A_SAMPLE = {
    "mean": "mean(h, over = time) -> dense(4)",
    "sum and length": "sum(h, over = time) / time -> dense(4)",
    "max": "max(h, over = time) -> dense(4)",
    "min": "min(h, over = 0) -> dense(4)",
    "variance": "variance(h, over = time) -> dense(4)",
    "whole variance": "variance(h) * dense(mean(h, over = time), 4)",
    "norm": "norm(h) + dense(mean(h, over = time), 4)",
    "softmax over time": "sum(h * softmax(h, over = time), over = time) -> dense(4)",
    "logsumexp": "logsumexp(h, over = time) -> dense(4)",
    "log_softmax": "mean(h * log_softmax(h, over = time), over = time) -> dense(4)",
    "ends": "h[0] - 2 * h[-1] + last(h * h) -> dense(4)",
    "a sample's own beside its steps": "sum((h - mean(h, over = time)) * h, over = time) -> dense(4)",
    "scalars beside steps": "sum(h * norm(h) + 3, over = time) -> dense(4)",
    "concat": "mean(concat(h, h * h, over = -1), over = time) -> dense(4)",
    "layernorm": "mean(h -> layernorm, over = time) -> dense(4)",
    "tokens": "mean(table[k] * h, over = time) -> dense(4)",
}
FOR_A_STEP = {
    "dense": "h -> dense(4)",
    "reverse": "h * reverse(h) -> dense(4)",
    "shift": "h + 2 * shift(h) - shift(h, first = mean(h, over = time)) -> dense(4)",
    "shifted tokens": "h * table[shift(k, first = 2)] -> dense(4)",
    "layernorm": "h -> layernorm -> dense(4)",
    "cumsum": "cumsum(h, over = time) -> dense(4)",
    "convolution": "h -> conv(4)",
    "a wide convolution": "h -> conv(6, kernel = 4, dilation = 2) -> relu -> conv(4, kernel = 1)",
}


def text_of(statement: str, loss: str) -> str:
    return (
        "model {\n  input x: float[time, 3]\n  input k: class(5)[time]\n  target y: class(4)\n"
        "  param table: float[5, 5] = normal(1)\n"
        f"  h = x -> dense(5) -> tanh\n  z = {statement}\n  output p = z\n  loss {loss}\n}}\n"
        "train {\n  precision = f64\n  batch = 7\n}\n"
    )


@pytest.mark.every(3)
@pytest.mark.parametrize("name", [*FOR_A_SAMPLE, *(f"{name}, each step" for name in FOR_A_STEP)])
def test_a_batch_gives_the_results_of_its_samples(name: str, backend: Backend) -> None:
    each_step = name.removesuffix(", each step")
    text = (
        text_of(FOR_A_SAMPLE[name], "cross_entropy(z, y)")
        if name in FOR_A_SAMPLE
        else text_of(
            FOR_A_STEP[each_step], "weighted(cross_entropy(z, k), 1 + 0 * sum(z, over = -1))".replace("k)", "one)")
        )
    )
    if name not in FOR_A_SAMPLE:
        text = text.replace("  target y: class(4)", "  target one: class(4)[time]")
    fields = {**FIELDS, "one": [tokens % 4 for tokens in TOKENS]}
    sample_fields = {key: fields[key] for key in ("x", "k", "y" if name in FOR_A_SAMPLE else "one")}
    programs = [run(text, "reference"), *(run(text, backend, threads) for threads in (1, 2, 3))]
    expected, (loss, gradients) = programs[0].predict(sample_fields)["p"], programs[0].gradients(sample_fields)
    for i in range(len(LENGTHS)):
        sample = {key: field[i : i + 1] for key, field in sample_fields.items()}
        np.testing.assert_allclose(programs[0].predict(sample)["p"][0], expected[i], rtol=1e-12, atol=1e-14)
    shares = np.array(LENGTHS if name not in FOR_A_SAMPLE else [1] * len(LENGTHS)) / (
        sum(LENGTHS) if name not in FOR_A_SAMPLE else len(LENGTHS)
    )
    alone = [
        programs[0].gradients({key: field[i : i + 1] for key, field in sample_fields.items()})
        for i in range(len(LENGTHS))
    ]
    assert loss == pytest.approx(sum(share * result[0] for share, result in zip(shares, alone, strict=True)), rel=1e-12)
    for key, gradient in gradients.items():
        expected_gradient = sum(share * result[1][key] for share, result in zip(shares, alone, strict=True))
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12, err_msg=key)
    for program in programs[1:]:
        predicted = program.predict(sample_fields)["p"]
        for array, other in zip(predicted, expected, strict=True):
            np.testing.assert_allclose(array, other, rtol=1e-10, atol=1e-12)
        for key, gradient in program.gradients(sample_fields)[1].items():
            np.testing.assert_allclose(gradient, gradients[key], rtol=1e-9, atol=1e-12, err_msg=key)
            np.testing.assert_array_equal(gradient, programs[1].gradients(sample_fields)[1][key])


def test_slices_leave_out_steps_at_the_ends() -> None:
    text = text_of(
        "(mean(square(h[1:] - h[:-1]), over = 0) + sum(h[1:-1], over = 0)) -> dense(4)", "cross_entropy(z, y)"
    )
    fields = {
        **FIELDS,
        "x": [np.concatenate([x, x[:1], x[:1] * 2]) for x in X],
        "k": [np.concatenate([k, k[:1], k[:1]]) for k in TOKENS],
    }
    reference, *compiled = run(text, "reference"), run(text), run(text, threads=2)
    cell = {name.partition("dense.")[2]: array for name, array in reference.parameters.items() if name.startswith("h.")}
    dense = {
        name.partition("dense.")[2]: array for name, array in reference.parameters.items() if name.startswith("z.")
    }
    for i, x in enumerate(fields["x"]):
        h = np.tanh(x @ cell["W"] + cell["b"])
        hidden = (np.square(h[1:] - h[:-1]).mean(0) + h[1:-1].sum(0)) @ dense["W"] + dense["b"]
        np.testing.assert_allclose(reference.predict(fields)["p"][i], hidden, rtol=1e-10)
    expected = reference.gradients(fields)[1]
    for program in compiled:
        np.testing.assert_allclose(program.predict(fields)["p"], reference.predict(fields)["p"], rtol=1e-10)
        for name, gradient in program.gradients(fields)[1].items():
            np.testing.assert_allclose(gradient, expected[name], rtol=1e-9, atol=1e-13)
    with pytest.raises(ValueError, match="too few steps"):
        reference.predict({**FIELDS, "x": [x[:1] for x in X], "k": [k[:1] for k in TOKENS]})


# computed from h[time, 4]: the results are those for a fixed length, whatever the length is
WINDOWS = (
    "maxpool(h, 3)",
    "maxpool(h, 2, stride = 1)",
    "maxpool(h, 3, stride = 2, pad = same)",
    "maxpool(h, 2, pad = 1)",
    "avgpool(h, 3, stride = 2)",
    "avgpool(h, 3, stride = 2, pad = same)",
    "avgpool(h, 3, stride = 1, pad = (1, 1))",
    "conv(h, 5, stride = 2)",
    "conv(h, 5, kernel = 4, stride = 3)",
    "conv(h, 5, kernel = 3, pad = valid)",
    "conv(h, 5, kernel = 3, pad = valid, stride = 2, dilation = 2)",
    "conv(h, 6, kernel = 3, groups = 2, stride = 2)",
    "conv(h, 6, kernel = 2, pad = (2, 0))",
    "upsample(h, 3)",
    "h -> conv(5, stride = 2) -> relu -> maxpool(2) -> upsample(2) -> lstm(3)",
    "h -> conv(5, stride = 2) -> reverse -> layernorm -> gru(3)",
    "h[:5]",
    "h[1:4]",
    "h[-3:]",
    "h[-3:-1]",
    "h[2:-2] * h[:-4]",
    "concat(h, 2 * h, over = 0) -> gru(3)",
    "concat(h[1:], g, h, over = 0) -> gru(3)",
    "concat(g[:1], h, over = 0)",
    "concat(h, ones(2, 4), over = 0) -> gru(3)",
    "concat(sum(h, over = 1), sum(g, over = 1)) -> unsqueeze -> gru(3)",
    "h[3] + h[-2]",
    "table[:time] + h",
)


@pytest.mark.every(3)
@pytest.mark.parametrize("statement", WINDOWS)
def test_windows_and_slices_agree_with_fixed_lengths(statement: str, backend: Backend) -> None:
    """Values, loss and gradients of each sequence are those of a model with its length.

    On both backends, and on any number of threads.
    """
    rng = np.random.default_rng(3)
    lengths = (7, 11, 5, 9, 6, 7)
    text = (
        "model {\n  input x: float[time <= 12, 3]\n  target y: float\n  param table: float[12, 4] = normal(1)\n"
        "  h = x -> dense(4) -> tanh\n  g = h * h\n"
        f"  z = {statement}\n  output p = z\n  loss mse(mean(square(z)), y)\n}}\ntrain {{\n  precision = f64\n"
        f"  batch = 6\n}}\n"
    )
    x, y = [rng.standard_normal((n, 3)) for n in lengths], rng.standard_normal(6)
    reference, *compiled = run(text, "reference"), *(run(text, backend, threads) for threads in (1, 2, 3))
    predicted, (loss, gradients) = reference.predict({"x": x})["p"], reference.gradients({"x": x, "y": y})
    total, sums = 0.0, {name: np.zeros_like(array) for name, array in gradients.items()}
    for i, n in enumerate(lengths):
        fixed = run(text.replace("[time <= 12, 3]", f"[{n}, 3]").replace("time", str(n)), "reference")
        for name, array in reference.parameters.items():
            fixed.parameters[name][...] = array
        np.testing.assert_allclose(predicted[i], fixed.predict({"x": x[i][None]})["p"][0], rtol=1e-10, atol=1e-12)
        sample_loss, of_sample = fixed.gradients({"x": x[i][None], "y": y[i : i + 1]})
        total += sample_loss / 6
        for name, array in of_sample.items():
            sums[name] += array / 6
    assert loss == pytest.approx(total, rel=1e-10)
    for name, array in gradients.items():
        np.testing.assert_allclose(array, sums[name], rtol=1e-9, atol=1e-12, err_msg=name)
    for program in compiled:
        for rows, other in zip(program.predict({"x": x})["p"], predicted, strict=True):
            np.testing.assert_allclose(rows, other, rtol=1e-10, atol=1e-12)
        for name, array in program.gradients({"x": x, "y": y})[1].items():
            np.testing.assert_allclose(array, gradients[name], rtol=1e-9, atol=1e-12, err_msg=name)
            np.testing.assert_array_equal(array, compiled[0].gradients({"x": x, "y": y})[1][name])


def test_a_convolution_agrees_with_that_of_fixed_lengths() -> None:
    """Sequences of equal length give the results of a model with that length."""
    rng = np.random.default_rng(3)
    statement = "{x} -> conv(4, kernel = 5) -> relu -> conv(3, kernel = 2)"
    varying = netc.parse(
        f"model {{\n  input x: float[time, 3]\n  output p = {statement.format(x='x')}\n}}\ntrain {{ precision = f64 }}"
    )
    fixed = netc.parse(
        f"model {{\n  input x: float[6, 3]\n  output p = {statement.format(x='x')}\n}}\ntrain {{ precision = f64 }}"
    )
    x = rng.standard_normal((5, 6, 3))
    first, other = netc.compile(varying), netc.compile(fixed)
    np.testing.assert_allclose(first.predict({"x": list(x)})["p"], other.predict({"x": x})["p"], rtol=1e-10)


def test_gradients_agree_with_finite_differences() -> None:
    text = text_of("sum(h * softmax(h, over = time), over = time) -> dense(4)", "cross_entropy(z, y)")
    program = run(text)
    gradient = program.gradients(FIELDS)[1]["h.dense.W"]
    for index in np.ndindex(gradient.shape):
        assert gradient[index] == pytest.approx(slope(program, FIELDS, "h.dense.W", index, 1e-6), abs=1e-8)


def test_lengths_that_do_not_fit_are_a_message() -> None:
    program = run(text_of("mean(h, over = time) -> dense(4)", "cross_entropy(z, y)"))
    two = netc.compile(
        netc.parse("model {\n  input a: float[t, 2]\n  input b: float[t, 2]\n  output y = mean(a * b)\n}")
    )
    with pytest.raises(ValueError, match="lengths differ"):
        two.predict({"a": [np.zeros((3, 2))], "b": [np.zeros((2, 2))]})
    with pytest.raises(ValueError, match="no steps"):
        program.predict({**FIELDS, "x": [np.zeros((0, 3)), *X[1:]]})


@pytest.mark.parametrize("threads", [1, 2])
def test_check_prints_the_memory_that_is_allocated(threads: int) -> None:
    rng = np.random.default_rng(3)
    text = text_of("last(h -> lstm(8)) -> dense(4)", "cross_entropy(z, y)").replace(
        "float[time, 3]", "float[time <= 9, 3]"
    )
    model = netc.parse(text)
    assert model.bounds == {"time": 9}
    kept, arenas = step_memory(model, threads, model.bounds)
    program = netc.compile(model, threads=threads)
    long = {"x": [rng.standard_normal((9, 3))] * 7, "k": [np.zeros(9, np.int32)] * 7, "y": Y}
    program.step(long)
    step = program.training({})
    assert step.plan is not None
    assert arenas == footprint(step.plan.shared) + step.members * footprint(step.plan.private)
    assert kept == footprint(state_layout(model, pipeline.training_graph(model))[2])
    program.step(FIELDS)
    assert program.training({}).plan is step.plan, "shorter samples fit into it"
    with pytest.raises(ValueError, match="time <= 9"):
        program.step({**long, "x": [rng.standard_normal((10, 3))] * 7, "k": [np.zeros(10, np.int32)] * 7})


@pytest.mark.parametrize("backend", ["cpu", "reference", "plan"])
def test_a_sequence_that_the_loss_does_not_need(backend: str) -> None:
    """The passes leave nothing that varies in the step, though the model has a sequence."""
    model = netc.parse(
        "model {\n  input x: float[3]\n  input s: float[time, 2]\n  target y: float\n  h = x -> dense(2)\n"
        "  k = s -> batchnorm\n"
        "  loss mse(sum(h), y)\n  output o = k\n}\n"
    )
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((3, 3)), "s": [rng.standard_normal((n, 2)) for n in (3, 1, 2)], "y": np.ones(3)}
    program = netc.compile(model, backend=backend)
    loss, gradients = program.gradients(fields)
    sums = (fields["x"] @ program.parameters["h.dense.W"] + program.parameters["h.dense.b"]).sum(axis=1)
    assert loss == pytest.approx(np.mean((sums - 1) ** 2), rel=1e-5)
    assert gradients["h.dense.W"].any()


@pytest.mark.parametrize("backend", ["cpu", "plan"])
def test_a_sample_may_occur_several_times_in_a_batch(backend: Backend) -> None:
    """A batch may have more rows than the longest samples of the data together (generated program 400804).

    Samples repeat in a bootstrap sample, for example.
    """
    text = (
        "model {\n  input x: float[time, 3]\n  target y: float\n  z = x -> dense(1)\n"
        "  loss mse(sum(sum(z, over = 1)), y)\n}\ntrain {\n  precision = f64\n  batch = 12\n}\n"
    )
    fields = {"x": Ragged.of([x[: n + 1] for n, x in enumerate(X[:3])], np.float64), "y": np.arange(3.0)}
    order = np.array([2] * 11 + [1] + [0, 2, 2])
    losses = [run(text, kind, threads=2).steps(fields, order, 0).values["loss"] for kind in (backend, "reference")]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_a_model_may_need_the_rows_of_a_shorter_dimension_alone() -> None:
    """Nothing has a row for each step of `time` itself (generated program 303002)."""
    text = """
model {
  input x: class(2)[time <= 5]
  h = x[:-1]
  s = scan xt in h with c = ones(1) {
    c = c
    yield c
  }
  z = s -> conv(2)
  loss square(z)
}
train { precision = f64 }
"""
    x = [np.zeros(n, np.int32) for n in (2, 5, 3)]
    losses = [run(text, backend).gradients({"x": x})[0] for backend in ("cpu", "reference")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


@pytest.mark.parametrize(
    "body", ["mean(h, over = N)", "sum(h * softmax(h, over = N), over = N)", "max(h, over = N) / N"]
)
def test_a_block_names_the_steps_of_its_argument(body: str) -> None:
    """The name that a parameter's type declares is an axis of all values along it, whatever the caller calls it."""
    model = "model {\n  input k: class(5)[time]\n  h = one_hot(k, 5)\n  output z = RESULT\n}\n"
    block = f"block tower(k: class(5)[t]) {{\n  h = one_hot(k, 5)\n  return {body.replace('N', 't')}\n}}\n"
    applied, direct = model.replace("RESULT", "tower(k)"), model.replace("RESULT", body.replace("N", "time"))
    results = [run(text, "reference").predict({"k": TOKENS})["z"] for text in (block + applied, direct)]
    np.testing.assert_array_equal(*results)
