"""Metrics of a split do not depend on the batch size, whatever mixes samples: they are those of one large batch."""

import numpy as np
import pytest

import netc

RNG = np.random.default_rng(4)
LENGTHS = (3, 1, 5, 2, 4, 2, 1)
MIXING = {
    "a softmax over the batch": "h = softmax(x, over = batch)",
    "a log-softmax over the batch": "h = log_softmax(x, over = batch)",
    "a mean that is taken off": "h = x - mean(x, over = batch)",
    "the norm of a column": "h = x / norm(x, over = batch)",
    "a maximum of all samples": "h = x - max(x, over = batch)",
    "a scan that begins with a mean": (
        "h = scan s in x with c = sum(mean(x, over = batch)) {\n  c = tanh(c + s)\n  yield c\n}"
    ),
    "a count of samples": "h = x * sum(0 * x + 1, over = batch)",
}


def text_of(statement: str, dims: str, batch: int) -> str:
    return (
        f"model {{\n  input x: float[{dims}]\n  target y: float[{dims}]\n  param w: float[4] = normal(1)\n"
        f"  {statement}\n  g = h * w\n"
        f"  loss mse(g, y)\n  loss weighted(abs(g), sigmoid(g))\n  metric mae(g, y)\n  watch inner = g\n}}\n"
        f"train {{\n  batch = {batch}\n  precision = f64\n}}\n"
    )


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("name", MIXING)
def test_operations_that_mix_samples_read_the_whole_split(name: str, batch: int) -> None:
    fields = {"x": RNG.standard_normal((7, 4)), "y": RNG.standard_normal((7, 4))}
    uncut = netc.compile(netc.parse(text_of(MIXING[name], "4", 7)), backend="reference")
    cut = netc.compile(netc.parse(text_of(MIXING[name], "4", batch)), backend="reference")
    loss, _ = uncut.gradients(fields)
    metrics = cut.evaluate(fields)
    assert metrics["loss"] == pytest.approx(loss, rel=1e-10)
    assert metrics == pytest.approx(uncut.evaluate(fields), rel=1e-10)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_operations_that_mix_steps_read_the_whole_split(backend: str) -> None:
    """After a mean over all steps of all samples, a recurrence needs the tables of the rows of the whole split."""
    statement = "h = x - mean(x, over = batch) -> gru(4)"
    fields = {name: [RNG.standard_normal((n, 4)) for n in LENGTHS] for name in ("x", "y")}
    uncut = netc.compile(netc.parse(text_of(statement, "time, 4", 7)), backend="reference")
    cut = netc.compile(netc.parse(text_of(statement, "time, 4", 3)), backend=backend)
    loss, _ = uncut.gradients(fields)
    assert cut.evaluate(fields)["loss"] == pytest.approx(loss, rel=1e-10)
    assert cut.evaluate(fields) == pytest.approx(uncut.evaluate(fields), rel=1e-10)


def test_random_values_without_rows() -> None:
    """They are drawn once for the whole split."""
    text = (
        "model {\n  input x: float[4]\n  target y: float[3]\n  h = x -> dense(3)\n"
        "  g = h + normal_like(mean(h, over = batch))\n"
        "  loss mse(g, y)\n}\ntrain {\n  batch = BATCH\n  precision = f64\n}\n"
    )
    fields = {"x": RNG.standard_normal((6, 4)), "y": RNG.standard_normal((6, 3))}
    metrics = [
        netc.compile(netc.parse(text.replace("BATCH", str(batch))), seed=3, backend=backend).evaluate(fields)["loss"]
        for batch in (2, 4, 6)
        for backend in ("cpu", "reference")
    ]
    assert metrics == pytest.approx([metrics[0]] * 6, rel=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_metric_that_needs_only_lengths(backend: str) -> None:
    """No value in the part for the whole split varies, but it needs the length of each sample."""
    text = (
        "model {\n  input x: class(3)[time <= 4]\n  target y: class(3)[words <= 4]\n  metric edit_distance(x, y)\n}\n"
    )
    fields = {"x": [np.array([0, 1, 2]), np.array([1])], "y": [np.array([0, 2]), np.array([1, 1, 1, 0])]}
    program = netc.compile(netc.parse(text), backend=backend, batch=1)
    assert program.evaluate(fields) == {"edit_distance": pytest.approx((1 + 3) / 2)}
