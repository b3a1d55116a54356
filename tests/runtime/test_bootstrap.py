"""Bootstrap intervals of metrics: percentiles of resamples, the same bits every time, near what theory says."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, command

import netc
from netc.compiler.operations.metrics import area_under_curve
from netc.runtime.inference.bootstrap import Resampling
from netc.runtime.random import generator

TEXT = """model {
  input x: float[3]
  target y: float
  target k: class(3)
  z = x -> dense(1) -> squeeze
  logits = x -> dense(3)
  output guess = z
  loss mse(z, y)
  loss kind = weighted(cross_entropy(logits, k), 1 + x[0] ** 2)
  loss small = 0.01 * l2(weights("*.W"))
  metric mae(z, y)
  metric rmse(z, y)
  metric r2(z, y)
  metric accuracy(logits, k)
  metric f1(logits, k)
  metric auc(logits, k)
  metric confusion(logits, k)
  metric far = max(abs(z - y), over = batch)
  watch z = z
}
train { precision = f64 }
"""


def fields_of(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((count, 3))
    return {"x": x, "y": x[:, 0] + rng.standard_normal(count), "k": rng.integers(0, 3, count).astype(np.int32)}


def test_an_interval_has_the_percentiles_of_the_metrics_of_resamples() -> None:
    """Every metric of each resample is that of a call with the resampled samples."""
    program, fields = netc.compile(netc.parse(TEXT), backend="reference", batch=200), fields_of(60)
    metrics, intervals = program.evaluate_with_intervals(fields)
    assert metrics == program.evaluate(fields)
    resampling = Resampling(60, 60, 1000)
    orders = [*resampling.orders(generator(program.seed, "bootstrap"))]
    again = [program.evaluate({name: array[order] for name, array in fields.items()}) for order in orders[:40]]
    assert set(intervals) == {"mse", "kind", "loss", "mae", "rmse", "r2", "accuracy", "f1", "auc", "far"}
    for name in intervals:
        resampled = [row[name] for row in again]
        low, high = intervals[name]
        assert low < metrics[name] <= high
        assert np.mean([low <= value <= high for value in resampled]) > 0.8
        if name == "mae":
            errors = np.abs(program.predict({"x": fields["x"]})["guess"] - fields["y"])
            means = [errors[order].mean() for order in orders]
            np.testing.assert_allclose(resampled, means[:40], rtol=1e-12)
            np.testing.assert_allclose((low, high), np.quantile(means, (0.025, 0.975)), rtol=1e-12)


def test_intervals_have_the_same_bits_each_time_and_on_any_number_of_threads() -> None:
    results = []
    for threads in (1, 2, 1):
        program = netc.compile(netc.parse(TEXT), threads=threads, batch=16)
        results.append(program.evaluate_with_intervals(fields_of(100)))
    assert results[0] == results[1] == results[2]


def test_an_interval_of_many_samples_is_that_of_the_standard_error() -> None:
    """Of 40,000 samples a resample has 10,000, and its deviations count half."""
    program, fields = netc.compile(netc.parse(TEXT), batch=1000), fields_of(40_000)
    metrics, intervals = program.evaluate_with_intervals(fields)
    errors = np.abs(program.predict({"x": fields["x"]})["guess"] - fields["y"])
    half = 1.96 * errors.std() / math.sqrt(len(errors))
    np.testing.assert_allclose(
        intervals["mae"], (metrics["mae"] - half, metrics["mae"] + half), rtol=0, atol=0.2 * half
    )


def test_resamples_are_fewer_if_they_are_large() -> None:
    def resampling(count: int, columns: int) -> Resampling:
        return Resampling.of(count, {"0": np.zeros((count, columns), np.float32)})

    assert resampling(100, 5) == Resampling(100, 100, 1000)
    assert resampling(10_000, 40) == Resampling(10_000, 10_000, 100)
    assert resampling(1_000_000, 8) == Resampling(1_000_000, 10_000, 500)


def test_a_metric_without_a_value_has_no_interval() -> None:
    resampling = Resampling(10, 10, 3)
    assert resampling.interval(math.nan, [1.0, 2.0, 3.0]) is None
    assert resampling.interval(1.0, [math.nan] * 3) is None
    assert resampling.interval(1.0, [math.nan, 2.0, 2.0]) == (2.0, 2.0)


def test_sequences_are_resampled_as_a_whole() -> None:
    text = """model {
  input x: float[time, 2]
  target y: float[time]
  z = x -> dense(1) -> squeeze
  output guess = z
  loss mse(z, y)
  metric rmse(z, y)
}
train { precision = f64 }
"""
    program, rng = netc.compile(netc.parse(text), backend="reference"), np.random.default_rng(0)
    lengths = rng.integers(1, 9, 30)
    x, y = [rng.standard_normal((n, 2)) for n in lengths], [rng.standard_normal(n) for n in lengths]
    metrics, intervals = program.evaluate_with_intervals({"x": x, "y": y})
    errors = [(guess - true) ** 2 for guess, true in zip(program.predict({"x": x})["guess"], y, strict=True)]
    orders = Resampling(30, 30, 1000).orders(generator(program.seed, "bootstrap"))
    means = [np.concatenate([errors[i] for i in order]).mean() for order in orders]
    assert metrics["rmse"] == pytest.approx(math.sqrt(np.concatenate(errors).mean()))
    np.testing.assert_allclose(intervals["loss"], np.quantile(means, (0.025, 0.975)), rtol=1e-9)
    np.testing.assert_allclose(intervals["rmse"], np.quantile(np.sqrt(means), (0.025, 0.975)), rtol=1e-9)


def test_the_area_under_the_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, (40, 2)).astype(np.float64), rng.integers(0, 2, (40, 2))
    for column, area in enumerate(area_under_curve(scores, positive, (0,))):
        high, low = (scores[positive[:, column] == side, column] for side in (1, 0))
        pairs = (high[:, None] > low).sum() + 0.5 * (high[:, None] == low).sum()
        assert area == pairs / (len(high) * len(low))
    assert np.isnan(area_under_curve(scores, np.ones((40, 2)), (0,))).all()


def test_commands_print_intervals(tmp_path: Path) -> None:
    run = netc.train(netc.load(ROOT / "examples" / "iris.net"), out=tmp_path / "iris", epochs=3)
    metrics, intervals = run.evaluate_with_intervals("test")
    low, high = (f"{number:.4g}" for number in intervals["accuracy"])
    line = command("eval", run.folder, cwd=tmp_path).stdout
    assert f"accuracy {metrics['accuracy']:.4g} [{low}, {high}]" in line
    assert "[" not in command("eval", run.folder, "--no-intervals", cwd=tmp_path).stdout.splitlines()[0]
    shown = json.loads(command("eval", run.folder, "--json", cwd=tmp_path).stdout)
    assert shown["intervals"]["loss"] == list(intervals["loss"])
    assert "intervals" not in json.loads(command("eval", run.folder, "--json", "--no-intervals", cwd=tmp_path).stdout)
    done = command("report", run.folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert f"{low} to {high}" in page
    assert "95 % bootstrap interval" in page
    assert "expected calibration error" in page
