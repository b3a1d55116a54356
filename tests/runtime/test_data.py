"""The data block: the arrays that each reader, step and split returns. Wrong data is in the gallery."""

import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
import polars
import pytest
from support import command

import netc
from netc.dsl.storage import home
from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import Dataset, load
from netc.runtime.data.pipeline import undo
from netc.runtime.data.tables import store

MODEL = """
model {
  input x: float[2]
  target y: class(3)
  logits = x -> dense(3)
  output p = softmax(logits)
  loss cross_entropy(logits, y)
}
"""


def dataset(folder: Path, data: str, model: str = MODEL) -> tuple[Dataset, DataSpec]:
    (folder / "m.net").write_text(f"data {{\n{data}\n}}\n{model}", encoding="utf-8")
    loaded = netc.load(folder / "m.net")
    spec = parse_data(loaded)
    return load(loaded, spec), spec


def table(rows: int = 60) -> dict[str, list]:
    rng = np.random.default_rng(0)
    return {
        "a": [round(float(value), 3) for value in rng.lognormal(size=rows)],
        "b": [float(i) for i in range(rows)],
        "kind": [["red", "green", "Blue"][i] for i in rng.choice(3, rows, p=[0.5, 0.3, 0.2])],
        "group": [str(i // 7) for i in range(rows)],
        "part": [["train", "train", "valid", "test"][i % 4] for i in range(rows)],
    }


def as_csv(columns: dict[str, list]) -> str:
    return (
        "\n".join([",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]) + "\n"
    )


def written(folder: Path) -> dict[str, list]:
    columns = table()
    (folder / "t.csv").write_text(as_csv(columns), encoding="utf-8")
    (folder / "t.csv.gz").write_bytes(gzip.compress(as_csv(columns).encode()))
    polars.DataFrame(columns).write_parquet(folder / "t.parquet")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    np.savez(folder / "t.npz", **{name: np.array(values) for name, values in columns.items()})
    return columns


FIELDS = 'x = columns("a", "b") -> standardize\ny = column("kind") -> classes\n'


@pytest.mark.parametrize("source", ['csv("t.csv.gz")', 'parquet("t.parquet")', 'jsonl("t.jsonl")', 'npz("t.npz")'])
def test_every_reader_gives_the_same(source: str, tmp_path: Path) -> None:
    written(tmp_path)
    first, _ = dataset(tmp_path, f'source = csv("t.csv")\n{FIELDS}')
    other, _ = dataset(tmp_path, f"source = {source}\n{FIELDS}")
    assert first.states == other.states
    for part, fields in first.parts.items():
        for name, array in fields.items():
            np.testing.assert_array_equal(array, other.parts[part][name])


@pytest.mark.every(2)
@pytest.mark.parametrize("source", ['csv("t.csv")', 'parquet("t.parquet")'])
def test_a_large_table_stays_on_disk(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same bits as in memory. It is written once, and again only if it was damaged or the file changed."""
    written(tmp_path)
    in_memory, _ = dataset(tmp_path, f"source = {source}\n{FIELDS}")
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "LARGE", 1)
    writes = []
    real = store._write
    monkeypatch.setattr(store, "_write", lambda *arguments: writes.append(1) or real(*arguments))
    for expected in (1, 1):
        on_disk, _ = dataset(tmp_path, f"source = {source}\n{FIELDS}")
        assert len(writes) == expected
        for part, fields in in_memory.parts.items():
            for name, array in fields.items():
                assert isinstance(on_disk.parts[part][name], np.memmap)
                np.testing.assert_array_equal(array, on_disk.parts[part][name])
    (kept,) = (tmp_path / "cache" / "tables").iterdir()
    damaged = kept / "columns.bin"
    damaged.write_bytes(b"\1" + damaged.read_bytes()[1:])
    dataset(tmp_path, f"source = {source}\n{FIELDS}")
    assert len(writes) == 2
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", epochs=2)
    assert run.evaluate("test")["loss"] > 0


def test_cells_that_are_no_numbers_are_a_message_on_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "LARGE", 1)
    (tmp_path / "t.csv").write_text("a,b,kind\n1,2,red\n3,many,green\n5,6,blue\n", encoding="utf-8")
    with pytest.raises(netc.Fault, match=r'"many" is not a number(.|\n)*row 3, column `b`'):
        dataset(tmp_path, f'source = csv("t.csv")\n{FIELDS}split = ordered(train = 1.0)')


@pytest.mark.parametrize(
    ("steps", "expected", "back"),
    [
        ("minmax", lambda x: (x - x.min(0)) / (x.max(0) - x.min(0)), True),
        ("standardize", lambda x: (x - x.mean(0)) / x.std(0), True),
        ("log -> standardize", lambda x: (np.log(x) - np.log(x).mean(0)) / np.log(x).std(0), True),
        ("scale(1 / 4)", lambda x: x / 4, True),
        ("clip(0.5, 20)", lambda x: np.clip(x, 0.5, 20), False),
        ("impute(0) -> reshape(2, 1) -> flatten", lambda x: x, False),
    ],
)
def test_steps_of_numbers(steps: str, expected, back: bool, tmp_path: Path) -> None:
    columns = table()
    columns["b"] = [value + 1 for value in columns["b"]]
    (tmp_path / "t.csv").write_text(as_csv(columns), encoding="utf-8")
    loaded, spec = dataset(
        tmp_path,
        (
            f'source = csv("t.csv")\nx = columns("a", "b") -> {steps}\ny = column("kind") -> classes\n'
            "split = ordered(train = 1.0)"
        ),
    )
    raw = np.array([columns["a"], columns["b"]]).T
    np.testing.assert_allclose(loaded.parts["train"]["x"], expected(raw), rtol=1e-6)
    if back:
        restored = undo(spec.fields["x"], loaded.states["x"])(np.asarray(loaded.parts["train"]["x"], np.float64))
        np.testing.assert_allclose(restored, raw, rtol=1e-5)


def test_texts_are_lowercased_and_missing_ones_filled(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,kind\n1,2,Red\n3,,red\n5,6,\n,8,blue\n,2,red\n", encoding="utf-8")
    loaded, _ = dataset(
        tmp_path,
        'source = csv("t.csv")\nx = columns("a", "b") -> impute(median)\n'
        'y = column("kind") -> impute(mode) -> lowercase -> classes\n'
        "split = ordered(train = 1.0)",
        MODEL.replace("class(3)", "class(2)").replace("dense(3)", "dense(2)"),
    )
    np.testing.assert_array_equal(loaded.parts["train"]["x"], [[1, 2], [3, 4], [5, 6], [3, 8], [3, 2]])
    np.testing.assert_array_equal(loaded.parts["train"]["y"], [1, 1, 1, 0, 1])


@pytest.mark.parametrize("reader", ["csv", "parquet", "jsonl"])
def test_rows_without_a_label_are_left_out(reader: str, tmp_path: Path) -> None:
    """A warning counts them, a comment silences it. `impute` fills instead; a file without labels is refused."""
    kinds = ["red", None, "green", "red", None, "red", "green"]
    columns = {"a": list(range(7)), "b": [1.5] * 7, "kind": kinds}
    frame = polars.DataFrame(columns)
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[reader](tmp_path / "t")

    def read(steps: str, comment: str = "") -> Dataset:
        fields = f'x = columns("a", "b")\n y = column("kind") -> {steps}{comment}'
        text = f'source = {reader}("t")\n {fields}\n split = ordered(train = 0.5, test = 0.5)'
        return dataset(tmp_path, text, MODEL.replace("class(3)", "class(2)").replace("dense(3)", "dense(2)"))[0]

    left_out = read("classes", "  # allow: W0834")
    first = 2 if reader == "csv" else 1  # a csv counts its header
    rows = {"train": [0, 2, 3], "test": [5, 6]}
    assert {part: (numbers - first).tolist() for part, numbers in left_out.rows.items()} == rows
    assert left_out.parts["test"]["x"][:, 0].tolist() == [5, 6]
    assert [warning.code for warning in left_out.warnings if warning.code != "W0834"] == ["W0803"]
    assert f"empty in 2 of 7 rows of `t`, first in row {1 + first}" in left_out.warnings[0].render()
    assert "W0803" not in {warning.code for warning in read("classes", "  # allow: W0803").warnings}
    filled = read("impute(mode) -> classes")
    assert [len(rows) for rows in filled.rows.values()] == [4, 3]
    assert "W0803" not in {warning.code for warning in filled.warnings}
    columns["kind"] = [None] * 7
    frame = polars.DataFrame(columns, schema_overrides={"kind": polars.String})
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[reader](tmp_path / "t")
    with pytest.raises(netc.Fault, match="E0803"):
        read("classes")


def test_all_columns_except_some(tmp_path: Path) -> None:
    written(tmp_path)
    named, _ = dataset(tmp_path, f'source = csv("t.csv")\n{FIELDS}')
    for but in ('["kind", "group", "part"]', '("kind", "group", "part")'):
        fields = FIELDS.replace('columns("a", "b")', f"columns(all, except = {but})")
        others, _ = dataset(tmp_path, 'source = csv("t.csv")\n' + fields)
        np.testing.assert_array_equal(named.parts["train"]["x"], others.parts["train"]["x"])


def rows_of(loaded: Dataset) -> dict[str, np.ndarray]:
    return {name: rows - 2 for name, rows in loaded.rows.items()}


def test_a_split_is_stratified_and_seeded(tmp_path: Path) -> None:
    columns = written(tmp_path)
    text = f'source = csv("t.csv")\n{FIELDS}split = (train = 0.5, valid = 0.25, test = 0.25, seed = 4)'
    first, again = (rows_of(dataset(tmp_path, text)[0]) for _ in range(2))
    other = rows_of(dataset(tmp_path, text.replace("seed = 4", "seed = 5"))[0])
    kinds = np.array(columns["kind"])
    for label in np.unique(kinds):
        in_class = (kinds == label).sum()
        assert abs((kinds[first["train"]] == label).sum() - in_class / 2) <= 1
    assert sorted(np.concatenate(list(first.values()))) == list(range(60))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["train"], other["train"])


def test_other_splits(tmp_path: Path) -> None:
    columns = written(tmp_path)
    begin = f'source = csv("t.csv")\n{FIELDS}'
    ordered = rows_of(dataset(tmp_path, begin + "split = ordered(train = 0.8, valid = 0.1, test = 0.1)")[0])
    assert [len(rows) for rows in ordered.values()] == [48, 6, 6]
    assert np.array_equal(np.concatenate(list(ordered.values())), np.arange(60))
    rows_by_column = rows_of(dataset(tmp_path, begin + 'split = column("part")')[0])
    assert {name: {columns["part"][i] for i in rows} for name, rows in rows_by_column.items()} == {
        name: {name} for name in ("train", "valid", "test")
    }
    grouped = rows_of(dataset(tmp_path, begin + 'split = by("group", train = 0.6, test = 0.4)')[0])
    groups = [{columns["group"][i] for i in rows} for rows in grouped.values()]
    assert not groups[0] & groups[1]
    assert 28 <= len(grouped["train"]) <= 44
    (tmp_path / "u.csv").write_text(as_csv({name: values[:20] for name, values in columns.items()}), encoding="utf-8")
    apart = rows_of(dataset(tmp_path, f'{FIELDS}split = (train = csv("t.csv"), valid = 0.2, test = csv("u.csv"))')[0])
    assert {name: len(rows) for name, rows in apart.items()} == {"train": 48, "valid": 12, "test": 20}


def test_nested_lists_are_arrays(tmp_path: Path) -> None:
    rows = [{"x": [[i, i + 1], [2, 3]], "y": i % 2} for i in range(20)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = (
        "model {\n  input x: float[2, 2]\n  target y: class(2)\n  z = x -> flatten -> dense(2)\n"
        "  output p = softmax(z)\n  loss cross_entropy(z, y)\n}"
    )
    loaded, _ = dataset(
        tmp_path,
        'source = jsonl("t.jsonl")\nx = field("x")\ny = field("y")\nsplit = ordered(train = 0.5, test = 0.5)',
        model,
    )
    np.testing.assert_array_equal(loaded.parts["train"]["x"][3], [[3, 4], [2, 3]])
    np.testing.assert_array_equal(loaded.parts["test"]["y"], [0, 1] * 5)


def test_sequences_of_any_length(tmp_path: Path) -> None:
    rows = [{"x": [[1, 2], [3, 4], [5, 6]], "y": "a"}, {"x": [[7, 8]], "y": "b"}, {"x": [[9, 10], [11, 12]], "y": "a"}]
    with gzip.open(tmp_path / "t.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(map(json.dumps, rows)))
    model = (
        MODEL.replace("float[2]", "float[time, 2]")
        .replace("class(3)", "class(2)")
        .replace("x -> dense(3)", "mean(x, over = time) -> dense(2)")
    )
    text = (
        '  source = jsonl("t.jsonl.gz")\n  x = field("x") -> standardize\n  y = field("y") -> classes\n'
        "  split = ordered(train = 1.0)"
    )
    loaded, _ = dataset(tmp_path, text, model)
    x = loaded.parts["train"]["x"]
    steps = np.array([step for row in rows for step in row["x"]], float)
    np.testing.assert_array_equal(x.lengths, [3, 1, 2])
    np.testing.assert_allclose(x.rows, (steps - steps.mean(0)) / steps.std(0), rtol=1e-6)
    np.testing.assert_array_equal(x.take(np.array([2, 0])).rows, x.rows[[4, 5, 0, 1, 2]])


def test_a_token_that_the_training_part_lacks(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("word,y,part\nabba,a,train\nBa c,b,train\nxab,a,test\n", encoding="utf-8")
    text = (
        '  source = csv("t.csv")\n  x = column("word") -> lowercase -> characters -> vocabulary\n'
        '  y = column("y") -> classes\n  split = column("part")'
    )
    model = (
        MODEL.replace("float[2]", "class(auto)[letters]")
        .replace("class(3)", "class(2)")
        .replace("x -> dense(3)", "mean(x -> embed(3), over = letters) -> dense(2)")
    )
    loaded, _ = dataset(tmp_path, text, model)
    tokens = loaded.states["x"][2]["tokens"]
    assert tokens == ["<unknown>", "a", "b", " ", "c"]
    assert [list(sequence) for sequence in loaded.parts["train"]["x"]] == [[1, 2, 2, 1], [2, 1, 3, 4]]
    assert [list(sequence) for sequence in loaded.parts["test"]["x"]] == [[0, 1, 2]]


def test_ends_are_tokens(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("word,y,part\nab,p,train\nbbb,q,train\nc,p,test\n", encoding="utf-8")
    text = (
        '  source = csv("t.csv")\n  x = column("word") -> characters -> ends -> vocabulary\n'
        '  y = column("y") -> classes\n  split = column("part")'
    )
    model = (
        "model {\n  input x: class(auto)[letters]\n  target y: class(2)\n"
        "  z = mean(x -> embed(2), over = letters) -> dense(2)\n  loss cross_entropy(z, y)\n}\n"
    )
    loaded, _ = dataset(tmp_path, text, model)
    assert loaded.states["x"][2]["tokens"] == ["<unknown>", "<end>", "b", "a"]
    assert [sequence.tolist() for sequence in loaded.parts["train"]["x"]] == [[3, 2, 1], [2, 2, 2, 1]]
    assert [sequence.tolist() for sequence in loaded.parts["test"]["x"]] == [[0, 1]]


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_windows_of_a_text(tmp_path: Path, unit: str) -> None:
    content = "to be or not to be, that is the question: " * 8
    (tmp_path / "t.txt").write_text(content, encoding="utf-8")
    text = (
        f'  source = text("t.txt")\n  x = field("text") -> {unit} -> vocabulary -> window(6, 3)\n'
        f'  y = field("text") -> {unit} -> vocabulary -> next(1) -> window(6, 3)\n  split = (train = 0.75, test = 0.25)'
    )
    model = (
        MODEL.replace("x: float[2]", "x: class(auto)[time]")
        .replace("class(3)", "class(auto)[time]")
        .replace("x -> dense(3)", "x -> embed(4) -> dense(size(y))")
    )
    loaded, _ = dataset(tmp_path, text, model)
    pieces = list(content) if unit == "characters" else content.split()
    tokens, edge = loaded.states["x"][1]["tokens"], round(0.75 * len(pieces))
    for part, series in (("train", pieces[:edge]), ("test", pieces[edge:])):
        x, y = (loaded.parts[part][name] for name in "xy")
        assert len(x) == len(y) == (len(series) - 7) // 3 + 1
        for i, (row, other) in enumerate(zip(x, y, strict=True)):
            assert [tokens[k] for k in row] == series[3 * i : 3 * i + 6]
            assert [tokens[k] for k in other] == series[3 * i + 1 : 3 * i + 7]


def test_windows_of_a_series(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("v\n" + "\n".join(map(str, range(50))), encoding="utf-8")
    text = (
        '  source = csv("t.csv")\n  x = column("v") -> window(4, 2)\n  y = column("v") -> window(4, 2) -> next(3)\n'
        "  split = (train = 0.6, test = 0.4)"
    )
    model = (
        MODEL.replace("float[2]", "float[4]")
        .replace("class(3)", "float")
        .replace("x -> dense(3)", "x -> dense(1) -> squeeze")
        .replace("softmax(logits)", "logits")
        .replace("cross_entropy", "mse")
    )
    loaded, _ = dataset(tmp_path, text, model)
    for part, first in (("train", 0), ("test", 30)):
        x, y = (loaded.parts[part][name] for name in "xy")
        np.testing.assert_array_equal(x[0], first + np.arange(4))
        np.testing.assert_array_equal(x[1], first + 2 + np.arange(4))
        np.testing.assert_array_equal(y, x[:, -1] + 3)
        assert y.max() <= (29 if part == "train" else 49), "a window stays inside of its part"


def left_in(folder: Path) -> list[str]:
    """The names in a folder, also if it does not exist yet."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_copies_of_deleted_or_changed_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was opened before stays usable."""
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "LARGE", 1)
    tables = tmp_path / "cache" / "tables"
    source = f'source = csv("t.csv")\n{FIELDS}'
    written(tmp_path)
    first, _ = dataset(tmp_path, source)
    before = {name: np.array(array) for name, array in first.parts["train"].items()}
    (old,) = left_in(tables)
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    (tmp_path / "t.csv").write_text(text + text.splitlines()[-1] + "\n", encoding="utf-8")
    dataset(tmp_path, source)
    (new,) = left_in(tables)
    assert new != old, "the copy of the file as it was is kept"
    for name, array in first.parts["train"].items():
        np.testing.assert_array_equal(array, before[name])
    dataset(tmp_path, source.replace('csv("t.csv")', 'parquet("t.parquet")'))
    assert len(left_in(tables)) == 2
    (tmp_path / "t.parquet").unlink()
    (tables / "not-ours").mkdir()
    shown = command("cache", cwd=tmp_path).stdout
    assert "copies of data that is gone or has changed: 1 removed\n" in shown
    assert str(tmp_path / "t.csv") in shown
    assert left_in(tables) == sorted([new, "not-ours"])


@pytest.mark.parametrize("hindrance", ["refused", "unwritable", "small"])
def test_a_large_table_is_read_without_space_in_the_cache(
    hindrance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """netc says so once and leaves nothing behind."""
    written(tmp_path)
    source = f'source = csv("t.csv")\n{FIELDS}'
    in_memory, _ = dataset(tmp_path, source)
    cache, temporary = tmp_path / "cache", tmp_path / "temporary"
    for folder in (cache, temporary):
        folder.mkdir(0o700)
    monkeypatch.setenv("NETC_CACHE", str(cache))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(store, "LARGE", 1)
    monkeypatch.setattr(home, "_warned", set())
    if hindrance == "refused":
        cache.chmod(0o777)
    elif hindrance == "unwritable":
        (cache / "tables").write_text("", encoding="utf-8")
    else:
        monkeypatch.setenv("NETC_CACHE_LIMIT", "100")
    messages = {
        "refused": f"the cache is not used: other users can write to {cache}",
        "unwritable": "the cache cannot be written (File exists)",
        "small": f"the cache may hold 100 bytes (NETC_CACHE_LIMIT), too little for a copy of {tmp_path / 't.csv'}",
    }[hindrance]
    with pytest.warns(home.CacheWarning) as warnings:
        on_disk = [dataset(tmp_path, source)[0] for _ in range(2)]
    assert [str(warning.message).startswith(messages) for warning in warnings] == [True], [*map(str, warnings)]
    for part, fields in in_memory.parts.items():
        for name, array in fields.items():
            assert all(isinstance(other.parts[part][name], np.memmap) for other in on_disk)
            assert all(np.array_equal(array, other.parts[part][name]) for other in on_disk)
    assert not left_in(temporary)
    assert (
        left_in(cache / "tables") == []
        if hindrance == "small"
        else left_in(cache) == ["tables"] * (hindrance == "unwritable")
    )


def test_two_processes_copy_one_table_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one begins and finishes while this one writes. Both have their copy, and one of them is kept."""
    written(tmp_path)
    source = f'source = csv("t.csv")\n{FIELDS}'
    in_memory, _ = dataset(tmp_path, source)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "LARGE", 1)
    real, others = store._write, []

    def write(*arguments: object) -> None:
        real(*arguments)
        if not others:
            others.append(None)
            others.append(dataset(tmp_path, source)[0])

    monkeypatch.setattr(store, "_write", write)
    mine, _ = dataset(tmp_path, source)
    for part, fields in in_memory.parts.items():
        for name, array in fields.items():
            np.testing.assert_array_equal(array, mine.parts[part][name])
            np.testing.assert_array_equal(array, others[1].parts[part][name])
    assert len(left_in(tmp_path / "cache" / "tables")) == 1
