"""`netc runs`: the table of runs, what it says of unusual folders, conditions and orders."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import typer
from support import command, forge, write_project

import netc
from netc.commands import conditions
from netc.runtime.runs.claim import claimed
from netc.runtime.runs.ensembles import start_ensemble
from netc.runtime.runs.listing import listed_run
from netc.runtime.studies.listing import listed, listed_in


def test_every_folder_has_a_row(tmp_path: Path) -> None:
    write_project(tmp_path)
    text = (tmp_path / "m.net").read_text(encoding="utf-8")
    (tmp_path / "m.net").write_text(text.replace("valid = 0.2)", "valid = 0.1, test = 0.1)"), encoding="utf-8")
    for name, epochs in (("a", 3), ("b", 5)):
        done = command("train", "m.net", "--out", f"runs/{name}", "--epochs", epochs, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    start_ensemble([tmp_path / "runs" / "a", tmp_path / "runs" / "b"], tmp_path / "runs" / "e")
    forge(tmp_path / "runs" / "b", epochs=9)  # as if it had been interrupted
    (tmp_path / "runs" / "foreign").mkdir()
    (tmp_path / "runs" / "cut").mkdir()
    content = (tmp_path / "runs" / "a" / "run.json").read_bytes()
    (tmp_path / "runs" / "cut" / "run.json").write_bytes(content[:50])
    (tmp_path / "runs" / ".hidden").mkdir()

    rows = {row.folder.name: row for row in listed_in(tmp_path / "runs")}
    assert {name: (row.kind, row.state) for name, row in rows.items()} == {
        "a": ("run", "finished"),
        "b": ("run", "interrupted"),
        "cut": ("run", "damaged"),
        "e": ("ensemble", "ensemble"),
        "foreign": ("other", "other"),
    }
    run = netc.open(tmp_path / "runs" / "a")
    kept = run.kept_epoch()
    assert rows["a"].kept == kept
    assert rows["a"].metrics["valid.loss"] == run.metrics[(kept or 0) - 1]["valid.loss"]
    assert rows["a"].metrics["test.loss"] == pytest.approx(run.evaluate("test")["loss"])
    assert rows["a"].nbytes == sum(path.stat().st_size for path in (tmp_path / "runs" / "a").iterdir())

    printed = command("runs", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    lines = printed.stdout.splitlines()
    assert lines[0].split() == ["run", "model", "epochs", "state", "valid.loss", "test.loss", "time", "size"]
    assert [line.split()[0] for line in lines[1:]] == [f"runs/{name}" for name in ("a", "b", "cut", "e", "foreign")]
    assert lines[5].endswith("not a run")
    as_json = json.loads(command("runs", "--json", "--where", "state = finished", cwd=tmp_path).stdout)
    assert [row["run"] for row in as_json] == ["runs/a"]
    assert as_json[0]["metrics"]["test.loss"] == rows["a"].metrics["test.loss"]
    sort = ["runs", "--sort", "epochs", "--reverse", "--metric", "train.loss", "--where", "model = m.net"]
    chosen = command(*sort, cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in chosen] == ["run", "runs/b", "runs/a", "runs/e"]
    assert "train.loss" in chosen[0]
    assert command("runs", "--sort", "zz", cwd=tmp_path).returncode == 2
    assert command("runs", "nowhere", cwd=tmp_path).stdout == "no runs in nowhere\n"


def test_a_run_in_training_and_one_that_stopped_early(tmp_path: Path) -> None:
    write_project(tmp_path)
    text = (tmp_path / "m.net").read_text(encoding="utf-8")
    early = text.replace("keep =", "early_stop = (metric = train.loss, patience = 1, margin = 0.9)\n  keep =")
    (tmp_path / "m.net").write_text(early, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    assert len(run.metrics) < run.model.train.epochs
    assert listed_run(run.folder).state == "finished"
    with claimed(run.folder):
        assert listed_run(run.folder).state == "running"
    assert listed_run(run.folder).state == "finished"


def test_a_cross_validation_has_the_mean_of_its_folds(tmp_path: Path) -> None:
    write_project(tmp_path)
    text = (tmp_path / "m.net").read_text(encoding="utf-8")
    (tmp_path / "m.net").write_text(text.replace("(train = 0.8, valid = 0.2)", "folds(3)"), encoding="utf-8")
    done = command("train", "m.net", "--folds", "--epochs", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = listed(tmp_path / "runs" / "m")
    assert (row.kind, row.state, row.epochs, row.of) == ("folds", "finished", 3, 3)
    losses = [part.metrics["valid.loss"] for part in row.parts]
    assert row.metrics["valid.loss"] == pytest.approx(math.fsum(losses) / 3)
    lines = command("runs", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "runs/m", "fold-1", "fold-2", "fold-3"]
    assert "3/3 folds" in lines[1]
    facts = json.loads(command("runs", "--json", cwd=tmp_path).stdout)[0]
    results = json.loads((tmp_path / "runs/m/results.json").read_text(encoding="utf-8"))["mean"]
    assert facts["mean"]["valid.loss"]["error"] == pytest.approx(results["loss"]["error"])
    (tmp_path / "runs/m/folds.json").write_text("{}", encoding="utf-8")
    assert listed(tmp_path / "runs" / "m").state == "damaged"
    assert "damaged" in command("runs", cwd=tmp_path).stdout


FACTS: dict[str, Any] = {"run": "runs/iris", "valid.loss": 0.5, "width": 16, "bias": True}


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("valid.loss < 0.6", True),
        ("valid.loss<0.5", False),
        ("valid.loss <= 0.5", True),
        ("width >= 17", False),
        ("width = 16", True),
        ("width = 1.6e1", True),
        ("run = runs/i*", True),
        ("run != runs/i*", False),
        ("bias = true", True),
        ("depth > 1", False),
        ("depth != 1", False),
    ],
)
def test_conditions(text: str, is_true: bool) -> None:
    assert conditions.holds(text, FACTS, "--where") is is_true


@pytest.mark.parametrize("text", ["", "width", "width <", "width < many", "< 3", "width ~ 3"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        conditions.holds(text, FACTS, "--where")


def test_orders_have_rows_without_a_value_last() -> None:
    assert conditions.order([2, None, 1.5, math.nan, "x"], is_reversed=False) == [2, 0, 4, 1, 3]
    assert conditions.order([2, None, 1.5, math.nan, "x"], is_reversed=True) == [0, 2, 4, 1, 3]
