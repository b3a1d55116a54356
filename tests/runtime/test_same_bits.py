"""A row has the same prediction, bit for bit, from any kind of table, by the command and from Python, in any order."""

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import netc
from netc.commands import predicting
from netc.runtime.data.csv import reader as csv_reader
from netc.runtime.data.tables import store

COUNT = 37
TEXT = """data {
  source = csv("shop.csv", missing = ["?"])
  x = columns("price", "stock", "rate") -> impute(median) -> standardize
  part = column("rate") -> impute(0) -> clip(0.1, 0.7) -> scale(1 / 3)
  bytes = column("level") -> scale(1 / 255)
  width = column("size") -> one_hot
  city = column("city") -> impute("none") -> classes(unknown)
  day = column("day") -> date -> standardize
  shift = column("shift") -> classes(unknown)
  is_open = column("open")
  words = column("remark") -> strip -> lowercase -> ngrams(2, 12)
  sold = column("sold") -> classes
  split = ordered(train = 1.0)
}
model {
  input x: float[3]
  input part: float
  input bytes: float
  input width: float[4]
  input city: class(auto)
  input day: float
  input shift: class(auto)
  input is_open: float
  input words: float[12]
  target sold: class(auto)
  h = concat(x, stack(part, bytes, day, is_open), width, city -> embed(3), shift -> embed(2), words)
  z = h -> dense(24) -> tanh -> dense(size(sold))
  output p = softmax(z)
  loss cross_entropy(z, sold)
}
train {
  optimizer = adam(lr = 0.01)
  batch = 16
  epochs = 2
}
"""
START = datetime.datetime(2004, 7, 15, 9, 30)
REMARKS = ("Good  day", " nan ", 'Zürich, "alt"', "n\u0303o", "x;y\tz")


def rows() -> list[dict[str, Any]]:
    """Rows with the kinds of cells that typed tables have, None where one is missing."""
    random = np.random.default_rng(7)
    return [
        {
            "price": None if i % 11 == 3 else float(random.normal() * 10 ** float(random.integers(-9, 9))),
            "stock": int(random.integers(-(2**60), 2**60)),
            "rate": None if i % 7 == 5 else float(np.float32(random.random())),
            "level": i * 7 % 256,
            "size": (1, 2, 10, 30)[i % 4],
            "city": ("Oslo", "oslo ", "Ürgüp", None, "?", "1e3")[i % 6],
            "day": START + datetime.timedelta(days=9 * i, milliseconds=250 * (i % 3)),
            "shift": datetime.datetime(2004, 7, 15 + i % 2, 9 * (i % 3 == 0)),
            "open": i % 3 == 0,
            "remark": REMARKS[i % 5],
            "sold": "uvw"[i % 3],
        }
        for i in range(COUNT)
    ]


def as_csv(frame: polars.DataFrame) -> str:
    return frame.with_columns(frame["shift"].dt.to_string("%Y-%m-%d %H:%M:%S").str.replace(" 00:00:00", "")).write_csv()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> netc.Run:
    folder = tmp_path_factory.mktemp("bits")
    frame = polars.DataFrame(rows())
    (folder / "shop.csv").write_text(as_csv(frame), encoding="utf-8")
    (folder / "m.net").write_text(TEXT, encoding="utf-8")
    return netc.open(netc.train(netc.load(folder / "m.net"), out=folder / "run").folder)


@pytest.fixture(scope="module")
def expected(run: netc.Run) -> np.ndarray:
    """The bits of the predictions for the training table itself, which a run reads as it did in training."""
    fields = run.load_data().parts["train"]
    return run.program.predict(fields)["p"].view(np.uint32)


def bits(run: netc.Run, data: Any) -> np.ndarray:
    predicted = run.predict(data)
    assert predicted.problems == ()
    return predicted["p"].view(np.uint32)


def by_command(run: netc.Run, path: Path) -> np.ndarray:
    """The bits of what the command writes: the texts of numbers name them exactly."""
    out = path.with_name("out.csv")
    predicting.write_predictions(run.folder, path, out)
    lines = [line.split(",") for line in out.read_text(encoding="utf-8").splitlines()]
    columns = [i for i, name in enumerate(lines[0]) if name.startswith("p[")]
    return np.array([[np.float32(line[i]) for i in columns] for line in lines[1:]]).view(np.uint32)


def _json_rows() -> list[dict[str, Any]]:
    return [
        {name: cell.isoformat() if isinstance(cell, datetime.datetime) else cell for name, cell in row.items()}
        for row in _with_shift(rows())
    ]


def _with_shift(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times as texts with the spelling of the csv, where a text is a label."""
    return [{**row, "shift": str(row["shift"]).replace(" 00:00:00", "")} for row in table]


WRITERS: Mapping[str, Callable[[polars.DataFrame, Path], object]] = {
    "csv": lambda frame, path: path.write_text(as_csv(frame), encoding="utf-8"),
    "tsv": lambda frame, path: path.write_text(as_csv(frame).replace(",", "\t"), encoding="utf-8"),
    "parquet": lambda frame, path: frame.write_parquet(path),
    "arrow": lambda frame, path: frame.write_ipc(path),
    "jsonl": lambda frame, path: path.write_text("".join(json.dumps(row) + "\n" for row in _json_rows())),
    "json": lambda frame, path: path.write_text(json.dumps(_json_rows())),
}


@pytest.mark.parametrize("way", ["small", "regular", "large"])
@pytest.mark.parametrize("suffix", [name for name in WRITERS if name != "tsv"])
def test_files_of_any_size_and_format(
    suffix: str, way: str, run: netc.Run, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files are read by Python, regular ones by polars, and large ones are copied to the cache first."""
    monkeypatch.setattr(csv_reader, "_SMALL", 1 << 20 if way == "small" else 0)
    monkeypatch.setattr(store, "LARGE", 0 if way == "large" else 1 << 28)
    path = tmp_path / f"new.{suffix}"
    WRITERS[suffix](polars.DataFrame(rows()), path)
    assert np.array_equal(bits(run, path), expected)
    assert np.array_equal(by_command(run, path), expected)


def pandas_frame() -> Any:
    return pytest.importorskip("pandas").DataFrame(rows())


def masked(cells: list[Any]) -> Any:
    """A column with another cell under the mask of each that is missing."""
    other = next(cell for cell in cells if cell is not None)
    is_missing = [cell is None for cell in cells]
    return np.ma.masked_array([other if cell is None else cell for cell in cells], is_missing)


TABLES: Mapping[str, Callable[[], Any]] = {
    "polars": lambda: polars.DataFrame(rows()),
    "polars of milliseconds": lambda: polars.DataFrame(rows()).with_columns(
        polars.col("day", "shift").cast(polars.Datetime("ms"))
    ),
    "polars of small numbers": lambda: polars.DataFrame(rows()).with_columns(
        polars.col("level").cast(polars.UInt8),
        polars.col("rate").cast(polars.Float32),
        polars.col("size").cast(polars.Float32),
    ),
    "polars of categories": lambda: polars.DataFrame(rows()).with_columns(
        polars.col("city", "remark").cast(polars.Categorical)
    ),
    "pandas": pandas_frame,
    "pandas of objects": lambda: pandas_frame().astype(object),
    "pandas of its own types": lambda: pandas_frame().convert_dtypes(),
    "pandas of small numbers": lambda: pandas_frame().astype({"level": "uint8", "rate": "float32", "size": "float32"}),
    "pandas of categories": lambda: pandas_frame().astype({"city": "category", "size": "category", "open": "category"}),
    "rows": rows,
    "texts": lambda: [
        {name: cell if cell is None else str(cell) for name, cell in row.items()} for row in _with_shift(rows())
    ],
    "lists": lambda: {name: [row[name] for row in rows()] for name in rows()[0]},
    "arrays": lambda: {name: np.array([row[name] for row in rows()]) for name in rows()[0]},
    "masked arrays": lambda: {name: masked([row[name] for row in rows()]) for name in rows()[0]},
    "series": lambda: {name: polars.DataFrame(rows())[name] for name in rows()[0]},
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_python(kind: str, run: netc.Run, expected: np.ndarray) -> None:
    assert np.array_equal(bits(run, TABLES[kind]()), expected)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lambda: [], "`data` has no rows"),
        (dict, "`data` has no columns"),
        (lambda: [{"1": 2.0, 1: 3.0}], "`data` has two columns `1`"),
        (lambda: pandas_frame().iloc[:, [0, 1, 0]], "`data` has two columns `price`"),
        (lambda: {**rows()[0], **{name: [1.0] * (3 - (name == "price")) for name in rows()[0]}}, "differ in length"),
    ],
    ids=["no rows", "no columns", "a number and a text", "pandas", "lengths"],
)
def test_other_tables_are_refused(table: Callable[[], Any], message: str, run: netc.Run) -> None:
    with pytest.raises(netc.Fault, match=message):
        run.predict(table())


@pytest.mark.parametrize("kind", ["polars", "pandas", "csv", "parquet"])
def test_the_order_of_rows_and_columns(kind: str, run: netc.Run, expected: np.ndarray, tmp_path: Path) -> None:
    """Rows reversed, columns reversed, and each row alone."""
    frame = polars.DataFrame(rows())

    def table(frame: polars.DataFrame) -> Any:
        if kind == "polars":
            return frame
        if kind == "pandas":
            pandas = pytest.importorskip("pandas")
            return pandas.DataFrame({name: frame[name].to_list() for name in frame.columns})
        path = tmp_path / f"new.{kind}"
        WRITERS[kind](frame, path)
        return path

    assert np.array_equal(bits(run, table(frame.reverse())), expected[::-1])
    assert np.array_equal(bits(run, table(frame.select(frame.columns[::-1]))), expected)
    for i in range(COUNT):
        assert np.array_equal(bits(run, table(frame[i : i + 1])), expected[i : i + 1]), i


EUROPEAN = """data {
  source = csv("preise.csv")
  x = columns("preis", "menge") -> standardize
  y = column("art") -> classes
  split = ordered(train = 1.0)
}
model {
  input x: float[2]
  target y: class(auto)
  z = x -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train {
  epochs = 1
}
"""


@pytest.mark.parametrize(
    "cells",
    [
        ("1.500;2,5", "2.250,75;12", "7;1.500", "1;2,125"),  # decimal commas, points between thousands
        ("1.500;2.5", "2250.75;12", "7;1.500", "1;2.125"),  # decimal points after semicolons
    ],
)
def test_a_row_alone_has_the_notation_of_training(cells: tuple[str, ...], tmp_path: Path) -> None:
    """Without the other rows, `1.500` may be read as a thousand times as much, or as both."""
    lines = [f"{cell};{'ab'[i % 2]}" for i, cell in enumerate(cells * 3)]
    (tmp_path / "preise.csv").write_text("\n".join(["preis;menge;art", *lines, ""]), encoding="utf-8")
    (tmp_path / "m.net").write_text(EUROPEAN, encoding="utf-8")
    trained = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    opened = netc.open(trained.folder)
    expected = bits(opened, tmp_path / "preise.csv")
    for i, cell in enumerate(cells):
        path = tmp_path / f"row{i}.csv"
        path.write_text(f"preis;menge\n{cell}\n", encoding="utf-8")
        assert np.array_equal(bits(opened, path), expected[i : i + 1])
        assert np.array_equal(by_command(opened, path), expected[i : i + 1])
