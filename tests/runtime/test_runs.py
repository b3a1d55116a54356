"""What a run leaves is never lost: killed runs, damaged files, changed files, folders that cannot be used."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support import command, netc_command

import netc

TEXT = """data {
  source = csv("t.csv")
  x = columns("a", "b") -> standardize
  y = column("y") -> standardize
  split = (train = 0.8, valid = 0.2)
}
model {
  input x: float[2]
  target y: float
  h = x -> dense(8) -> tanh -> dropout(0.1)
  output z = h -> dense(1) -> squeeze
  loss mse(z, y)
}
train {
  epochs = 40
  batch = 8
  keep = best(valid.loss)
}
"""


def write_project(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["a,b,y"] + [f"{a:.4f},{b:.4f},{a * b:.4f}" for a, b in rng.standard_normal((200, 2))]
    (folder / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "m.net").write_text(TEXT, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path)
    return tmp_path


def left(folder: Path) -> tuple[dict[str, np.ndarray], list[dict]]:
    """The parameters, and the metrics without what a clock says."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return load_file(folder / "checkpoint.safetensors"), [
        {name: value for name, value in row.items() if "second" not in name} for row in rows
    ]


def same(first: Path, second: Path) -> bool:
    (arrays, rows), (others, other_rows) = left(first), left(second)
    return (
        rows == other_rows
        and arrays.keys() == others.keys()
        and all(np.array_equal(arrays[name], others[name]) for name in arrays)
    )


def test_killed_at_any_moment_nothing_is_lost(project: Path, is_long: bool) -> None:
    """kill -9, again and again; what was saved opens, and resuming ends at the bits of the run that was not killed.

    A process is killed as it prints the line of an epoch (which it saves just before or after) or a little later, never by a clock: a slow machine is killed as often.
    """
    whole = command("train", "m.net", "--out", "whole", cwd=project)
    assert whole.returncode == 0, whole.stderr
    draw, kills, inside = random.Random(0), 0, 0
    while kills < (50 if is_long else 4):
        folder = project / f"run{kills}"
        arguments: tuple[object, ...] = ("m.net", "--out", folder)
        for _ in range(3):
            killed_after(arguments, draw.choice((0, 1, 2, 7)), draw.choice((0, 0, 0.002, 0.01)), project)
            kills += 1
            if (folder / "checkpoint.safetensors").exists():
                inside += 1
                netc.open(folder)
                arguments = ("--resume", folder)
            elif folder.exists():
                folder = project / f"run{kills}"
                arguments = ("m.net", "--out", folder)
        ended = command("train", *arguments, cwd=project)
        assert ended.returncode == 0, ended.stderr
        assert same(project / "whole", folder)
    assert inside >= 3


def killed_after(arguments: tuple[object, ...], epochs: int, later: float, cwd: Path) -> None:
    """Train, and kill the process some seconds after so many more epochs; with none, as soon as it says anything or has a folder."""
    running = subprocess.Popen(
        netc_command("train", *arguments), cwd=cwd, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert running.stdout is not None
    if not epochs:
        folder = Path(str(arguments[-1]))
        while not folder.exists() and running.poll() is None:
            time.sleep(0.001)
    for line in running.stdout if epochs else ():
        epochs -= line.startswith("epoch ")
        if not epochs:
            break
    time.sleep(later)
    running.kill()
    running.communicate()


def test_a_changed_file_says_what_changed(project: Path) -> None:
    run = command("train", "m.net", "--epochs", "3", "--out", "run", cwd=project)
    assert run.returncode == 0, run.stderr
    longer = TEXT.replace("epochs = 40", "epochs = 5\n  optimizer = adam(lr = 0.002)").replace(
        "loss mse(z, y)", "loss mse(z, y)  # as before\n  metric mae(z, y)"
    )
    (project / "m.net").write_text(longer, encoding="utf-8")
    told = command("train", "--resume", "run", cwd=project)
    assert "m.net was changed meanwhile; `netc train" in told.stdout
    done = command("train", "m.net", "--resume", "run", cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "changed: outputs, metrics or watched values\n"
        "changed: `optimizer` from adam(lr = 0.001, beta1 = 0.9, beta2 = 0.999, eps = 1e-08, decay = 0) to adam(lr = 0.002, beta1 = 0.9, beta2 = 0.999, eps = 1e-08, decay = 0)\n"
        "changed: `epochs` from 3 to 5\n"
    )
    assert len(left(project / "run")[1]) == 5
    assert netc.open(project / "run").evaluate("valid").keys() == {"loss", "mae"}
    before = left(project / "run")
    (project / "m.net").write_text(
        longer.replace("tanh", "relu").replace("batch = 8", "batch = 16").replace("0.8", "0.7"), encoding="utf-8"
    )
    refused = command("train", "m.net", "--resume", "run", cwd=project)
    assert refused.returncode == 1
    assert refused.stderr.count("E1004") == 3
    assert "it was `h = x -> dense(8) -> tanh -> dropout(0.1)`" in refused.stderr
    assert all(np.array_equal(before[0][name], array) for name, array in left(project / "run")[0].items())


def test_start_from(project: Path) -> None:
    first = netc.train(netc.load(project / "m.net"), out=project / "first", epochs=3)
    text = TEXT.replace(
        "epochs = 40", 'epochs = 1\n  optimizer = sgd(lr = 1e-30)\n  start_from = ("first", only = "h.*")'
    )
    text = text.replace("output z = h ->", "output z = h -> dense(4) -> relu ->")
    (project / "n.net").write_text(text, encoding="utf-8")
    done = command("train", "n.net", "--out", "second", cwd=project)
    assert done.returncode == 0, done.stderr
    assert (
        "from first: 2 loaded, 2 new (z.dense_2.W, z.dense_2.b), 2 of another shape (z.dense.W, z.dense.b)\n"
        in done.stdout
    )
    found = netc.open(project / "second").program.parameters
    np.testing.assert_array_equal(found["h.dense.W"], first.program.parameters["h.dense.W"])
    (project / "n.net").write_text(text.replace('"h.*"', '"g.*"'), encoding="utf-8")
    refused = command("train", "n.net", cwd=project)
    assert refused.returncode == 1
    assert (
        refused.stderr
        == """error[E1003]: no parameter is called "g.*"
  --> n.net:17:16
   |
17 |   start_from = ("first", only = "g.*")
   |                ^^^^^^^^^^^^^^^^^^^^^^^
   = hint: there are h.dense.W, h.dense.b, z.dense.W, z.dense.b, z.dense_2.W, z.dense_2.b
"""
    ), refused.stderr
    for only, hint in (("", "says which are wanted"), (', only = "z.*"', "takes in less")):
        (project / "n.net").write_text(text.replace(', only = "h.*"', only), encoding="utf-8")
        refused = command("train", "n.net", cwd=project)
        assert refused.returncode == 1
        assert "error[E1003]: `first` does not fit this model" in refused.stderr
        assert hint in refused.stderr
    assert not (project / "runs" / "n" / "checkpoint.safetensors").exists()


def test_damaged_files_are_messages(project: Path) -> None:
    """Any byte of any file of a run turned over: a message, or the right result."""
    run = netc.train(netc.load(project / "m.net"), out=project / "run", epochs=2)
    fields = {"x": np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)}
    right = run.predict(fields)["z"]
    draw = random.Random(1)
    paths = [path for path in sorted(project.glob("run/*")) if path.suffix != ".svg"]
    assert len(paths) >= 5
    for path in paths:
        refused = 0
        whole = path.read_bytes()
        for turn in range(12):
            damaged = bytearray(whole)
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            path.write_bytes(bytes(damaged) if turn else whole[: draw.randrange(len(whole))])
            try:
                found = netc.open(project / "run").predict(fields)["z"]
            except netc.Fault as fault:
                found, message, refused = right, str(fault), refused + 1
                assert "E1001" in message
            np.testing.assert_array_equal(found, right)
        assert refused, f"no damage of {path.name} was found"
        path.write_bytes(whole)
        np.testing.assert_array_equal(netc.open(project / "run").predict(fields)["z"], right)


def test_folders_that_cannot_be_used(project: Path) -> None:
    (project / "file").write_text("", encoding="utf-8")
    refused = command("train", "m.net", "--out", "file/run", cwd=project)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error[E1001]: cannot make the folder `file/run`")
    for parts in ("--resume", "nowhere"), ("--resume", "file"):
        refused = command("train", *parts, cwd=project)
        assert refused.returncode == 1
        assert "E1001" in refused.stderr


def test_a_full_disk_is_a_message_and_what_was_saved_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = netc.train(netc.load(project / "m.net"), out=project / "run", epochs=2)
    before = left(run.folder)
    real = os.fsync

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(netc.Fault, match=r"cannot write `.*checkpoint.safetensors`(.|\n)*No space left on device"):
        run.save()
    run.metrics.append({**run.metrics[-1], "epoch": 3})
    run.progress.epoch = 3
    with pytest.raises(netc.Fault, match=r"cannot write `.*metrics.jsonl`(.|\n)*No space left on device"):
        run.save()
    monkeypatch.setattr(os, "fsync", real)
    assert same(run.folder, run.folder)
    assert before[1] == left(run.folder)[1]
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".")]


def test_two_processes_do_not_train_in_one_folder(project: Path) -> None:
    (project / "m.net").write_text(TEXT.replace("epochs = 40", "epochs = 100000"), encoding="utf-8")
    running = subprocess.Popen(
        netc_command("train", "m.net", "--out", "run"), cwd=project, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert running.stdout is not None
        while not running.stdout.readline().startswith("epoch 1"):
            assert running.poll() is None
        refused = command("train", "--resume", "run", cwd=project)
        assert refused.returncode == 1
        assert "error[E1001]: another process trains in `run`" in refused.stderr
        other = command("train", "m.net", "--out", "run", "--epochs", "1", cwd=project)
        assert "-> run-2" in other.stdout
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=600)
    assert command("train", "--resume", "run", "--epochs", "1", cwd=project).returncode == 0


def test_a_model_larger_than_memory_is_a_message(project: Path) -> None:
    (project / "m.net").write_text(TEXT.replace("dense(8)", "dense(10 ** 13)"), encoding="utf-8")
    refused = command("train", "m.net", cwd=project)
    assert refused.returncode == 1
    assert "error[E1005]: training would take" in refused.stderr
    assert "`h.dense.W` is the largest: f32[2, 10000000000000]" in refused.stderr
    assert not (project / "runs").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for an epoch, beside its data."""
    folder = tmp_path_factory.mktemp("trained")
    write_project(folder)
    command("train", "m.net", "--out", "run", "--epochs", "1", cwd=folder)
    return folder


@pytest.fixture
def forged(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy" / "run"


def forge(folder: Path, **changes: object) -> None:
    """Change what run.json says, with the hash that belongs to it, as somebody would who knows how it is made."""
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    info = {key: value for key, value in {**info, **changes}.items() if value is not None}
    info.pop("hash")
    info["hash"] = hashlib.sha256(json.dumps(dict(sorted(info.items())), sort_keys=True).encode()).hexdigest()
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": None}, "run.json: Object missing required field `seed`"),
        ({"seed": "1"}, "run.json: Expected `int`, got `str` - at `$.seed`"),
        ({"set": {"width": [1]}}, "run.json: Expected `bool | int | float | str`, got `array` - at `$.set[...]`"),
        ({"hashes": {}}, "model.net is not as training left it"),
        ({"plugins": ["antigravity"]}, "it was trained with the plug-in `antigravity`"),
        ({"plugins": "antigravity"}, "run.json: Expected `array`, got `str` - at `$.plugins`"),
    ],
)
def test_a_forged_run_is_a_message(forged: Path, changes: dict[str, object], told: str) -> None:
    forge(forged, **changes)
    refused = command("eval", forged.name, cwd=forged.parent)
    assert refused.returncode == 1
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"x": [[{"mean": "a"}]]}', b"{}", b"\xff", b'{"x": [{}]}'])
def test_forged_states_of_steps_are_a_message(forged: Path, content: bytes) -> None:
    (forged / "data.json").write_bytes(content)
    hashes = json.loads((forged / "run.json").read_text(encoding="utf-8"))["hashes"]
    forge(forged, hashes={**hashes, "data.json": [hashlib.sha256(content).hexdigest()]})
    refused = command("eval", forged.name, cwd=forged.parent)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error[E1001]: `run` is no run\n"), refused.stderr
