"""The learning-rate range test: the rates of steps, where it ends, and what it suggests."""

from pathlib import Path

import numpy as np
import pytest
from support import ROOT, command

import netc
import netc.runtime.random
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.studies.rate_test import HIGHEST, LOWEST, rate_test

TEXT = """
data {
  source = csv("t.csv")
  x = columns("a", "b")
  y = column("y")
  split = (train = 1)
}
model {
  input x: float[2]
  target y: float
  z = x -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
}
train {
  optimizer = sgd(lr = RATE)
  batch = 10
}
"""


def written(folder: Path, rate: float = 0.1, scale: float = 1.0) -> Path:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 2)) * scale
    y = x @ [1.0, -2.0] / scale
    np.savetxt(folder / "t.csv", np.c_[x, y], delimiter=",", header="a,b,y", comments="")
    (folder / "m.net").write_text(TEXT.replace("RATE", str(rate)), encoding="utf-8")
    return folder / "m.net"


def test_steps_are_those_of_a_training_with_these_rates(tmp_path: Path) -> None:
    """Plain gradient descent by hand, whatever rate the file has."""
    model = netc.load(written(tmp_path, rate=0.03))
    dataset = load(model, parse_data(model))
    result = rate_test(model, dataset, threads=1, steps=12)
    program = netc.compile(model, threads=1)
    weights, bias = (np.array(array, np.float64) for array in program.parameters.values())
    order = netc.runtime.random.permutation(200, 0, 0)
    x, y = (np.asarray(dataset.parts["train"][name], np.float64)[order] for name in ("x", "y"))
    for number, rate in enumerate(np.geomspace(LOWEST, HIGHEST, 12)[: len(result.losses)]):
        batch = slice(10 * number, 10 * number + 10)
        error = x[batch] @ weights[:, 0] + bias[0] - y[batch]
        assert result.losses[number] == pytest.approx((error**2).mean(), rel=1e-4)
        weights = weights - rate * 2 * (x[batch].T @ error)[:, None] / 10
        bias = bias - rate * 2 * error.mean()


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_rate_fits_the_curvature(scale: float, tmp_path: Path) -> None:
    """Gradient descent on a bowl diverges above 1 / scale ** 2: the suggestion lies below, but not far."""
    model = netc.load(written(tmp_path, scale=scale))
    result = rate_test(model, load(model, parse_data(model)), threads=1)
    limit = 1 / scale**2
    assert limit / 100 < result.steepest < limit
    assert limit / 100 < result.advised[0] <= result.advised[1] < limit
    assert result.rates[-1] < 10 * limit
    assert result.means[-1] <= 4 * result.means[10:].min()


def test_the_advice_stays_below_the_limit_of_a_narrow_valley() -> None:
    """valley.net: the largest curvature is 20.9, so that gradient descent diverges above 2 / 20.9 (chapter 7)."""
    model = netc.load(ROOT / "examples" / "course" / "valley.net")
    result = rate_test(model, load(model, parse_data(model)), threads=1)
    assert 0.01 < result.advised[0] <= result.advised[1] < 0.096 < result.steepest


def test_the_command_draws_a_curve_and_leaves_no_run(tmp_path: Path) -> None:
    written(tmp_path)
    done = command("train", "m.net", "--find-lr", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the loss falls fastest at lr = " in done.stdout
    assert (tmp_path / "m-lr.svg").read_bytes().startswith(b"<svg")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("file", "arguments", "message"),
    [
        (None, ("--resume", "runs/x"), "it takes M.net"),
        ("m.net", ("--set", "a=1,2"), "has several values"),
        ("lbfgs.net", (), "finds the length of its steps by itself"),
    ],
)
def test_what_has_no_rate_is_refused(
    file: str | None, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    text = written(tmp_path).read_text(encoding="utf-8")
    (tmp_path / "lbfgs.net").write_text(text.replace("sgd(lr = 0.1)", "lbfgs").replace("10", "200"), encoding="utf-8")
    refused = command("train", *([file] * (file is not None)), *arguments, "--find-lr", cwd=tmp_path)
    assert refused.returncode == 2
    assert message in " ".join(refused.stderr.replace("│", " ").split())


def test_examples_get_rates_near_those_that_they_have() -> None:
    for name, low, high in (("iris", 1e-3, 0.3), ("digits8x8", 1e-4, 0.3)):
        model = netc.load(ROOT / f"examples/{name}.net")
        result = rate_test(model, load(model, parse_data(model)), threads=1)
        assert low < result.steepest < high
