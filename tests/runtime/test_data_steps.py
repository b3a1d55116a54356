"""The steps of a field one by one: what each learns, gives and undoes, and what becomes of missing and unseen cells."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from support import command

import netc
from netc.runtime.data import pipeline
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import Dataset, load
from netc.runtime.data.division import partition
from netc.runtime.data.reuse import reused
from netc.runtime.data.steps.number import NumberForm
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.tables.cells import Location, natural, numbers_of, texts_of

MODEL = """
model {{
  input x: {x}
  target y: class(2)
  z = {z} -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}}
"""
SEQUENCE = "mean(x -> embed(2), over = time)"


def loaded(folder: Path, csv: str, field: str, x: str, z: str = "x") -> Dataset:
    """The data of a field `x` over a csv whose column `part` names the parts."""
    (folder / "t.csv").write_text(csv, encoding="utf-8")
    text = (
        f'data {{\n  source = csv("t.csv")\n  x = {field}\n  y = column("y") -> classes\n  split = column("part")\n}}\n'
    )
    (folder / "m.net").write_text(text + MODEL.format(x=x, z=z), encoding="utf-8")
    model = netc.load(folder / "m.net")
    return load(model, parse_data(model))


def column(cells: list[str], test: list[str] = (), name: str = "x") -> str:
    """A csv with these cells in the training part, and in the test part."""
    rows = [f"{cell},{'ab'[i % 2]},train" for i, cell in enumerate(cells)]
    rows += [f"{cell},{'ab'[i % 2]},test" for i, cell in enumerate(test)]
    return "\n".join([f"{name},y,part", *rows]) + "\n"


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize("step", ["standardize", "minmax"])
@pytest.mark.parametrize("constant", ["14.62", "0.1", "-1e-300", "123456789.123"])
def test_a_constant_column_becomes_zero(step: str, constant: str, tmp_path: Path) -> None:
    """It does so exactly, in every number of rows, and new values keep their distance from the constant."""
    x = [f"{constant},{i}" for i in range(37)]
    rows = [f"{cell},{'ab'[i % 2]},train" for i, cell in enumerate(x)] + [f"{float(constant) + 2},1,a,test"]
    data = loaded(tmp_path, "\n".join(["u,v,y,part", *rows]) + "\n", f'columns("u", "v") -> {step}', "float[2]")
    assert not np.asarray(data.parts["train"]["x"])[:, 0].any()
    assert data.parts["test"]["x"][0, 0] == pytest.approx(2)
    assert np.ptp(data.parts["train"]["x"][:, 1]) >= 1
    assert [warning.code for warning in data.warnings] == ["W0834"]
    assert data.warnings[0].title == "`u` is the same in every training row"


def test_numbers_that_vary_in_their_last_digits_only_are_constant(tmp_path: Path) -> None:
    data = loaded(tmp_path, column(["0.3", "0.30000000000000004"] * 5), 'columns("x") -> standardize', "float[1]")
    assert np.abs(data.parts["train"]["x"]).max() < 1e-15
    small = loaded(tmp_path, column(["1e-20", "3e-20"] * 5), 'columns("x") -> standardize', "float[1]")
    np.testing.assert_allclose(small.parts["train"]["x"][:2, 0], [-1, 1])


def test_buckets_are_quantiles_of_the_training_part(tmp_path: Path) -> None:
    cells = [str(i) for i in (7, 3, 1, 8, 2, 6, 5, 4)]
    data = loaded(
        tmp_path,
        column(cells, ["-100", "4.5", "100"]),
        'column("x") -> bucket(4)',
        "class(4)",
        "x -> embed(2)",
    )
    assert data.parts["train"]["x"].tolist() == [(int(cell) - 1) // 2 for cell in cells]
    assert data.parts["test"]["x"].tolist() == [0, 2, 3]
    state = data.states["x"][0]
    assert STEPS["bucket"].labels(state) == ["below 2.75", "2.75 to 4.5", "4.5 to 6.25", "from 6.25"]
    assert STEPS["bucket"].undo(np.array([3, 0]), state).tolist() == ["from 6.25", "below 2.75"]
    ties = loaded(tmp_path, column(["0"] * 6 + ["1", "2"]), 'column("x") -> bucket(4) -> one_hot', "float[4]")
    assert ties.states["x"][0] == {"edges": [[0.0, 0.0, 0.25]]}
    assert ties.states["x"][1] == {"classes": ["2", "3"]}, "a quantile that several buckets share leaves some empty"


@pytest.mark.parametrize("columns", ['columns("u", "v")', 'columns(all, except = ["y", "part"])'])
def test_buckets_of_several_columns(columns: str, tmp_path: Path) -> None:
    csv = "u,v,y,part\n" + "".join(f"{i},{100 - i},{'ab'[i % 2]},train\n" for i in range(10))
    data = loaded(tmp_path, csv, f"{columns} -> bucket(2)", "class(2)[2]", "x -> embed(2) -> flatten")
    assert data.parts["train"]["x"].tolist() == [[int(i >= 5), int(i < 5)] for i in range(10)]


# ------------------------------------------------------------------ texts and dates


def test_texts_are_rewritten(tmp_path: Path) -> None:
    cells = [" Zu\u0308rich", "z\u00fcrich ", "Bern", "bern"]
    for steps, labels in (
        ("one_hot", sorted(cells)),
        ("strip -> normalize_unicode -> one_hot", ["Bern", "Z\u00fcrich", "bern", "z\u00fcrich"]),
        ("strip -> lowercase -> normalize_unicode -> one_hot", ["bern", "z\u00fcrich"]),
    ):
        data = loaded(tmp_path, column(cells * 3), f'column("x") -> {steps}', f"float[{len(labels)}]")
        assert data.states["x"][-1]["classes"] == labels


def years(tmp_path: Path, cells: list[str], step: str) -> list[float]:
    data = loaded(tmp_path, column(cells), f'columns("x") -> {step}', "float[1]")
    return data.parts["train"]["x"][:, 0].tolist()


def test_dates_in_the_forms_of_iso_8601(tmp_path: Path) -> None:
    cells = ["2004", "2004-07", "2004-07-02", "2004-07-02T12:00", "2004-07-02 14:00:00+02:00", "2004-07-02 00:00:00Z"]
    day = 1 / 366
    half = 2004 + 183 * day
    expected = [2004, 2004 + 182 * day, half, half + day / 2, half + day / 2, half]
    np.testing.assert_allclose(years(tmp_path, cells, "date"), np.float32(expected))


def test_dates_in_a_declared_form(tmp_path: Path) -> None:
    assert years(tmp_path, ["31.12.2003", " 1.7.2003"], 'date("%d.%m.%Y")') == [
        np.float32(2003 + 364 / 365),
        np.float32(2003 + 181 / 365),
    ]
    assert years(tmp_path, ["02/07/04 18:00"] * 2, 'date("%d/%m/%y %H:%M")') == [np.float32(2004 + 183.75 / 366)] * 2
    with pytest.raises(netc.Fault, match=r'"2003-12-31" is not a date of the form "%d.%m.%Y"(.|\n)*row 3, column `x`'):
        years(tmp_path, ["31.12.2003", "2003-12-31"], 'date("%d.%m.%Y")')
    for form in ("%d.%m.", "day", "%Q", "%d %d", "%"):
        if form != "%d.%m.":
            with pytest.raises(netc.Fault, match="`date` takes a format"):
                years(tmp_path, ["1"], f'date("{form}")')


def test_dates_on_their_circles(tmp_path: Path) -> None:
    """Sine and cosine of the part of the year, the week and the day that has passed, by Python's calendar."""
    draw = np.random.default_rng(4)
    start = datetime.datetime(1899, 12, 31)
    moments = [start + datetime.timedelta(seconds=int(s)) for s in draw.integers(0, 200 * 365 * 86_400, 60)]
    moments += [
        datetime.datetime(2004, 12, 31, 23, 59, 59),
        datetime.datetime(1970, 1, 1),
        datetime.datetime(2001, 1, 1),
    ]
    expected = []
    for moment in moments:
        midnight = moment.replace(hour=0, minute=0, second=0)
        day = (moment - midnight) / datetime.timedelta(days=1)
        new_year, next_year = datetime.datetime(moment.year, 1, 1), datetime.datetime(moment.year + 1, 1, 1)
        phases = ((moment.weekday() + day) / 7, day, (moment - new_year) / (next_year - new_year))
        expected.append([wave(2 * np.pi * phase) for phase in phases for wave in (np.sin, np.cos)])
    cells = [moment.isoformat() for moment in moments]
    data = loaded(tmp_path, column(cells), 'column("x") -> date -> cycle(week, day, year)', "float[6]")
    np.testing.assert_allclose(data.parts["train"]["x"], np.float32(expected), atol=2e-6)
    for steps, message in (
        ("date -> cycle(month)", "`cycle` takes year, week and day|month"),
        ("date -> cycle(week, week)", "`cycle` takes year, week and day, each once at most"),
        ("cycle(year)", "is not a year"),
    ):
        with pytest.raises(netc.Fault, match=message):
            loaded(tmp_path, column(["20000", "3"]), f'column("x") -> {steps}', "float[2]")


def test_a_run_that_had_no_time_of_day_keeps_its_dates() -> None:
    location = Location("t", ("x",), np.arange(1), None)
    cells = np.array(["2004-07-02T12:00"], object)
    assert STEPS["date"].apply(cells, {}, location)[0] == 2004 + 183 / 366
    assert STEPS["date"].apply(cells, {"format": ""}, location)[0] == 2004 + 183.5 / 366


# ------------------------------------------------------------------ missing cells


@pytest.mark.parametrize(
    ("steps", "fill"),
    [
        ('impute("2001") -> date', 2001),
        ("impute(mode) -> date", 2000),
        ("impute(median) -> date", 2001),
        ("impute(mean) -> date", 2002.25),
        ("date -> impute(median)", 2001),
        ("strip -> impute(median) -> strip -> date", 2001),
    ],
)
def test_missing_dates_are_filled_from_the_training_part(steps: str, fill: float, tmp_path: Path) -> None:
    csv = column(["2000", "", "2000", "2002", "2007"], ["", "2050", "2050"])
    data = loaded(tmp_path, csv, f'columns("x") -> {steps}', "float[1]")
    assert data.parts["train"]["x"][1, 0] == data.parts["test"]["x"][0, 0] == fill


@pytest.mark.parametrize(("fill", "text"), [('"cab"', "cab"), ("mode", "abba"), ("7", "7")])
@pytest.mark.parametrize("step", ["characters", "words"])
def test_missing_texts_of_sequences_are_filled(fill: str, text: str, step: str, tmp_path: Path) -> None:
    csv = column(["abba", "", "abba", "cab", "7 up"], ["  ", "b"])
    data = loaded(
        tmp_path, csv, f'column("x") -> impute({fill}) -> {step} -> vocabulary', "class(auto)[time]", SEQUENCE
    )
    tokens = data.states["x"][-1]["tokens"]
    expected = list(text) if step == "characters" else text.split()
    for part, row in (("train", 1), ("test", 0)):
        assert [tokens[i] for i in [*data.parts[part]["x"]][row]] == [
            token if token in tokens else "<unknown>" for token in expected
        ]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_nan_is_a_name_but_no_label(form: str, tmp_path: Path) -> None:
    cells = ["Nan", "Ann", "Bob", "Nan", "  "]
    rows = [{"x": cell, "y": "ab"[i % 2], "part": "train"} for i, cell in enumerate(cells)]
    polars.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for steps, x, z, count in (
        ("characters -> vocabulary", "class(auto)[time]", SEQUENCE, 4),
        ("one_hot", "float[2]", "x", 2),
    ):
        loaded(tmp_path, column(cells), f'column("x") -> impute(drop) -> {steps}', x, z)
        text = (tmp_path / "m.net").read_text(encoding="utf-8").replace('csv("t.csv")', f'{form}("t.{form}")')
        (tmp_path / "m.net").write_text(text, encoding="utf-8")
        data = load(model := netc.load(tmp_path / "m.net"), parse_data(model))
        assert len(data.parts["train"]["y"]) == count


def test_a_blank_among_the_tokens_of_a_text_is_a_token(tmp_path: Path) -> None:
    x, z = "float[time, 3]", "mean(x, over = time)"
    data = loaded(tmp_path, column(["a b", "ba"]), 'column("x") -> characters -> one_hot', x, z)
    assert data.states["x"][1]["classes"] == [" ", "a", "b"]
    assert data.parts["train"]["x"].rows.argmax(axis=1).tolist() == [1, 0, 2, 2, 1]


@pytest.mark.parametrize("step", ["one_hot", "classes", "ngrams(2, 4)", "characters -> vocabulary", "vocabulary"])
def test_rows_with_missing_texts_are_left_out(step: str, tmp_path: Path) -> None:
    is_sequence = "characters" in step
    x = {"one_hot": "float[3]", "ngrams(2, 4)": "float[4]"}.get(
        step, "class(auto)[time]" if is_sequence else "class(auto)"
    )
    z = SEQUENCE if is_sequence else "x" if x.startswith("float") else "x -> embed(2)"
    csv = column(["u", "", "v", "w"], ["", "v"])
    data = loaded(tmp_path, csv, f'column("x") -> impute(drop) -> {step}', x, z)
    assert {part: rows.tolist() for part, rows in data.rows.items()} == {"train": [2, 4, 5], "test": [7]}


def test_a_fill_is_a_number_of_its_column(tmp_path: Path) -> None:
    csv = "u,v,y,part\n1,10,a,train\n,30,b,train\n4,,a,train\n4,20,b,train\n,,a,test\n"
    for method, fills in (("median", [4, 20]), ("mean", [3, 20]), ("mode", [4, 10]), ("-1", [-1, -1])):
        data = loaded(tmp_path, csv, f'columns("u", "v") -> impute({method})', "float[2]")
        assert data.parts["test"]["x"].tolist() == [fills]
    category = loaded(tmp_path, csv, 'column("u") -> impute(median) -> one_hot', "float[2]")
    assert category.states["x"][1]["classes"] == ["1", "4"], "the fill is written as the other cells are"


@pytest.mark.parametrize(
    ("csv", "field", "message"),
    [
        (["1", "x", "3"], 'columns("x") -> impute(median)', '"x" is not a number(.|\n)*row 3(.|\n)*impute\\(mode\\)'),
        (["1", "", "inf"], 'columns("x") -> impute(median)', "not finite(.|\n)*row 4, column `x`"),
        (["1", "-inf", "2"], 'columns("x") -> standardize', r'not finite(.|\n)*row 3(.|\n)*missing = \["-inf"\]'),
        (["1", "", "2"], 'columns("x") -> standardize', "missing(.|\n)*row 3(.|\n)*hint: impute\\(median\\) fills"),
        (["1", "", "2"], 'columns("x") -> standardize -> impute(0)', r"row 3(.|\n)*`impute\(0\)` has to come before"),
        (["a", "", "b"], 'column("x") -> one_hot', r"row 3(.|\n)*hint: impute\(mode\) fills"),
        (["a", "", "b"], 'column("x") -> ngrams(2, 1)', r'row 3(.|\n)*hint: impute\("none"\) fills'),
        (["", ""], 'columns("x") -> impute(mode)', "a column of the training split is empty"),
        (["a", "b"], 'columns("x") -> impute("") -> one_hot', "`impute` takes mean"),
    ],
)
def test_what_cannot_be_filled_is_named(csv: list[str], field: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(netc.Fault, match=message):
        loaded(tmp_path, column(csv), field, "float[1]")


# ------------------------------------------------------------------ labels


CITIES = ["Rome", "Oslo", "Rome", "Paris", "Oslo", "Rome"]


def test_an_unseen_category_is_encoded_and_counted(tmp_path: Path) -> None:
    csv = column(CITIES, ["Paris", "paris", "Lima"])
    zeros = loaded(tmp_path, csv, 'column("x") -> one_hot', "float[3]")
    assert zeros.parts["test"]["x"].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    fitted = loaded(tmp_path, csv, 'column("x") -> one_hot(unknown)', "float[4]")
    assert fitted.parts["test"]["x"].tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    rare = loaded(tmp_path, csv, 'column("x") -> one_hot(unknown, 2)', "float[3]")
    assert rare.states["x"] == [{"classes": ["Oslo", "Rome"], "unknown": 2}]
    assert rare.parts["train"]["x"][3].tolist() == rare.parts["test"]["x"][0].tolist() == [0, 0, 1]
    numbered = loaded(tmp_path, csv, 'column("x") -> classes(unknown)', "class(auto)", "x -> embed(2)")
    assert numbered.parts["test"]["x"].tolist() == [1, 3, 3]
    assert STEPS["classes"].labels(numbered.states["x"][0]) == ["Oslo", "Paris", "Rome", "<unknown>"]
    token = loaded(tmp_path, csv, 'column("x") -> vocabulary', "class(auto)", "x -> embed(2)")
    assert token.parts["test"]["x"].tolist() == [3, 0, 0]
    for data in (zeros, fitted, numbered, token):
        (note,) = data.remarks["test"]
        assert note.startswith("column `x`: 2 ")
        assert note.endswith(': "paris" (did you mean `Paris`?), "Lima"')


def test_an_unseen_label_of_classes_is_refused(tmp_path: Path) -> None:
    csv = column(CITIES, ["Paris", "paris "])
    with pytest.raises(netc.Fault, match=r'"paris " does not occur(.|\n)*did you mean `Paris`\?; `classes\(unknown\)`'):
        loaded(tmp_path, csv, 'column("x") -> classes', "class(3)", "x -> embed(2)")
    (tmp_path / "t.csv").write_text(csv.replace("paris ,b", "Paris,B"), encoding="utf-8")
    text = (tmp_path / "m.net").read_text(encoding="utf-8").replace("-> classes\n", "-> one_hot\n", 1)
    (tmp_path / "m.net").write_text(
        text.replace("class(3)", "float[3]").replace("x -> embed(2)", "x"), encoding="utf-8"
    )
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault, match=r'"B" does not occur(.|\n)*hint: did you mean `b`\?$'):
        load(model, parse_data(model))


@pytest.mark.parametrize("classes", ["class(auto)", "class(2)"])
def test_a_column_of_one_label_is_no_class(classes: str, tmp_path: Path) -> None:
    csv = "x,y,part\n" + "".join(f"{i},red,train\n" for i in range(12))
    (tmp_path / "t.csv").write_text(csv, encoding="utf-8")
    fields = 'x = columns("x")\n  y = column("y") -> classes'
    text = f'data {{\n  source = csv("t.csv")\n  {fields}\n}}\n' + MODEL.format(x="float[1]", z="x")
    (tmp_path / "m.net").write_text(text.replace("class(2)", classes), encoding="utf-8")
    with pytest.raises(netc.Fault, match=r"E0805.*`y` has one class only(.|\n)*red(?!(.|\n)*hint)"):
        load(model := netc.load(tmp_path / "m.net"), parse_data(model))


def test_a_missing_label_is_no_label(tmp_path: Path) -> None:
    """Neither its order nor a fill is left to chance: the row is left out, which is said unless the file says it."""
    csv = "x,y,part\n" + "".join(f"{i},{['red', 'blue', ''][i % 3]},train\n" for i in range(12))
    (tmp_path / "t.csv").write_text(csv, encoding="utf-8")
    fields = 'x = columns("x")\n  y = column("y") -> classes\n  split = column("part")'
    text = f'data {{\n  source = csv("t.csv")\n  {fields}\n}}\n' + MODEL.format(x="float[1]", z="x")
    dropping = text.replace('column("y")', 'column("y") -> impute(drop)')
    for written in (text, text.replace("class(2)", "class(auto)"), dropping):
        (tmp_path / "m.net").write_text(written, encoding="utf-8")
        data = load(model := netc.load(tmp_path / "m.net"), parse_data(model))
        assert data.states["y"][-1] == {"classes": ["blue", "red"]}
        assert data.parts["train"]["x"].ravel().tolist() == [i for i in range(12) if i % 3 < 2]
        assert data.parts["train"]["y"].tolist() == [1, 0] * 4
        shown = "".join(warning.render() for warning in data.warnings)
        assert ("`y` is empty in 4 of 12 rows of `t.csv`, first in row 4" in shown) == (written != dropping)


def test_a_wider_input_has_places_that_stay_zero(tmp_path: Path) -> None:
    data = loaded(tmp_path, column(CITIES * 2, ["Lima"]), 'column("x") -> one_hot', "float[5]")
    assert data.parts["train"]["x"][:4].tolist() == [
        [0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
    ]
    assert not data.parts["test"]["x"].any()
    assert [warning.code for warning in data.warnings] == ["W0835"]
    wrong = r"`x` has the shape \[3\], the model says float\[2\](.|\n)*hint: input x: float\[3\]"
    with pytest.raises(netc.Fault, match=wrong):
        loaded(tmp_path, column(CITIES), 'column("x") -> one_hot', "float[2]")


def test_labels_have_one_order() -> None:
    labels = ["nan", "10", "1.0", "-inf", "b", "1", "NaN", "a", "inf", "2"]
    expected = ["-inf", "1", "1.0", "2", "10", "inf", "NaN", "a", "b", "nan"]
    for start in range(len(labels)):
        assert sorted(labels[start:] + labels[:start], key=natural) == expected


# ------------------------------------------------------------------ runs


def test_a_run_keeps_the_place_of_unseen_labels(tmp_path: Path) -> None:
    """It predicts for them by the compiler and by the saved prediction, with the same bits. Notes count them."""
    csv = "city,name,v,when,y,part\n" + "".join(
        f"{CITIES[i % 6]},{'uvw'[i % 3]},{i},{i % 28 + 1}.7.2003,{'ab'[i % 2]},train\n" for i in range(30)
    )
    csv += "lima,u,2,1.7.2003,a,valid\nLima,q,2,1.7.2003,b,valid\n"
    (tmp_path / "t.csv").write_text(csv, encoding="utf-8")
    (tmp_path / "m.net").write_text(
        """data {
  source = csv("t.csv")
  city = column("city") -> strip -> one_hot(unknown, 2)
  name = column("name") -> impute(mode) -> classes(unknown)
  v = column("v") -> impute(median) -> bucket(3)
  when = columns("when") -> impute(median) -> date("%d.%m.%Y") -> standardize
  y = column("y") -> classes
  split = column("part")
}
model {
  input city: float[4]
  input name: class(auto)
  input v: class(3)
  input when: float[1]
  target y: class(auto)
  z = concat(city, name -> embed(size(name)), v -> embed(2), when) -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train { epochs = 2 }
""",
        encoding="utf-8",
    )
    trained = command("train", "m.net", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    notes = [
        'note: valid, column `city`: 2 cells with a category that occurs less than 2 times in training: "lima", "Lima"',
        'note: valid, column `name`: 1 cell with a category that training did not have: "q"',
    ]
    assert trained.stdout.splitlines()[:2] == notes
    assert command("eval", "runs/m", "--part", "valid", cwd=tmp_path).stderr.splitlines() == notes
    assert "hint: did you mean `valid`?" in command("eval", "runs/m", "--part", "validation", cwd=tmp_path).stderr
    (tmp_path / "new.csv").write_text(
        "city,name,v,when\nRome,u,3,1.7.2003\nLima,x,,\n oslo,,99,3.7.2003\n", encoding="utf-8"
    )
    first, again = (command("predict", "runs/m", "new.csv", cwd=tmp_path) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == 4
    assert (first.stdout, first.stderr) == (again.stdout, again.stderr)
    assert '2 cells with a category that occurs less than 2 times in training: "Lima", "oslo" (did you' in first.stderr
    assert 'column `name`: 1 cell with a category that training did not have: "x"' in first.stderr


def test_two_fields_of_a_column_count_its_cells_once(tmp_path: Path) -> None:
    """Cells that lack something else have a note of their own."""
    (tmp_path / "t.csv").write_text(
        "k,part\n" + "a,train\nb,train\n" * 3 + "x,valid\ny,valid\nx,valid\na,valid\n", encoding="utf-8"
    )
    text = """data {
  source = csv("t.csv")
  p = column("k") -> one_hot
  q = column("k") -> classes(unknown)
  r = column("k") -> vocabulary(9)
  split = column("part")
}
model {
  input p: float[2]
  input q: class(3)
  input r: class(3)
  output z = sum(p) + sum(q -> embed(1)) + sum(r -> embed(1))
}
"""
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    assert load(model, parse_data(model)).remarks["valid"] == (
        'column `k`: 3 cells with a category that training did not have: "x", "y"',
        'column `k`: 3 tokens outside of the vocabulary: "x", "y"',
    )


def test_check_says_what_training_would_say_about_the_data(tmp_path: Path) -> None:
    with pytest.raises(netc.Fault, match="not finite"):
        loaded(tmp_path, column(["1", "1", "inf"]), 'columns("x") -> minmax', "float[1]")
    wrong = command("check", "m.net", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.count("E0803")) == (1, 1)
    loaded(tmp_path, column(["1", "1", "1"]), 'columns("x") -> minmax', "float[1]")
    checked = json.loads(command("check", "m.net", "--json", cwd=tmp_path).stdout)
    assert checked["warnings"] == [{"code": "W0834", "title": "`x` is the same in every training row", "line": 3}]
    assert command("check", "m.net", "--strict", cwd=tmp_path).returncode == 1
    (tmp_path / "t.csv").unlink()
    absent = command("check", "m.net", cwd=tmp_path)
    assert absent.returncode == 0
    assert absent.stderr == "note: the data was not checked, because `t.csv` is not there\n"
    (tmp_path / "t2.csv").write_text("x\n1\n")
    assert "`t.csv` is not there: did you mean `t2.csv`?" in command("check", "m.net", cwd=tmp_path).stderr
    strict = command("check", "m.net", "--strict", cwd=tmp_path)
    assert (strict.returncode, strict.stderr.count("E0801")) == (1, 1)


@pytest.mark.parametrize(
    ("example", "cells"),
    [
        (
            "€ 1,234.50",
            {"(1,234.50)": -1234.5, "€ (5)": -5, "(€ 5)": -5, "-€ 5": -5, "€ -5": -5, "+5": 5, "-(5)": None},
        ),
        ("1.234,5", {"1.234,50-": -1234.5, "- 5": -5, "\u22125": -5, "--5": None, "5-": -5, "1,234.50": None}),
        ("12 %", {"(12 %)": -12, "12-%": -12, "12 %-": -12, "()": None, "-": None, "(5": None}),
        ("(1,234.50)", {"1,234.50": 1234.5, "(1,234.50)": -1234.5}),
    ],
)
def test_signs_of_numbers(example: str, cells: dict[str, float | None]) -> None:
    form = NumberForm.of(example)
    assert form is not None
    assert {cell: form.value(cell) for cell in cells} == cells


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (np.array(["a", "b ", "a"], object), ["a", "b ", "a"]),
        (np.array([[1, 1.0], [True, "1"], [None, 0.5]], object), ["1", "1", "true", "1", "None", "0.5"]),
        (np.array([0.1, 2.0], np.float32), ["0.1", "2"]),
        (np.array([[3, -1], [10, 3]], np.int16), ["3", "-1", "10", "3"]),
        (np.array([True, False, True]), ["true", "false", "true"]),
        (np.array([], np.uint8), []),
        (np.array([], object), []),
    ],
)
def test_cells_as_texts(cells: np.ndarray, texts: list[str]) -> None:
    """Cells that are equal to Python, as 1 and true, are different labels; texts are kept without a look at each."""
    assert texts_of(cells) == texts
    expected = np.array(
        [["1", "a", "0.5"].index(text) if text in ("1", "a", "0.5") else -1 for text in texts], np.int32
    )
    np.testing.assert_array_equal(numbers_of(cells, ["1", "a", "0.5"]), expected.reshape(cells.shape))


def test_classes_of_several_fields_are_counted_in_one_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "u,1\nv,2\nu,3\n" * 10, encoding="utf-8")
    text = 'data {\n  source = csv("t.csv")\n  a = column("a") -> classes\n  b = column("b") -> classes\n'
    text += "  split = (train = 0.8, valid = 0.2)\n}\nmodel {\n  input a: class(auto)\n  target b: class(auto)\n"
    text += "  z = dense(embed(a, 2), 3)\n  output p = softmax(z)\n  loss cross_entropy(z, b)\n}\n"
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    readings, real = list[object](), partition.read_parts
    monkeypatch.setattr(partition, "read_parts", lambda *arguments: readings.append(arguments) or real(*arguments))
    model = netc.load(tmp_path / "m.net")
    assert (model.inputs["a"].classes, model.targets["b"].classes, len(readings)) == (2, 3, 1)


def counting(calls: dict[str, int], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its calls counted under `name`."""

    def counted(*arguments: object) -> Any:
        calls[name] += 1
        return function(*arguments)

    return counted


@pytest.mark.parametrize(
    ("steps", "declared"),
    [
        ("classes", "class(auto)"),
        ("impute(mode) -> vocabulary", "class(auto)"),
        ("words -> vocabulary", "class(auto)[time]"),
    ],
)
def test_data_that_classes_were_counted_in_is_read_and_fitted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str, declared: str
) -> None:
    """Inside of `reused`, and only there, `load` gets the parts and the states of `class(auto)`. The rest is equal."""
    (tmp_path / "t.csv").write_text("a,b\n" + "u v,1\nv,2\nu,3\n" * 10, encoding="utf-8")
    text = f'data {{\n  source = csv("t.csv")\n  a = column("a") -> {steps}\n  b = column("b") -> classes\n'
    text += f"  split = (train = 0.8, valid = 0.2)\n}}\nmodel {{\n  input a: {declared}\n  target b: class(auto)\n"
    embedded = "mean(embed(a, 2), over = time)" if "time" in declared else "embed(a, 2)"
    text += f"  z = dense({embedded}, size(b))\n  loss cross_entropy(z, b)\n}}\n"
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    calls = {"read_parts": 0, "fit_steps": 0}
    for module, name in ((partition, "read_parts"), (pipeline, "fit_steps")):
        monkeypatch.setattr(module, name, counting(calls, name, getattr(module, name)))

    def loaded() -> Dataset:
        model = netc.load(tmp_path / "m.net")
        return load(model, parse_data(model))

    first = loaded()
    assert calls == {"read_parts": 2, "fit_steps": 4}
    with reused():
        second = loaded()
        assert calls == {"read_parts": 3, "fit_steps": 6}
        with (tmp_path / "t.csv").open("a", encoding="utf-8") as file:
            file.write("w,4\n")
    assert first.states == second.states
    for part, fields in first.parts.items():
        for name, field in fields.items():
            np.testing.assert_equal([*field], [*second.parts[part][name]])
    assert loaded().states["b"] == [{"classes": ["1", "2", "3", "4"]}], "the changed file is read again"
