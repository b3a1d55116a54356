"""Each addition of the package passes its checks, and a file may use it. The package is installed beside netc."""

from pathlib import Path

import numpy as np
import pytest
from netc_extras.exponents import exponents
from netc_extras.mish import mish

import netc
from netc.compiler.ir.supplied import SuppliedKind
from netc.runtime.training.schedule import scheduled
from netc.testing import check

ARFF = """% two kinds of points
@relation points
@attribute a numeric
@attribute 'b' numeric
@attribute kind {left, right}
@data
"""
NET = """data {
  source = arff("points.arff")
  x = columns("a", "b")
  kind = column("kind") -> classes
  split = (train = 1.0)
}
model {
  input x: float[2]
  target kind: class(auto)
  z = x -> dense(8) -> mish -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, kind)
}
train {
  optimizer = lion(lr = 0.01, decay = 0.1)
  epochs = 30
  batch = 16
}
"""


def test_mish() -> None:
    check(mish)


def test_exponents() -> None:
    check(exponents)


def test_winsorize_metric_and_schedule(tmp_path: Path) -> None:
    rows = [f"{value},{2 * value}" for value in [*range(98), 10_000, -10_000]]
    (tmp_path / "d.csv").write_text("a,b\n" + "\n".join(rows), encoding="utf-8")
    (tmp_path / "m.net").write_text(TAILS, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    (fitted, _) = run.states["x"]
    assert 90 < fitted["high"] < 200
    assert run.evaluate("train")["close"] > 0.9
    train = run.model.train
    rates = scheduled(train, np.arange(13), 1)[str(SuppliedKind.RATE.named())] / train.number("lr")  # one step an epoch
    np.testing.assert_allclose(rates, 0.1 + 0.9 * np.array([1, 0.8, 0.6, 0.4, 0.2, 0, 0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6]))
    (tmp_path / "wrong.net").write_text(TAILS.replace("0.02", "0.7"), encoding="utf-8")
    with pytest.raises(netc.Fault, match=r"0\.7 is not a share of a tail"):
        netc.train(netc.load(tmp_path / "wrong.net"), out=tmp_path / "wrong")


TAILS = """data {
  source = csv("d.csv")
  x = column("a") -> winsorize(0.02) -> standardize
  y = column("b") -> winsorize(0.02) -> standardize
  split = (train = 1.0)
}
model {
  input x: float
  target y: float
  z = x -> unsqueeze -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
  metric close = within(z, y, by = 20)
}
train {
  optimizer = adam(lr = 0.1)
  schedule = triangular(10)
  epochs = 30
}
"""


def points(folder: Path, rows: str) -> Path:
    (folder / "points.arff").write_text(ARFF + rows, encoding="utf-8")
    (folder / "m.net").write_text(NET, encoding="utf-8")
    return folder / "m.net"


def test_a_file_uses_all_three(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f}, {b:.3f}, {'left' if a < b else 'right'}" for a, b in rng.standard_normal((64, 2))]
    run = netc.train(netc.load(points(tmp_path, "\n".join(rows))), out=tmp_path / "run")
    assert run.evaluate("train")["loss"] < 0.2
    again = netc.open(tmp_path / "run")
    np.testing.assert_array_equal(again.program.parameters["z.dense.W"], run.program.parameters["z.dense.W"])


def test_lion_is_as_its_paper_says() -> None:
    text = (
        "model {\n  input x: float\n  target y: float\n  param w: float = ones\n  z = w * x\n  loss mse(z, y)\n}\n"
        "train {\n  optimizer = lion(lr = 0.1, beta1 = 0.5, beta2 = 0.75, decay = 0.2)\n  precision = f64\n}\n"
    )
    program = netc.compile(netc.parse(text))
    w, m = 1.0, 0.0
    for x, y in ((1.0, 3.0), (2.0, 1.0), (-1.0, -1.5), (0.5, 4.0)):
        g = 2 * (w * x - y) * x
        u = np.sign(0.5 * m + 0.5 * g)
        w, m = w - 0.1 * (u + 0.2 * w), 0.75 * m + 0.25 * g
        program.step({"x": np.array([x]), "y": np.array([y])})
        assert program.parameters["w"] == pytest.approx(w, rel=1e-12)


def test_a_broken_file_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(netc.Fault, match="line 8 has 2 cells, the header declares 3"):
        netc.train(netc.load(points(tmp_path, "1, 2, left\n1, 2\n")), out=tmp_path / "run")
    with pytest.raises(netc.Fault, match="it has no rows after @data"):
        netc.load(points(tmp_path, ""))
