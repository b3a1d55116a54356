"""Integrated gradients and permutation importance: exact cases, completeness, and that they repeat."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import command

from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.classes import class_counter
from netc.runtime.data.dataset import load
from netc.runtime.data.stored import Bytes, Ragged, taken
from netc.runtime.insight.attributions import Explainer, explained_output, may_be_explained
from netc.runtime.insight.cells import input_cells
from netc.runtime.insight.explained import Pixels, Steps, Words, explained
from netc.runtime.insight.permutation import permutation_importance
from netc.runtime.insight.units import Unit, units_of
from netc.runtime.program import Program
from netc.runtime.runs.run import Run

DATA = """data {
  source = jsonl("t.jsonl")
  FIELDS
  y = column("y")STEPS
  split = (train = 0.5, test = 0.5)
}
"""


def run_of(folder: Path, fields: str, model: str, rows: list[dict[str, object]], steps: str = "") -> Run:
    """An untrained run of a model, interpreted, in f64."""
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    text = (
        DATA.replace("FIELDS", fields).replace("STEPS", steps) + f"model {{\n{model}\n}}\ntrain {{ precision = f64 }}"
    )
    file = parse(Source("m.net", text, folder / "m.net"))
    elaborated = elaborate(file, {}, class_counter(file))
    spec = parse_data(elaborated)
    data = load(elaborated, spec)
    return Run(
        folder / "run", elaborated, data.spec, data.states, Program(elaborated, backend="reference"), dataset=data
    )


def numbers(count: int = 40, columns: str = "abc") -> list[dict[str, object]]:
    rng = np.random.default_rng(3)
    return [{**{name: rng.normal() for name in columns}, "y": rng.normal()} for _ in range(count)]


def test_a_linear_model_is_explained_by_weight_times_input(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        'x = columns("a", "b", "c")',
        "input x: float[3]\ntarget y: float\nz = x -> dense(1) -> squeeze\noutput guess = z\nloss mse(z, y)",
        numbers(),
    )
    fields = run.load_data().parts["test"]
    weights = run.program.parameters["z.dense.W"][:, 0]
    result = Explainer(run, "guess", points=3).explain(fields, 4)
    np.testing.assert_allclose(result.inputs["x"], weights * fields["x"][4], rtol=1e-12)
    assert abs(result.gap) < 1e-12


def test_a_product_is_shared_in_halves(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        'x = columns("a", "b")',
        "input x: float[2]\ntarget y: float\nparam s: float = constant(3)\nz = s * x[0] * x[1] + 1\n"
        "output guess = z\nloss mse(z, y)",
        numbers(),
    )
    fields = run.load_data().parts["test"]
    result = Explainer(run, "guess", points=4).explain(fields, 0)
    product = 3 * fields["x"][0, 0] * fields["x"][0, 1]
    np.testing.assert_allclose(result.inputs["x"], [product / 2, product / 2], rtol=1e-12)
    assert result.baseline == pytest.approx(1)
    assert result.score == pytest.approx(product + 1)


def test_numbers_are_explained_in_the_units_of_the_data(tmp_path: Path) -> None:
    rows = [{**row, "y": 1000 + 100 * float(str(row["y"]))} for row in numbers()]
    run = run_of(
        tmp_path,
        'x = columns("a", "b", "c") -> standardize',
        "input x: float[3]\ntarget y: float\nz = x -> dense(4) -> tanh -> dense(1) -> squeeze\noutput guess = z\n"
        "loss mse(z, y)",
        rows,
        " -> standardize",
    )
    fields = run.load_data().parts["test"]
    result = Explainer(run, "guess").explain(fields, 2)
    assert result.score == pytest.approx(run.predict_prepared(fields)["guess"][2], rel=1e-9)
    assert 500 < result.baseline < 1500
    assert abs(result.gap) < 1e-6


def test_a_category_is_explained_against_the_same_share_of_each(tmp_path: Path) -> None:
    rows = [{"k": "pqr"[i % 3], "y": float(i)} for i in range(24)]
    run = run_of(
        tmp_path,
        'k = column("k") -> one_hot',
        "input k: float[4]\ntarget y: float\nz = k -> dense(1) -> squeeze\noutput guess = z\nloss mse(z, y)",
        rows,
    )
    weights = np.asarray(run.program.parameters["z.dense.W"])[:, 0].astype(np.float64)
    fields = run.load_data().parts["test"]
    for sample in range(3):
        result = Explainer(run, "guess").explain(fields, sample)
        assert result.baseline == pytest.approx(weights[:3].mean())
        column = int(np.argmax(np.asarray(fields["k"])[sample]))
        assert result.inputs["k"].sum() == pytest.approx(weights[column] - weights[:3].mean())
        assert abs(result.gap) < 1e-9


TEXT_ROWS = [{"t": text, "k": kind, "y": y} for text, kind, y in [("ab", "u", "p"), ("bcab", "v", "q")] * 10]


@pytest.mark.parametrize(
    "layer",
    ["mean(h, over = time)", "h -> lstm(3) -> last", "h -> bidirectional(gru(3)) -> last", "max(h, over = time)"],
)
def test_the_parts_of_a_text_add_up(layer: str, tmp_path: Path) -> None:
    """Completeness: all parts together are the score without that of the baseline."""
    run = run_of(
        tmp_path,
        't = column("t") -> characters -> vocabulary\nk = column("k") -> classes',
        "input t: class(auto)[time]\ninput k: class(auto)\ntarget y: class(auto)\nh = t -> embed(5)\n"
        f"z = concat({layer}, k -> embed(2)) -> dense(4) -> tanh -> dense(size(y))\noutput p = softmax(z)\n"
        "loss cross_entropy(z, y)",
        TEXT_ROWS,
        " -> classes",
    )
    fields = run.load_data().parts["test"]
    assert explained_output(run.model) == "p"
    result = Explainer(run, "p").explain(fields, 1)
    assert isinstance(fields["t"], Ragged)
    assert result.inputs["t"].shape == (fields["t"].lengths[1],)
    assert result.inputs["k"].shape == ()
    assert result.score == pytest.approx(run.predict_prepared(fields)["p"][1].max(), rel=1e-6)
    assert abs(result.gap) < (1e-3 if "max" in layer else 1e-7)
    assert abs(result.score - result.baseline) > 1e-4
    words = explained(run, result, fields, 1, {"k": "v <b>"})
    assert [share.cell for share in words.shares] == ["v <b>"]
    (part,) = words.parts
    assert isinstance(part, Words)
    assert "".join(part.words) in ("ab", "bcab")


def test_pictures_and_sequences_are_parts_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"p": rng.random((8, 8)).tolist(), "s": rng.random((n % 3 + 1, 2)).tolist(), "y": 1.0 * n} for n in range(12)
    ]
    run = run_of(
        tmp_path,
        'p = field("p")\ns = field("s")',
        "input p: float[8, 8]\ninput s: float[time, 2]\ntarget y: float\n"
        "z = concat(p -> flatten, mean(s, over = time)) -> dense(3) -> sigmoid -> dense(1) -> squeeze\n"
        "output guess = z\nloss mse(z, y)",
        rows,
    )
    fields = run.load_data().parts["test"]
    result = Explainer(run, "guess").explain(fields, 1)
    assert result.inputs["p"].shape == (8, 8)
    assert abs(result.gap) < 1e-9
    parts = explained(run, result, fields, 1, {}).parts
    assert [type(part) for part in parts] == [Pixels, Steps]


def test_outputs_that_cannot_be_explained(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        's = field("s")',
        "input s: float[time, 2]\ntarget y: float\nparam c: float = constant(2)\nz = mean(s, over = (time, 1))\n"
        "output steps = s * 2\noutput one = z\noutput two = s * 0 -> mean(over = time)\noutput constant = c * z * 0\n"
        "loss mse(c * z, y)",
        [{"s": [[1.0, 2.0]] * (n % 2 + 1), "y": 1.0} for n in range(8)],
    )
    assert [may_be_explained(run.model, name) for name in ("steps", "one", "two")] == [False, True, True]
    result = Explainer(run, "constant").explain(run.load_data().parts["test"], 0)
    assert not result.inputs["s"].any()


# ------------------------------------------------------------------ permutation importance


def test_a_unit_is_some_entries_of_a_field() -> None:
    array = np.zeros((5, 3, 2))
    unit = Unit("b", "x", 1, 1)
    array[unit.index(3)] = 1
    assert array.sum() == 10
    assert Unit("x", "x").index(2) == (slice(None), slice(None))


def test_importance_is_that_of_the_columns_that_the_model_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [{"a": rng.normal(), "b": rng.normal(), "c": rng.normal(), "k": "uv"[n % 2], "y": 0.0} for n in range(200)]
    for row in rows:
        row["y"] = 3.0 * float(str(row["a"])) - float(str(row["c"]))
    run = run_of(
        tmp_path,
        'x = columns("a", "b", "c")\nk = column("k") -> one_hot',
        "input x: float[3]\ninput k: float[2]\ntarget y: float\n"
        "param w: float = constant(3)\nz = w * x[0] - x[2] + 0 * k[0]\noutput guess = z\n"
        "loss mse(z, y)",
        rows,
    )
    importances = permutation_importance(run, "test")
    assert [each.unit.name for each in importances[:2]] == ["a", "c"]
    rises = {each.unit.name: each.rise for each in importances}
    assert rises["b"] == rises["k"] == 0
    fields = run.load_data().parts["test"]
    variance = np.var(np.asarray(fields["x"])[:, 0])
    assert rises["a"] == pytest.approx(2 * 9 * variance, rel=0.25), "the mean of (3 a - 3 a')^2"
    assert permutation_importance(run, "test") == importances
    assert permutation_importance(run, "test", most=20) != importances
    other = run_of(
        tmp_path,
        'x = columns("a", "b", "c")',
        "input x: float[3]\ntarget y: float\n"
        "param w: float = constant(3)\nz = w * x[0] - x[2]\noutput guess = z\nloss mse(z, y)",
        rows,
    )
    again = {each.unit.name: each for each in permutation_importance(other, "test")}
    assert again["a"] == next(each for each in importances if each.unit.name == "a"), "the same seed and number"


def test_units_of_fields(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        'x = columns("a", "b")\nk = columns("k", "l") -> one_hot\nc = column("c")',
        "input x: float[2]\ninput k: float[2, 2]\ninput c: float\ntarget y: float\n"
        "param w: float = constant(3)\nz = w * x[0] * k[0, 0] + c\nloss mse(z, y)",
        [{"a": 1.0, "b": 2.0 * n, "c": n, "k": "uv"[n % 2], "l": "uv"[n % 2], "y": 1.0 * n} for n in range(20)],
    )
    units = units_of(run.spec, [*run.model.inputs], run.load_data().parts["train"])
    assert [(unit.name, unit.axis, unit.element) for unit in units] == [
        ("a", 1, 0),
        ("b", 1, 1),
        ("k", 1, 0),
        ("l", 1, 1),
        ("c", 1, None),
    ]
    cells = input_cells(run, "test", [0, 3])
    assert cells.columns == ("a", "b", "k", "l", "c")
    assert [len(row) for row in cells.texts] == [5, 5]


def test_samples_in_bytes_are_taken() -> None:
    some = taken(Bytes(np.arange(6, dtype=np.uint8).reshape(3, 2), 0.5), np.array([2, 0]))
    assert np.asarray(some).tolist() == [[2.0, 2.5], [0.0, 0.5]]


# ------------------------------------------------------------------ the command


def test_rows_are_explained(tmp_path: Path) -> None:
    rows = [f"{n % 7},{n % 3},{'<u>' if n % 2 else 'v'}" for n in range(60)]
    (tmp_path / "t.csv").write_text("a,b <i>,y\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "m.net").write_text(
        'data {\n  source = csv("t.csv")\n  x = columns("a", "b <i>") -> standardize\n  y = column("y") -> classes\n}\n'
        "model {\n  input x: float[2]\n  target y: class(2)\n  z = x -> dense(2)\n  output p = softmax(z)\n"
        "  loss cross_entropy(z, y)\n}\ntrain { epochs = 2 }\n",
        encoding="utf-8",
    )
    assert command("train", "m.net", "--out", "run", cwd=tmp_path).returncode == 0
    done = command("explain", "run", "t.csv", "--row", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("; p 0.") == 1
    assert done.stdout.startswith("row 3: ")
    assert "b <i>" in done.stdout
    done = command("explain", "run", "t.csv", "-o", "e.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "e.html\n")
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "b &lt;i&gt; = 0" in page
    assert "b <i>" not in page
    for words in (("run", "t.csv", "--output", "q"), ("run", "t.csv", "--row", 99), ("m.net", "--output", "p")):
        assert command("explain", *words, cwd=tmp_path).returncode == 2
