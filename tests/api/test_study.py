"""`netc study`: the same table however it is run, and nothing lost when it is killed."""

import csv
import json
import random
import shutil
from pathlib import Path

import pytest
from ranks import on_mpi
from support import command, killed_once

import netc
from netc.runtime.runs.checkpoint import CHECKPOINT

_DATA = """
data {
  source = csv("d.csv")
  x = columns("a", "b") -> standardize
  y = column("c") -> classes
  split = SPLIT
}
"""
_MODEL = """
let width = 4

model {
  input x: float[2]
  target y: class(2)
  z = x -> dense(width) -> tanh -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}

train {
  optimizer = sgd(0.1)
  epochs = 3
}
"""
_SPLIT = "(train = 0.5, valid = 0.25, test = 0.25)"
_STUDY = """
study {
  lr = log(1e-3, 10)
  width = choice(2, 4, 8)
  optimizer = choice(adam, sgd(0.1))
  momentum = uniform(0.5, 0.99) if optimizer == sgd
  round = 3
  trials = 7
  prune = median(every = 1, startup = 2)
  seeds = 2
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    numbers = random.Random(0)
    points = [(numbers.uniform(-1, 1), numbers.uniform(-1, 1)) for _ in range(80)]
    rows = [f"{a},{b},{'in' if a * a + b * b < 0.6 else 'out'}" for a, b in points]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,c", *rows]), encoding="utf-8")
    return tmp_path


def _write(folder: Path, study: str = _STUDY, split: str = _SPLIT, model: str = _MODEL) -> None:
    (folder / "m.net").write_text(_DATA.replace("SPLIT", split) + model + study, encoding="utf-8")


def _study(folder: Path, *arguments: object) -> str:
    result = command("study", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def _bytes(study: Path) -> list[bytes]:
    names = ("trials.csv", "results.json", f"best/{CHECKPOINT}")
    return [(study / name).read_bytes() for name in names]


def _table(study: Path) -> list[dict[str, str]]:
    with open(study / "trials.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_is_the_same_for_any_number_of_workers_and_after_kills(folder: Path) -> None:
    _write(folder)
    output = _study(folder, "m.net", "--workers", 1)
    assert "7 trials" in output
    assert "given up" in output
    expected = _bytes(folder / "studies" / "m")
    _study(folder, "m.net", "--workers", 2, "--out", "two")
    assert _bytes(folder / "two") == expected
    _study(folder, "--resume", "two")  # nothing is left, and nothing changes
    assert _bytes(folder / "two") == expected

    def trainings() -> int:
        return len([*(folder / "killed").glob("trials/*")])

    killed_once(lambda: trainings() >= 3, "study", "m.net", "--workers", 2, "--out", "killed", cwd=folder)
    for count in (6, 10):
        killed_once(lambda count=count: trainings() >= count, "study", "--resume", "killed", cwd=folder)
    _study(folder, "--resume", "killed")
    assert _bytes(folder / "killed") == expected


def test_the_winner_is_trained_as_its_trial_was(folder: Path) -> None:
    _write(folder, "study {\n  lr = log(1e-2, 1)\n  compare = best(valid.loss)\n  trials = 3\n  search = random\n}\n")
    _study(folder, "m.net")
    results = json.loads((folder / "studies" / "m" / "results.json").read_text(encoding="utf-8"))
    rows = _table(folder / "studies" / "m")
    best = min(rows, key=lambda row: float(row["valid.loss"]))
    assert results["best"]["trial"] == int(best["trial"])
    run = netc.open(folder / "studies" / "m" / "best")
    assert min(row["valid.loss"] for row in run.metrics) == float(best["valid.loss"])
    assert run.evaluate("test")["loss"] == results["test"]["loss"]
    assert run.info is not None
    assert run.info.set == {"lr": float(best["lr"]), "keep": "best(min(valid.loss))"}


def test_a_longer_study_begins_as_the_shorter_one(folder: Path) -> None:
    _write(folder)
    _study(folder, "m.net", "--trials", 3)
    short = _table(folder / "studies" / "m")
    _study(folder, "--resume", "studies/m", "--trials", 7)
    long = _table(folder / "studies" / "m")
    assert (len(short), len(long)) == (3, 7)
    assert long[:3] == short
    _study(folder, "m.net", "--out", "whole")
    assert _table(folder / "whole") == long


@pytest.mark.parametrize(
    ("search", "prune"),
    [
        ("random", "prune = asha(min = 1, factor = 2)"),
        ("sobol", ""),
        ("tpe(startup = 2)", ""),
        ("cmaes(population = 3)", ""),
    ],
)
def test_every_search_repeats_itself(folder: Path, search: str, prune: str) -> None:
    lines = f"lr = log(1e-3, 1)\n  width = int(2, 5)\n  search = {search}\n  trials = 6\n  round = 2\n  {prune}"
    _write(folder, f"study {{\n  {lines}\n}}\n", model=_MODEL.replace("epochs = 3", "epochs = 2"))
    _study(folder, "m.net")
    shutil.copytree(folder / "studies" / "m" / "trials", folder / "kept")
    first = _table(folder / "studies" / "m")
    assert len({(row["lr"], row["width"]) for row in first}) == 6
    for path in sorted((folder / "studies" / "m" / "trials").iterdir())[3:]:
        path.unlink()  # as if it had been interrupted in its second round
    _study(folder, "--resume", "studies/m")
    assert _table(folder / "studies" / "m") == first
    for path in (folder / "kept").iterdir():
        assert (folder / "studies" / "m" / "trials" / path.name).read_bytes() == path.read_bytes()


def test_a_grid_has_every_combination_in_the_order_of_the_text(folder: Path) -> None:
    _write(folder, "")
    output = _study(folder, "m.net", "--vary", "width=2,3", "--vary", "optimizer=adam,sgd(0.1)", "--set", "epochs=1")
    rows = _table(folder / "studies" / "m")
    chosen = [(row["width"], row["optimizer"]) for row in rows]
    assert chosen == [("2", "adam"), ("2", "sgd(0.1)"), ("3", "adam"), ("3", "sgd(0.1)")]
    assert all(row["epochs"] == "1" for row in rows)
    assert "4 trials" in output
    run = netc.open(folder / "studies" / "m" / "best")
    best = min(rows, key=lambda row: float(row["valid.loss"]))
    assert run.program.parameters["z.dense.W"].shape == (2, int(best["width"]))


def test_a_study_of_few_combinations_tries_each_of_them_once(folder: Path) -> None:
    _write(
        folder,
        "study {\n  width = int(2, 4)\n  lr = choice(0.1, 0.5)\n}\n",
        model=_MODEL.replace("epochs = 3", "epochs = 1"),
    )
    output = _study(folder, "m.net")
    assert "by grid" in output
    assert "--trials" not in output  # there is nothing left to try
    rows = _table(folder / "studies" / "m")
    assert [(row["width"], row["lr"]) for row in rows] == [
        (str(width), lr) for width in (2, 3, 4) for lr in ("0.1", "0.5")
    ]
    before = _bytes(folder / "studies" / "m")
    _study(folder, "--resume", "studies/m", "--trials", 9)  # still a grid, and it is done
    assert _bytes(folder / "studies" / "m") == before
    assert "by tpe" in _study(folder, "m.net", "--trials", 5, "--out", "few")


def test_a_trial_with_the_values_of_an_earlier_one_has_its_results(folder: Path) -> None:
    _write(folder, "study {\n  lr = choice(0.1, 0.5)\n  search = random\n  trials = 9\n  round = 3\n}\n")
    _study(folder, "m.net", "--workers", 1)
    rows = _table(folder / "studies" / "m")
    assert len(rows) == 9
    assert len({(row["lr"], row["valid.loss"]) for row in rows}) == 2
    trials, trained = folder / "studies" / "m" / "trials", {}
    for path in trials.iterdir():
        trained[path.name] = path.read_bytes(), path.stat().st_ino
    assert len({content for content, _ in trained.values()}) == 2
    table = folder / "studies" / "m" / "trials.csv"
    before = table.read_bytes()
    table.unlink()
    trials.joinpath("00008-1.msgpack").unlink()
    _study(folder, "--resume", "studies/m")  # writes what is not there, and nothing else
    assert table.read_bytes() == before
    assert {path.name: path.read_bytes() for path in trials.iterdir()} == {
        name: old for name, (old, _) in trained.items()
    }
    assert all(
        path.stat().st_ino == trained[path.name][1] for path in trials.iterdir() if path.name != "00008-1.msgpack"
    )


def test_lists_vary_and_come_back_from_a_folder(folder: Path) -> None:
    model = _MODEL.replace("let width = 4", "let widths = [4]")
    model = model.replace("x -> dense(width) -> tanh -> dense(2)", "hidden -> dense(2)")
    model = model.replace(
        "  z =",
        "  hidden = x\n  for i in 0..size(widths) {\n    hidden = hidden -> dense(widths[i]) -> tanh\n  }\n  z =",
    )
    _write(folder, "study {\n  lr = choice(0.1, 0.5)\n  round = 2\n  search = grid\n}\n", model=model)
    _study(folder, "m.net", "--vary", "widths=[4],[3,2]", "--workers", 1)
    study = folder / "studies" / "m"
    with (study / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["widths"] for row in rows] == ["[4]", "[3, 2]", "[4]", "[3, 2]"]
    before = _bytes(study)
    (study / "results.json").unlink()
    _study(folder, "--resume", "studies/m")
    assert _bytes(study) == before
    best = netc.open(study / "best")
    assert best.info is not None
    assert best.info.set["widths"] in ((4,), (3, 2))
    shapes = [parameter.shape[1] for name, parameter in best.program.parameters.items() if name.endswith(".W")]
    assert tuple(shapes[:-1]) == best.info.set["widths"]
    command("report", "studies/m/best", cwd=folder)
    assert command("study", "--report", "studies/m", cwd=folder).returncode == 0


def test_folds_and_seeds_give_a_mean_with_its_error(folder: Path) -> None:
    _write(folder, "study {\n  width = choice(2, 3)\n  folds = 2\n  seeds = 2\n}\n", "folds(3, test = 0.2)")
    output = _study(folder, "m.net", "--trials", 2)
    row = _table(folder / "studies" / "m")[0]
    each = [float(row[f"valid.loss fold {fold} seed {seed}"]) for fold in (1, 2) for seed in (0, 1)]
    assert len(set(each)) == 4
    assert float(row["valid.loss"]) == pytest.approx(sum(each) / 4)
    assert "+-" in output
    assert "test  loss" in output


def test_several_metrics_give_a_front(folder: Path) -> None:
    _write(folder, "study {\n  lr = log(1e-3, 1)\n  compare = (valid.accuracy, train.loss)\n  trials = 6\n}\n")
    output = _study(folder, "m.net")
    results = json.loads((folder / "studies" / "m" / "results.json").read_text(encoding="utf-8"))
    rows = _table(folder / "studies" / "m")
    values = [(-float(row["valid.accuracy"]), float(row["train.loss"])) for row in rows]
    front = [
        number
        for number, (a, b) in enumerate(values)
        if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in values)
    ]
    assert results["front"] == front
    assert results["best"]["trial"] in front
    assert "no other trial beats these" in output


def test_a_trial_that_fails_is_named_and_the_others_go_on(folder: Path) -> None:
    _write(folder, "study {\n  lr = choice(0.1, 1e38)\n  search = grid\n}\n")
    output = _study(folder, "m.net")
    good, bad = _table(folder / "studies" / "m")
    assert (good["state"], bad["state"]) == ("complete", "failed")
    assert bad["message"]
    assert "1 failed" in output
    result = command("study", "m.net", "--vary", "lr=1e38,2e38", cwd=folder)
    assert result.returncode == 1
    assert "no trial has a value" in result.stderr


def test_selection_never_reads_the_test_part(folder: Path) -> None:
    head, *rows = (folder / "d.csv").read_text(encoding="utf-8").splitlines()
    study = "study {\n  lr = log(1e-2, 1)\n  width = choice(2, 3)\n  trials = 4\n  prune = median(startup = 1)\n}\n"
    for name, poison in (("good", None), ("large", "1e6,1e6"), ("nan", "nan,nan")):
        (folder / name).mkdir()
        cells = list[str]()
        for number, row in enumerate(rows):
            part = ("train", "valid", "test")[number % 3]
            label = row.rpartition(",")[2]
            cells.append(f"{poison},{label},{part}" if poison and part == "test" else f"{row},{part}")
        (folder / name / "d.csv").write_text("\n".join([f"{head},part", *cells]), encoding="utf-8")
        (folder / name / "m.net").write_text(
            _DATA.replace("SPLIT", 'column("part")') + _MODEL + study, encoding="utf-8"
        )
        result = command("study", "m.net", cwd=folder / name)
        assert (result.returncode == 1) == (name == "nan"), result.stderr  # the winner's test part cannot be used
    studies = [folder / name / "studies" / "m" for name in ("good", "large", "nan")]
    assert len({(study / "trials.csv").read_bytes() for study in studies}) == 1
    good, large = (json.loads((study / "results.json").read_text(encoding="utf-8")) for study in studies[:2])
    assert good.pop("test") != large.pop("test")
    assert good == large
    assert (studies[0] / "best" / CHECKPOINT).read_bytes() == (studies[1] / "best" / CHECKPOINT).read_bytes()


def test_changed_data_and_damaged_files_are_noticed(folder: Path) -> None:
    _write(folder, "study {\n  lr = log(1e-2, 1)\n  trials = 3\n}\n")
    _study(folder, "m.net")
    study = folder / "studies" / "m"
    before = _bytes(study)
    for number, change in enumerate((lambda content: content[:40], lambda content: content[:-1] + b"?", lambda _: b"")):
        path = study / "trials" / f"{number:05}-1.msgpack"
        path.write_bytes(change(path.read_bytes()))
    _study(folder, "--resume", "studies/m")  # these trainings are done again
    assert _bytes(study) == before
    (folder / "d.csv").write_text((folder / "d.csv").read_text(encoding="utf-8") + "\n0,0,in\n", encoding="utf-8")
    result = command("study", "--resume", "studies/m", cwd=folder)
    assert result.returncode == 1
    assert "1 row more than when the study was started" in result.stderr
    text = (study / "study.json").read_text(encoding="utf-8")
    (study / "study.json").write_text(text.replace("1e-2", "1e-3"), encoding="utf-8")
    result = command("study", "--resume", "studies/m", cwd=folder)
    assert "is not a folder of a study" in result.stderr


def test_time_ends_a_study_at_the_end_of_a_round(folder: Path) -> None:
    _write(folder, 'study {\n  lr = log(1e-2, 1)\n  time = "0.001 s"\n  round = 2\n}\n')
    output = _study(folder, "m.net")
    assert len(_table(folder / "studies" / "m")) == 2
    assert "ended by `time`" in output
    again = _study(folder, "--resume", "studies/m")
    assert again.splitlines()[-1] == output.splitlines()[-1]


def test_without_optuna_a_message_says_how_to_install_it(folder: Path) -> None:
    _write(folder)
    (folder / "packages").mkdir()
    (folder / "packages" / "optuna.py").write_text("raise ImportError('not here', name='optuna')\n", encoding="utf-8")
    result = command("study", "m.net", cwd=folder, path=folder / "packages")
    assert result.returncode == 1
    assert "error[E1011]: a study needs the package `optuna`" in result.stderr
    assert 'pip install "netc[study]"' in result.stderr
    assert command("check", "m.net", cwd=folder, path=folder / "packages").returncode == 0


def test_what_cannot_be_a_study_is_refused(folder: Path) -> None:
    _write(folder, "")
    for arguments, status, message in (
        ((), 2, "give a file, or --resume"),
        (("m.net",), 1, "the file has no `study` block"),
        (("m.net", "--vary", "width"), 2, "is not NAME=VALUES"),
        (("m.net", "--vary", "widht=2,3"), 1, "did you mean `width`?"),
        (("m.net", "--vary", "width=2,3", "--set", "width=4"), 1, "and `--set` gives it a value"),
        (("m.net", "--vary", "width=2,3", "--set", "epochs=1,2"), 2, "has several values"),
        (("--resume", "m.net"), 1, "is not a folder of a study"),
        (("--resume", "studies/m", "--vary", "width=2"), 2, "goes on as it began"),
    ):
        result = command("study", *arguments, cwd=folder)
        assert (result.returncode, message in result.stderr) == (status, True), result.stderr
    assert not (folder / "studies").exists()


def test_two_ranks_write_the_same_table(folder: Path) -> None:
    _write(folder)
    done = on_mpi(2, "study", "m.net", "--out", "ranks", cwd=folder)
    assert done.returncode == 0, done.stderr
    _study(folder, "m.net")
    assert _bytes(folder / "ranks") == _bytes(folder / "studies" / "m")
    wrong = on_mpi(3, "study", "none.net", cwd=folder)
    assert wrong.returncode == 1
    assert (wrong.stderr + wrong.stdout).count("there is no file `none.net`") == 1


def test_a_report_and_a_table_of_studies(folder: Path) -> None:
    _write(folder)
    _study(folder, "m.net")
    (folder / "d.csv").unlink()  # a report is made from the study's folder alone
    (folder / "m.net").unlink()
    assert _study(folder, "--report", "studies/m").strip() == "studies/m/report.html"
    page = (folder / "studies" / "m" / "report.html").read_text(encoding="utf-8")
    results = json.loads((folder / "studies" / "m" / "results.json").read_text(encoding="utf-8"))
    assert "m: 7 trials by tpe, " in page
    assert f"Trial {results['best']['trial']} is best: " in page
    assert f"{results['test']['loss']:.4g}<small>test loss" in page
    _study(folder, "--report", "studies/m", "-o", "page.html")
    assert (folder / "page.html").read_text(encoding="utf-8") == page
    for arguments, status, message in (
        (("--report", "d", "--trials", "3"), 2, "takes no other option"),
        (("--report", "d"), 1, "is not a folder of a study"),
    ):
        result = command("study", *arguments, cwd=folder)
        assert result.returncode == status
        assert message in result.stderr

    shutil.copytree(folder / "studies" / "m", folder / "studies" / "cut")
    (folder / "studies" / "cut" / "results.json").unlink()
    shutil.copytree(folder / "studies" / "m", folder / "studies" / "damaged")
    (folder / "studies" / "damaged" / "study.json").write_text("{}", encoding="utf-8")
    (folder / "studies" / "other").mkdir()
    cut, damaged, finished = json.loads(command("studies", "--json", cwd=folder).stdout)
    assert (finished["trials"], finished["state"], finished["best"]) == (7, "finished", results["best"]["trial"])
    assert finished["given_up"] == results["pruned"]
    assert finished["set"] == results["best"]["settings"]
    assert finished["metrics"]["valid.loss"] == results["best"]["metrics"]["valid.loss"]
    assert finished["metrics"]["test.loss"]["value"] == results["test"]["loss"]
    assert (cut["state"], cut["best"], cut["trials"]) == ("interrupted", None, 7)
    assert damaged["state"] == "damaged"
    assert damaged["message"]
    shown = command("studies", cwd=folder).stdout.splitlines()
    assert shown[0].split()[:4] == ["study", "model", "trials", "given"]
    assert [line.split()[0] for line in shown[1:]] == ["studies/cut", "studies/damaged", "studies/m"]
    assert " +- " in shown[3]
    assert command("studies", "none", cwd=folder).stdout == "no studies in none\n"
