"""`keep = average(...)`: what a run keeps is the mean of its parameters, and training goes on from the parameters."""

from pathlib import Path

import numpy as np
import pytest
from support import command, has_epochs, killed_once

import netc
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.random import permutation

TEXT = """
data {
  source = csv("t.csv")
  x = columns("a", "b")
  y = column("y")
  split = (train = 0.8, valid = 0.2)
}
model {
  input x: float[2]
  target y: float
  z = x -> dense(4) -> batchnorm -> tanh -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
  worst = fitted(max(abs(z - y), over = batch))
  output worst = worst
}
train {
  precision = f64
  optimizer = adam(lr = 0.05)
  batch = 8
  epochs = EPOCHS
  keep = KEEP
  freeze = "z.dense_2.b"
}
"""


def written(folder: Path, keep: str, epochs: int = 4) -> Path:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(50, 2))
    table = np.c_[x, np.sin(2 * x[:, 0]) + x[:, 1]]
    np.savetxt(folder / "t.csv", table, delimiter=",", header="a,b,y", comments="")
    (folder / "m.net").write_text(TEXT.replace("KEEP", keep).replace("EPOCHS", str(epochs)), encoding="utf-8")
    return folder / "m.net"


def steps_by_hand(path: Path, epochs: int) -> list[list[dict[str, np.ndarray]]]:
    """The parameters and states after each step of each epoch, by a program that keeps no average."""
    text = path.read_text(encoding="utf-8")
    plain = path.with_name("plain.net")
    plain.write_text("\n".join(line for line in text.splitlines() if "keep" not in line), encoding="utf-8")
    model = netc.load(plain)
    fields = load(model, parse_data(model)).parts["train"]
    program, count = netc.compile(model, threads=1), 40
    result = []
    for epoch in range(epochs):
        order, states = permutation(count, 0, epoch), []
        for start in range(0, count, 8):
            program.steps(fields, order[start : start + 8], epoch)
            states.append({name: np.array(array) for name, array in program.persistent.items()})
        result.append(states)
    return result


@pytest.mark.parametrize("keep", ["average(0.9)", "average(last = 3)", "average(last = 9)"])
def test_a_run_keeps_the_mean(keep: str, tmp_path: Path) -> None:
    path = written(tmp_path, keep)
    run = netc.train(netc.load(path), out=tmp_path / "run", threads=1)
    epochs = steps_by_hand(path, 4)
    moving = [name for name in ("z.dense.W", "z.batchnorm.mean", "z.dense_2.b") if name in run.program.persistent]
    assert len(moving) == 3
    for name in moving:
        if keep == "average(0.9)":
            steps = [state[name] for states in epochs for state in states]
            weights = 0.9 ** np.arange(len(steps))[::-1]
        else:
            steps = [states[-1][name] for states in epochs][-3 if "3" in keep else 0 :]
            weights = np.ones(len(steps))
        expected = np.average(np.stack(steps), axis=0, weights=weights)
        assert np.allclose(run.program.persistent[name], expected, rtol=1e-9, atol=1e-12), name
    opened = netc.open(tmp_path / "run")
    data = run.load_data().parts["valid"]
    assert opened.evaluate("valid") == run.evaluate("valid")
    assert run.metrics[-1]["valid.loss"] == run.evaluate("valid")["loss"]
    train = run.load_data().parts["train"]
    errors = np.abs(run.program.predictor.predict(train)["z"] - np.asarray(train["y"]))
    assert run.program.predictor.predict(data)["worst"] == pytest.approx(errors.max(), rel=1e-9)


def test_training_goes_on_from_the_parameters(tmp_path: Path) -> None:
    """The losses of training are those without an average."""
    path = written(tmp_path, "average(last = 2)")
    run = netc.train(netc.load(path), out=tmp_path / "run", threads=1)
    plain = netc.train(netc.load(steps_and_plain(path)), out=tmp_path / "plain", threads=1)
    assert [row["train.loss"] for row in run.metrics] == [row["train.loss"] for row in plain.metrics]
    assert [row["valid.loss"] for row in run.metrics][:2] == [row["valid.loss"] for row in plain.metrics][:2]
    assert run.metrics[-1]["valid.loss"] != plain.metrics[-1]["valid.loss"]


def steps_and_plain(path: Path) -> Path:
    plain = path.with_name("plain.net")
    text = path.read_text(encoding="utf-8")
    plain.write_text("\n".join(line for line in text.splitlines() if "keep" not in line), encoding="utf-8")
    return plain


@pytest.mark.parametrize("keep", ["average(0.9)", "average(last = 100)"])
def test_an_interrupted_training_goes_on_to_the_same_bits(keep: str, tmp_path: Path) -> None:
    written(tmp_path, keep, epochs=100)
    uninterrupted = command("train", "m.net", "--out", "whole", cwd=tmp_path)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    assert "kept the" in uninterrupted.stdout
    killed_once(lambda: has_epochs(tmp_path / "cut", 6), "train", "m.net", "--out", "cut", cwd=tmp_path)
    resumed = command("train", "--resume", "cut", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("checkpoint.safetensors", "best.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_average_is_another_run(tmp_path: Path) -> None:
    path = written(tmp_path, "average(0.9)")
    assert command("train", "m.net", cwd=tmp_path).returncode == 0
    path.write_text(path.read_text(encoding="utf-8").replace("average(0.9)", "average(last = 2)"), encoding="utf-8")
    refused = command("train", "m.net", "--resume", "runs/m", cwd=tmp_path)
    assert refused.returncode == 1
    assert "E1004" in refused.stderr
