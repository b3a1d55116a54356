"""The descriptions of inputs in exported files, and how these files take raw numbers."""

import ast
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from support import command

import netc
from netc.dsl.source import NOWHERE
from netc.dsl.structs import replace
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.tables.cells import Location
from netc.runtime.export.check import checked
from netc.runtime.export.exported import as_onnx
from netc.runtime.export.exported import exported as exported_run
from netc.runtime.export.raw_columns import with_columns
from netc.runtime.runs.run import Run

START = 1_700_000_000  # seconds: neighbouring Unix times are one number in f32

TABLE = """data {
  source = csv("t.csv")
  x = columns("time", "b") -> impute(median) -> standardize
  city = column("city") -> impute("Rome") -> one_hot
  size = column("size") -> classes(unknown)
  words = column("words") -> ngrams(2, 8)
  y = column("kind") -> classes
  split = ordered(train = 1.0)
}
model {
  input x: float[2]
  input city: float[4]
  input size: class(4)
  input words: float[8]
  target y: class(2)
  h = concat(x, city, size -> embed(3), words) -> dense(6) -> tanh
  output p = h -> dense(2) -> softmax
  loss cross_entropy(log(p), y)
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("export")
    rows = [
        f"{START + i},{i % 3 or ''},{('Oslo', 'Rome', 'Ürgüp', '', 'Athens, GR')[i % 5]!r},{(2, 10, 'big')[i % 3]},"
        f"{('red car', 'blue bus')[i % 2]},{'uv'[i % 2]}".replace("'", '"')
        for i in range(40)
    ]
    (folder / "t.csv").write_text("time,b,city,size,words,kind\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "m.net").write_text(TABLE, encoding="utf-8")
    return netc.train(netc.load(folder / "m.net"), out=folder / "run", epochs=2)


def exported(run: Run, name: str, *arguments: str) -> tuple[Path, str]:
    """The exported file, and what the command says."""
    path = run.folder / name
    done = command("export", str(run.folder), "-o", str(path), *arguments, cwd=run.folder)
    assert done.returncode == 0, done.stderr
    return path, done.stdout


def predicted(run: Run, header: str, rows: list[str]) -> np.ndarray:
    """The probabilities that `netc predict` gives for a csv."""
    (run.folder / "new.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    done = command("predict", str(run.folder), "new.csv", "--output", "p", "-o", "p.csv", cwd=run.folder)
    assert done.returncode == 0, done.stderr
    lines = (run.folder / "p.csv").read_text(encoding="utf-8").splitlines()
    columns = [i for i, name in enumerate(lines[0].split(",")) if name.startswith("p[")]
    return np.array([[float(line.split(",")[i]) for i in columns] for line in lines[1:]])


def ngrams_of(run: Run, texts: list[str]) -> np.ndarray:
    """The numbers that the step of `words` gives for texts."""
    location = Location("", ("words",), np.arange(len(texts)), NOWHERE)
    (state,) = run.states["words"]
    return np.asarray(STEPS["ngrams"].apply(np.array(texts, object), state, location), np.float32)


def test_both_files_name_columns_labels_fills_and_steps(run: Run) -> None:
    columns = {"x": ["time", "b"], "city": ["city"], "size": ["size"], "words": ["words"]}
    labels = {"city": ["Athens, GR", "Oslo", "Rome", "Ürgüp"], "size": ["2", "10", "big", "<unknown>"]}
    python, _ = exported(run, "m.py")
    text = python.read_text(encoding="utf-8")
    tables = {
        name: ast.literal_eval(re.search(rf"^{name} = (.*?)  #", text, re.MULTILINE)[1])
        for name in ("columns", "labels", "fills", "steps")
    }
    assert {name: list(names) for name, names in tables["columns"].items()} == columns
    assert "x: float[2] (columns time, b, in this order; NaN where a value is missing; numbers of 64 bits)" in text
    file, _ = exported(run, "m.onnx")
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    for name, names in columns.items():
        assert json.loads(facts[f"columns.{name}"]) == names
    for name, names in labels.items():
        assert json.loads(facts[f"labels.{name}"]) == list(tables["labels"][name]) == names
    assert len(tables["labels"]["words"]) <= 8
    assert json.loads(facts["fills.city"]) == tables["fills"]["city"] == {"city": "Rome"}
    assert tables["fills"]["x"] == {"time": START + 19.5, "b": 1.5}
    assert [step["step"] for step in json.loads(facts["steps.city"])] == ['impute("Rome")', "one_hot"]


def test_times_keep_their_seconds(run: Run) -> None:
    """An input of f32 would merge times within a minute."""
    file, _ = exported(run, "m.onnx")
    session = onnxruntime.InferenceSession(file)
    count = 8
    x = np.stack([START + 5.0 * np.arange(count), np.full(count, np.nan)], axis=1)
    fields: dict[str, Any] = {
        "x": x,
        "city": np.eye(4, dtype=np.float32)[[1] * count],
        "size": np.zeros(count, np.int32),
        "words": ngrams_of(run, ["red car"] * count),
    }
    assert next(entry.type for entry in session.get_inputs() if entry.name == "x") == "tensor(double)"
    (values,) = session.run(["p"], fields)
    expected = predicted(run, "time,b,city,size,words", [f"{START + 5 * i},,Oslo,2,red car" for i in range(count)])
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert np.abs(np.diff(values[:, 0])).min() > 1e-4


def test_raw_columns_give_what_netc_predict_gives(run: Run) -> None:
    """Texts, missing cells, and labels that training did not have."""
    file, said = exported(run, "raw.onnx", "--columns")
    assert "checked on 17 synthetic samples" in said
    session = onnxruntime.InferenceSession(file)
    types = {entry.name: entry.type for entry in session.get_inputs()}
    assert types == {
        "time": "tensor(double)",
        "b": "tensor(double)",
        "city": "tensor(string)",
        "size": "tensor(string)",
        "words": "tensor(float)",
    }
    cities, sizes = ["Oslo", "Ürgüp", "", "Athens, GR", "Nowhere"], ["10", "big", "2", "huge", "2"]
    (values,) = session.run(
        ["p"],
        {
            "time": START + 3.0 * np.arange(5),
            "b": np.array([1, np.nan, 2, np.nan, 0.5]),
            "city": np.array(cities, object),
            "size": np.array(sizes, object),
            "words": ngrams_of(run, ["red car"] * 5),
        },
    )
    numbers = ("1", "", "2", "", "0.5")
    rows = [f'{START + 3 * i},{numbers[i]},"{cities[i]}",{sizes[i]},red car' for i in range(5)]
    np.testing.assert_allclose(values, predicted(run, "time,b,city,size,words", rows), atol=1e-5)
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert facts["city"] == "column city: a text, as `labels.city` has them; empty where it is missing"
    assert [key for key in facts if key.startswith("steps.")] == ["steps.words"]


def test_the_command_says_which_inputs_are_not_raw(run: Run) -> None:
    done = command("export", str(run.folder), "-o", "r.onnx", "--columns", cwd=run.folder)
    assert "note: the input `words` is not raw: column words; after ngrams(2, 8)" in done.stderr
    refused = command("export", str(run.folder), "-o", "r.py", "--columns", cwd=run.folder)
    assert refused.returncode == 2


def test_a_wrong_code_is_found_by_the_check(run: Run) -> None:
    asked, _ = with_columns(run, exported_run(run))
    raw = asked.raw["city"]
    swapped = {**raw.codes[0], "Oslo": raw.codes[0]["Rome"]}
    wrong = replace(asked, raw={**asked.raw, "city": replace(raw, codes=(swapped,))})
    path = run.folder / "wrong.onnx"
    for file, is_wrong in ((asked, False), (wrong, True)):
        path.write_bytes(as_onnx(file))
        assert checked(run, asked, path).is_wrong is is_wrong


def test_predicted_times_keep_their_seconds(run: Run, tmp_path: Path) -> None:
    text = """data {
  source = csv("t.csv")
  size = column("size") -> one_hot
  y = column("time") -> standardize
  split = ordered(train = 1.0)
}
model {
  input size: float[3]
  target y: float
  output z = size -> dense(1) -> squeeze
  loss mse(z, y)
}
"""
    (tmp_path / "t.csv").write_bytes((run.folder.parent / "t.csv").read_bytes())
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    times = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", epochs=1)
    asked = exported_run(times)
    sizes = np.eye(3, dtype=np.float32)
    (values,) = onnxruntime.InferenceSession(as_onnx(asked)).run(["z"], {"size": sizes})
    assert values.dtype == np.float64
    np.testing.assert_allclose(values - START, times.predict_prepared({"size": sizes})["z"] - START, atol=1e-3)


VALUES = """data {
  source = csv("v.csv")
  price = column("price") -> number("€ 1,234.50") -> impute(median) -> standardize
  day = column("day") -> date("%d.%m.%Y") -> impute(median) -> standardize
  moment = column("moment") -> date
  area = columns("length", "width") -> bucket(4) -> one_hot
  age = column("age") -> impute(median) -> bucket(3) -> classes(unknown)
  level = column("age") -> impute(0) -> bucket(3)
  city = column("city") -> strip -> lowercase -> impute("none") -> vocabulary
  y = column("kind") -> classes
  split = ordered(train = 1.0)
}
model {
  input price: float
  input day: float
  input moment: float
  input area: float[2, 4]
  input age: class(auto)
  input level: class(3)
  input city: class(auto)
  target y: class(2)
  tables = concat(age -> embed(2), level -> embed(2), city -> embed(2), flatten(area))
  h = concat(stack(price, day, (moment - 2000) / 10), tables) -> dense(6) -> tanh
  output p = h -> dense(2) -> softmax
  loss cross_entropy(log(p), y)
}
"""


def test_numbers_dates_and_buckets_are_raw_columns(tmp_path: Path) -> None:
    """Values for `number` and `date`: leap years, the ends of a century, a time of day, missing cells."""
    moments = [
        "1900-03-01",
        "2000-02-29T23:59:59",
        "2000-12-31",
        "1999-12-31T12:00:00.5",
        "2024-02-29",
        "1969-12-31T06",
    ]
    days = [None, "29.02.2000", "01.01.1970", "31.12.2024"]
    prices, ages = [1234.5, None, -7.25, 80], [None, 3, 17, 40, 18.5]
    rows = []
    for i in range(24):
        price, age = prices[i % 4], ages[i % 5]
        shown = "" if price is None else f"€ {price:,}"
        city = ("Oslo ", " ROME", "", "rome")[i % 4]
        cells = (
            shown,
            days[i % 4] or "",
            moments[i % 6],
            i * i % 13,
            i % 7,
            "" if age is None else age,
            city,
            "uv"[i % 2],
        )
        rows.append(",".join(f'"{cell}"' for cell in cells))
    header = "price,day,moment,length,width,age,city,kind"
    (tmp_path / "v.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    (tmp_path / "m.net").write_text(VALUES, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", epochs=2)
    file, said = exported(run, "raw.onnx", "--columns")
    assert "checked on 17 synthetic samples" in said
    session = onnxruntime.InferenceSession(file)
    numbers = ["price", "day", "moment", "length", "width", "age"]
    types = dict.fromkeys(numbers, "tensor(double)") | {"city": "tensor(string)"}
    assert {entry.name: entry.type for entry in session.get_inputs()} == types

    def seconds(text: str | None, form: str = "") -> float:
        moment = None if text is None else datetime.strptime(text, form) if form else datetime.fromisoformat(text)
        return np.nan if moment is None else (moment - datetime(1970, 1, 1)).total_seconds()

    (values,) = session.run(
        ["p"],
        {
            "price": np.array([np.nan if (price := prices[i % 4]) is None else price for i in range(24)]),
            "day": np.array([seconds(days[i % 4], "%d.%m.%Y") for i in range(24)]),
            "moment": np.array([seconds(moments[i % 6]) for i in range(24)]),
            "length": np.array([float(i * i % 13) for i in range(24)]),
            "width": np.array([float(i % 7) for i in range(24)]),
            "age": np.array([np.nan if (age := ages[i % 5]) is None else age for i in range(24)]),
            "city": np.array([("oslo", "rome", "", "rome")[i % 4] for i in range(24)], object),
        },
    )
    np.testing.assert_allclose(values, predicted(run, header, rows), atol=1e-6)
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert facts["city"].startswith("column city: a text, after strip -> lowercase, as `labels.city` has them")
    assert facts["day"] == (
        "column day: seconds since 1970-01-01 in UTC, of a date those of its midnight; NaN where it is missing"
    )
