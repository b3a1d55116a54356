"""Nothing in a run is lost: killed runs, damaged files, changed files, folders that cannot be used."""

import collections
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import asdict
from safetensors.numpy import load_file, save
from support import PROJECT as TEXT
from support import command, netc_command, write_project

import netc
from netc.runtime.runs.checkpoint import read_checkpoint
from netc.runtime.runs.resume import has_changed


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path)
    return tmp_path


def left(folder: Path) -> tuple[dict[str, np.ndarray], list[dict]]:
    """The parameters, and the metrics without times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return load_file(folder / "checkpoint.safetensors"), [
        {name: value for name, value in row.items() if "second" not in name} for row in rows
    ]


def same(first: Path, second: Path) -> bool:
    """Whether two runs have the same checkpoint, to the byte, and the same metrics."""
    checkpoint = "checkpoint.safetensors"
    if (first / checkpoint).read_bytes() != (second / checkpoint).read_bytes():
        return False
    (arrays, rows), (others, other_rows) = left(first), left(second)
    return (
        rows == other_rows
        and arrays.keys() == others.keys()
        and all(np.array_equal(arrays[name], others[name]) for name in arrays)
    )


FILES = {
    "model.net",
    "run.json",
    "data.json",
    "metrics.jsonl",
    "checkpoint.safetensors",
    "best.safetensors",
    "curves.svg",
    "outcome.json",
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def test_a_run_that_is_killed_at_any_moment_loses_nothing(
    project: Path, is_long: bool, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """Runs are killed by four kinds of signals, again and again.

    Each saved state opens, resuming ends with the bits of a run that was not killed, and no other files remain. A
    process is killed when it prints the line of an epoch (which it saves just before or after) or a little later, never
    by a clock, so that a slow machine is killed as often. With `--long` some are also killed while they start, read
    data and compile.
    """
    if is_long:
        monkeypatch.setenv("NETC_CACHE", str(project / "cache"))
    uninterrupted = command("train", "m.net", "--out", "whole", cwd=project)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    draw, kills, counts = random.Random(0), 0, collections.Counter[str]()
    while kills < (300 if is_long else len(SIGNALS)):
        folder = project / f"run{kills}"
        if is_long and draw.random() < 0.1:
            shutil.rmtree(project / "cache")
        arguments: tuple[object, ...] = ("m.net", "--out", folder)
        for _ in SIGNALS:
            number = SIGNALS[kills % len(SIGNALS)]
            moment = draw.choice((*(0, 1, 2, 7) * 2, None)) if is_long else draw.choice((0, 1, 2, 7))
            later = draw.uniform(0, 2) if moment is None else draw.choice((0, 0, 0.002, 0.01))
            status = ended_by(number, ("train", *arguments), moment, later, project)
            if moment is not None:  # otherwise Python itself may not have started yet
                assert status in (0, -9 if number == signal.SIGKILL else 128 + number), (number, status)
            counts[f"{number.name} {status}"] += 1
            kills += 1
            if folder.exists():
                counts["with a run"] += 1
                assert {path.name for path in folder.iterdir() if not path.name.startswith(".netc-")} <= FILES
                netc.open(folder)
                arguments = ("--resume", folder)
        ended = command("train", *arguments, cwd=project)
        assert ended.returncode == 0, ended.stderr
        assert same(project / "whole", folder)
        assert {path.name for path in folder.iterdir()} == FILES
    record_property("kills", dict(counts))
    assert counts["with a run"] >= 3
    names = {path.name for path in project.iterdir() if not path.name.startswith("run")}
    assert names == {"m.net", "t.csv", "whole", *["cache"] * is_long}
    if is_long:
        command("cache", cwd=project)
        assert not [path for path in (project / "cache").rglob("*") if path.suffix not in (".o", ".tables")]


def ended_by(number: int, arguments: tuple[object, ...], epochs: int | None, later: float, cwd: Path) -> int:
    """Runs a command that trains, sends it a signal, and returns its exit status.

    The signal is sent some seconds after a number of further epochs; with 0 epochs as soon as the process has printed
    its folder, and with None as soon as it has started.
    """
    running = subprocess.Popen(
        netc_command(*arguments),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    assert running.stdout is not None
    if epochs is not None:
        for line in running.stdout:
            epochs -= line.startswith("epoch ")
            if epochs <= 0:
                break
    time.sleep(later)
    running.send_signal(number)
    running.communicate()
    return running.returncode


def test_resuming_a_changed_file_says_what_changed(project: Path) -> None:
    run = command("train", "m.net", "--epochs", "3", "--out", "run", cwd=project)
    assert run.returncode == 0, run.stderr
    longer = TEXT.replace("epochs = 40", "epochs = 5\n  optimizer = adam(lr = 0.002)").replace(
        "loss mse(z, y)", "loss mse(z, y)  # as before\n  metric mae(z, y)"
    )
    (project / "m.net").write_text(longer, encoding="utf-8")
    result = command("train", "--resume", "run", cwd=project)
    assert "m.net has changed since; `netc train" in result.stdout
    done = command("train", "m.net", "--resume", "run", cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "changed: outputs, metrics or watched values\n"
        "changed: `optimizer` from adam(lr = 0.001, beta1 = 0.9, beta2 = 0.999, eps = 1e-08, decay = 0, lazy = false) "
        "to adam(lr = 0.002, beta1 = 0.9, beta2 = 0.999, eps = 1e-08, decay = 0, lazy = false)\n"
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


def test_resuming_keeps_the_epochs_and_constants_that_were_set(project: Path) -> None:
    """A resumed run ends with the bits of one that was trained with these settings, however often it was resumed."""
    text = "let width = 8\nlet rate = 0.001\n" + TEXT.replace("dense(8)", "dense(width)").replace(
        "epochs = 40", "epochs = 40\n  optimizer = adam(lr = rate)\n  schedule = cosine()"
    )
    (project / "m.net").write_text(text, encoding="utf-8")

    def train(*arguments: object) -> subprocess.CompletedProcess:
        return command("train", *arguments, cwd=project)

    assert train("m.net", "--set", "width=4", "--epochs", 2, "--out", "run").returncode == 0
    longer = train("--resume", "run", "--epochs", 4, "--set", "rate=0.002")
    assert longer.returncode == 0, longer.stderr
    first, second, third, *_ = longer.stdout.splitlines()
    assert first.startswith("changed: `optimizer` from adam(lr = 0.001,")
    assert second == "resuming run: 2 of 4 epochs done; it had ended after epoch 2"
    assert "to 0.001 (0.5 of lr = 0.002) at the next step" in third
    info = json.loads((project / "run" / "run.json").read_text(encoding="utf-8"))
    assert (info["set"], info["epochs"]) == ({"width": 4, "rate": 0.002}, 4)
    before = left(project / "run")
    for arguments in ((), ("m.net",)):
        again = train(*arguments, "--resume", "run")
        assert again.stdout.splitlines()[:2] == [
            "resuming run: 4 of 4 epochs done; it had ended after epoch 4",
            "nothing is left to train",
        ]
    fewer = train("--resume", "run", "--epochs", 3)
    assert "error[E1004]: training until epoch 3 is over\n  --> m.net:18:3\n" in fewer.stderr
    wider = train("--resume", "run", "--set", "width=16")
    assert "error[E1004]: what the model computes changed" in wider.stderr
    assert "let width = 8\n  | ^^^^^^^^^^^^^ `width` was 4\n" in wider.stderr
    unknown = train("--resume", "run", "--set", "depth=3")
    assert "error[E0201]: `--set depth`: the file has no `let depth`" in unknown.stderr
    assert left(project / "run")[1] == before[1]
    (project / "m.net").write_text(text.replace("epochs = 40", "epochs = 5"), encoding="utf-8")
    changed = train("m.net", "--resume", "run")
    assert changed.stdout.startswith("changed: `epochs` from 4 to 5\nresuming run: 4 of 5")


def test_carriage_returns_are_part_of_a_file(project: Path) -> None:
    """A file is compared byte by byte: it is the same with its carriage returns, and another one without them."""
    content = (project / "m.net").read_bytes().replace(b"\n", b"\r\n")
    (project / "m.net").write_bytes(content)
    run = netc.train(netc.load(project / "m.net"), out=project / "run", epochs=1)
    assert has_changed(netc.open(run.folder)) is None
    (project / "m.net").write_bytes(content.replace(b"\r\n", b"\n"))
    assert has_changed(netc.open(run.folder)) == project / "m.net"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text(project: Path) -> None:
    """A path consists of bytes.

    A run of a file whose name is not UTF-8 opens, with labels that contain lone surrogates.
    """
    path = Path(os.fsdecode(os.fsencode(project) + b"/m\xff.net"))
    rows = [{"x": i / 3, "y": ("a", "\ud800")[i % 2]} for i in range(20)]
    (project / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path.write_text(
        'data {\n  source = jsonl("t.jsonl")\n  x = column("x")\n  y = column("y") -> classes\n'
        "  split = (train = 1)\n}\n"
        "model {\n  input x: float\n  target y: class(2)\n  z = stack(x, x) -> dense(2)\n  output p = z\n"
        "  loss cross_entropy(z, y)\n}\n",
        encoding="utf-8",
    )
    run = netc.train(netc.load(path), out=project / os.fsdecode(b"run\xfe"), epochs=1)
    opened = netc.open(run.folder)
    assert opened.model.source.path == path
    assert opened.states["y"] == [{"classes": ["a", "\ud800"]}]


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
    parameters = netc.open(project / "second").program.parameters
    np.testing.assert_array_equal(parameters["h.dense.W"], first.program.parameters["h.dense.W"])
    (project / "n.net").write_text(text.replace('"h.*"', '"g.*"'), encoding="utf-8")
    refused = command("train", "n.net", cwd=project)
    assert refused.returncode == 1
    assert (
        refused.stderr
        == """error[E1003]: no parameter is called "g.*"
  --> n.net:18:16
   |
18 |   start_from = ("first", only = "g.*")
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
        assert command("check", "n.net", cwd=project).stderr == refused.stderr
    assert not (project / "runs" / "n" / "checkpoint.safetensors").exists()
    (project / "n.net").write_text(text.replace('"first"', '"none"'), encoding="utf-8")
    (project / "t.csv").write_text("nothing", encoding="utf-8")
    for arguments in (("check", "n.net"), ("train", "n.net")):
        refused = command(*arguments, cwd=project)
        assert "error[E1003]: there is no run `none`" in refused.stderr, "before the data is read"


@pytest.mark.parametrize("out", ["t.csv/run", "t.csv/a/b"])
def test_a_folder_that_cannot_be_made_is_said_before_the_data_is_read(out: str, project: Path) -> None:
    text = TEXT.replace('"t.csv"', '"none.csv"')
    (project / "m.net").write_text(text, encoding="utf-8")
    with pytest.raises(netc.Fault, match=r"error\[E1001\]: cannot make the folder"):
        netc.train(netc.load(project / "m.net"), out=project / out)
    assert not (project / "a").exists()


def test_damaged_files_are_messages(project: Path) -> None:
    """Any byte of any file of a run is flipped: the result is a message, or it is right."""
    run = netc.train(netc.load(project / "m.net"), out=project / "run", epochs=2)
    fields = {"x": np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)}
    right = run.predict_prepared(fields)["z"]
    draw = random.Random(1)
    paths = [path for path in sorted(project.glob("run/*")) if path.suffix != ".svg"]
    assert len(paths) >= 5
    for path in paths:
        refused = 0
        content = path.read_bytes()
        for turn in range(12):
            damaged = bytearray(content)
            damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(bytes(damaged) if turn else content[: draw.randrange(len(content))])
            try:
                predicted = netc.open(project / "run").predict_prepared(fields)["z"]
            except netc.Fault as fault:
                predicted, message, refused = right, str(fault), refused + 1
                assert "E1001" in message
            np.testing.assert_array_equal(predicted, right)
        assert refused, f"no damage of {path.name} was found"
        path.write_bytes(content)
        np.testing.assert_array_equal(netc.open(project / "run").predict_prepared(fields)["z"], right)


def test_folders_that_cannot_be_used(project: Path) -> None:
    (project / "file").write_text("", encoding="utf-8")
    refused = command("train", "m.net", "--out", "file/run", cwd=project)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error[E1001]: cannot make the folder `file/run`")
    for parts in ("--resume", "nowhere"), ("--resume", "file"):
        refused = command("train", *parts, cwd=project)
        assert refused.returncode == 1
        assert "E1001" in refused.stderr


def test_a_full_disk_is_a_message_and_saved_states_stay(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """The process that trains, if it was started with `nohup`, survives its terminal. SIGTERM ends it."""
    (project / "m.net").write_text(TEXT.replace("epochs = 40", "epochs = 100000"), encoding="utf-8")
    running = subprocess.Popen(
        ["nohup", *netc_command("train", "m.net", "--out", "run")],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        assert running.stdout is not None
        while not running.stdout.readline().startswith("epoch 1"):
            assert running.poll() is None
        running.send_signal(signal.SIGHUP)
        refused = command("train", "--resume", "run", cwd=project)
        assert refused.returncode == 1
        assert "error[E1001]: another process trains in `run`" in refused.stderr
        other = command("train", "m.net", "--out", "run", "--epochs", "1", cwd=project)
        assert "-> run-2" in other.stdout
    finally:
        running.send_signal(signal.SIGTERM)
        _, message = running.communicate(timeout=600)
    assert running.returncode == 128 + signal.SIGTERM
    assert message.splitlines()[-2:] == ["", "interrupted; netc train --resume run continues"]
    assert "Traceback" not in message
    epochs = netc.open(project / "run").progress.epoch + 1
    assert command("train", "--resume", "run", "--epochs", epochs, cwd=project).returncode == 0


def test_a_run_that_another_process_trains_is_not_changed(project: Path) -> None:
    """The lock is taken first: options that would be written into the run are refused with it."""
    assert command("train", "m.net", "--epochs", 2, "--out", "run", cwd=project).returncode == 0
    (project / "m.net").write_text(TEXT.replace("epochs = 40", "epochs = 7"), encoding="utf-8")
    before = {path.name: path.read_bytes() for path in (project / "run").iterdir()}
    handle = os.open(project / "run", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for arguments in (("m.net",), ("m.net", "--epochs", 9), ("--epochs", 3)):
            refused = command("train", *arguments, "--resume", "run", cwd=project)
            assert refused.returncode == 1
            assert "error[E1001]: another process trains in `run`" in refused.stderr
    finally:
        os.close(handle)
    assert {path.name: path.read_bytes() for path in (project / "run").iterdir()} == before
    missing = command("train", "--resume", "nowhere", cwd=project)
    assert "error[E1001]: `nowhere` is not a run" in missing.stderr
    of_a_model = command("eval", "m.net", cwd=project).stderr
    assert "`m.net` is not a run" in of_a_model
    assert "this is a file, and a run is a folder" in of_a_model
    assert "`netc train m.net` trains it and prints the run's folder" in of_a_model


def test_a_resumed_run_reads_its_data_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.commands import train
    from netc.runtime.runs import run as runs

    monkeypatch.chdir(project)
    netc.train(netc.load("m.net"), out="run", epochs=1)
    count, load = 0, runs.load

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return load(*arguments)

    monkeypatch.setattr(runs, "load", counted)
    train.train(resume=Path("run"), epochs=2)
    assert count == 1
    assert len(left(project / "run")[1]) == 2


def test_a_model_larger_than_memory_is_a_message(project: Path) -> None:
    (project / "m.net").write_text(TEXT.replace("dense(8)", "dense(10 ** 13)"), encoding="utf-8")
    refused = command("train", "m.net", cwd=project)
    assert refused.returncode == 1
    message = (
        r"error\[E1005\]: parameters and the optimizer's states, of which `h.dense.W` is the largest, "
        r"would take [\d,]+ bytes"
    )
    assert re.search(message, refused.stderr)
    assert "11 | " in refused.stderr
    assert re.search(r"has [\d,]+ bytes free", refused.stderr)
    assert "f32[2, 10000000000000] alone are 80,000,000,000,000 bytes" in refused.stderr
    assert not (project / "runs").exists()


def test_a_checkpoint_of_an_earlier_version_opens(project: Path) -> None:
    """Its checksum is an entry of its own in the metadata, and its rows are counted with their times."""
    run = netc.train(netc.load(project / "m.net"), out=project / "run", epochs=2)
    path = run.folder / "checkpoint.safetensors"
    arrays, progress, owned = read_checkpoint(path)
    progress.metrics = zlib.crc32((run.folder / "metrics.jsonl").read_bytes())
    content = json.dumps({"progress": asdict(progress), "owned": owned})
    checksum = zlib.crc32(content.encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(arrays[name].tobytes(), zlib.crc32(name.encode(), checksum))
    path.write_bytes(save(arrays, {"netc": content, "checksum": str(checksum)}))
    assert netc.open(run.folder).progress == progress
    resumed = command("train", "--resume", "run", "--epochs", "3", cwd=project)
    assert resumed.returncode == 0, resumed.stderr
    netc.train(netc.load(project / "m.net"), out=project / "whole", epochs=3)
    assert same(project / "whole", project / "run")


def test_a_run_on_arrays_of_a_file_with_data_opens(project: Path) -> None:
    """It was not trained on the data that the file names, so neither that data nor its steps belong to the run."""
    fields = {"x": np.ones((8, 2), np.float32), "y": np.ones(8, np.float32)}
    (project / "m.net").write_text(
        TEXT.replace("  keep = best(valid.loss)\n", ""), encoding="utf-8"
    )  # there is no such part
    run = netc.train(netc.load(project / "m.net"), data=fields, out=project / "run", epochs=1)
    again = netc.open(run.folder)
    np.testing.assert_array_equal(again.predict_prepared(fields)["z"], run.predict_prepared(fields)["z"])
    with pytest.raises(netc.Fault, match="trained on arrays"):
        again.evaluate("train")
