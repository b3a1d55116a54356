"""New data for a run: columns are bound by the names that training saw."""

import json
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.commands import predicting
from netc.dsl.diagnostics import Fault

TEXT = """data {
  source = csv("shop.csv")
  x = columns(all, except = ["sold", "part"]) -> standardize
  y = column("sold") -> classes
  split = column("part")
}
model {
  input x: float[3]
  target y: class(auto)
  z = x -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train {
  optimizer = sgd(lr = 0.1)
  epochs = 2
}
"""
ROWS = [
    {"price": 3 + i, "weight": 7 * i % 11, "age": i * i % 13, "sold": "yes" if i % 3 else "no", "part": "train"}
    for i in range(20)
]


def csv_of(rows: list[dict[str, object]], names: list[str]) -> str:
    return "\n".join([",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("shop.csv").write_text(csv_of(ROWS, ["price", "weight", "age", "sold", "part"]))
    Path("shop.net").write_text(TEXT)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Path:
    netc.train(netc.load("shop.net"), out="run")
    return folder / "run"


def predicted(run: Path, data: str, name: str = "new.csv") -> str:
    """What `netc predict RUN FILE -o` writes for this text."""
    Path(name).write_text(data)
    predicting.write_predictions(run, Path(name), Path("out.csv"))
    return Path("out.csv").read_text()


def test_a_run_keeps_the_columns_that_it_was_trained_on(run: Path) -> None:
    assert json.loads((run / "run.json").read_text())["columns"]["x"] == ["price", "weight", "age"]


def test_new_data_is_bound_by_the_names_of_its_columns(run: Path) -> None:
    """Other orders, columns that the run does not know, and no label or split column give the same bytes."""
    expected = predicted(run, csv_of(ROWS, ["price", "weight", "age", "sold", "part"]))
    assert predicted(run, csv_of(ROWS, ["age", "part", "weight", "price", "sold"])) == expected
    assert predicted(run, csv_of(ROWS, ["price", "weight", "age"])) == expected
    rows = [{**row, "id": f"n{i}"} for i, row in enumerate(ROWS)]
    assert predicted(run, csv_of(rows, ["id", "weight", "age", "price"])) == expected
    lines = "".join(json.dumps({name: row[name] for name in sorted(row)}) + "\n" for row in ROWS)
    assert predicted(run, lines, "new.jsonl") == expected


def test_a_missing_input_column_is_a_fault_with_the_nearest_name(run: Path) -> None:
    with pytest.raises(Fault, match=r"new.csv` has no column `weight`[\s\S]*did you mean `wieght`"):
        predicted(run, csv_of([{**row, "wieght": 1} for row in ROWS], ["price", "wieght", "age"]))


def test_parts_from_other_files_are_bound_by_name(folder: Path) -> None:
    names = ["price", "weight", "age", "sold"]
    Path("train.csv").write_text(csv_of(ROWS, names))
    for order in (names, names[::-1]):
        Path("test.csv").write_text(csv_of(ROWS[:7], order))
        text = TEXT.replace('column("part")', '(train = csv("train.csv"), test = csv("test.csv"))')
        text = text.replace('source = csv("shop.csv")', 'source = csv("train.csv")').replace(', "part"]', "]")
        parts = netc.train(netc.parse(text), out=f"run-{order[0]}").load_data().parts
        assert np.array_equal(parts["train"]["x"][:7], parts["test"]["x"])


def test_a_run_goes_on_with_its_columns(run: Path, folder: Path) -> None:
    """A column that was added since is no input; a changed learning rate is no change of the data."""
    from netc.runtime.runs.resume import adopt
    from netc.runtime.runs.run import open_run

    Path("shop.csv").write_text(
        csv_of([{**row, "id": 5} for row in ROWS], ["id", "price", "weight", "age", "sold", "part"])
    )
    changes = adopt(open_run(run, to_train=True), netc.parse(TEXT.replace("lr = 0.1", "lr = 0.2")))
    assert [change.is_allowed for change in changes] == [True]
    assert netc.open(run).load_data().parts["train"]["x"].shape == (20, 3)
