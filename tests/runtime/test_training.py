"""The real command on the real examples, end to end."""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support import ROOT, command, netc_command

import netc
from netc.runtime.training.decisions import Decisions


def metrics_of(line: str) -> dict[str, float]:
    words = line.split()[1:]
    return {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}


@pytest.mark.every(4)
@pytest.mark.parametrize(
    ("example", "metric", "least"),
    [
        ("iris", "accuracy", 0.93),
        ("cars", "r2", 0.84),
        ("mnist", "accuracy", 0.975),
        ("lenet", "accuracy", 0.988),
        ("gunpoint", "accuracy", 0.93),
        ("digits_conv", "accuracy", 0.97),
        ("wine", "accuracy", 0.95),
        ("digits8x8", "accuracy", 0.96),
        ("diabetes", "r2", 0.35),  # ridge regression reaches 0.37 on these rows
        ("anomaly", "area", 0.985),
    ],
)
def test_examples_learn(example: str, metric: str, least: float, tmp_path: Path, is_long: bool) -> None:
    if example == "lenet" and not is_long:
        pytest.skip("it trains for a minute")
    done = command("train", ROOT / "examples" / f"{example}.net", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    (line,) = (text for text in printed if text.startswith("test "))
    assert metrics_of(line)[metric] >= least
    folder = tmp_path / "runs" / example
    assert {path.name for path in folder.iterdir()} - {"best.safetensors"} == {
        "model.net",
        "run.json",
        "data.json",
        "metrics.jsonl",
        "checkpoint.safetensors",
        "curves.svg",
        "outcome.json",
    }
    again = command("eval", folder, "--no-intervals", cwd=tmp_path)
    assert again.stdout.splitlines() == printed[printed.index(line) :]


def test_a_run_has_the_same_bits_twice_and_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = netc.load(ROOT / "examples" / "cars.net")
    uninterrupted = netc.train(model, out=tmp_path / "whole", epochs=4)
    again = netc.train(model, out=tmp_path / "whole", epochs=4)
    assert again.folder != uninterrupted.folder, "a run was overwritten"
    chunks = 0
    real_steps = netc.Program.steps

    def steps(self: netc.Program, fields: dict, order: np.ndarray, epoch: int, factors: object) -> dict:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            raise KeyboardInterrupt
        return real_steps(self, fields, order, epoch, factors)

    monkeypatch.setattr(netc.Program, "steps", steps)
    with pytest.raises(KeyboardInterrupt):
        netc.train(model, out=tmp_path / "broken", epochs=4)
    monkeypatch.undo()
    done = command("train", "--resume", tmp_path / "broken", "--epochs", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = [
        load_file(folder / "checkpoint.safetensors")
        for folder in (uninterrupted.folder, again.folder, tmp_path / "broken")
    ]
    for name, array in runs[0].items():
        assert all(np.array_equal(array, other[name]) for other in runs[1:]), name
    rows = [
        [
            {key: value for key, value in json.loads(line).items() if "second" not in key}
            for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for folder in (uninterrupted.folder, tmp_path / "broken")
    ]
    assert rows[0] == rows[1]


def test_ctrl_c_keeps_a_checkpoint(tmp_path: Path) -> None:
    start = netc_command("train", ROOT / "examples" / "mnist.net", "--epochs", "2")
    running = subprocess.Popen(
        start, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert running.stdout is not None
    while not running.stdout.readline().startswith("epoch 1"):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, message = running.communicate(timeout=600)
    assert running.returncode == 130, message
    assert "--resume" in message
    uninterrupted = command(
        "train", ROOT / "examples" / "mnist.net", "--epochs", 2, "--out", "whole", "--threads", 3, cwd=tmp_path
    )
    resumed = command("train", "--resume", "runs/mnist", cwd=tmp_path)
    assert resumed.stdout.splitlines()[-1] == uninterrupted.stdout.splitlines()[-1]
    first, second = (load_file(tmp_path / folder / "checkpoint.safetensors") for folder in ("whole", "runs/mnist"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_arrays_from_python(tmp_path: Path) -> None:
    model = netc.parse(
        "model {\n  input x: float[3]\n  target y: float\n  output z = x -> dense(1) -> squeeze\n"
        "  loss mse(z, y)\n}\ntrain { optimizer = adam(0.05)\n epochs = 60 }"
    )
    x = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    run = netc.train(model, data={"x": x, "y": x @ np.array([1, 2, 3], np.float32)}, out=tmp_path / "line")
    assert run.metrics[-1]["train.loss"] < 0.05
    again = netc.open(run.folder)
    np.testing.assert_array_equal(again.predict({"x": x})["z"], run.predict({"x": x})["z"])
    for wrong, message in (
        ({"x": x}, "the arrays do not give the target `y`"),
        ({"x": x, "y": x[:5, 0]}, "the arrays differ in length: x: 200, y: 5"),
        ({"x": x[:, :2], "y": x[:, 0]}, "`x` has the shape [200, 2], the model takes [samples, 3]"),
        ({"x": x, "y": np.where(x[:, 0] == x[7, 0], np.nan, x[:, 0])}, "a value is missing"),
        ({"x": x, "y": np.full(200, "many")}, "`y` consists of texts"),
        ({"x": [[0.0] * (3 - (i == 7)) for i in range(200)], "y": x[:, 0]}, "the samples of `x` have different shapes"),
    ):
        with pytest.raises(netc.Fault) as raised:
            netc.train(model, data=wrong, out=tmp_path / "wrong")
        assert message.partition(":")[0] in str(raised.value)


def test_predictions_are_in_the_units_of_the_data(tmp_path: Path) -> None:
    run = netc.train(netc.load(ROOT / "examples" / "cars.net"), out=tmp_path / "cars", epochs=20)
    assert run.metrics[-1]["valid.mae"] > 1, "miles per gallon, not standard deviations"
    done = command(
        "predict", run.folder, ROOT / "examples/data/cars/cars.csv", "-o", tmp_path / "out.csv", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    values = [float(line) for line in (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert len(values) == 406
    assert 10 < np.median(values) < 40


def test_predictions_have_the_labels_of_the_data(tmp_path: Path) -> None:
    run = netc.train(netc.load(ROOT / "examples" / "iris.net"), out=tmp_path / "iris", epochs=20)
    done = command("predict", run.folder, ROOT / "examples/data/iris/iris.csv", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == "species,probability[setosa],probability[versicolor],probability[virginica]"
    assert [lines[1].split(",")[0], lines[-1].split(",")[0]] == ["setosa", "virginica"]


def test_a_damaged_run_is_a_message(tmp_path: Path) -> None:
    run = netc.train(netc.load(ROOT / "examples" / "iris.net"), out=tmp_path / "iris", epochs=1)
    (run.folder / "checkpoint.safetensors").write_bytes(b"garbage")
    done = command("eval", run.folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "E1001" in done.stderr
    assert "Traceback" not in done.stderr
    shutil.rmtree(run.folder)
    assert command("eval", run.folder, cwd=tmp_path).returncode == 1


def test_usage_and_explain(tmp_path: Path) -> None:
    assert command("train", cwd=tmp_path).returncode == 2
    assert command("train", ROOT / "examples" / "iris.net", "--set", "x", cwd=tmp_path).returncode == 2
    assert command("train", ROOT / "examples" / "iris.net", "--threads", 0, cwd=tmp_path).returncode == 2
    checked = command("check", ROOT / "examples" / "mnist.net", cwd=tmp_path)
    assert "101,770" in checked.stdout
    assert re.search(r"a step of 64 samples: [\d.]+ [kMG]FLOPs, [\d.]+ MB \(", checked.stdout)
    assert "einsum" not in checked.stdout
    assert "einsum" in command("check", ROOT / "examples" / "mnist.net", "--values", cwd=tmp_path).stdout
    explained = command("explain", ROOT / "examples" / "mnist.net", "--after", "simplify", cwd=tmp_path)
    assert "einsum" in explained.stdout
    assert explained.returncode == 0


@pytest.mark.parametrize("arguments", [("explain", "--kernels"), ("profile",), ("train",)])
def test_a_model_without_a_loss_is_a_message(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n2\n3\n", encoding="utf-8")
    (tmp_path / "m.net").write_text(
        (
            'data {\n  source = csv("x.csv")\n  a = column("a")\n  split = (train = 1.0)\n}\nmodel {\n'
            "  input a: float\n  output b = a * 2\n}\n"
        ),
        encoding="utf-8",
    )
    done = command(*arguments, "m.net", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error[E0501]: the model has no loss to train by\n --> m.net:1:1\n")
    assert not (tmp_path / "runs").exists()


def test_early_stop_and_keep(tmp_path: Path) -> None:
    """On a few digits, the run ends when validation does not improve.

    The best epoch is used however the run is opened.
    """
    text = (ROOT / "examples" / "iris.net").read_text(encoding="utf-8")
    text = text.replace("data/iris", str(ROOT / "examples" / "data" / "iris")).replace("epochs = 60", "epochs = 300")
    text = text.replace("adam(lr = 0.01)", "adam(lr = 0.3)")
    text = text.replace(
        "train {",
        (
            "train {\n  early_stop = (metric = valid.loss, patience = 4)\n  keep = best(valid.loss)\n"
            "  schedule = plateau(patience = 2, factor = 0.5)"
        ),
    )
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    done = command("train", "m.net", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "runs/m/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [row["valid.loss"] for row in rows]
    assert 5 <= len(rows) < 300
    assert len(rows) - 1 - int(np.argmin(losses)) == 4
    run = netc.open(tmp_path / "runs" / "m")
    assert run.evaluate("valid")["loss"] == pytest.approx(min(losses), rel=1e-6)
    assert done.stdout.splitlines()[-1].startswith("test")
    assert command("eval", "runs/m", "--no-intervals", cwd=tmp_path).stdout == done.stdout.splitlines()[-1] + "\n"
    again = command("train", "--resume", "runs/m", cwd=tmp_path)
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    (tmp_path / "n.net").write_text(text.replace("best(valid.loss)", "best(valid.mae)"), encoding="utf-8")
    wrong = command("train", "n.net", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "no epoch has a metric `valid.mae`" in wrong.stderr


@pytest.mark.parametrize(
    ("statement", "train", "line", "message"),
    [
        ("log(tanh(h)) -> dense(1) -> squeeze", "", 5, "`log` gives nan"),
        ("(h * h * h) -> dense(1) -> squeeze", "  optimizer = sgd(lr = 1e9)\n", 5, "gives"),
        (
            "sqrt(relu(h)) * 1e30 * relu(h) -> dense(1) -> squeeze",
            "  optimizer = sgd(lr = 1)\n",
            6,
            "`square` gives inf",
        ),
        ("last(grow(h)) -> dense(1) -> squeeze", "", 10, "`multiply` gives inf"),
    ],
)
def test_the_origin_of_nan_is_reported(tmp_path: Path, statement: str, train: str, line: int, message: str) -> None:
    text = (
        "model {\n  input x: float[2]\n  target y: float\n  h = x -> dense(8)\n"
        f"  z = {statement}\n  loss mse(z, y)\n}}\nblock grow(h: float[n]) {{\n"
        f"  s = scan i in 0..40 with k = h + 3 {{\n"
        "    k = k * k\n    yield k\n  }\n  return s\n}\n"
        f"train {{\n  batch = 4\n  epochs = 5\n{train}}}\n"
    )
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((40, 2)).astype(np.float32), "y": rng.standard_normal(40).astype(np.float32)}
    with pytest.raises(netc.Fault) as raised:
        netc.train(netc.parse(text), data=data, out=tmp_path / "run")
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "E1002"
    assert diagnostic.primary.span.line == line
    assert message in diagnostic.primary.text
    opened = netc.open(tmp_path / "run")
    assert all(np.isfinite(array).all() for array in opened.program.persistent.values()), "the last good checkpoint"


def test_parameters_that_overflow_in_the_last_step_are_no_run(tmp_path: Path) -> None:
    """The loss of that step is still a number, and no step follows."""
    rows = [f"{i % 5},{i % 7},{(i % 5) - (i % 7)}" for i in range(40)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,y", *rows]) + "\n", encoding="utf-8")
    for rate, message in (
        ("1e38", "`h.dense.W` is no longer made of numbers, after epoch 1"),
        ("1e30", "the loss of the part `valid` is not a number"),
    ):
        text = (
            'data {\n  source = csv("d.csv")\n  x = columns("a", "b")\n  y = column("y")\n'
            "  split = (train = 0.6, valid = 0.4)\n}\n"
            "model {\n  input x: float[2]\n  target y: float\n  h = x -> dense(8) -> relu\n"
            "  z = h -> dense(1) -> squeeze\n  output p = z\n"
            f"  loss mse(z, y)\n}}\ntrain {{\n  optimizer = sgd(lr = {rate})\n  epochs = 1\n  batch = 64\n}}\n"
        )
        (tmp_path / "m.net").write_text(text, encoding="utf-8")
        done = command("train", "m.net", "--out", f"run{rate}", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error[E1002]: {message}"), done.stderr
        assert not (tmp_path / f"run{rate}" / "metrics.jsonl").read_text(encoding="utf-8"), "an epoch was kept"


def test_nan_is_worse_than_any_number() -> None:
    train = netc.parse("""
model {
  input x: float
  target y: float
  param w: float = zeros
  loss mse(w * x, y)
}
train {
  keep = best(valid.loss)
  early_stop = (metric = valid.loss, patience = 2)
  schedule = plateau(patience = 1, factor = 0.5)
}
""").train
    nan = float("nan")
    for values, kept, over in (
        ([nan, 3.0, nan, 2.0], [1, 3], []),
        ([nan, nan, nan, nan, 3.0, nan, nan], [4], [6]),
        ([2.0, nan, nan, 1.0], [0, 3], [2]),
        ([1.0, 2.0, 0.5, 0.5, 0.6], [0, 2], [4]),
    ):
        decisions, is_kept, is_over = Decisions(train, ()), [], []
        for value in values:
            is_kept.append(decisions.take({"valid.loss": value}))
            is_over.append(decisions.is_over)
        assert [i for i, kept_now in enumerate(is_kept) if kept_now] == kept
        assert [i for i, is_over_now in enumerate(is_over) if is_over_now] == over
        rows = [{"valid.loss": value} for value in values]
        assert Decisions(train, rows).rate == decisions.rate, "a resumed run decides otherwise"
