"""Targets with several classes a sample: labels in predictions, reports and exported files."""

import json
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.commands import predicting
from netc.runtime.export.exported import exported
from netc.runtime.predictions import predictions_of
from netc.runtime.target_outputs import distributions

TEXT = """data {
  source = csv("shop.csv")
  x = columns("u", "v")
  flags = columns("red", "green")
  sides = columns("left", "right") -> classes
  open = columns("am", "pm") -> classes
  tags = column("text") -> words -> vocabulary
  split = ordered(train = 1.0)
}
model {
  input x: float[2]
  target flags: float[2]
  target sides: class(3)[2]
  target open: class(2)[2]
  target tags: class(auto)[t]
  h = x -> dense(16) -> tanh
  a = h -> dense(2)
  b = h -> dense(6) -> reshape(2, 3)
  c = h -> dense(2)
  d = h -> dense(size(tags))
  output flag = sigmoid(a)
  output side = softmax(b)
  output hours = sigmoid(c)
  output tag = sigmoid(d)
  loss la = sum(binary_cross_entropy(a, flags))
  loss lb = cross_entropy(b, sides)
  loss lc = sum(binary_cross_entropy(c, where(open == 1, 1, 0)))
  loss ld = sum(binary_cross_entropy(d, max(one_hot(tags, size(tags)), over = t)))
}
train {
  optimizer = adam(lr = 0.05)
  epochs = 60
}
"""
CELLS = [(-1, -1), (-1, 1), (1, -1), (1, 1)]


def row(u: int, v: int) -> list[str]:
    """The cells of a row: each label follows from u and v."""
    words = [word for word, is_there in (("large", u > 0), ("old", v > 0), ("new", True)) if is_there]
    sides, hours = ("xyz"[1 + u * (v > 0)], "xyz"[1 + v]), (("no", "yes")[u > 0], ("no", "yes")[v > 0])
    return [f"{u}", f"{v}", str(int(u > 0)), str(int(u != v)), *sides, *hours, " ".join(words)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> netc.Run:
    folder = tmp_path_factory.mktemp("labels")
    lines = ["u,v,red,green,left,right,am,pm,text", *(",".join(row(*cells)) for cells in CELLS * 8)]
    (folder / "shop.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "m.net").write_text(TEXT, encoding="utf-8")
    return netc.train(netc.load(folder / "m.net"), out=folder / "run")


def test_predictions_have_the_labels_of_the_table(run: netc.Run, tmp_path: Path) -> None:
    """By the command, twice (by the compiler, then from the cache where that can), and from Python."""
    (tmp_path / "new.csv").write_text("u,v\n" + "".join(f"{u},{v}\n" for u, v in CELLS), encoding="utf-8")
    predictions = netc.open(run.folder).predict(tmp_path / "new.csv")
    for _ in range(2):
        predicting.write_predictions(run.folder, tmp_path / "new.csv", tmp_path / "out.json")
        answers = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        for i, (cells, answer) in enumerate(zip(CELLS, answers, strict=True)):
            _, _, red, green, *labels, text = row(*cells)
            flags = [name for name, mark in (("red", red), ("green", green)) if mark == "1"]
            names = ["sides[left]", "sides[right]", "open[am]", "open[pm]"]
            assert [answer[name] for name in names] == labels
            assert answer["flags"] == predictions["flags"][i] == flags
            assert sorted(answer["tags"].split()) == sorted(text.split())
            assert predictions["tags"][i] == answer["tags"]
            assert [predictions[name][i] for name in names] == labels
        assert {"flag[red]", "flag[green]", "side[left][x]", "side[right][z]", "hours[am]", "tag[old]"} < {*answers[0]}


def test_reports_and_exported_files_name_columns_and_classes(run: netc.Run) -> None:
    predictions = {prediction.target: prediction for prediction in predictions_of(run, "train")}
    assert predictions.keys() == {
        *("flags[red]", "flags[green]", "sides[left]", "sides[right]", "open[am]", "open[pm]"),
        *("tags[<unknown>]", "tags[new]", "tags[large]", "tags[old]"),
    }
    for prediction in predictions.values():
        assert np.array_equal(prediction.true, prediction.predicted)
        assert prediction.error.max() < 0.5
    assert predictions["sides[left]"].labels == ("x", "y", "z")
    assert predictions["open[am]"].labels == ("no", "yes")
    file = exported(run)
    assert file.labels["flag"] == ("red", "green")
    assert file.labels["side"] == ("x", "y", "z")
    assert file.labels["hours"] == ("no", "yes")
    assert file.notes["side"] == "of the columns left, right of sides, in this order"


HEAD = """model {
  input x: float[2]
  target y: TYPE
  z = x -> dense(2)
  output p = OUTPUT
  loss sum(binary_cross_entropy(z, CODE))
}
"""


@pytest.mark.parametrize(
    ("type_", "code", "output", "has_labels"),
    [
        ("float[2]", "y", "sigmoid(z)", True),
        ("float[2]", "1 - y", "sigmoid(z)", False),
        ("float[2]", "y", "sigmoid(2 * z + 1)", True),
        ("class(2)[2]", "where(y == 1, 1, 0)", "sigmoid(z)", True),
        ("class(2)[2]", "where(y == 0, 1, 0)", "sigmoid(z)", False),
        ("class(2)[t]", "max(one_hot(y, 2), over = t)", "sigmoid(z)", True),
        ("class(2)[t]", "minimum(1, sum(one_hot(y, 2), over = t))", "sigmoid(z)", True),
        ("class(2)[t]", "mean(one_hot(y, 2), over = t)", "sigmoid(z)", False),
        ("class(2)[t]", "max(one_hot(y, 2), over = t)", "softmax(z)", False),
    ],
)
def test_a_sigmoid_has_labels_if_the_loss_compares_marks_of_the_classes(
    type_: str, code: str, output: str, has_labels: bool
) -> None:
    text = HEAD.replace("TYPE", type_).replace("CODE", code).replace("OUTPUT", output)
    assert [*distributions(netc.parse(text))] == (["y"] if has_labels else [])


def test_a_share_is_no_probability() -> None:
    text = HEAD.replace("TYPE", "float[2]").replace("OUTPUT", "sigmoid(z)")
    text = text.replace("sum(binary_cross_entropy(z, CODE))", "mse(sigmoid(z), y)")
    assert distributions(netc.parse(text)) == {}
