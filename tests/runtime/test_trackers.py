"""`--log`: the metrics of a run as TensorBoard, MLflow and csv have them, read back with the tools' own libraries."""

import csv
import json
import os
from pathlib import Path

import pytest
import support
from support import command, has_epochs, killed_once, write_project

import netc
from netc.dsl.diagnostics import Fault
from netc.runtime.runs.run import Run
from netc.runtime.trackers import tracker
from netc.runtime.trackers.epochs import scalars
from netc.runtime.trackers.tracker import tracked

Series = dict[str, list[tuple[int, float]]]  # by metric: the number of each epoch and its value
TRACKERS = ["mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "tensorboardX"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(support, "IMPORTED_BY_COMMANDS", TRACKERS)
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected(run: Run) -> Series:
    series: Series = {}
    for row in run.metrics:
        for name, value in scalars(row).items():
            series.setdefault(name, []).append((int(row["epoch"]), value))
    return series


def from_tensorboard(folder: Path) -> Series:
    """The values that TensorBoard reads from a folder. It keeps floats of 32 bits."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag.replace("/", ".", 1): [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def from_mlflow(folder: Path) -> tuple[Series, str]:
    """The values that MLflow has of a run, and its status there."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    record = json.loads((folder / "mlflow.json").read_text(encoding="utf-8"))
    client = MlflowClient(f"sqlite:///{record['database']}")
    assert len(client.search_runs([client.get_experiment_by_name("netc").experiment_id])) == 1
    run = client.get_run(record["run"])
    series = {
        name: sorted((metric.step, metric.value) for metric in client.get_metric_history(record["run"], name))
        for name in run.data.metrics
    }
    return series, run.info.status


def from_csv(folder: Path) -> Series:
    series: Series = {}
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, cell in row.items():
                if name != "epoch" and cell:
                    series.setdefault(name, []).append((int(row["epoch"]), float(cell)))
    return series


def check(run: Run, status: str = "FINISHED") -> None:
    """All three have each epoch once, with its numbers."""
    series = expected(run)
    assert from_csv(run.folder) == series
    read, recorded_status = from_mlflow(run.folder)
    assert read == series
    assert recorded_status == status
    shown = from_tensorboard(run.folder)
    assert shown.keys() == series.keys()
    for name, points in series.items():
        assert [step for step, _ in shown[name]] == [step for step, _ in points]
        assert [value for _, value in shown[name]] == pytest.approx([value for _, value in points], rel=1e-6)


def test_each_epoch_is_logged_once(project: Path) -> None:
    run = netc.train(netc.load("m.net"), epochs=4, out="run", log=["tensorboard", "mlflow", "csv"])
    check(run)
    again = command("train", "--resume", "run", "--epochs", 6, *LOGS, cwd=project)
    assert again.returncode == 0, again.stderr
    run = netc.open("run")
    assert len(run.metrics) == 6
    check(run)


LOGS = [word for name in ("tensorboard", "mlflow", "csv") for word in ("--log", name)]


def test_a_killed_run_is_logged_in_full_once_it_is_resumed(project: Path) -> None:
    killed_once(lambda: has_epochs(project / "run", 3), "train", "m.net", "--out", "run", *LOGS, cwd=project)
    done = command("train", "--resume", "run", *LOGS, cwd=project)
    assert done.returncode == 0, done.stderr
    check(netc.open("run"))


def test_a_tracker_may_begin_with_a_run_that_has_ended(project: Path) -> None:
    run = netc.train(netc.load("m.net"), epochs=3, out="run")
    done = command("train", "--resume", "run", *LOGS, cwd=project)
    assert done.returncode == 0, done.stderr
    check(run)


def test_files_that_were_lost_are_written_again(project: Path) -> None:
    done = command("train", "m.net", "--out", "run", "--epochs", 3, *LOGS, cwd=project)
    assert done.returncode == 0, done.stderr
    os.remove("mlflow.db")
    (project / "run" / "metrics.csv").write_text("epoch,loss\n1,2\n", encoding="utf-8")
    for _ in range(2):
        done = command("train", "--resume", "run", *LOGS, cwd=project)
        assert done.returncode == 0, done.stderr
    check(netc.open("run"))


def test_a_database_that_mlflow_refuses_is_a_message(project: Path) -> None:
    (project / "mlflow.db").write_bytes(b"no database" * 100)
    done = command("train", "m.net", "--epochs", 1, "--log", "mlflow", cwd=project)
    assert done.returncode == 1
    assert "E1001" in done.stderr
    assert "mlflow.db" in done.stderr


def test_an_interruption_is_a_killed_run_of_mlflow(project: Path) -> None:
    run = netc.train(netc.load("m.net"), epochs=2, out="run")
    with pytest.raises(KeyboardInterrupt), tracked(run, ["mlflow", "csv", "tensorboard"]):
        raise KeyboardInterrupt
    check(run, "KILLED")


def test_the_folds_of_a_cross_validation_are_logged(project: Path) -> None:
    text = (project / "m.net").read_text(encoding="utf-8")
    (project / "m.net").write_text(text.replace("(train = 0.8, valid = 0.2)", "folds(2)"), encoding="utf-8")
    done = command("train", "m.net", "--folds", "--epochs", 2, "--log", "csv", "--log", "tensorboard", cwd=project)
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        folder = project / "runs" / "m" / f"fold-{number}"
        assert from_csv(folder) == expected(netc.open(folder))
        assert len(from_tensorboard(folder)["valid.loss"]) == 2


def test_a_missing_package_is_named_before_training(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(Fault) as refused:
        netc.train(netc.load("m.net"), out="run", log=["csv", "tensorboard"])
    assert refused.value.diagnostics[0].code == "E1012"
    assert refused.value.diagnostics[0].hint == 'pip install "netc[tensorboard]"'
    assert not (project / "run").exists()


def test_an_unknown_tracker_is_refused(project: Path) -> None:
    done = command("train", "m.net", "--log", "wandb", cwd=project)
    assert done.returncode == 2
    assert "there is no tracker" in done.stderr
    assert not (project / "runs").exists()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker that connects to anything fails."""
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a tracker opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
