"""`netc train --folds`: the runs of all folds, their means, and predictions of rows that a model was not trained on."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from support import command, has_epochs, killed_once

import netc
from netc.runtime.studies.results import mean_of

TEXT = """
data {
  source = csv("t-*.csv")
  x = columns("a", "b") -> standardize
  y = TARGET
  split = SPLIT
}
model {
  input x: float[2]
  target y: TYPE
  HEAD
}
train {
  optimizer = adam(lr = 0.05)
  batch = 8
  epochs = 6
  keep = best(valid.loss)
}
"""
CLASSES = {
    "TARGET": 'column("kind") -> classes',
    "TYPE": "class(auto)",
    "HEAD": "z = x -> dense(size(y))\n  output p = softmax(z)\n  loss cross_entropy(z, y)\n  metric accuracy(z, y)",
}
NUMBERS = {
    "TARGET": 'column("v") -> standardize',
    "TYPE": "float",
    "HEAD": "z = x -> dense(1) -> squeeze\n  output guess = z\n  loss mse(z, y)\n  metric mae(z, y)",
}


def written(folder: Path, words: dict[str, str], split: str = "folds(4, test = 0.1)") -> Path:
    """A model beside two files of data, which hold 90 rows together."""
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 90)).round(3)
    rows = [f"{a[i]},{b[i]},{'red' if a[i] > b[i] else 'blue'},{5 * a[i] + 100:.3f}" for i in range(90)]
    for name, part in (("t-1.csv", rows[:50]), ("t-2.csv", rows[50:])):
        (folder / name).write_text("\n".join(["a,b,kind,v", *part]) + "\n", encoding="utf-8")
    text = TEXT.replace("SPLIT", split)
    for word, value in words.items():
        text = text.replace(word, value)
    (folder / "m.net").write_text(text, encoding="utf-8")
    return folder / "m.net"


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("words", "truth"), [(CLASSES, "kind"), (NUMBERS, "v")])
def test_every_row_is_predicted_by_the_model_that_has_not_seen_it(
    words: dict[str, str], truth: str, tmp_path: Path
) -> None:
    written(tmp_path, words)
    done = command("train", "m.net", "--folds", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs/m"
    table = cells(folder / "out_of_fold.csv")
    assert len(table) == 81
    files = {name: cells(tmp_path / name) for name in ("t-1.csv", "t-2.csv")}
    assert [(row["file"], int(row["row"])) for row in table] == sorted((row["file"], int(row["row"])) for row in table)
    for number in range(1, 5):
        run = netc.open(folder / f"fold-{number}")
        mine = [row for row in table if row["fold"] == str(number)]
        raw = [files[row["file"]][int(row["row"]) - 2] for row in mine]
        answers = run.predict([{name: float(row[name]) for name in ("a", "b")} for row in raw])
        label = "y" if truth == "kind" else "guess"
        assert [str(answer) for answer in answers[label]] == [row[label] for row in mine]
        if truth == "kind":
            assert [row["y_true"] for row in mine] == [row["kind"] for row in raw]
        else:
            assert np.allclose([float(row["y_true"]) for row in mine], [float(row["v"]) for row in raw], rtol=1e-6)
        kept = run.evaluate("valid")
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        assert results["folds"][number - 1]["loss"] == kept["loss"]
    losses = [entry["loss"] for entry in results["folds"]]
    assert math.isclose(results["mean"]["loss"]["value"], np.mean(losses), rel_tol=1e-12)
    assert math.isclose(results["mean"]["loss"]["error"], np.std(losses, ddof=1) / 2, rel_tol=1e-12)
    assert "standard error" in done.stdout
    assert command("report", "runs/m", cwd=tmp_path).returncode == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    mean, error = results["mean"]["loss"]["value"], results["mean"]["loss"]["error"]
    assert f"<div>{mean:.4g}<small>valid.loss<br>± {error:.2g}</small></div>" in page
    for entry in results["folds"]:
        assert f'data-key="fold-{entry["fold"]}"><td>fold-{entry["fold"]}</td><td>{entry["epochs"]}</td>' in page
        assert f"<td>{entry['loss']:.4g}</td>" in page
    assert f"<td>standard error</td><td></td><td>{error:.2g}</td>" in page


def test_mean_of_one_number_has_no_error() -> None:
    assert mean_of([3.0]).value == 3.0
    assert math.isnan(mean_of([3.0]).error)


def test_interrupted_folds_go_on_to_the_same_bits(tmp_path: Path) -> None:
    """Killed in the middle of a fold and resumed, all folds end as without the interruption."""
    written(tmp_path, CLASSES)
    uninterrupted = command("train", "m.net", "--folds", "--epochs", "40", "--out", "whole", cwd=tmp_path)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    arguments = ("train", "m.net", "--folds", "--epochs", "40", "--out", "cut")
    killed_once(lambda: has_epochs(tmp_path / "cut/fold-2", 1), *arguments, cwd=tmp_path)
    resumed = command("train", "--resume", "cut", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("results.json", "out_of_fold.csv", "fold-2/checkpoint.safetensors", "fold-4/best.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    again = command("train", "--resume", "cut", cwd=tmp_path)
    assert again.stdout.count("nothing is left") == 0
    assert again.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m.net", "--folds", "--fold", "2"), "no --fold"),
        (("m.net", "--folds", "--set", "a=1,2"), "trains with each"),
        (("--folds",), "give a file to train"),
        (("--folds", "--resume", "nowhere"), "is not a folder of folds"),
        (("plain.net", "--folds"), "the file has no split into folds"),
    ],
)
def test_a_request_that_cannot_be_met_ends_in_a_message(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    written(tmp_path, CLASSES, "(train = 0.8, test = 0.2)").rename(tmp_path / "plain.net")
    written(tmp_path, CLASSES)
    refused = command("train", *arguments, cwd=tmp_path)
    assert refused.returncode != 0
    assert message in " ".join(refused.stderr.replace("│", " ").split())
    assert not (tmp_path / "runs").exists()


def test_a_changed_folder_of_folds_is_refused(tmp_path: Path) -> None:
    written(tmp_path, CLASSES)
    assert command("train", "m.net", "--folds", "--epochs", "1", cwd=tmp_path).returncode == 0
    path = tmp_path / "runs/m/folds.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"folds": 4', '"folds": 5'), encoding="utf-8")
    refused = command("train", "--resume", "runs/m", cwd=tmp_path)
    assert refused.returncode == 1
    assert "folds.json is not as training left it" in refused.stderr
