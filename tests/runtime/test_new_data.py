"""New data for a run: columns are bound by the names that training saw."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.commands import predicting
from netc.dsl.diagnostics import Fault
from netc.dsl.source import NOWHERE
from netc.runtime.data.readers.readers import read
from netc.runtime.data.readers.request import Use, every
from netc.runtime.data.tables.cells import BadRows

Golden = Callable[[Path, str], None]
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
    """The predictions that `netc predict RUN FILE -o` writes for this text."""
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
    """A column that was added since is not an input; a changed learning rate is not a change of the data."""
    from netc.runtime.runs.opening import open_run
    from netc.runtime.runs.resume import adopt

    Path("shop.csv").write_text(
        csv_of([{**row, "id": 5} for row in ROWS], ["id", "price", "weight", "age", "sold", "part"])
    )
    changes = adopt(open_run(run, to_train=True), netc.parse(TEXT.replace("lr = 0.1", "lr = 0.2")), {})
    assert [change.is_allowed for change in changes] == [True]
    assert netc.open(run).load_data().parts["train"]["x"].shape == (20, 3)


def answers(run: Path, data: str, name: str = "new.csv", **selection: object) -> list[list[str]]:
    """The cells that `netc predict RUN FILE -o` writes for this text."""
    Path(name).write_text(data)
    predicting.write_predictions(run, Path(name), Path("out.csv"), predicting.Selection(**selection))
    return [line.split(",") for line in Path("out.csv").read_text().splitlines()]


BAD = "id,price,weight,age\na,3,7,1\nb,,7,1\nc,5,heavy,1\nd,9,2,4\n"


def test_good_rows_are_answered_and_bad_ones_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice: by the compiler, and by the saved prediction."""
    alone = answers(run, "price,weight,age\n9,2,4\n")[1]
    for _ in range(2):
        capsys.readouterr()
        rows = answers(run, BAD)
        assert [row == ["", "", ""] for row in rows[1:]] == [False, True, True, False]
        assert rows[4] == alone
        lines = capsys.readouterr().err.splitlines()
        assert lines == [
            "row 3, column `price`: a value is missing",
            'row 4, column `weight`: "heavy" is not a number',
            "note: 2 of 4 predicted, 2 left blank",
        ]


def test_at_most_ten_bad_rows_are_listed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(run, "price,weight,age\n1,2,3\n" + "1,,3\n" * 1500)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert lines[-2:] == ["... and 1,490 more rows", "note: 1 of 1,501 predicted, 1,500 left blank"]


def test_data_without_a_good_row_is_refused_and_strict_refuses_one_bad_row(run: Path) -> None:
    with pytest.raises(Fault, match="a value is missing"):
        answers(run, "price,weight,age\n1,,3\n2,,3\n")
    with pytest.raises(Fault, match="row 3, column `price`"):
        answers(run, BAD, is_strict=True)


def test_columns_are_kept_and_joined(run: Path) -> None:
    plain = answers(run, BAD)
    assert answers(run, BAD, keep=("id", "age")) == [
        [*kept, *row]
        for kept, row in zip([["id", "age"], ["a", "1"], ["b", "1"], ["c", "1"], ["d", "4"]], plain, strict=True)
    ]
    joined = answers(run, "price,y,weight,age\n3,old,7,1\n", is_joined=True)
    assert joined[0] == ["price", "y", "weight", "age", "y_predicted", *plain[0][1:]]
    assert joined[1] == ["3", "old", "7", "1", *plain[1]]
    with pytest.raises(Fault, match="has no column `idd`"):
        answers(run, BAD, keep=("idd",))


def test_the_suffix_says_how_answers_are_written(run: Path) -> None:
    import polars
    import typer

    names, *rows = answers(run, BAD, keep=("id",))
    for suffix in ("json", "jsonl", "parquet"):
        predicting.write_predictions(run, Path("new.csv"), Path(f"out.{suffix}"), predicting.Selection(keep=("id",)))
    expected = [[None if cell == "" else cell for cell in row] for row in rows]
    read = [json.loads(Path("out.json").read_text()), [*map(json.loads, Path("out.jsonl").read_text().splitlines())]]
    for objects in read:
        assert [[*entry] for entry in objects] == [names] * 4
        shown = [[None if cell is None else str(cell) for cell in entry.values()] for entry in objects]
        assert shown == expected
    frame = polars.read_parquet("out.parquet")
    assert frame.columns == names
    assert frame["p[no]"].dtype == polars.Float32
    assert [None if value is None else str(np.float32(value)) for value in frame["p[no]"]] == [
        row[2] for row in expected
    ]
    with pytest.raises(typer.BadParameter, match=r"written as .csv, .json, .jsonl, .parquet"):
        predicting.write_predictions(run, Path("new.csv"), Path("out.txt"))


def test_standard_input_is_a_file_of_the_reader_or_the_format(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Piped:
        def __init__(self, text: str) -> None:
            self.buffer = io.BytesIO(text.encode())

    expected = answers(run, BAD)
    lines = '{"price": 3, "weight": 7, "age": 1}\n{"price": 9, "weight": 2, "age": 4}\n'
    for text, reader, rows in ((BAD, None, expected), (lines, "jsonl", [expected[0], expected[1], expected[4]])):
        monkeypatch.setattr("sys.stdin", Piped(text))
        predicting.write_predictions(run, Path("-"), Path("out.csv"), predicting.Selection(reader=reader))
        assert [line.split(",") for line in Path("out.csv").read_text().splitlines()] == rows


def test_the_command_and_python_give_the_same_bits(run: Path) -> None:
    """Rows alone and reversed, columns reversed, and every kind of table give the bits of the command."""
    import polars

    names = ["price", "weight", "age"]
    cells = [{name: row[name] for name in names} for row in ROWS]
    expected = [row[1] for row in answers(run, csv_of(ROWS, names))[1:]]
    opened, frame = netc.open(run), polars.DataFrame(cells)
    frame.write_parquet("new.parquet")

    class Stream:
        """A table with nothing but the Arrow interface."""

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return frame.__arrow_c_stream__(requested_schema)

    tables = (
        "new.csv",
        Path("new.parquet"),
        frame,
        frame.select(names[::-1]),
        Stream(),
        cells,
        {name: np.array([row[name] for row in cells]) for name in names},
        {name: [str(row[name]) for row in cells] for name in names},
    )
    for table in tables:
        assert [str(value) for value in opened.predict(table)["p"][:, 0]] == expected
    assert [str(value) for value in opened.predict(frame.reverse())["p"][:, 0]] == expected[::-1]
    assert [str(opened.predict(cells[i : i + 1])["p"][0, 0]) for i in range(20)] == expected
    assert [row[0] for row in answers(run, csv_of(ROWS, names))[1:]] == opened.predict(frame)["y"].tolist()


def test_python_gives_bad_rows_no_answer(run: Path) -> None:
    rows = [{"price": 3, "weight": 7, "age": 1}, {"price": None, "weight": 7, "age": 1}]
    predictions = netc.open(run).predict(rows)
    assert list(np.isnan(predictions["p"]).all(axis=1)) == [False, True]
    assert predictions["y"][1] is None
    assert [(problem.row, problem.column) for problem in predictions.problems] == [(2, "price")]
    with pytest.raises(Fault, match="a value is missing"):
        netc.open(run).predict(rows, strict=True)


def test_prepared_arrays_are_refused_where_columns_are_needed(run: Path, golden: Golden) -> None:
    opened = netc.open(run)
    with pytest.raises(Fault) as refused:
        opened.predict({"x": np.zeros((2, 3), np.float32)})
    golden(Path(__file__).with_name("prepared_arrays.txt"), f"{refused.value}\n")
    with pytest.raises(TypeError, match=r"run\.program\.predict"):
        opened.predict(np.zeros((2, 3)))


def test_a_bad_row_blanks_the_windows_that_contain_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """data {
  source = csv("series.csv")
  x = column("v") -> window(3, 1)
  y = column("v") -> window(3, 1) -> next(1)
  split = ordered(train = 1.0)
}
model {
  input x: float[3]
  target y: float
  z = x -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
}
"""
    Path("series.csv").write_text("v\n" + "".join(f"{i % 5}\n" for i in range(30)))
    netc.train(netc.parse(text), out="run")
    rows = answers(Path("run"), "t,v\n" + "".join(f"t{i},{'?' if i == 4 else i % 5}\n" for i in range(9)), keep=("t",))
    assert [row[0] for row in rows[1:]] == ["t2", "t3", "t4", "t5", "t6", "t7", "t8"]
    assert [row[1] == "" for row in rows[1:]] == [False, False, True, True, True, False, False]
    assert 'row 6, column `v`: "?" is not a number' in capsys.readouterr().err


def test_sequences_that_do_not_fit_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """data {
  source = jsonl("texts.jsonl")
  x = column("text") -> words -> vocabulary
  y = column("kind") -> classes
}
model {
  input x: class(auto)[time <= 4]
  target y: class(auto)
  z = x -> embed(4) -> last -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
    texts = ["a b", "b c d", "a", "c d a b"] * 5
    Path("texts.jsonl").write_text(
        "".join(json.dumps({"text": entry, "kind": "uv"[i % 2]}) + "\n" for i, entry in enumerate(texts))
    )
    netc.train(netc.parse(text), out="run")
    lines = "".join(json.dumps({"text": entry}) + "\n" for entry in ["a b", "a b c d a", " ", "c"])
    rows = answers(Path("run"), lines, "new.jsonl")
    assert [row[0] == "" for row in rows[1:]] == [False, True, True, False]
    alone = answers(Path("run"), json.dumps({"text": "c"}), "new.jsonl")
    assert rows[4] == alone[1]
    assert "row 2, column `x`: a sample has more steps than time <= 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "price,weight,age\n3,7,1\n",
        "age,weight,price,other\n1,7,3,x\n",
        "Stock of May\n\nprice,weight,age\n3,7,1\n",
        "Stock, of; May\nprice;weight;age\n3;7;1\n",
        "price weight  age\n3  7  1\n",
    ],
)
def test_new_data_may_have_another_title_and_delimiter(text: str, run: Path, tmp_path: Path) -> None:
    """The line that names the columns of training is the header, whatever is above it."""
    for name, content in (("a.csv", "price,weight,age\n3,7,1\n"), ("b.csv", text)):
        (tmp_path / name).write_text(content, encoding="utf-8")
    expected, actual = (netc.open(run).predict(tmp_path / name)["p"] for name in ("a.csv", "b.csv"))
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("step", ["standardize", "minmax", "log -> standardize"])
def test_raw_arrays_in_the_place_of_prepared_ones_are_noticed(step: str, tmp_path: Path) -> None:
    """The shapes are the same, and so the answers would be wrong without a word."""
    random = np.random.default_rng(3)
    rows = random.uniform((5, 20, 1e3), (8, 30, 4e3), (60, 3))
    text = "a,b,c,y\n" + "".join(f"{a},{b},{c},{a - b / 10}\n" for a, b, c in rows)
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    model = f"""data {{
  source = csv("t.csv")
  x = columns("a", "b", "c") -> {step}
  y = column("y")
}}
model {{
  input x: float[3]
  target y: float
  p = x -> dense(1) -> squeeze
  output p = p
  loss mse(p, y)
}}
train {{
  optimizer = sgd(lr = 0.01)
  epochs = 1
}}
"""
    (tmp_path / "m.net").write_text(model, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    with pytest.warns(UserWarning, match=r"`x` looks like raw data"):
        run.program.predict({"x": rows.astype(np.float32)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared = run.load_data().parts["train"]["x"]
        expected = run.program.predict({"x": prepared})["p"]
        run.program.predict({"x": prepared[:1] * 3})
        assert len(expected) == len(prepared)


@pytest.mark.parametrize(
    ("name", "content", "problems"),
    [
        (
            "t.csv",
            'a,b\n1,2\n3\n4,5,6\n7,8\n"9"x,0\n',
            [(3, "b", "the row has 1 cell"), (4, "b", "the row has 3 cells"), (6, "", "text follows a closing quote")],
        ),
        ("t.csv", "a;b\n1,5;2\n1.500;3\n", [(3, "a", "a number with a decimal point among decimal commas")]),
        (
            "t.jsonl",
            '{"a": 1, "b": 2}\n\n{"a": 1\n[1, 2]\n{"a": 3, "b": 4}\n',
            [(3, "", "not JSON"), (4, "", "not a JSON object")],
        ),
        ("t.json", '[{"a": 1, "b": 2}, 7, {"a": 3, "b": 4}]', [(2, "", "not an object")]),
    ],
)
@pytest.mark.parametrize("way", ["small", "polars", "large"])
def test_a_bad_row_alone_does_not_refuse_new_data(
    name: str,
    content: str,
    problems: list[tuple[int, str, str]],
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In training it is a fault, and of new data the other rows are read. Imputed values do not make it a good one."""
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("netc.runtime.data.csv.reader._SMALL", 1 << 20 if way == "small" else 0)
    monkeypatch.setattr("netc.runtime.data.tables.store.LARGE", 0 if way == "large" else 1 << 28)
    (tmp_path / name).write_text(content, encoding="utf-8")
    reader = name.partition(".")[2]
    for _ in range(2):  # the second time, a copy in the cache may be there
        bad_rows = BadRows()
        table = read(reader, tmp_path / name, name, NOWHERE, every(Use.NUMBERS), {}, bad_rows)
        assert table.bad_rows is bad_rows
        in_order = bad_rows.in_order()
        assert [(problem.row, problem.column) for problem in in_order] == [problem[:2] for problem in problems]
        assert all(words in problem.reason for problem, (_, _, words) in zip(in_order, problems, strict=True))
        numbers = table.numbers(np.arange(len(table)))
        is_bad = bad_rows.among(numbers)
        for column in table.columns.values():
            cells = column[np.arange(len(table))]
            assert [cell is None or cell != cell for cell in cells] == is_bad.tolist()
    with pytest.raises(netc.Fault, match="E080"):
        read(reader, tmp_path / name, name, NOWHERE, every(Use.NUMBERS), {})


def test_new_data_of_bad_rows_alone_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("{\n[\n", encoding="utf-8")
    with pytest.raises(netc.Fault, match="line 1 is not JSON"):
        read("jsonl", tmp_path / "t.jsonl", "t.jsonl", NOWHERE, every(Use.NUMBERS), {}, BadRows())
