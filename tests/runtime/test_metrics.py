"""metrics.jsonl is appended to: the cost of a save does not grow, and no kill, failure or other process damages it."""

import json
import math
import os
from pathlib import Path
from zlib import crc32

import pytest
from support import command

import netc
from netc.runtime.runs import metrics as module
from netc.runtime.runs.checkpoint import write_whole
from netc.runtime.runs.metrics import Metrics, MetricsFile, read_metrics, whole_rows
from tests.runtime.test_runs import same, write_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path)
    return tmp_path


def row(epoch: int, loss: float = 0.125) -> dict:
    return {"epoch": epoch, "train.loss": loss, "seconds": 0.25}


def test_rows_in_memory_are_those_of_the_file() -> None:
    rows = [
        row(1),
        row(2, math.inf),
        {"epoch": 3, "train.loss": 0.1, "valid.m": [[1.0, 2.0], [0.1, 1e-300]], "seconds": 1.0},
        row(4, 1 / 3),
        {},
    ]
    metrics = Metrics(rows)
    assert list(metrics) == rows
    assert metrics[2:4] == rows[2:4]
    assert metrics[-2] == rows[-2]
    assert [type(value) for value in metrics[0].values()] == [int, float, float]
    assert len(metrics) == 5
    assert math.isnan(Metrics([row(1, math.nan)])[0]["train.loss"])
    with pytest.raises(IndexError):
        metrics[5]


def test_a_save_writes_only_the_new_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    real = os.write

    def counted(handle: int, content: bytes) -> int:
        written.append(len(content))
        return real(handle, content)

    def write(path: Path, content: bytes) -> None:
        written.append(len(content))
        write_whole(path, content)

    monkeypatch.setattr(module.os, "write", counted)
    monkeypatch.setattr(module, "write_whole", write)
    path = tmp_path / "metrics.jsonl"
    metrics, file = Metrics(), MetricsFile()
    file.save(path, metrics)
    for epoch in range(1, 301):
        metrics.append(row(epoch + 1000))
        file.save(path, metrics)
        file.save(path, metrics)  # there is no new row
    line = len(json.dumps(row(1001))) + 1
    assert written == [0] + [line] * 300
    content = path.read_bytes()
    assert content == "".join(json.dumps(row(epoch + 1000)) + "\n" for epoch in range(1, 301)).encode()
    assert file.checksum == crc32(content.replace(b', "seconds": 0.25', b""))
    assert list(read_metrics(path, 300, file.checksum)) == list(metrics)


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda handle, content: real(handle, content[:3]))
    path = tmp_path / "metrics.jsonl"
    metrics, file = Metrics(), MetricsFile()
    file.save(path, metrics)
    metrics.append(row(1))
    file.save(path, metrics)
    assert list(read_metrics(path, 1, file.checksum)) == [row(1)]


def test_a_row_that_could_not_be_appended_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics, file = Metrics([row(1)]), MetricsFile()
    file.save(path, metrics)
    before, checksum, real = path.read_bytes(), file.checksum, os.write

    def full(handle: int, content: bytes) -> int:
        real(handle, content[:5])
        raise OSError(28, "No space left on device")

    metrics.append(row(2))
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "write", full)
        with pytest.raises(netc.Fault, match="No space left on device"):
            file.save(path, metrics)
    assert path.read_bytes() == before
    assert file.checksum == checksum
    file.save(path, metrics)
    assert list(read_metrics(path, 2, file.checksum)) == list(metrics)


@pytest.mark.parametrize("what", ["longer", "shorter", "same length", "gone", "replaced"])
def test_a_file_that_another_process_changed_is_rewritten(tmp_path: Path, what: str) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics, file = Metrics([row(1), row(2)]), MetricsFile()
    file.save(path, metrics)
    content = path.read_bytes()
    match what:
        case "longer":
            path.write_bytes(content + b"{}\n")
        case "shorter":
            path.write_bytes(content[:-3])
        case "same length":
            path.write_bytes(content.replace(b"0.125", b"0.999"))
            os.utime(path, ns=(0, 10**9))  # also if the clock of the file system is coarse
        case "gone":
            path.unlink()
        case "replaced":
            write_whole(path, content.replace(b"0.125", b"0.999"))
    metrics.append(row(3))
    file.save(path, metrics)
    assert list(read_metrics(path, 3, file.checksum)) == list(metrics)


@pytest.mark.parametrize("torn", [b'{"epoch": 4, "tra', b'{"epoch": 4}\n{"ep', b"\0" * 40])
def test_a_torn_last_row_is_left_out(project: Path, torn: bytes) -> None:
    """The run opens, and resuming gives the bits of a run that was not killed."""
    model = netc.load(project / "m.net")
    netc.train(model, out=project / "whole", epochs=5)
    run = netc.train(model, out=project / "run", epochs=3)
    path = run.folder / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(torn)
    assert [row["epoch"] for row in netc.open(run.folder).metrics] == [1, 2, 3]
    resumed = command("train", "--resume", "run", "--epochs", "5", cwd=project)
    assert resumed.returncode == 0, resumed.stderr
    assert same(project / "whole", project / "run")
    assert path.read_bytes().count(b"\n") == 5


def test_the_checksum_leaves_the_times_out(tmp_path: Path) -> None:
    """The checkpoint holds it, and has the same bytes however long an epoch took. Older runs counted the times in."""
    path = tmp_path / "metrics.jsonl"
    checksums = set()
    for seconds in (0.25, 1e-05, 12):
        rows = [{**row(epoch), "seconds": seconds, "samples_per_second": 7 / seconds} for epoch in (1, 2)]
        file = MetricsFile()
        file.save(path, rows)
        checksums.add(file.checksum)
        assert list(read_metrics(path, 2, file.checksum)) == rows
        assert list(read_metrics(path, 2, crc32(path.read_bytes()))) == rows
    assert len(checksums) == 1


def test_rows_that_are_missing_or_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics, file = Metrics([row(1), row(2)]), MetricsFile()
    file.save(path, metrics)
    content = path.read_bytes()
    for epochs, changed in (2, content[:-1]), (2, content.replace(b"0.125", b"0.126")), (3, content), (2, b""):
        path.write_bytes(changed)
        with pytest.raises(netc.Fault, match="it is not as training left it"):
            read_metrics(path, epochs, file.checksum)
    path.write_bytes(b"[1]\n")
    with pytest.raises(netc.Fault, match="cannot read"):
        read_metrics(path, 1, crc32(b"[1]\n"))


def test_runs_are_listed_while_a_row_is_written(project: Path) -> None:
    run = netc.train(netc.load(project / "m.net"), out=project / "runs" / "r", epochs=2)
    with (run.folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 3, "tra')
    listed = json.loads(command("runs", "--json", cwd=project).stdout)
    assert [(entry["run"], entry["epochs"]) for entry in listed] == [("runs/r", 2)]
    assert len(list(whole_rows(run.folder / "metrics.jsonl"))) == 2
