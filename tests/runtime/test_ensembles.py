"""`netc ensemble`: one run whose predictions are the means of those of its members, bit for bit."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import command

import netc
from netc.dsl.diagnostics import Fault
from netc.runtime.export.exported import exported
from netc.runtime.predictions import predictions_of
from netc.runtime.runs.ensembles import start_ensemble
from netc.runtime.runs.run import Run

TEXT = """
let s = 0
let width = 4
data {
  source = csv("t.csv")
  DATA
}
model {
  MODEL
}
train {
  optimizer = adam(lr = 0.05)
  batch = 8
  epochs = 3
  seed = s
}
"""
INPUT = 'x = columns("a", "b") -> standardize\n  '
FOLDS = "split = folds(3, test = 0.2)"
SPLIT = "split = (train = 0.6, valid = 0.2, test = 0.2)"
KIND = 'y = column("kind") -> classes\n  '
NUMBER = 'y = column("v") -> log -> standardize\n  '
HIDDEN = "input x: float[2]\n  target y: TYPE\n  h = x -> dense(width) -> tanh\n  "
CLASSES = (
    HIDDEN.replace("TYPE", "class(3)") + "z = h -> dense(3)\n  output p = softmax(z)\n  output y_hat = argmax(z)\n  "
    "loss cross_entropy(z, y)\n  metric accuracy(z, y)\n  metric confusion(z, y)"
)
REGRESSION = HIDDEN.replace("TYPE", "float") + "output guess = h -> dense(1) -> squeeze\n  loss mse(guess, y)\n  "
REGRESSION += "metric mae(guess, y)\n  metric r2(guess, y)"


def write_table(folder: Path) -> None:
    """60 rows: numbers that are shifted and scaled, with a few missing ones, classes, and a positive number."""
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=(2, 60)) * [[3], [0.1]] + [[5], [100]]
    rows = []
    for i in range(60):
        kind = "abc"[int(a[i] > 4) + int(b[i] > 100)]
        missing = "" if i % 7 == 0 else f"{a[i]:.3f}"
        rows.append(f"{a[i]:.4f},{b[i]:.5f},{missing},{kind},{int(kind == 'a')},{np.exp(a[i] / 4):.4f},{'pqrs'[i % 4]}")
    text = "\n".join(["a,b,c,kind,is_a,v,rare", *rows]) + "\n"
    (folder / "t.csv").write_text(text, encoding="utf-8")


def write_model(folder: Path, data: str, model: str) -> Path:
    """A model beside its table."""
    write_table(folder)
    path = folder / "m.net"
    path.write_text(TEXT.replace("DATA", data).replace("MODEL", model), encoding="utf-8")
    return path


def trained(path: Path, **constants: Any) -> Path:
    """The folder of a run."""
    model = netc.load(path, **constants)
    return netc.train(model, out=path.parent / "runs" / "m", threads=1).folder


def folds(path: Path, count: int = 3) -> list[Path]:
    """The folders of the folds of a cross-validation."""
    return trained_folds(path, *range(1, count + 1))


def mean(arrays: list[np.ndarray]) -> np.ndarray:
    """The sum in order, divided by the count, in the type of the arrays."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total / total.dtype.type(len(arrays))


def raw_outputs(folder: Path, table: Path) -> Mapping[str, np.ndarray]:
    """The outputs of a run for a table, as it predicts them."""
    run = netc.open(folder, threads=1)
    from netc.runtime.data.tables.raw_data import raw_table

    new = run.read(raw_table(run.fitted, str(table), [*run.model.inputs], ()))
    return run.predict_prepared(new.fields)


def same_means(members: list[Path], ensemble: Run, table: Path) -> None:
    """Float outputs are the means of the members', to the last bit."""
    mine, theirs = raw_outputs(ensemble.folder, table), [raw_outputs(folder, table) for folder in members]
    for name, value in mine.items():
        if value.dtype.kind == "f":
            expected = mean([each[name] for each in theirs])
            assert value.dtype == expected.dtype
            assert np.array_equal(value, expected), name


@pytest.mark.parametrize(
    ("data", "model"),
    [(INPUT + KIND + FOLDS, CLASSES), (INPUT + NUMBER + FOLDS, REGRESSION)],
    ids=["class", "number"],
)
def test_folds_become_one_run(data: str, model: str, tmp_path: Path) -> None:
    members = folds(write_model(tmp_path, data, model))
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    states = [json.loads((folder / "data.json").read_text(encoding="utf-8"))["x"] for folder in members]
    assert states[0] != states[1], "each member has its own steps"
    same_means(members, ensemble, tmp_path / "t.csv")
    ensemble = netc.open(tmp_path / "runs" / "e", threads=1)
    of_members = [netc.open(folder, threads=1).evaluate("test") for folder in members]
    metrics = ensemble.evaluate("test")
    assert metrics.keys() == of_members[0].keys()
    assert metrics["loss"] <= np.mean([each["loss"] for each in of_members]) * 1.05, "the mean predicts no worse"
    with pytest.raises(Fault) as refused:
        ensemble.evaluate("valid")
    assert "training rows of some member" in str(refused.value)
    assert set(ensemble.load_data().parts) == {"train", "test"}
    rows = set(ensemble.load_data().rows["test"].tolist())
    for folder in members:
        dataset = netc.open(folder).load_data()
        assert rows == set(dataset.rows["test"].tolist())
        assert rows.isdisjoint(dataset.rows["train"].tolist())


def test_the_metrics_are_those_of_the_mean(tmp_path: Path) -> None:
    members = folds(write_model(tmp_path, INPUT + KIND + FOLDS, CLASSES))
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    parts = ensemble.load_data().parts["test"]
    outputs, true = ensemble.predict_prepared(parts), np.asarray(parts["y"])
    metrics = ensemble.evaluate("test")
    chances = outputs["p"].astype(np.float64)
    assert metrics["loss"] == pytest.approx(-np.log(chances[np.arange(len(true)), true]).mean(), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx((chances.argmax(1) == true).mean())
    assert np.array_equal(outputs["y_hat"], chances.argmax(1))
    assert np.sum(metrics["confusion"]) == len(true)


def test_numbers_are_evaluated_in_the_units_of_the_data(tmp_path: Path) -> None:
    members = folds(write_model(tmp_path, INPUT + NUMBER + FOLDS, REGRESSION))
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    parts = ensemble.load_data().parts["test"]
    guess, true = ensemble.predict_prepared(parts)["guess"], np.asarray(parts["y"])
    assert true.min() > 1, "raw"
    metrics = ensemble.evaluate("test")
    assert metrics["mae"] == pytest.approx(np.abs(guess - true).mean(), rel=1e-5)
    first = netc.open(members[0])
    state = first.states["y"][1]
    in_units = [(np.log(values.astype(np.float64)) - state["mean"]) / state["std"] for values in (guess, true)]
    assert metrics["loss"] == pytest.approx(((in_units[0] - in_units[1]) ** 2).mean(), rel=1e-4), "as the first has it"
    (prediction,) = predictions_of(ensemble, "test")
    assert np.array_equal(prediction.true, true)


HEADS = {
    "truths": (
        'y = column("is_a")\n  ',
        HIDDEN.replace("TYPE", "float") + "z = h -> dense(1) -> squeeze\n  output p = sigmoid(z)\n  "
        "loss binary_cross_entropy(z, y)",
        lambda prediction, true: -np.mean(true * np.log(prediction["p"]) + (1 - true) * np.log(1 - prediction["p"])),
    ),
    "logits": (
        KIND,
        HIDDEN.replace("TYPE", "class(3)") + "output z = h -> dense(3)\n  loss cross_entropy(z, y)",
        lambda prediction, true: -np.mean(np.log(np.exp(prediction["z"])[np.arange(len(true)), true])),
    ),
    "logarithm": (
        KIND,
        HIDDEN.replace("TYPE", "class(3)") + "output p = h -> dense(3) -> softmax\n  loss nll(log(p), y)",
        lambda prediction, true: -np.mean(np.log(prediction["p"][np.arange(len(true)), true])),
    ),
}


@pytest.mark.parametrize("case", HEADS)
def test_losses_are_those_of_mean_probabilities(case: str, tmp_path: Path) -> None:
    data, model, loss = HEADS[case]
    path = write_model(tmp_path, INPUT + data + SPLIT, model)
    members = [trained(path, s=seed) for seed in range(3)]
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    if case != "logits":
        same_means(members, ensemble, tmp_path / "t.csv")
    parts = ensemble.load_data().parts["valid"]
    predictions = {name: value.astype(np.float64) for name, value in ensemble.predict_prepared(parts).items()}
    assert ensemble.evaluate("valid")["loss"] == pytest.approx(loss(predictions, np.asarray(parts["y"])), rel=1e-5)
    if case == "logits":
        each = [raw_outputs(folder, tmp_path / "t.csv")["z"].astype(np.float64) for folder in members]
        chances = [np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in each]
        assert np.allclose(
            np.exp(raw_outputs(ensemble.folder, tmp_path / "t.csv")["z"]), np.mean(chances, 0), rtol=1e-5
        )
    assert ensemble.facts_of([*predictions]) == netc.open(members[0]).facts_of([*predictions]), (
        "outputs stand for what the members' do"
    )


def test_a_loss_of_parameters_is_the_mean_of_the_members(tmp_path: Path) -> None:
    model = REGRESSION + '\n  loss penalty_of = 0.1 * l2(weights("*.W"))\n  '
    model += 'loss both = mse(guess, y) + l1(weights("*.b"))'
    path = write_model(tmp_path, INPUT + NUMBER + SPLIT, model)
    members = [trained(path, s=seed) for seed in range(2)]
    metrics = start_ensemble(members, tmp_path / "runs" / "e", 1).evaluate("test")
    of_members = [netc.open(folder).evaluate("test") for folder in members]
    for name in ("penalty_of", "both"):
        assert metrics[name] == pytest.approx(np.mean([each[name] for each in of_members]), rel=1e-5)


def test_members_may_have_other_widths(tmp_path: Path) -> None:
    """Such as the best trials of a study."""
    path = write_model(tmp_path, INPUT + KIND + SPLIT, CLASSES)
    members = [trained(path, width=width, s=1) for width in (2, 5, 8)]
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    same_means(members, ensemble, tmp_path / "t.csv")
    assert [ensemble.program.parameters[f"member{i}.h.dense.W"].shape[1] for i in (1, 2, 3)] == [2, 5, 8]


def test_missing_numbers_are_filled_by_each_member(tmp_path: Path) -> None:
    data = INPUT.replace('"b"', '"c"').replace("standardize", "impute(mean) -> standardize")
    path = write_model(tmp_path, data + KIND + FOLDS, CLASSES)
    members = folds(path)
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    same_means(members, ensemble, tmp_path / "t.csv")
    asked = exported(ensemble)
    assert asked.notes["x"].endswith("NaN where a value is missing; numbers of 64 bits")
    done = command("export", "runs/e", "-o", "e.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "checked on 17" in done.stdout


def test_it_reports_exports_and_predicts_as_any_run(tmp_path: Path) -> None:
    path = write_model(tmp_path, INPUT + KIND + FOLDS, CLASSES)
    folds(path)
    result = command("ensemble", "runs/folds", "-o", "runs/e", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "3 members, 81 parameters -> runs/e",
        "note: the validation rows of each member are training rows of others; the test part is new to all",
    ]
    twice = command("ensemble", "runs/folds", "runs/folds/fold-2", "-o", "runs/twice", cwd=tmp_path)
    assert "note: runs/folds/fold-2 is a member 2 times, and counts as often in the mean\n" in twice.stdout
    for name in ("e.onnx", "e.py"):
        done = command("export", "runs/e", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "checked on 17" in done.stdout
    first = command("predict", "runs/e", "t.csv", cwd=tmp_path)
    again = command("predict", "runs/e", "t.csv", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout, "the second one is a saved prediction"
    assert first.stdout.splitlines()[0] == "y,p[a],p[b],p[c],y_hat"
    report = command("report", "runs/e", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    page = (tmp_path / "runs/e/report.html").read_text(encoding="utf-8")
    assert "Members" in page
    assert "fold-2" in page
    for arguments in (["eval", "runs/e"], ["diagnose", "runs/e"]):
        assert command(*arguments, cwd=tmp_path).returncode == 0
    refused = command("train", "--resume", "runs/e", cwd=tmp_path)
    assert refused.returncode == 1
    assert "E1004" in refused.stderr


SEQUENCES = """
let s = 0
data {
  source = csv("w.csv")
  word = column("word") -> characters -> vocabulary
  kind = column("kind") -> classes
}
model {
  input word: class(auto)[t <= 8]
  target kind: class(2)
  h = word -> embed(3) -> gru(5) -> last
  z = h -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, kind)
}
train {
  epochs = 2
  seed = s
}
"""


def test_sequences_of_varying_length(tmp_path: Path) -> None:
    rows = [f"{'ab' * (i % 3 + 1)}{'c' * (i % 2)},{i % 2}" for i in range(40)]
    (tmp_path / "w.csv").write_text("\n".join(["word,kind", *rows]) + "\n", encoding="utf-8")
    path = tmp_path / "m.net"
    path.write_text(SEQUENCES, encoding="utf-8")
    members = [trained(path, s=seed) for seed in range(2)]
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    same_means(members, ensemble, tmp_path / "w.csv")
    for name in ("e.onnx", "e.py"):
        done = command("export", "runs/e", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def refusal(members: list[Path], folder: Path) -> str:
    with pytest.raises(Fault) as refused:
        start_ensemble(members, folder)
    assert refused.value.diagnostics[0].code == "E1009"
    assert not folder.exists()
    diagnostic = refused.value.diagnostics[0]
    return f"{diagnostic.title}: {diagnostic.primary.text} ({diagnostic.hint})".replace(f"{folder.parent}/", "")


def test_runs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path, INPUT + KIND + SPLIT, CLASSES)
    first = trained(path)
    path.write_text(path.read_text(encoding="utf-8").replace("valid = 0.2", "valid = 0.1"), encoding="utf-8")
    second = trained(path)
    text = path.read_text(encoding="utf-8").replace("output y_hat = argmax(z)", "output y_hat = z")
    path.write_text(text, encoding="utf-8")
    third, folder = trained(path), tmp_path / "runs" / "e"
    assert refusal([first], folder).startswith("an ensemble has at least two members")
    assert "the `split` of its data block is another" in refusal([first, second], folder)
    assert "its output `y_hat` is float[3], and class(3) in `m`" in refusal([first, third], folder)
    (folder.parent / "e1").mkdir()
    ensemble = start_ensemble([first, first], folder.parent / "e1")
    assert "it is an ensemble itself" in refusal([first, ensemble.folder], folder)


def with_rare(path: Path, column: int, label: str, numbers: tuple[int, ...]) -> None:
    """Writes a label into a column of some rows of the table beside a model."""
    table = path.parent / "t.csv"
    rows = [row.split(",") for row in table.read_text(encoding="utf-8").splitlines()]
    for number in numbers:
        rows[number][column] = label
    table.write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")


ORDERED = "split = folds(3, ordered = true)"  # training on a beginning of the rows: later ones have new labels
CATEGORIES = {
    "one_hot": ("one_hot", "input k: float[6]", "concat(x, k)"),
    "one_hot_unknown": ("one_hot(unknown)", "input k: float[7]", "concat(x, k)"),
    "vocabulary": ("vocabulary", "input k: class(auto)", "concat(x, k -> embed(3))"),
    "classes": ("classes(unknown)", "input k: class(auto)", "concat(x, k -> embed(3))"),
}


@pytest.mark.parametrize("case", CATEGORIES)
def test_members_encode_categories_by_themselves(case: str, tmp_path: Path) -> None:
    step, declared, joined = CATEGORIES[case]
    data = INPUT + f'k = column("rare") -> {step}\n  ' + KIND + ORDERED
    text = CLASSES.replace("input x: float[2]", f"input x: float[2]\n  {declared}")
    path = write_model(tmp_path, data, text.replace("h = x", f"h = {joined}"))
    with_rare(path, 6, "z", (18, 20))
    with_rare(path, 6, "a", (33, 34))
    members = folds(path)
    states = [netc.open(folder).states["k"][0] for folder in members]
    assert states[0] != states[1], "each member has categories of its own"
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    same_means(members, ensemble, tmp_path / "t.csv")
    for name in ("e.onnx", "e.py"):
        done = command("export", "runs/e", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def trained_folds(path: Path, *numbers: int) -> list[Path]:
    """The folders of some folds of a cross-validation."""
    from netc.dsl.parser import parse_file
    from netc.runtime.studies.folds import start_folds
    from netc.runtime.trainer import train

    ensemble = start_folds(parse_file(path), path.parent / "runs" / "folds", {}, None, 1)
    for number in numbers:
        run = ensemble.run(number, lambda *_: None)
        train(run, run.model.train.epochs, lambda report: None, lambda row: None)
    return [ensemble.folder / f"fold-{number}" for number in numbers]


AUTO = CLASSES.replace("class(3)", "class(auto)").replace("dense(3)", "dense(size(y))")


def members_with_other_classes(tmp_path: Path, text: str) -> list[Path]:
    """Fold 1, whose training and validation rows have two classes, and fold 3, whose training rows have three."""
    path = write_model(tmp_path, INPUT + KIND + ORDERED, text)
    for label, rows in {"a": (*range(1, 31, 2),), "c": (*range(2, 31, 2),), "b": (32, 34, 36, 47, 50)}.items():
        with_rare(path, 3, label, rows)
    return trained_folds(path, 1, 3)


def test_classes_are_those_of_all_members(tmp_path: Path) -> None:
    """A class that a member does not know has the probability 0 there."""
    members = members_with_other_classes(tmp_path, AUTO)
    assert [netc.open(folder).states["y"][0]["classes"] for folder in members] == [["a", "c"], ["a", "b", "c"]]
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    assert ensemble.states["y"][0]["classes"] == ["a", "b", "c"]
    of_members = [raw_outputs(folder, tmp_path / "t.csv")["p"] for folder in members]
    chances = raw_outputs(ensemble.folder, tmp_path / "t.csv")
    spread = np.stack([of_members[0][:, 0], np.zeros(60, np.float32), of_members[0][:, 1]], 1)
    assert np.array_equal(chances["p"], mean([spread, of_members[1]]))
    assert np.array_equal(chances["y_hat"], chances["p"].argmax(1))
    parts = ensemble.load_data().parts["train"]
    outputs, true = ensemble.predict_prepared(parts)["p"].astype(np.float64), np.asarray(parts["y"])
    metrics = ensemble.evaluate("train")
    assert set(true.tolist()) == {0, 1, 2}
    assert metrics["loss"] == pytest.approx(-np.log(outputs[np.arange(len(true)), true]).mean(), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx((outputs.argmax(1) == true).mean())
    header = command("predict", "runs/e", "t.csv", cwd=tmp_path).stdout.splitlines()[0]
    assert header == "y,p[a],p[b],p[c],y_hat"
    for name in ("e.onnx", "e.py"):
        done = command("export", "runs/e", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_numbers_for_each_class_that_are_no_probabilities_have_no_mean(tmp_path: Path) -> None:
    members = members_with_other_classes(tmp_path, AUTO + "\n  output doubled = 2 * p")
    message = refusal(members, tmp_path / "runs" / "e")
    assert message.startswith("the output `doubled` has no mean: members know other classes, and these are not prob")


def test_labels_that_a_member_has_no_place_for_are_refused(tmp_path: Path) -> None:
    data = INPUT + 'k = column("rare") -> classes\n  ' + KIND + ORDERED
    text = CLASSES.replace("input x: float[2]", "input x: float[2]\n  input k: class(auto)")
    path = write_model(tmp_path, data, text.replace("h = x", "h = concat(x, k -> embed(3))"))
    with_rare(path, 6, "z", (32, 34))
    message = refusal(trained_folds(path, 1, 3), tmp_path / "runs" / "e")
    assert message == (
        "`classes` of `rare` differs between `folds/fold-1` and `folds/fold-3`: only `folds/fold-3` has z, and a "
        "member has no place for a label that it does not know (classes(unknown))"
    )


TWO = """z = h -> dense(3)
  again = argmax(z) -> embed(2) -> dense(3)
  output p = softmax(z)
  output sure = max(p, over = 0) > 0.4
  loss cross_entropy(z, y)
  """


def test_truths_are_what_most_members_say(tmp_path: Path) -> None:
    path = write_model(
        tmp_path,
        INPUT + KIND + SPLIT,
        HIDDEN.replace("TYPE", "class(3)") + TWO.replace("(z)\n  output", "(again)\n  output"),
    )
    members = [trained(path, s=seed) for seed in range(3)]
    ensemble = start_ensemble(members, tmp_path / "runs" / "e", 1)
    of_members = [raw_outputs(folder, tmp_path / "t.csv")["sure"] for folder in members]
    assert np.array_equal(raw_outputs(ensemble.folder, tmp_path / "t.csv")["sure"], np.sum(of_members, 0) > 1.5)


def test_labels_that_each_member_chooses_have_no_mean(tmp_path: Path) -> None:
    model = HIDDEN.replace("TYPE", "class(3)") + TWO + "output two = argmax(again)"
    path = write_model(tmp_path, INPUT + KIND + SPLIT, model)
    message = refusal([trained(path, s=seed) for seed in range(2)], tmp_path / "runs" / "e")
    assert message.startswith("the output `two` has no mean")


@pytest.mark.parametrize("what", ["text", "states", "members"])
def test_a_damaged_ensemble_is_a_message(what: str, tmp_path: Path) -> None:
    from netc.runtime.runs.run_info import decoded, encoded

    path = write_model(tmp_path, INPUT + KIND + FOLDS, CLASSES)
    ensemble = start_ensemble(folds(path), tmp_path / "runs" / "e", 1)
    file = ensemble.folder / "run.json"
    info = decoded(file.read_bytes())
    if what == "text":
        info.members[1].text = info.members[1].text.replace("dense(width)", "dense(width + 1)")
    elif what == "states":
        info.members[1].states["x"][0]["mean"] = "no number"
    else:
        info.members = info.members * 2
    file.write_bytes(encoded(info))
    with pytest.raises(Fault) as refused:
        netc.open(ensemble.folder)
    assert refused.value.diagnostics[0].code == "E1001"


def test_the_best_trials_of_a_study(tmp_path: Path) -> None:
    write_model(tmp_path, INPUT + KIND + FOLDS, CLASSES)
    searched = command("study", "m.net", "--vary", "width=2,3,4,5", cwd=tmp_path)
    assert searched.returncode == 0, searched.stderr
    result = command("ensemble", "studies/m", "--best", 3, "-o", "runs/e", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "training rows of others" not in result.stdout, "all were trained on the same fold"
    info = netc.open(tmp_path / "runs" / "e").info
    assert info is not None
    with (tmp_path / "studies/m/trials.csv").open(encoding="utf-8", newline="") as file:
        trials = sorted(csv.DictReader(file), key=lambda row: float(row["valid.loss"]))
    assert [str(member.set["width"]) for member in info.members] == [row["width"] for row in trials[:3]]
    assert info.members[0].run == "studies/m/best"
    members = [tmp_path / member.run for member in info.members]
    same_means(members, netc.open(tmp_path / "runs" / "e"), tmp_path / "t.csv")
    for folder, row in zip(members, trials, strict=False):
        assert netc.open(folder).evaluate("valid")["loss"] == pytest.approx(float(row["valid.loss"]), rel=1e-5)
    assert "valid" in netc.open(tmp_path / "runs" / "e").load_data().parts
    few = command("ensemble", "studies/m", "--best", 9, cwd=tmp_path)
    assert few.returncode == 1
    assert "too few trials" in few.stderr
    (tmp_path / "studies/m/results.json").unlink()
    assert "has not ended" in command("ensemble", "studies/m", cwd=tmp_path).stderr
