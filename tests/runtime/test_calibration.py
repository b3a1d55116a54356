"""Quantile loss, temperature, calibration error and conformal quantile, against formulas in NumPy and scikit-learn."""

import math
from typing import Any

import numpy as np
import pytest
from support import slope

import netc
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.operations.calibration import least_samples, reliability, temperature
from netc.runtime.data.stored import Array

QUANTILES = """model {
  input x: float[3]
  target y: float
  target v: float[2]
  z = x -> dense(3)
  w = x -> dense(1) -> squeeze
  u = x -> dense(2)
  output three = z
  output single = w
  output pair = u
  loss three = pinball(z, y, [0.05, 0.5, 0.95])
  loss single = pinball(w, y, 0.9)
  loss pair = pinball(u, v)
}
train { precision = f64 }
"""


def pinball(predicted: Array, true: Array, level: float) -> float:
    error = true - predicted
    return float(np.where(error > 0, level * error, (level - 1) * error).mean())


def random_fields(count: int = 30) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    x, y, v = (rng.standard_normal(shape) for shape in ((count, 3), count, (count, 2)))
    return {"x": x, "y": y, "v": v}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_the_quantile_loss_is_that_of_its_formula(backend: Any) -> None:
    program, fields = netc.compile(netc.parse(QUANTILES), backend=backend), random_fields()
    outputs, losses = program.predict({"x": fields["x"]}), program.evaluate(fields)
    three = [pinball(outputs["three"][:, i], fields["y"], level) for i, level in enumerate((0.05, 0.5, 0.95))]
    assert losses["three"] == pytest.approx(np.mean(three), rel=1e-12)
    assert losses["single"] == pytest.approx(pinball(outputs["single"], fields["y"], 0.9), rel=1e-12)
    assert losses["pair"] == pytest.approx(np.abs(outputs["pair"] - fields["v"]).mean() / 2, rel=1e-12)
    gradients = program.gradients(fields)[1]
    for name, gradient in gradients.items():
        for index in ((0,) * gradient.ndim, tuple(size - 1 for size in gradient.shape)):
            assert gradient[index] == pytest.approx(slope(program, fields, name, index, 1e-6), rel=1e-5, abs=1e-9)


def test_the_quantile_loss_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    program, fields = netc.compile(netc.parse(QUANTILES), backend="reference"), random_fields()
    predicted = program.predict({"x": fields["x"]})["single"]
    expected = metrics.mean_pinball_loss(fields["y"], predicted, alpha=0.9)
    assert program.evaluate(fields)["single"] == pytest.approx(expected, rel=1e-12)


def log_loss(logits: Array, labels: Array, temperature: float) -> float:
    """The mean negative log-likelihood of labels with a share of 1 / (n + 2) for the other classes."""
    z = logits / temperature
    logp = (
        z - np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)) - z.max(axis=1, keepdims=True)
    )
    of_label, others = logp[np.arange(len(z)), labels], 1 / (len(z) + 2)
    rest = (logp.sum(axis=1) - of_label) / (z.shape[1] - 1)
    return -float(((1 - others) * of_label + others * rest).mean())


@pytest.mark.parametrize(("scale", "classes"), [(0.3, 3), (1.0, 2), (5.0, 3), (20.0, 10)])
def test_the_temperature_has_the_least_log_loss(scale: float, classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits = rng.standard_normal((400, classes))
    labels = np.array([rng.choice(classes, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    best = temperature(scale * logits, labels)
    assert best == pytest.approx(scale, rel=0.3)
    for other in (best * 0.999, best * 1.001):
        assert log_loss(scale * logits, labels, best) < log_loss(scale * logits, labels, other)
    assert temperature(3 * scale * logits, labels) == pytest.approx(3 * best, rel=1e-9)
    if classes == 2:  # one logit is the difference of two
        single = temperature(scale * (logits[:, 1] - logits[:, 0]), labels.astype(np.float64))
        assert single == pytest.approx(best, rel=1e-9)


def test_the_temperature_minimises_scikit_learns_log_loss_up_to_the_correction() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    logits = 4 * rng.standard_normal((20_000, 3))
    labels = np.array([rng.choice(3, p=np.exp(row / 4) / np.exp(row / 4).sum()) for row in logits])

    def loss(value: float) -> float:
        p = np.exp(logits / value - logits.max(axis=1, keepdims=True) / value)
        return float(metrics.log_loss(labels, p / p.sum(axis=1, keepdims=True)))

    grid = np.linspace(3.5, 4.5, 201)
    assert temperature(logits, labels) == pytest.approx(grid[np.argmin([loss(value) for value in grid])], abs=0.01)


def test_a_temperature_stays_in_bounds() -> None:
    """If all samples are right it is above 0, if all are wrong the highest; equal logits have none."""
    logits, labels = np.array([[3.0, 0.0], [0.0, 2.0]]), np.array([0, 1])
    assert 0.1 < temperature(np.tile(logits, (20, 1)), np.tile(labels, 20)) < 1
    assert temperature(logits, 1 - labels) == pytest.approx(100, rel=1e-6)
    assert math.isfinite(temperature(np.zeros((4, 2)), np.array([0, 1, 1, 0])))


def test_the_calibration_error_of_bins_that_are_easily_counted() -> None:
    error = OPERATIONS["calibration_error"].reference
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 1])
    # bins of a tenth: 0.9 is right; 0.8 is wrong; 0.6 and 0.55 are both right, in one bin
    assert error(p, labels, 10) == pytest.approx((0.1 + 0.8 + 2 * abs(1 - 0.575)) / 4)
    assert error(p, labels, 1) == pytest.approx(abs(0.75 - 0.7125))
    assert error(np.array([0.2, 0.3, 0.9]), np.array([0.0, 1.0, 1.0]), 2) == pytest.approx((2 * 0.25 + 0.1) / 3)
    assert error(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 15) == 0


def test_the_calibration_curve_is_that_of_scikit_learn() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(1)
    p = rng.uniform(size=1000)
    y = (rng.uniform(size=1000) < p**2).astype(np.float64)
    true, mean = calibration.calibration_curve(y, p, n_bins=15)
    curve = reliability(p, y, 15)
    np.testing.assert_allclose(curve.accuracy, true, rtol=1e-12)
    np.testing.assert_allclose(curve.confidence, mean, rtol=1e-12)


def test_the_conformal_quantile_has_the_rank_of_split_conformal_prediction() -> None:
    quantile = OPERATIONS["conformal_quantile"].reference
    scores = np.random.default_rng(0).permutation(99).astype(np.float64)
    assert quantile(scores, 0.9) == 89  # rank 90 of the scores 0 ... 98
    assert quantile(scores, 0.99) == 98
    assert quantile(scores[:98], 0.99) == np.inf
    assert [least_samples(level) for level in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        count = least_samples(level)
        assert np.isfinite(quantile(scores[:count], level))
        assert quantile(scores[: count - 1], level) == np.inf or count == 1
    pairs = np.stack([scores, scores[::-1] + 1], axis=1)
    np.testing.assert_array_equal(quantile(pairs, 0.9), [89, 90])
