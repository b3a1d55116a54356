"""Conformal prediction in a run: intervals, sets and temperatures are those of the validation part, in the units and
words of the data."""

import math
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, command

import netc
from netc.compiler.analysis.conformal import Covered, covered
from netc.compiler.analysis.units import values_in_units_of_targets
from netc.compiler.ir.results import ResultKind
from netc.compiler.operations.calibration import temperature
from netc.runtime.data.stored import Array

CARS = """
data {
  source = csv("cars.csv")
  x = columns("weight", "year") -> standardize
  y = column("mpg") -> log -> standardize
  pair = columns("mpg", "weight") -> standardize
  split = (train = 0.5, valid = 0.3, test = 0.2)
}
model {
  input x: float[2]
  target y: float
  target pair: float[2]
  h = x -> dense(8) -> tanh
  z = h -> dense(1) -> squeeze
  w = h -> dense(2)
  both = h -> dense(2)
  output mpg = z
  output interval = conformal(z, y, 0.9)
  output quantiles = w
  output between = conformal(w, y, 0.8)
  output columns = both
  output boxes = conformal(both, pair, 0.9)
  loss mse(z, y)
  loss pinball(w, y, [0.1, 0.9])
  loss both = mse(both, pair)
  metric mae(z, y)
  metric coverage(interval, y)
  metric sharpness(interval, y)
}
train {
  optimizer = adam(lr = 0.01)
  epochs = 5
  precision = f64
}
"""


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> netc.Run:
    folder = tmp_path_factory.mktemp("cars")
    (folder / "cars.csv").write_bytes((ROOT / "examples" / "data" / "cars" / "cars.csv").read_bytes())
    (folder / "cars.net").write_text(CARS, encoding="utf-8")
    return netc.train(netc.load(folder / "cars.net"), out=folder / "run")


def test_intervals_are_those_of_the_validation_part(cars: netc.Run) -> None:
    """The margin is a rank of the absolute errors, or of how far targets lie outside of two quantiles."""
    parts, program = cars.load_data().parts, cars.program
    valid, test = program.predict({"x": parts["valid"]["x"]}), program.predict({"x": parts["test"]["x"]})
    y = np.asarray(parts["valid"]["y"])
    rank = math.ceil((len(y) + 1) * 0.9) - 1
    margin = np.sort(np.abs(y - valid["mpg"]))[rank]
    expected = np.stack([test["mpg"] - margin, test["mpg"] + margin], axis=1)
    np.testing.assert_allclose(test["interval"], expected, rtol=1e-12)
    low, high = np.sort(valid["quantiles"], axis=1).T
    moved = np.sort(np.maximum(low - y, y - high))[math.ceil((len(y) + 1) * 0.8) - 1]
    low, high = np.sort(test["quantiles"], axis=1).T
    np.testing.assert_allclose(test["between"], np.stack([low - moved, high + moved], axis=1), rtol=1e-12)
    errors = np.sort(np.abs(np.asarray(parts["valid"]["pair"]) - valid["columns"]), axis=0)[rank]
    np.testing.assert_allclose(test["boxes"][:, 0], test["columns"] - errors, rtol=1e-12)
    np.testing.assert_allclose(test["boxes"][:, 1], test["columns"] + errors, rtol=1e-12)


def test_intervals_are_in_the_units_of_the_data(cars: netc.Run) -> None:
    """So are their metrics; the columns of a prediction are called after the bounds."""
    fields = cars.load_data().parts["test"]
    outputs, undo = cars.predict_prepared(fields), cars.undone()
    raw = cars.program.predict({"x": fields["x"]})
    for name in ("mpg", "interval", "quantiles", "between"):
        np.testing.assert_allclose(outputs[name], undo["y"](raw[name]), rtol=1e-12)
    np.testing.assert_allclose(outputs["boxes"], undo["pair"](raw["boxes"]), rtol=1e-12)
    assert values_in_units_of_targets(cars.model.graph)[cars.model.values["boxes"]] == "pair"
    y, (low, high) = undo["y"](np.asarray(fields["y"])), outputs["interval"].T
    metrics = cars.evaluate("test")
    assert metrics["mae"] == pytest.approx(np.abs(outputs["mpg"] - y).mean(), rel=1e-9)
    assert metrics["coverage"] == pytest.approx(((low <= y) & (y <= high)).mean())
    assert metrics["sharpness"] == pytest.approx((high - low).mean(), rel=1e-9)
    columns = cars.predict(cars.model.source.folder / "cars.csv").columns()
    assert [*columns][:3] == ["mpg", "interval[lower]", "interval[upper]"]
    assert covered(cars.model.graph)[:2] == [
        Covered("interval", "y", 0.9, False),
        Covered("between", "y", 0.8, False),
    ]


def test_intervals_are_part_of_exported_files_and_saved_predictions(cars: netc.Run) -> None:
    """`netc export` compares the file's numbers with the run's."""
    folder = cars.model.source.folder
    for name in ("cars.py", "cars.onnx"):
        done = command("export", cars.folder, "-o", folder / name, cwd=folder)
        assert done.returncode == 0, done.stderr
    answers = {command("predict", cars.folder, "cars.csv", cwd=folder).stdout for _ in range(2)}
    assert len(answers) == 1
    assert "interval[lower],interval[upper]" in answers.pop()


def test_a_metric_has_the_units_of_the_data_only_if_all_of_it_can() -> None:
    """A value that is not an output stays in its own units, and must not be compared with the target in its units."""
    text = """
data {
  source = csv("cars.csv")
  x = column("weight") -> standardize
  y = column("mpg") -> standardize
}
model {
  input x: float
  target y: float
  z = unsqueeze(x) -> dense(1) -> squeeze
  output mpg = z
  loss mse(z, y)
  metric direct = mae(z, y)
  metric weighed = mean(abs(z - y) * abs(x), over = batch)
  metric changed = mae(1 * z, y)
  metric doubled = mae(2 * z, 2 * y)
  metric shifted = mean(abs(z - (y + 1)), over = batch)
  metric far = mean(where(abs(z - y) > fitted(mean(abs(z - y), over = batch)), 1, 0), over = batch)
}
"""
    model, rng = netc.parse(text), np.random.default_rng(0)
    program = netc.compile(model, backend="reference")
    fields = {"x": rng.standard_normal(20).astype(np.float32), "y": rng.standard_normal(20).astype(np.float32)}
    program.refit(fields)
    plain = program.evaluate(fields)
    undone = program.evaluate(fields, {"y": lambda array: 5 * array + 100})
    times = {name: undone[name] / plain[name] for name in model.graph.results_of(ResultKind.METRIC)}
    assert times == {
        "direct": pytest.approx(5, rel=1e-5),
        "weighed": pytest.approx(5, rel=1e-5),
        "changed": 1,
        "doubled": 1,
        "shifted": pytest.approx(times["shifted"]),
        "far": 1,
    }
    z, y = 5 * program.predict({"x": fields["x"]})["mpg"] + 100, 5 * fields["y"] + 100
    assert undone["shifted"] == pytest.approx(np.abs(z - (y + 1)).mean(), rel=1e-5)


IRIS = """
data {
  source = csv("iris.csv")
  measures = columns(all, except = "species") -> standardize
  species = column("species") -> classes
  split = (train = 0.6, valid = 0.2, test = 0.2)
}
model {
  input measures: float[4]
  target species: class(auto)
  logits = measures -> dense(8) -> tanh -> dense(size(species))
  output p = softmax(calibrated(logits, species))
  output raw = logits
  output adaptive = conformal_adaptive(p, species, 0.9)
  output likely = conformal(p, species, 0.9)
  loss cross_entropy(logits, species)
  metric accuracy(logits, species)
  metric right = accuracy(p, species)
  metric calibration_error(p, species)
  metric coverage(likely, species)
  metric sharpness(likely, species)
}
train {
  optimizer = adam(lr = 0.01)
  epochs = EPOCHS
}
"""


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    (tmp_path / "iris.csv").write_bytes((ROOT / "examples" / "data" / "iris" / "iris.csv").read_bytes())
    (tmp_path / "iris.net").write_text(IRIS.replace("EPOCHS", "6"), encoding="utf-8")
    return tmp_path


def before(p: Array) -> Array:
    """The probability of all classes that are likelier than each class."""
    result: Array = np.where(p[:, None, :] > p[:, :, None], p[:, None, :], 0).sum(axis=-1)
    return result


def test_probabilities_and_sets_follow_from_the_validation_part(iris: Path) -> None:
    run = netc.train(netc.load(iris / "iris.net"), out=iris / "run")
    parts = run.load_data().parts
    valid, test = (run.predict_prepared(parts[part]) for part in ("valid", "test"))
    labels = np.asarray(parts["valid"]["species"])
    best = temperature(valid["raw"].astype(np.float64), labels)
    assert math.exp(run.program.persistent["p.calibrated.fitted"]) == pytest.approx(best, rel=1e-4)
    z = np.exp(test["raw"] / best)
    np.testing.assert_allclose(test["p"], z / z.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)
    of_label = np.sort(valid["p"][np.arange(len(labels)), labels])
    threshold = of_label[::-1][math.ceil((len(labels) + 1) * 0.9) - 1]
    np.testing.assert_array_equal(test["likely"], test["p"] >= threshold)
    sets = [(each.output, each.is_set) for each in covered(run.model.graph)]
    assert sets == [("adaptive", True), ("likely", True)]
    mass = before(valid["p"])[np.arange(len(labels)), labels]
    share = np.sort(mass)[math.ceil((len(labels) + 1) * 0.9) - 1]
    is_near = np.abs(before(test["p"]) - share) < 1e-6  # sums are in another order
    np.testing.assert_array_equal(test["adaptive"] | is_near, (before(test["p"]) <= share) | is_near)
    assert np.all(test["adaptive"][np.arange(len(test["p"])), test["p"].argmax(axis=1)]), "the likeliest class is there"
    metrics, species = run.evaluate("test"), np.asarray(parts["test"]["species"])
    assert metrics["accuracy"] == metrics["right"] == pytest.approx((test["p"].argmax(axis=1) == species).mean())
    assert metrics["coverage"] == pytest.approx(test["likely"][np.arange(len(species)), species].mean())
    assert metrics["sharpness"] == pytest.approx(test["likely"].sum(axis=1).mean())
    columns = [*run.predict(iris / "iris.csv").columns()]
    assert columns[:4] == ["species", "p[setosa]", "p[versicolor]", "p[virginica]"]
    assert columns[-3:] == ["likely[setosa]", "likely[versicolor]", "likely[virginica]"]


def test_a_calibration_part_takes_the_place_of_the_validation_part(iris: Path) -> None:
    """Metrics of the validation part still choose the epoch."""
    text = IRIS.replace("EPOCHS", "6\n  keep = best(valid.loss)")
    parts_text = "split = (train = 0.5, valid = 0.1, calibration = 0.2, test = 0.2)"
    text = text.replace("split = (train = 0.6, valid = 0.2, test = 0.2)", parts_text)
    (iris / "parts.net").write_text(text, encoding="utf-8")
    run = netc.train(netc.load(iris / "parts.net"), out=iris / "run")
    parts = run.load_data().parts
    assert {name: len(fields["species"]) for name, fields in parts.items()} == {
        **{"train": 75, "valid": 15},
        **{"calibration": 30, "test": 30},
    }
    labels, raw = np.asarray(parts["calibration"]["species"]), run.predict_prepared(parts["calibration"])["raw"]
    fitted = math.exp(run.program.persistent["p.calibrated.fitted"])
    assert fitted == pytest.approx(temperature(raw.astype(np.float64), labels), rel=1e-4)
    assert run.evaluate("calibration")["coverage"] == pytest.approx(28 / 30)  # rank 28 of 30


def test_an_interrupted_run_ends_with_the_same_calibration(iris: Path) -> None:
    full = netc.train(netc.load(iris / "iris.net"), out=iris / "whole")
    netc.train(netc.load(iris / "iris.net"), out=iris / "half", epochs=3)
    done = command("train", "--resume", "half", "--epochs", 6, cwd=iris)
    assert done.returncode == 0, done.stderr
    half = netc.open(iris / "half")
    for name in full.model.states:
        np.testing.assert_array_equal(half.program.persistent[name], full.program.persistent[name])


GENERATED = """model {
  input x: float[2]
  target y: float
  target kind: class(4)
  z = x -> dense(1) -> squeeze
  w = x -> dense(2)
  p = x -> dense(4) -> softmax
  output interval = conformal(z, y, 0.9)
  output between = conformal(w, y, 0.9)
  output likely = conformal(p, kind, 0.9)
  output adaptive = conformal_adaptive(p, kind, 0.9)
  loss mse(z, y)
  loss pinball(w, y, [0.05, 0.95])
  loss nll(log(p), kind)
  metric a = coverage(interval, y)
  metric b = coverage(between, y)
  metric c = coverage(likely, kind)
  metric d = coverage(adaptive, kind)
}
"""


def test_intervals_and_sets_cover_their_level(is_long: bool) -> None:
    """Whatever the model predicts: over repeats, the coverage of new samples is 90 % and at most 1 / n more."""
    program, repeats, valid = netc.compile(netc.parse(GENERATED), backend="reference", batch=1000), 40, 99
    repeats = 200 if is_long else repeats
    coverages = []
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)

        def fields(count: int, rng: np.random.Generator = rng) -> dict[str, Array]:
            x = rng.standard_normal((count, 2)).astype(np.float32)
            y = x[:, 0] + (1 + np.abs(x[:, 1])) * rng.standard_t(3, count)
            kind = (2 * x[:, 1] + rng.standard_normal(count) + 2).clip(0, 3).astype(np.int32)
            return {"x": x, "y": y.astype(np.float32), "kind": kind}

        program.refit(fields(10), fields(valid))
        metrics = program.evaluate(fields(1000))
        coverages.append([metrics[name] for name in "abcd"])
    error = 4 * 0.3 / math.sqrt(valid * repeats)  # four standard errors
    assert np.all(np.abs(np.mean(coverages, axis=0) - 0.9) < error + 1 / valid)


def test_the_overconfident_example_is_calibrated(tmp_path: Path) -> None:
    """The calibration error of new samples falls to less than half, and no label changes."""
    run = netc.train(netc.load(ROOT / "examples" / "overconfident.net"), out=tmp_path / "run")
    metrics = run.evaluate("test")
    assert metrics["calibrated"] < metrics["before"] / 2
    assert metrics["coverage"] == pytest.approx(0.9, abs=0.03)
    outputs = run.predict_prepared(run.load_data().parts["test"])
    np.testing.assert_array_equal(outputs["probability"].argmax(axis=1), outputs["sure"].argmax(axis=1))
