"""The same table in every kind of file gives the same cells; several files are one table; databases are only read."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from PIL import Image

import netc
from netc.dsl.parser import parse
from netc.dsl.source import NOWHERE, Source
from netc.runtime.data.block.spec import parse_block, parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.division.partition import read_parts
from netc.runtime.data.readers.readers import read
from netc.runtime.data.readers.request import AS_NUMBERS, Request, Use, every
from netc.runtime.data.readers.sources import read_source
from netc.runtime.data.source_record import files_of
from netc.runtime.data.tables import raw_data, store
from netc.runtime.data.tables.table import Table

BIG = 2**60 + 1
ROWS: dict[str, list[Any]] = {
    "n": [1, 2, None, 4],
    "x": [1.0, 2.5, None, 1e-7],
    "b": [True, False, None, True],
    "s": ["a", "é", None, "true"],
    "i": [BIG, BIG + 1, BIG + 2, 0],
}
LABELS = {
    "n": ["1", "2", None, "4"],
    "x": ["1", "2.5", None, "1e-07"],
    "b": ["true", "false", None, "true"],
    "s": ["a", "é", None, "true"],
    "i": [str(BIG), str(BIG + 1), str(BIG + 2), "0"],
}
AS_LABELS = every(Use.LABELS)


def write_csv(path: Path) -> None:
    rows = zip(*ROWS.values(), strict=True)
    text = "\n".join(",".join("" if cell is None else str(cell) for cell in row) for row in rows)
    text = text.replace("True", "true").replace("False", "false")
    path.write_text(",".join(ROWS) + "\n" + text + "\n", encoding="utf-8")


def write_sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table t (n integer, x real, b text, s text, i integer)")
    rows = zip(*ROWS.values(), strict=True)
    for n, x, b, s, i in rows:
        connection.execute("insert into t values (?, ?, ?, ?, ?)", (n, x, None if b is None else str(b).lower(), s, i))
    connection.commit()
    connection.close()


def write_xlsx(path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("fastexcel")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([name for name in ROWS if name != "i"])
    for row in zip(*(ROWS[name] for name in ROWS if name != "i"), strict=True):
        sheet.append(row)
    sheet["A4"] = 3  # a row without any cell would be left out
    book.save(path)


def write_duckdb(path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect(str(path))
    connection.execute("create table t (n integer, x double, b boolean, s varchar, i bigint)")
    connection.executemany("insert into t values (?, ?, ?, ?, ?)", list(zip(*ROWS.values(), strict=True)))
    connection.close()


def rows_as_objects() -> list[dict[str, Any]]:
    return [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]


def write_frame(path: Path) -> None:
    frame = polars.DataFrame(ROWS)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        (frame.write_ipc_stream if path.name == "stream.arrow" else frame.write_ipc)(path)


WRITERS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "t.csv": ("csv", write_csv, {}),
    "t.jsonl": ("jsonl", lambda path: path.write_text("\n".join(map(json.dumps, rows_as_objects()))), {}),
    "t.json": ("json", lambda path: path.write_text(json.dumps(rows_as_objects())), {}),
    "t.parquet": ("parquet", write_frame, {}),
    "t.arrow": ("arrow", write_frame, {}),
    "stream.arrow": ("arrow", write_frame, {}),
    "t.db": ("sql", write_sqlite, {"engine": "sqlite", "query": "select * from t"}),
    "t.duckdb": ("sql", write_duckdb, {"engine": "duckdb", "query": "select * from t"}),
    "t.xlsx": ("xlsx", write_xlsx, {}),
}


def cells_of(table: Table) -> dict[str, list[Any]]:
    columns = {name: column[np.arange(len(table))].tolist() for name, column in table.columns.items()}
    return {name: [None if cell is None or cell != cell else cell for cell in cells] for name, cells in columns.items()}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("is_large", [False, True])
def test_labels_have_one_spelling(name: str, is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, write, options = WRITERS[name]
    write(tmp_path / name)
    monkeypatch.setattr(store, "LARGE", 0 if is_large else 1 << 28)
    expected = {**LABELS} if reader != "xlsx" else {**LABELS, "n": ["1", "2", "3", "4"]}
    if reader == "xlsx":  # numbers of a workbook are floats
        del expected["i"]
    assert cells_of(read(reader, tmp_path / name, name, NOWHERE, AS_LABELS, options)) == expected


@pytest.mark.parametrize("name", WRITERS)
def test_numbers_are_equal(name: str, tmp_path: Path) -> None:
    reader, write, options = WRITERS[name]
    write(tmp_path / name)
    table = read(
        reader, tmp_path / name, name, NOWHERE, lambda column: Use.NUMBERS if column == "x" else Use(0), options
    )
    assert list(table.columns) == ["x"]
    assert [cell and float(cell) for cell in cells_of(table)["x"]] == ROWS["x"]


def message_of(reader: str, path: Path, **options: Any) -> str:
    with pytest.raises(netc.Fault) as raised:
        read(reader, path, path.name, NOWHERE, AS_LABELS, options)
    return str(raised.value)


# ------------------------------------------------------------------ databases


@pytest.mark.parametrize(
    "query",
    [
        "delete from t",
        "drop table t",
        "update t set n = 1",
        "attach 'other.db' as o",
        "pragma journal_mode = delete",
        "select load_extension('x')",
        "select 1; delete from t",
        "with recursive r(n) as (select 1 union all select n + 1 from r) select n from r",
        "vacuum into 'copy.db'",
        "create table u (n)",
        "select * from nowhere",
        "",
    ],
)
def test_sqlite_is_only_read(query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sqlite(tmp_path / "t.db")
    before = (tmp_path / "t.db").read_bytes()
    assert "E0822" in message_of("sql", tmp_path / "t.db", engine="sqlite", query=query)
    assert (tmp_path / "t.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["t.db"]


def test_a_query_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sqlite(tmp_path / "t.db")
    monkeypatch.setattr("netc.runtime.data.readers.sql._STEPS", 10)
    monkeypatch.setattr("netc.runtime.data.readers.sql._MOST", 3)
    query = "select count(*) from t a, t b, t c, t d, t e, t f"
    assert "takes too long" in message_of("sql", tmp_path / "t.db", engine="sqlite", query=query)


def test_other_files_are_no_databases(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("a,b\n1,2\n", encoding="utf-8")
    assert "not a database" in message_of("sql", tmp_path / "t.db", engine="sqlite", query="select 1")
    write_sqlite(tmp_path / "u.db")
    twice = message_of("sql", tmp_path / "u.db", engine="sqlite", query="select n, x as n from t")
    assert "two columns `n`" in twice


@pytest.mark.parametrize(
    "query",
    [
        "delete from t",
        "copy t to 'x.csv'",
        "select * from read_csv('o.csv')",
        "attach 'o.db'",
        "select 1; select 2",
        "select",
    ],
)
def test_duckdb_is_only_read(query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_duckdb(tmp_path / "t.duckdb")
    (tmp_path / "o.csv").write_text("a\n1\n", encoding="utf-8")
    assert "E0822" in message_of("sql", tmp_path / "t.duckdb", engine="duckdb", query=query)
    assert {path.name for path in tmp_path.iterdir()} == {"t.duckdb", "o.csv"}


def source_of(text: str) -> Any:
    source = Source("m.net", f"data {{\n  source = {text}\n}}\n")
    return parse_block(source, parse(source).items[0], {}).source


def test_a_database_is_named_by_a_url() -> None:
    spec = source_of('sql("sqlite:///data/shop.db", "select 1")')
    assert (spec.path, dict(spec.options)) == ("data/shop.db", {"engine": "sqlite", "query": "select 1"})
    for text in (
        'sql("shop.db", "select 1")',
        'sql("sqlite:///")',
        'sql("mysql:///x", "select 1")',
        'sql("sqlite:///a")',
    ):
        with pytest.raises(netc.Fault, match=r"E030[13]"):
            source_of(text)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fastexcel", None)
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    message = message_of("xlsx", tmp_path / "t.xlsx")
    assert "E0821" in message
    assert 'pip install "netc[xlsx]"' in message


# ------------------------------------------------------------------ workbooks and JSON


def test_sheets_and_blank_rows_of_a_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("fastexcel")
    book = openpyxl.Workbook()
    book.active.append(["z"])
    sheet = book.create_sheet("two")
    for row in (["a", "b"], [1, "x"], [], ["NA", "y"]):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    table = read("xlsx", tmp_path / "t.xlsx", "t.xlsx", NOWHERE, AS_LABELS, {"sheet": "two", "missing": ("NA",)})
    assert cells_of(table) == {"a": ["1", None], "b": ["x", "y"]}
    assert table.numbers(np.arange(2)).tolist() == [2, 4]
    assert "no sheet `three`" in message_of("xlsx", tmp_path / "t.xlsx", sheet="three")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": 2}\n', 'jsonl("...")'),
        ('{"a": [1, 2]}', "it is one value"),
        ("[1, 2]", "element 1 is not an object"),
        ("[]", "has no rows"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_json_that_is_no_list_of_objects(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(content, encoding="utf-8")
    assert message in message_of("json", tmp_path / "t.json")


# ------------------------------------------------------------------ several files

MODEL = """data {
  source = SOURCE
  x = columns("a", "b")
  split = ordered(train = 1)
}
model {
  input x: float[2]
  output p = x
}
"""


def folder_of_parts(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("source", ['csv("part*.csv")', 'csv("part1.csv", "part2.csv")'])
def test_several_files_are_one_table(
    source: str, is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LARGE", 0 if is_large else 1 << 28)
    folder_of_parts(tmp_path, part1="a,b\n1,2\n3,4\n", part2="b;c;a\n6,5;x;5,5\n", other="z\n1\n")
    if "1" in source:
        folder_of_parts(tmp_path, part2="b;a\n6,5;5,5\n")
    else:
        folder_of_parts(tmp_path, part2="b;a\n6,5;5,5\n")
    (tmp_path / "m.net").write_text(MODEL.replace("SOURCE", source), encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    data = load(model, parse_data(model))
    assert np.asarray(data.parts["train"]["x"]).tolist() == [[1, 2], [3, 4], [5.5, 6.5]]


def test_messages_name_the_file_and_its_row(tmp_path: Path) -> None:
    folder_of_parts(tmp_path, part1="a,b\n1,2\n3,4\n", part2="a,b\n\n5,6\n7,many\n")
    (tmp_path / "m.net").write_text(MODEL.replace("SOURCE", 'csv("part*.csv")'), encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault, match=r"`part2.csv`, row 4, column `b`"):
        load(model, parse_data(model))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("a,c\n1,2\n", "`part2.csv` has no column `b`"),
        ("a,b,c\n1,2,3\n", "`part2.csv` has a column `c`"),
        ("a,b\n1\n", "`part2.csv`, row 2"),
    ],
)
def test_files_that_do_not_fit(second: str, message: str, tmp_path: Path) -> None:
    folder_of_parts(tmp_path, part1="a,b\n1,2\n", part2=second)
    (tmp_path / "m.net").write_text(MODEL.replace("SOURCE", 'csv("part*.csv")'), encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault) as raised:
        read_parts(parse_data(model), model.source, None)
    assert message in str(raised.value)


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    folder_of_parts(tmp_path, **{"t[1]": "a,b\n1,2\n", "t1": "a,b\n3,4\n"})
    (tmp_path / "m.net").write_text(MODEL.replace("SOURCE", 'csv("t[1].csv")'), encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    assert np.asarray(load(model, parse_data(model)).parts["train"]["x"]).tolist() == [[1, 2]]
    (tmp_path / "m.net").write_text(MODEL.replace("SOURCE", 'csv("u*.csv")'), encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault, match="there is no file `u"):
        load(model, parse_data(model))


def test_all_files_of_a_source_are_recorded(tmp_path: Path) -> None:
    folder_of_parts(tmp_path, part1="a\n1\n", part2="a\n2\n", other="a\n3\n")
    for text, names in (
        ('csv("part*.csv")', ["part1.csv", "part2.csv"]),
        ('csv("part2.csv", "other.csv")', ["part2.csv", "other.csv"]),
        ('sql("sqlite:///other.csv", "select 1")', ["other.csv"]),
    ):
        assert [file.name for file in files_of(source_of(text), tmp_path)] == names


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("data/*/part.csv", ["data/a/part.csv", "data/b/part.csv"]),
        ("*/b/p?rt*.csv", ["data/b/part.csv", "data/b/part2.csv"]),
        ("data/[ab]/*2.csv", ["data/b/part2.csv"]),
        ("data/**/part.csv", ["data/a/part.csv", "data/b/c/part.csv", "data/b/part.csv", "data/part.csv"]),
        ("data/*", ["data/part.csv"]),
        ("./data/a/../*/part2.csv", ["data/a/../b/part2.csv"]),
        ("data/.old/*.csv", ["data/.old/part.csv"]),
        ("data/part.csv", ["data/part.csv"]),
        ("data/[x]/part.csv", ["data/[x]/part.csv"]),
    ],
)
def test_patterns_in_any_part_of_a_path(pattern: str, files: list[str], tmp_path: Path) -> None:
    """The table has the rows of the files that are recorded: hidden ones and folders do not match."""
    names = ["a/part", "b/part", "b/part2", "b/c/part", ".old/part", "b/.part", "part"]
    names += ["[x]/part"] if "[x]" in pattern else []
    for number, name in enumerate(names):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / f"{name}.csv").write_text(f"a,b\n{number},1\n", encoding="utf-8")
    if "**" in pattern:
        (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    source = source_of(f'csv("{pattern}")')
    assert files_of(source, tmp_path) == [tmp_path / file for file in files]
    table = read_source(source, tmp_path, AS_NUMBERS)
    numbers = [names.index(os.path.normpath(file).removeprefix("data/").removesuffix(".csv")) for file in files]
    assert np.asarray(table.columns["a"][np.arange(len(table))], float).tolist() == numbers


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("data/*/none.csv", "there is no file `data/*/none.csv`"),
        ("none/*.csv", "cannot read `none/*.csv`"),
        ("data/\\u{0}*.csv", "data/"),
    ],
)
def test_patterns_that_match_nothing(pattern: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    source = source_of(f'csv("{pattern}")')
    assert files_of(source, tmp_path) == []
    with pytest.raises(netc.Fault) as raised:
        read_source(source, tmp_path, AS_NUMBERS)
    assert message in str(raised.value)
    assert "error[E0801]" in str(raised.value)


def test_pictures_of_several_paths_are_alike(tmp_path: Path) -> None:
    """Grey ones get the colours of others; another size is a message."""
    for name, picture in (("grey/0", Image.new("L", (3, 2), 9)), ("colour/0", Image.new("RGB", (3, 2), (1, 2, 3)))):
        (tmp_path / name).parent.mkdir()
        picture.save(tmp_path / f"{name}.png")
    for text in ('images("grey", "colour")', 'images("*/*.png")'):
        table = read_source(source_of(text), tmp_path, AS_NUMBERS)
        pixels = np.asarray(table.columns["image"][np.arange(2)])
        assert sorted(pixels[:, 0, 0].tolist()) == [[1, 2, 3], [9, 9, 9]]
    Image.new("L", (4, 2), 9).save(tmp_path / "grey" / "0.png")
    with pytest.raises(netc.Fault, match=r"2 x 4 pixels(.|\n)*2 x 3"):
        read_source(source_of('images("colour", "grey")'), tmp_path, AS_NUMBERS)


WORDS = ["a", " ", "nan", "NaN", None, "b", "nano"]


def write_words(path: Path) -> None:
    match path.suffix:
        case ".csv":
            path.write_text("i,s\n" + "".join(f"1,{word or ''}\n" for word in WORDS), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps([{"s": word} for word in WORDS]), encoding="utf-8")
        case ".jsonl":
            path.write_text("".join(json.dumps({"s": word}) + "\n" for word in WORDS), encoding="utf-8")
        case ".parquet":
            polars.DataFrame({"s": WORDS}).write_parquet(path)
        case ".arrow":
            polars.DataFrame({"s": WORDS}).write_ipc(path)
        case ".npz":
            np.savez(path, s=np.array([word or "" for word in WORDS]))


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet", "arrow", "npz"])
def test_the_same_texts_are_missing_in_every_kind_of_file(suffix: str, tmp_path: Path) -> None:
    """Where letters or words are read, `nan` is a word."""
    path = tmp_path / f"t.{suffix}"
    write_words(path)
    for use, words in (
        (Use.LABELS, ["a", None, None, None, None, "b", "nano"]),
        (Use.NUMBERS, ["a", None, None, None, None, "b", "nano"]),
        (Use.TEXT, ["a", None, "nan", "NaN", None, "b", "nano"]),
    ):
        column = read(suffix, path, path.name, NOWHERE, every(use)).columns["s"][np.arange(len(WORDS))]
        assert column.tolist() == words
        request = Request(path, "data", NOWHERE, every(use), {"missing": ()})
        for cells in (WORDS, polars.Series(WORDS), np.array(WORDS, object)):
            assert raw_data._column("s", cells, request).tolist() == words


def test_texts_in_arrays_with_several_axes_are_cells_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", s=np.array([["a", "nan"], ["", "b"]]))
    table = read("npz", tmp_path / "t.npz", "t.npz", NOWHERE, AS_LABELS)
    assert table.columns["s"].tolist() == [["a", None], [None, "b"]]
    table = read("npz", tmp_path / "t.npz", "t.npz", NOWHERE, AS_LABELS, {"missing": ("b",)})
    assert table.columns["s"].tolist() == [["a", None], [None, None]]


SEQUENCES = """data {
  source = jsonl("part*.jsonl")
  x = field("x")
  split = SPLIT
}
model {
  input x: float[time <= 3]
  output p = mean(x, over = time)
}
"""


@pytest.mark.parametrize(
    ("row", "split", "message"),
    [
        ('{"x": [1, 2, 3, 4], "y": 1, "p": "train"}', "ordered(train = 1)", "`part2.jsonl`, row 2: `x` has 4"),
        ('{"x": [1], "y": 1, "p": "dev"}', 'column("p")', "`part2.jsonl`, row 2, column `p`"),
        ('{"x": [1], "y": 1}', 'hash("p", train = 1.0)', "`part2.jsonl`, row 2, column `p`; 1 in all"),
    ],
)
def test_messages_about_lengths_and_splits_name_the_file(row: str, split: str, message: str, tmp_path: Path) -> None:
    good = '{"x": [1, 2], "y": 1, "p": "train"}\n'
    (tmp_path / "part1.jsonl").write_text(3 * good, encoding="utf-8")
    (tmp_path / "part2.jsonl").write_text(f"{good}{row}\n{good}", encoding="utf-8")
    (tmp_path / "m.net").write_text(SEQUENCES.replace("SPLIT", split), encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault) as raised:
        load(model, parse_data(model))
    assert message in str(raised.value)


def test_equal_times_in_two_files_are_named_with_both(tmp_path: Path) -> None:
    for name, times in (("part1", "123456"), ("part2", "789a6")):
        lines = [f"2024-01-0{int(time, 16)},1" if time != "a" else "2024-01-10,1" for time in times]
        (tmp_path / f"{name}.csv").write_text("at,v\n" + "\n".join(lines) + "\n", encoding="utf-8")
    text = """data {
  source = csv("part*.csv")
  x = column("v") -> window(2, 1)
  series = (time = "at", every = "1 day")
  split = ordered(train = 1)
}
model {
  input x: float[2]
  output p = x
}
"""
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault, match=r"`part1.csv`, row 7, and `part2.csv`, row 6, column `at`"):
        load(model, parse_data(model))
