"""`netc new`: what columns are taken for, the exact text of files, and that what is written loads and trains."""

import datetime
import json
import random
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_guesses import COLUMNS, DAYS, SEED, column

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.model import Model
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.source import NOWHERE, Source
from netc.reference import entries
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.classes import class_counter
from netc.runtime.data.dataset import Dataset, load
from netc.runtime.data.readers.sources import read_source
from netc.runtime.program import Program
from netc.runtime.starting import starting_file as starting
from netc.runtime.starting import table_reading
from netc.runtime.starting.column_guess import Guess
from netc.runtime.starting.starting_file import Start, starting_file


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    quoted = [
        '"' + str(cell).replace('"', '""') + '"' if set(str(cell)) & set(',"\n') else str(cell)
        for row in rows
        for cell in row
    ]
    width = len(columns)
    path.write_text(
        "".join(",".join(quoted[i : i + width]) + "\n" for i in range(0, len(quoted), width)), encoding="utf-8"
    )
    return path


def loaded(start: Start, folder: Path) -> tuple[Model, Dataset]:
    """The model and the data of a first file, which is written as `netc fmt` would and has no warnings."""
    source = Source("m.net", start.text, folder / "m.net")
    file = parse(source)
    assert print_file(file) == start.text
    model = elaborate(file, class_count=class_counter(file))
    dataset = load(model, parse_data(model))
    assert not dataset.warnings, dataset.warnings[0].render()
    return model, dataset


def trained(start: Start, folder: Path) -> Dataset:
    """Loads the data of a first file and runs a step of training, by the reference interpreter."""
    model, dataset = loaded(start, folder)
    program = Program(model, backend="reference")
    losses = program.steps(dataset.training(0, 1), np.arange(min(8, len(dataset.rows["train"]))), 1)
    assert np.isfinite(losses.values["loss"]).all()
    return dataset


def test_the_exact_text(golden: Any, tmp_path: Path) -> None:
    draw = random.Random(SEED)
    n = 120
    data = write(
        tmp_path / "orders.csv",
        {
            "order id": [f"{i}" for i in range(n)],
            "day": [f"{DAYS[i % 60]:%d.%m.%Y}" if i % 9 else "" for i in range(n)],
            "city": [("Paris", "Rome")[i % 2] if i > 1 else "Oslo" for i in range(n)],
            "price": [f"$ {draw.uniform(1, 5000):,.2f}" for _ in range(n)],
            "discount": [f"{draw.randrange(50)} %" for _ in range(n)],
            "weight": [f"{draw.uniform(0, 9):.2f}" if i % 8 else "N/A" for i in range(n)],
            "class": [draw.choice("xyz") for _ in range(n)],
            "numbers": [draw.choice("uv") for _ in range(n)],
            'the "note"': [f"a note on order {i}, and more" for i in range(n)],
            "returned": ["yes" if i % 12 == 0 else "no" for i in range(n)],
        },
    )
    start = starting_file("orders", data, None, tmp_path, NOWHERE, tries=False)
    golden(Path(__file__).parent / "orders.net", start.text)
    dataset = trained(start, tmp_path)
    weights = dataset.parts["train"]["numbers_"]
    assert len(weights)
    assert start.left_out == (("order id", "it is a different whole number in every row: an id"),)


def test_a_skewed_target_is_learned_as_its_logarithm(tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=100)
    data = write(tmp_path / "t.csv", {"x": [f"{v:.3f}" for v in x], "price": [f"{v:.2f}" for v in np.exp(7 + 2 * x)]})
    start = starting_file("m", data, None, tmp_path, NOWHERE, tries=False)
    assert 'price = column("price") -> log -> standardize' in start.text
    assert "few are very large, so that its logarithm is learned" in start.text
    trained(start, tmp_path)


def test_rare_classes_get_a_metric_that_fits(tmp_path: Path) -> None:
    columns = {"x": [f"{i % 7}.5" for i in range(200)], "y": ["no" if i % 20 else "yes" for i in range(200)]}
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert "# 5.0% of the rows are `yes`: accuracy alone says little\n  metric auc(logits, y)" in start.text
    trained(start, tmp_path)
    columns["y"] = ["c" if i % 20 == 0 else "ab"[i % 2] for i in range(200)]
    start = starting_file("n", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert "metric f1(logits, y)" in start.text
    trained(start, tmp_path)


def test_names_are_used_if_there_is_nothing_else(tmp_path: Path) -> None:
    names = [f"{a}{b}" for a in ("An", "Be", "Cla", "Do", "El") for b in ("na", "ra", "rk", "to", "nis", "mo")]
    columns = {"name": names, "gender": ["mf"[i % 2] for i in range(len(names))]}
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert 'name = column("name") -> ngrams(3, 1000)' in start.text
    columns = {"id": [str(i) for i in range(30)], "y": ["ab"[i % 2] for i in range(30)]}
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert 'numbers = columns("id") -> standardize' in start.text
    columns = {"x": ["same"] * 30, "y": ["ab"[i % 2] for i in range(30)]}
    with pytest.raises(netc.Fault, match="has no column beside `y` that a network could learn from"):
        starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)


def test_a_column_that_fails_in_the_trial_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess that is wrong is found by the trial; the file says why the column is not there."""
    guess = starting.guess_column

    def wrong_guess(name: str, cells: Any, is_target: bool) -> Guess:
        return Guess(name, "number") if name == "words" else guess(name, cells, is_target)

    monkeypatch.setattr(starting, "guess_column", wrong_guess)
    columns = {
        "x": [f"{i % 7}.5" for i in range(40)],
        "words": [f"word {i % 3}" for i in range(40)],
        "y": ["ab"[i % 2] for i in range(40)],
    }
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE)
    assert start.left_out == (("words", '"word 1" is not a number'),)
    assert 'columns("x") -> standardize' in start.text
    trained(start, tmp_path)


def test_several_files_and_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data may be a pattern, or a source as a `.net` file has it; the file names the same rows."""
    monkeypatch.chdir(tmp_path)
    rows = [(i % 7 + 0.25, i % 5, "ab"[i % 2]) for i in range(40)]
    for part in (0, 1):
        cells = zip(*rows[part::2], strict=True)
        write(tmp_path / f"part-{part}.csv", dict(zip(("x", "w", "y"), map(list, cells), strict=True)))
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table sold (x real, w int, y text)")
        database.executemany("insert into sold values (?, ?, ?)", rows)
    expected = {
        "part-*.csv": 'source = csv("part-*.csv")',
        'csv("part-0.csv", "part-1.csv", missing = ["NA"])': 'csv("part-0.csv", "part-1.csv", missing = ["NA"])',
        'sql("sqlite:///shop.db", "select * from sold")': 'sql("sqlite:///shop.db", "select * from sold")',
    }
    for data, source in expected.items():
        start = starting_file("m", data, "y", tmp_path, NOWHERE)
        assert source in start.text
        assert sum(map(len, trained(start, tmp_path).rows.values())) == 40
    for data, hint in (
        ("shop.db", 'sql("sqlite:///shop.db", "select * from ...")'),
        ('images("pets", size = (8, 8))', "--data pets"),
    ):
        with pytest.raises(netc.Fault, match=re.escape(hint)):
            starting_file("m", data, "y", tmp_path, NOWHERE)


@pytest.mark.parametrize(
    ("text", "fact", "advice"),
    [
        ("", "has no rows", "the file is empty"),
        ("\n\n", "has no rows", "the file is empty"),
        ("a,b\n", "has no rows", "only the names of columns: `a`, `b`(.|\n)*hint: if the first row is data: header"),
        ("a,b\n1,2\n", "has 1 row\n", "10 are the least that can be split(.|\n)*hint: a larger table"),
        (
            "a,y\n" + "1,2\n1,3\n" * 9,
            "no column beside `y`",
            "`a`: it is the same in every row(.|\n)*hint: columns that",
        ),
        ("a,y\n" + "1,2\n3,2\n" * 9, "cannot be a target", "it is the same in every row(.|\n)*hint: --target"),
        (
            "a,b,c,y\n" + "".join(f"{i * i},{'uv'[i % 2]},1,word {i}\n" for i in range(20)),
            "`y` of `.*t.csv` cannot be a target",
            "it is a text(.|\n)*hint: --target COLUMN names another column: b, a$",
        ),
    ],
)
def test_what_nothing_can_be_learned_from(text: str, fact: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(netc.Fault, match=fact) as refusal:
        starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert re.search(advice, str(refusal.value))


def test_an_empty_last_column_is_no_target(tmp_path: Path) -> None:
    """Some programs write a delimiter at the end of each line."""
    rows = "".join(f"{i % 7}.5;{'uv'[i % 2]};\n" for i in range(40))
    (tmp_path / "t.csv").write_text(f"x;y;\n{rows}", encoding="utf-8")
    start = starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert 'y = column("y") -> classes' in start.text
    trained(start, tmp_path)


def test_a_wide_and_a_small_table(tmp_path: Path) -> None:
    """300 columns are one field; twelve rows are enough for three parts."""
    draw = random.Random(SEED)
    columns = {f"f{i}": [f"{draw.gauss(0, 1):.2f}" for _ in range(12)] for i in range(300)}
    columns["y"] = [f"{i % 12}.5" for i in range(12)]
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert "input numbers: float[300]" in start.text
    assert "dropout" not in start.text, "a number is predicted without it"
    assert {part: len(rows) for part, rows in trained(start, tmp_path).rows.items()} == {
        "train": 7,
        "valid": 3,
        "test": 2,
    }


def test_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 255, (20 + i, 24, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / label / f"{i}.png")
    start = starting_file("m", tmp_path / "pets", None, tmp_path, NOWHERE, tries=False)
    assert 'source = images("pets", size = (64, 64), channels = 3)' in start.text
    trained(start, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(netc.Fault, match="has no folders with pictures"):
        starting_file("m", tmp_path / "empty", None, tmp_path, NOWHERE)


def test_a_text(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text("Once upon a time, there was a text.\n" * 60, encoding="utf-8")
    start = starting_file("m", tmp_path / "tale.txt", None, tmp_path, NOWHERE, tries=False)
    assert 'source = text("tale.txt")' in start.text
    trained(start, tmp_path)
    write(tmp_path / "table.txt", {"x": ["same"] * 30, "y": [i % 2 for i in range(30)]})
    with pytest.raises(netc.Fault, match="no column beside"):
        starting_file("m", tmp_path / "table.txt", None, tmp_path, NOWHERE, tries=False)


def test_a_series(tmp_path: Path) -> None:
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=i) for i in range(300)]
    columns = {"day": [day.isoformat() for day in days], "load": [f"{5 + np.sin(i / 9):.3f}" for i in range(300)]}
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert 'before = column("load") -> standardize -> window(24, 1)' in start.text
    assert "split = ordered(" in start.text
    trained(start, tmp_path)
    columns["day"][7] = "2020-01-01"
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert "window" not in start.text


def of_sites(form: str = "%Y-%m-%d %H:%M") -> dict[str, list[Any]]:
    """The load of three sites in each of 120 hours, in no order."""
    draw = random.Random(SEED)
    rows = [(site, hour) for site in ("mill", "office", "shop") for hour in range(120)]
    draw.shuffle(rows)
    start = datetime.datetime(2024, 2, 27)
    return {
        "at": [(start + datetime.timedelta(hours=hour)).strftime(form) for _, hour in rows],
        "site": [site for site, _ in rows],
        "load": [f"{len(site) + np.sin(hour / 24 * 2 * np.pi) + draw.gauss(0, 0.1):.3f}" for site, hour in rows],
    }


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M"])
def test_a_series_for_each_site(form: str, tmp_path: Path) -> None:
    """Windows of each site by itself, in the order of time, with the hour of the day and the site as inputs."""
    start = starting_file("m", write(tmp_path / "t.csv", of_sites(form)), None, tmp_path, NOWHERE)
    written_form = "" if form.startswith("%Y") else f', format = "{form}"'
    assert f'series = by("site", time = "at", every = "1 hour"{written_form})' in start.text
    assert "-> cycle(day) -> window(10, 1)" in start.text
    assert "input which: float[10, 3]" in start.text
    dataset = trained(start, tmp_path)
    assert {part: len(rows) for part, rows in dataset.rows.items()} == {
        "train": 3 * (84 - 10),
        "valid": 3 * (18 - 10),
        "test": 3 * (18 - 10),
    }


def test_rows_of_a_series_with_other_columns_are_tested_on_the_latest(tmp_path: Path) -> None:
    """Such a table is read row by row, so that rows without a label can be predicted."""
    columns = of_sites()
    load = columns.pop("load")
    columns |= {"outside": [f"{i % 17}.5" for i in range(360)], "load": load}
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert "# `load` resembles the one before, so it is tested on the latest rows" in start.text
    assert 'at_cycle = column("at") -> date -> cycle(day)' in start.text
    rows = trained(start, tmp_path).rows
    moments = {part: [columns["at"][row - 2] for row in numbers] for part, numbers in rows.items()}
    assert max(moments["train"]) < min(moments["valid"])
    assert max(moments["valid"]) < min(moments["test"])
    draw = random.Random(SEED)
    columns["load"] = [f"{draw.gauss(0, 1):.3f}" for _ in range(360)]
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert "split = (train = 0.7" in start.text


@pytest.mark.parametrize(
    ("every", "text"),
    [
        (datetime.timedelta(minutes=15), '"15 minutes"'),
        (datetime.timedelta(days=7), '"1 week"'),
        (datetime.timedelta(seconds=90), '"90 seconds"'),
    ],
)
def test_the_distance_of_rows_is_written_in_words(every: datetime.timedelta, text: str, tmp_path: Path) -> None:
    """A series from its last row to its first, as shops and banks have them."""
    moments = [datetime.datetime(2022, 1, 3) + i * every for i in reversed(range(120))]
    columns = {"at": [moment.isoformat() for moment in moments], "v": [f"{i % 30}.5" for i in range(120)]}
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    assert f'series = (time = "at", every = {text})' in start.text
    trained(start, tmp_path)


def test_days_of_work_are_a_series(tmp_path: Path) -> None:
    """A weekend between two rows is not a gap."""
    days = [datetime.date(2023, 1, 2) + datetime.timedelta(days=i) for i in range(300)]
    days = [day for day in days if day.weekday() < 5]
    columns = {"day": [f"{day:%m/%d/%Y}" for day in days], "price": [f"{100 + i % 23}.25" for i in range(len(days))]}
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE)
    assert "window(19, 1)" in start.text
    assert len(trained(start, tmp_path).rows["train"]) > 100


def test_a_table_is_read_once_for_guesses_and_once_for_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial reads numbers as numbers, as training does, and takes the same table for all that it does."""
    reads = []

    def counted(source: Any, folder: Path, uses: Any) -> Any:
        reads.append(dict(source.options))
        return read_source(source, folder, uses)

    monkeypatch.setattr(table_reading, "read_source", counted)
    columns = {"x": [f"{i % 7},5" for i in range(60)], "z": ["uvw"[i % 3] for i in range(60)]}
    rows = [";".join(row) for row in zip(*columns.values(), ["ab"[i % 2] for i in range(60)], strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["x;z;y", *rows]) + "\n", encoding="utf-8")
    starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE)
    assert reads == [{}, {"delimiter": ";", "decimal": ","}]


@pytest.mark.parametrize("cells", [["ab"[i % 2] for i in range(60)], [f"{i * i % 61}.5" for i in range(60)]])
def test_columns_with_names_of_the_language(cells: list[str], tmp_path: Path) -> None:
    """Every word of `netc ops` may be a column: among the inputs, and as the target if a first file uses the word."""
    words = sorted({entry.name for entry in entries() if entry.name.isidentifier()})
    inputs = {word: ["uvw"[(i + k) % 3] for i in range(60)] for k, word in enumerate(words)}
    table = write(tmp_path / "t.csv", inputs | {"y": cells})
    first = starting_file("m", table, None, tmp_path, NOWHERE, tries=False)
    assert len(loaded(first, tmp_path)[0].inputs) == len(words)
    used = [word for word in words if re.search(rf"\b{word}\b", first.text.split("model {")[1])]
    assert {"dense", "relu"} <= {*used}
    for word in used:
        table = write(tmp_path / "t.csv", {"x": [f"{i % 7}" for i in range(60)], word: cells})
        loaded(starting_file("m", table, None, tmp_path, NOWHERE, tries=False), tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_generated_tables(seed: int, tmp_path: Path) -> None:
    """Random columns under odd names: the file loads without a warning and trains."""
    draw = random.Random(SEED + seed)
    names = ["in", "loss", "dense", "Größe", "日付", 'a "b"', "x\ty", "class", "1st", "size (cm)", "numbers", "\u202ex"]
    draw.shuffle(names)
    n = draw.randrange(80, 160)
    columns: dict[str, list[Any]] = {}
    for name in names[: draw.randrange(3, 9)]:
        make = COLUMNS[draw.choice(list(COLUMNS))][0]
        gap = draw.choice((0, 0, 7))
        cells = [make(i % 60) if not gap or i % gap else "" for i in range(n)]
        draw.shuffle(cells)
        columns[name] = cells
    columns["plain"] = [f"{draw.gauss(0, 3):.4f}" for _ in range(n)]
    columns[names[-1]] = [draw.choice(("yes", "no", "perhaps")) for _ in range(n)]
    start = starting_file("m", write(tmp_path / "t.csv", columns), None, tmp_path, NOWHERE, tries=False)
    dataset = trained(start, tmp_path)
    assert sum(map(len, dataset.rows.values())) == n


def test_a_table_without_a_header(tmp_path: Path) -> None:
    rows = "".join(f"{20 + i % 9},{('low', 'high')[i % 2]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    start = starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert "# header = false is a guess: " in start.text
    assert 'source = csv("t.csv", header = false)' in start.text
    assert 'c_2 = column("2") -> classes' in start.text
    trained(start, tmp_path)


def test_comments_are_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{20 + i % 9},{('low', 'high')[i % 2]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(f"# pump 3, hall B, 2024\n# UTC\nt,y\n{rows}", encoding="utf-8")
    start = starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert '# comment = "#" is a guess: ' in start.text
    assert 'source = csv("t.csv", comment = "#")' in start.text
    trained(start, tmp_path)


def test_an_option_that_a_refusal_names_is_written_as_a_guess(tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},{('blå', 'rød')[i % 2]} – \n" for i in range(40))
    (tmp_path / "t.csv").write_bytes(f"x,farve\n{rows}".encode("cp1252"))
    start = starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert 'source = csv("t.csv", encoding = "cp1252")' in start.text
    assert f'# encoding = "cp1252" is a guess: `{tmp_path}/t.csv` is not UTF-8' in start.text
    trained(start, tmp_path)


def test_a_title_above_the_table_is_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{20 + i % 9};{('low', 'high')[i % 2]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(f"Pumps, 2024\n\nt;y\n{rows}", encoding="utf-8")
    start = starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert 'csv("t.csv", delimiter = ";", skip = 1)' in start.text
    assert "# skip = 1 is a guess" in start.text


def test_a_text_or_two_among_numbers_is_a_mark(tmp_path: Path) -> None:
    """A sum in the last row, or what a sensor writes when it fails, makes no text of a column of numbers."""
    cells = [str(i * 0.5) for i in range(98)]
    guess = column([*cells, "ERR", "Total"])
    assert (guess.kind, guess.missing, guess.marks) == ("number", 2, ("ERR", "Total"))
    assert column([*cells, "ERR", "Total", "off"]).kind != "number"
    assert column([str(i % 4) for i in range(99)] + ["4 and more"]).marks == (), "a category beside numbers"
    table = "a,y\n" + "".join(f"{cell},{i % 2}\n" for i, cell in enumerate([*cells, "ERR"]))
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    start = starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert 'missing = ["ERR"]' in start.text
    assert '# "ERR" in `missing` is a guess' in start.text


def test_a_table_may_name_pictures(tmp_path: Path) -> None:
    """The pictures are read, beside the other columns; their column has any name, and is not a text."""
    (tmp_path / "shop").mkdir()
    for i in range(24):
        Image.fromarray(np.full((40, 20, 3), 100 * (i % 2), np.uint8)).save(tmp_path / "shop" / f"{i}.png")
    rows = "".join(f"{i % 7},5;shop/{i}.png;{('dark', 'grey')[i % 2]}\n" for i in range(24))
    (tmp_path / "t.csv").write_text(f"price;image;kind\n{rows}", encoding="utf-8")
    start = starting_file("m", tmp_path / "t.csv", None, tmp_path, NOWHERE, tries=False)
    assert 'images("t.csv", delimiter = ";", decimal = ",", channels = 3, path = "image")' in start.text
    assert "input image: float[40, 20, 3]" in start.text
    assert "concat(numbers, image_summary)" in start.text
    model = elaborate(parse(Source("m.net", start.text, tmp_path / "m.net")))
    assert load(model, parse_data(model)).parts["train"]["image"].shape[1:] == (40, 20, 3)


def test_lists_of_numbers_are_sequences(tmp_path: Path) -> None:
    rows = [
        {"load": [0.5 * i, 1] * (1 + i % 3), "track": [[i, 2, 3]] * (1 + i % 4), "y": "ab"[i % 2]} for i in range(30)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    start = starting_file("m", tmp_path / "t.jsonl", None, tmp_path, NOWHERE, tries=False)
    assert "input load: float[load_time]" in start.text
    assert "input track: float[track_time, 3]" in start.text
    assert "concat(load_summary, track_summary)" in start.text
    model = elaborate(parse(Source("m.net", start.text, tmp_path / "m.net")))
    assert len(load(model, parse_data(model)).parts["train"]["track"]) == 18
    assert column([[1, 2], ["a"], [3]] * 20).kind != "sequence"


def test_the_head_has_the_command_and_the_path_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path stays relative, so that both folders can be moved together."""
    for folder in ("data", "models"):
        (tmp_path / folder).mkdir()
    rows = range(60)
    write(
        tmp_path / "data" / "t.csv", {"size of it": [f"{row % 7}" for row in rows], "b": [f"{row}.5" for row in rows]}
    )
    monkeypatch.chdir(tmp_path / "models")
    start = starting_file("m", "../data/t.csv", "size of it", Path(), NOWHERE)
    assert start.text.startswith(
        "# m.net: made by `netc new m --data ../data/t.csv --target 'size of it'`, from 60 rows.\n"
    )
    assert 'source = csv("../data/t.csv")' in start.text
    trained(start, tmp_path / "models")
