"""Autoencoders: tied weights, noise in training only, and their sections of the report."""

from pathlib import Path

import numpy as np
import pytest
from support import ROOT, command, slope

import netc
from netc.runtime.insight.codes import Code, codes_of, nearest
from netc.runtime.insight.report import page
from netc.runtime.predictions import classes_of

TIED = """
model {
  input x: float[6]
  layer f = dense(3)
  param back: float[6] = zeros
  code = f(x) -> tanh
  again = code @ transpose(f.W) + back
  output code = code
  output again = again
  loss mse(again, x)
  loss sparse = 0.01 * sum(abs(code))
}
train {
  precision = f64
  batch = 5
}
"""
NOISY = """
model {
  input x: float[6]
  shown = dropout(x, 0.3) + 0.1 * normal_like(x) if training else x
  again = shown -> dense(4) -> tanh -> dense(6)
  output again = again
  loss mse(again, x)
}
train {
  precision = f64
  batch = 5
}
"""


def test_tied_weights_have_the_gradients_of_both_uses() -> None:
    x = np.random.default_rng(0).standard_normal((5, 6))
    program, reference = (netc.compile(netc.parse(TIED), backend=backend) for backend in ("cpu", "reference"))
    assert sorted(program.parameters) == ["back", "f.W", "f.b"]
    parameters = program.parameters
    code = np.tanh(x @ parameters["f.W"] + parameters["f.b"])
    predicted = program.predict({"x": x})
    np.testing.assert_allclose(predicted["again"], code @ parameters["f.W"].T + parameters["back"], rtol=1e-12)
    gradients = reference.gradients({"x": x})[1]
    np.testing.assert_allclose(program.gradients({"x": x})[1]["f.W"], gradients["f.W"], rtol=1e-10, atol=1e-13)
    for index in ((0, 0), (3, 1), (5, 2)):
        expected = slope(reference, {"x": x}, "f.W", index, 1e-6)
        np.testing.assert_allclose(gradients["f.W"][index], expected, rtol=1e-5, atol=1e-9)


def test_noise_is_added_in_training_only() -> None:
    x = np.random.default_rng(0).standard_normal((5, 6))
    program = netc.compile(netc.parse(NOISY))
    parameters = program.parameters
    inner = np.tanh(x @ parameters["again.dense.W"] + parameters["again.dense.b"])
    expected = inner @ parameters["again.dense_2.W"] + parameters["again.dense_2.b"]
    np.testing.assert_allclose(program.predict({"x": x})["again"], expected, rtol=1e-12)
    plain = np.square(expected - x).mean()
    assert program.step({"x": x})["loss"] != plain


def test_the_report_shows_reconstructions(tmp_path: Path) -> None:
    text = """
data {
  source = csv("DATA")
  image = columns(all, except = "digit") -> scale(1 / 16)
  split = (train = 0.8, test = 0.2)
}
model {
  input image: float[64]
  again = image -> dense(16) -> relu -> dense(64) -> sigmoid
  output again = again
  loss mse(again, image)
}
train { epochs = 1 }
""".replace("DATA", str(ROOT / "examples" / "data" / "digits8x8" / "digits8x8.csv"))
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    html = page(netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run"))
    assert "image, and beside it again, test" in html
    assert html.count("width: 168px") == 16


CODED = """
data {
  source = csv("DATA")
  image = columns(all, except = "digit") -> scale(1 / 16)
  digit = column("digit")
  split = (train = 0.8, test = 0.2)
}
model {
  input image: float[64]
  layer decoder = dense(64)
  h = image -> dense(16) -> relu
  code = h -> dense(SIZE)
  output code = code
  output seen = h
  output again = sigmoid(decoder(code + normal_like(code) if training else code))
  output beside = image -> dense(64)
  loss mse(again, image)
}
train { epochs = 1 }
""".replace("DATA", str(ROOT / "examples" / "data" / "digits8x8" / "digits8x8.csv"))


@pytest.mark.parametrize("size", [2, 5])
def test_the_report_shows_latent_codes(size: int, tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(CODED.replace("SIZE", str(size)), encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    assert codes_of(run) == [Code("code", "again", "image"), Code("seen", "again", "image")]
    classes = classes_of(run, "test", 20)
    assert classes is not None
    assert classes.labels == tuple("0123456789")
    table = np.loadtxt(ROOT / "examples" / "data" / "digits8x8" / "digits8x8.csv", delimiter=",", skiprows=1)
    rows = run.load_data().rows["test"] - 2  # the line of a row in the file, after the heading
    np.testing.assert_array_equal(classes.numbers, table[rows, -1])
    html = page(run)
    assert f"code, float[{size}]: where the samples of test lie" in html
    assert ("principal components" in html.partition("<h2>seen, float[16]")[0]) == (size > 2)
    assert "again, decoded from a grid of code" in html
    assert "again, decoded from codes drawn at random" in html
    assert "image: the nearest in code, test" in html
    assert html.count("Colours: digit.") == 2, "no legend by class"


def test_the_nearest_codes_are_found() -> None:
    codes = np.array([[0.0, 0], [5, 5], [0, 1], [5, 4], [0, 3]])
    assert nearest(codes).tolist() == [
        [0, 2, 4, 3, 1],
        [1, 3, 4, 2, 0],
        [2, 0, 4, 3, 1],
        [3, 1, 4, 2, 0],
        [4, 2, 0, 3, 1],
    ]


FITTED_TEXT = """
data {
  source = csv("DATA")
  image = columns(all, except = ["odd", "part"]) -> scale(1 / 16)
  split = column("part")
}
model {
  input image: float[64]
  code = image -> dropout(0.2) -> dense(8) -> relu
  again = code -> dense(64) -> sigmoid
  error = mean(square(again - image))
  centre = fitted(mean(error, over = batch))
  limit = fitted(quantile(abs(error - centre), 0.9))
  output error = error
  output far = abs(error - centre) > limit
  loss mse(again, image)
  metric share = mean(where(abs(error - centre) > limit, 1, 0), over = batch)
}
train {
  epochs = 2
  precision = f64
}
""".replace("DATA", str(ROOT / "examples" / "data" / "anomaly" / "digits.csv"))


def test_fitted_metrics_are_computed_on_the_training_split(tmp_path: Path) -> None:
    """One metric reads another, after each epoch and without dropout.

    Both are kept in the run, also after an interruption.
    """
    (tmp_path / "m.net").write_text(FITTED_TEXT, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    parts = run.load_data().parts
    error = run.predict_prepared(parts["train"])["error"]
    kept = netc.open(tmp_path / "run").program.persistent
    np.testing.assert_allclose(kept["centre.fitted"], error.mean(), rtol=1e-12)
    limit = np.quantile(np.abs(error - error.mean()), 0.9)
    np.testing.assert_allclose(kept["limit.fitted"], limit, rtol=1e-9)
    test = run.predict_prepared(parts["test"])
    np.testing.assert_array_equal(test["far"], np.abs(test["error"] - error.mean()) > limit)
    assert run.evaluate("test")["share"] == pytest.approx(test["far"].mean())
    assert run.evaluate("train")["share"] == pytest.approx(0.1, abs=0.002)
    before = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", epochs=1)
    done = command("train", "--resume", before.folder, "--epochs", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(netc.open(before.folder).program.persistent["limit.fitted"], kept["limit.fitted"])
