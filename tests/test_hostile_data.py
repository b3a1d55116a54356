"""Data that tries to become code, in everything that is written from it.

`netc new`, reports, exported files and their check, and JSON with NaN and infinity. `pytest --long
tests/test_hostile_data.py` takes 2,000 names.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import hostile_names, plain
from support import ROOT, command
from test_quoting import Parsed, joined, strict
from watching import nothing_else_runs

import netc
from netc.commands.export import export
from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl import quoting
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.source import NOWHERE, Source
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.classes import class_counter
from netc.runtime.data.dataset import load
from netc.runtime.data.tables.cell_text import is_missing_text
from netc.runtime.export import separate
from netc.runtime.export.check import Checked, checked, difference
from netc.runtime.export.exported import as_onnx, as_python, exported
from netc.runtime.export.separate import NotRun, predict_separately
from netc.runtime.insight import report
from netc.runtime.insight.words import LONGEST_LABEL
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from netc.runtime.runs.metrics import Metrics, read_metrics
from netc.runtime.runs.run import Run
from netc.runtime.starting.starting_file import starting_file

SEED = 20261129
# In a plot: it depends on the length of labels.
SPAN = re.compile(r"min-width: \d+px|(translate\()?[\d.MLHVhv ()-]+(rotate\(-90\))?")
NET = """data {
  source = jsonl("t.jsonl")
  x = columns("a", "b") -> standardize
  y = column("kind") -> classes
  split = (train = 0.8, test = 0.2)
}
model {
  input x: float[2]
  target y: class(auto)
  z = x -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""


@pytest.fixture
def labels(is_long: bool) -> list[str]:
    """Names that a cell can contain.

    An empty one and `nan` are missing values, and NumPy drops null characters at the end of a text.
    """
    names = hostile_names(2000 if is_long else 300, SEED)
    return list(dict.fromkeys(joined(name) for name in names if not (is_missing_text(name) or name.endswith("\0"))))


def batches(names: list[str], size: int) -> list[list[str]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_of(folder: Path, labels: list[str], name: str = "m.net") -> Run:
    """An untrained run on a table with these classes."""
    rng = np.random.default_rng(len(labels))
    rows = [{"a": rng.normal(), "b": rng.normal(), "kind": label} for label in labels for _ in range(12)]
    write_rows(folder / "t.jsonl", rows)
    file = parse(Source(name, NET, folder / "m.net"))
    model = elaborate(file, {}, class_counter(file))
    program, spec = Program(model, backend="reference"), parse_data(model)
    data = load(model, spec)
    program.fit(data.parts["train"])
    return Run(folder / "run\n<b>\udcff\x1b[31m", model, spec, data.states, program, dataset=data)


# ------------------------------------------------------------------ what is written of a run


def test_labels_in_a_report(labels: list[str], tmp_path: Path) -> None:
    for part in batches(labels, 25):
        run = run_of(tmp_path, part, f"{part[0]}.net")
        with nothing_else_runs():
            page = report.page(run)
        parsed = Parsed.of(page)
        in_order = sorted(part)  # the same number of each class, so that the diagrams are the same
        calm = Parsed.of(report.page(run_of(tmp_path, [f"label {in_order.index(label):02}" for label in part])))
        assert all(plain(line) for line in page.split("\n"))
        assert {*parsed.tags} == {*calm.tags}
        new = {*parsed.attributes} - {*calm.attributes}  # the colour of a cell, places in a plot
        coloured = {(name, value) for name, value in new if name == "style" and "color-mix" in str(value)}
        coloured.add(("aria-label", f"the graph of {quoting.escaped(run.model.source.file_name)}"))
        assert [value for _, value in new - coloured if not SPAN.fullmatch(str(value))] == []
        for label in part:
            shown = quoting.escaped(quoting.bounded(label, LONGEST_LABEL))
            assert parsed.texts.count(shown) >= 2, "a row and a column of the confusion"


def test_labels_in_exported_files(labels: list[str], tmp_path: Path) -> None:
    """Through `netc export`, which also checks the first batches."""
    for number, part in enumerate(batches(labels, 50)):
        run = run_of(tmp_path, part, f"{part[0]}\n#.net")
        asked = exported(run)
        text, space = as_python(run, asked), dict[str, Any]()
        with nothing_else_runs("model.py"):
            exec(compile(text.encode(), "model.py", "exec"), space)
            assert as_onnx(asked)
        assert sorted(space["labels"]["y"]) == sorted(part)
        if number < 2:
            (tmp_path / "model.py").write_bytes(text.encode())
            outcome = checked(run, asked, tmp_path / "model.py")
            assert not outcome.is_wrong
            assert re.search(r"at most \d", outcome.text)
    assert not list(Path().glob("PWNED*"))


# ------------------------------------------------------------------ the check of an exported file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('no\\nmodel')", "it failed: model"),
        ("import os\nos._exit(3)", "it failed: exit status 3"),
        ("while True: pass", "it gave no answer within 1 s"),
        ("def predict(x): return {}", "it gave 0 outputs in place of 1"),
        ("import netc_marker", "it failed: ModuleNotFoundError: No module named 'netc_marker'"),
    ],
)
def test_a_file_is_checked_in_another_process(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file does, this process continues. A module beside the file is not imported."""
    run = run_of(tmp_path, ["a", "b"])
    (tmp_path / "netc_marker.py").write_text("", encoding="utf-8")
    (tmp_path / "model.py").write_text(f"import sys\nsys.netc_was_here = True\n{text}\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if "while" in text:
        monkeypatch.setattr(separate, "TIME_LIMIT", 1)
    import sys

    assert checked(run, exported(run), tmp_path / "model.py") == Checked(message, is_wrong=True)
    assert not hasattr(sys, "netc_was_here")


def test_arrays_and_lists_come_back_from_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f.py").write_text(
        "def predict(x, s): return {'a\\n': x * 2, 'b': [one + 1 for one in s], 'c': s[:0]}\n", encoding="utf-8"
    )
    x, parts = np.arange(3.0), [np.arange(n) for n in (2, 0, 12)]
    results = predict_separately(tmp_path / "f.py", [x, parts], {"a\n": False, "b": True, "c": True})
    assert np.array_equal(results["a\n"], x * 2)
    assert [array.tolist() for array in results["b"]] == [(array + 1).tolist() for array in parts]
    assert results["c"] == []
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(NotRun, match="there is no Python"):
        predict_separately(tmp_path / "f.py", [], {})


def test_nan_is_a_difference() -> None:
    nan, inf = np.nan, np.inf
    for left, right in (([1.0, 1], [1, nan]), ([nan, 1], [1, 1]), ([1.0], [inf]), ([inf], [-inf]), ([nan], [inf])):
        assert difference(np.array(left), np.array(right)) == inf
    assert difference([np.ones(2), np.full(3, nan)], [np.ones(2), np.ones(3)]) == inf
    assert (
        difference([np.ones(2)], [np.ones(3)])
        == difference([np.ones(2)], [])
        == difference(np.ones(2), np.ones((2, 1)))
        == inf
    )
    assert difference(np.array([nan, inf, -inf, 3.0]), np.array([nan, inf, -inf, 3.0])) == 0
    assert difference(np.array([nan, 10.0]), np.array([nan, 11.0])) == pytest.approx(0.1)


def test_the_check_of_an_export_reports_nan(tmp_path: Path) -> None:
    run = run_of(tmp_path, ["a", "b"])
    asked = exported(run)
    text = as_python(run, asked)
    (tmp_path / "model.py").write_text(text.replace("    return {", "    v_ = np.nan\n    return {"), encoding="utf-8")
    assert "at most" in checked(run, asked, tmp_path / "model.py").text
    spoiled = re.sub(r"    'p': (.*),", r"    'p': \1 * np.nan,", text)
    assert spoiled != text
    (tmp_path / "model.py").write_text(spoiled, encoding="utf-8")
    outcome = checked(run, asked, tmp_path / "model.py")
    assert outcome.is_wrong
    assert "it is not what the run says: NaN, infinite" in outcome.text
    run.program.parameters["z.dense.W"][...] = np.nan
    asked = exported(run)
    (tmp_path / "model.py").write_text(as_python(run, asked), encoding="utf-8")
    outcome = checked(run, asked, tmp_path / "model.py")
    assert not outcome.is_wrong
    assert "34 of the run's numbers are NaN" in outcome.text


def test_an_export_that_is_wrong_ends_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 1 for a file that fails, whose numbers differ by more than rounding, or that gives NaN."""
    run = run_of(tmp_path, ["a", "b"])
    right = as_python(run, exported(run))
    monkeypatch.setattr(netc, "open", lambda folder: run)
    path = tmp_path / "m.py"
    for pattern, spoiled, message in (
        (r"'p': (.*),\n", r"'p': \1 * 1.05,\n", "synthetic samples: at most 0.0"),
        (r"'p': (.*),\n", r"'p': \1 * np.nan,\n", "it is not what the run says"),
        (r"'p': (.*),\n", r"'p': \1[:, :1],\n", "or of another shape"),
        (r"'p': (.*),\n", r"'p': nobody,\n", "it failed: NameError"),
    ):
        text = re.sub(pattern, spoiled, right)
        assert text != right
        monkeypatch.setattr("netc.runtime.export.exported.as_python", lambda run, asked, text=text: text)
        with pytest.raises(netc.Fault) as raised:
            export(tmp_path, path)
        assert str(raised.value).startswith(f"error[E1203]: the predictions of `{path}` are not the run's\n")
        assert message in str(raised.value)
        assert path.read_text(encoding="utf-8") == text, "it is there to be looked at"


# ------------------------------------------------------------------ netc new


def test_new_for_hostile_columns(labels: list[str], tmp_path: Path) -> None:
    """The new file parses, checks, and names the columns of the table.

    A column that no text can name is left out with a message.
    """
    rng, named, refused = np.random.default_rng(0), 0, 0
    words = (
        "dense",
        "relu",
        "accuracy",
        "batch",
        "let",
        "class",
        "source",
        "split",
        "numbers",
        "logits",
        "float",
        "training",
        "in",
    )
    for number, part in enumerate(batches([*words, *labels], 15)):
        target, kinds = part[-1], part[:3]
        rows = []
        for i in range(60):
            cells = [rng.normal(), kinds[i % 3], ("yes", "no")[i % 2], f"2020-01-{i % 28 + 1:02d}", "same"]
            rows.append({name: cells[j % 5] for j, name in enumerate(part)} | {target: kinds[i % 3]})
        write_rows(tmp_path / "t.jsonl", rows)
        names = {*part}
        unwritable = {name for name in part if re.search("[\ud800-\udfff]", name)}
        if target in unwritable:
            with pytest.raises(netc.Fault, match="cannot be a target"), nothing_else_runs():
                starting_file("m", tmp_path / "t.jsonl", target, tmp_path, NOWHERE)
            continue
        constant = {name for j, name in enumerate(part) if j % 5 == 4 and name != target}
        if names == unwritable | constant | {target}:
            with pytest.raises(netc.Fault, match="no column beside"):
                starting_file("m", tmp_path / "t.jsonl", target, tmp_path, NOWHERE)
            continue
        with nothing_else_runs():
            start = starting_file(f"{part[1]}", tmp_path / "t.jsonl", target, tmp_path, NOWHERE, tries=False)
        assert all(plain(line.replace("\t", "")) for line in start.text.split("\n"))
        file = parse(Source("m.net", start.text, tmp_path / "m.net"))
        assert print_file(file) == start.text
        model = elaborate(file)
        spec = parse_data(model)
        columns = {column for field in spec.fields.values() for column in field.columns}
        assert columns == names - unwritable - constant, number
        assert {name for name, _ in start.left_out} == unwritable | constant
        assert model.targets[next(iter(model.targets))].classes == 3
        assert spec.fields[next(iter(model.targets))].columns == (target,)
        assert load(model, spec).parts["train"]
        named, refused = named + len(columns), refused + len(unwritable)
    assert named > 20
    assert refused > 0


def test_new_as_a_command(tmp_path: Path) -> None:
    """A csv with quotes, line ends and braces in its names.

    They are written with escapes, the file trains, and its export runs nothing.
    """
    header = 'a,"b ""q""","#{c}\n","d\r",y\n'
    evil = '"no\n}\nblock b(x) { return x }  # \r__import__(""os"").system(""touch PWNED"")"'
    rows = [f"{i % 7}.5,{i % 5},{i % 3},{i % 2},{evil if i % 2 else 'yes'}\n" for i in range(60)]
    (tmp_path / "d.csv").write_bytes((header + "".join(rows)).encode())
    result = command("new", "m", "--data", "d.csv", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "left out" not in result.stdout
    text = (tmp_path / "m.net").read_text(encoding="utf-8")
    assert r'columns("a", "b \"q\"", "#{c}\n", "d\u{d}")' in text
    assert command("check", "m.net", "--strict", cwd=tmp_path).returncode == 0
    os.rename(tmp_path / "d.csv", tmp_path / 'd".csv')
    renamed = command("new", "n", "--data", 'd".csv', "--target", 'b "q"', cwd=tmp_path)
    assert renamed.returncode == 0, renamed.stderr
    assert command("check", "n.net", "--strict", cwd=tmp_path).returncode == 0
    plain_file = command("new", "x\n}\r#", cwd=tmp_path)
    assert plain_file.returncode == 0
    netc.load(tmp_path / "x\n}\r#.net")
    wrong = command("check", "m.net", "--resolved", "--set", 'q="', cwd=tmp_path)
    assert wrong.returncode == 1
    assert "Traceback" not in wrong.stderr
    assert not list(tmp_path.glob("PWNED*"))


def test_new_for_a_table_that_nothing_can_be_learned_from(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.jsonl", [{"a": 1, "b\ud800": i, "y": i % 2} for i in range(20)])
    with pytest.raises(netc.Fault, match="has no column beside `y` that a network could learn from"):
        starting_file("m", tmp_path / "t.jsonl", None, tmp_path, NOWHERE)


def test_a_constant_that_no_text_can_contain(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(
        'let t = "a"\nlet n = 1.0\nmodel {\n  input x: float\n  output y = x * n\n}\n', encoding="utf-8"
    )
    for setting, literal in (('t=q"', r'"q\""'), ("t=a\rb", r'"a\u{d}b"')):
        done = command("check", "m.net", "--resolved", "--set", setting, cwd=tmp_path)
        assert f"let t = {literal}" in done.stdout
    done = command("check", "m.net", "--resolved", "--set", "n=inf", cwd=tmp_path)
    assert done.returncode == 1
    assert "64 bits do not hold this number" in done.stderr
    done = command("check", "m.net", "--resolved", "--set", "t=# }{", cwd=tmp_path)
    assert 'let t = "# }{"' in done.stdout


# ------------------------------------------------------------------ JSON has null


def test_nan_in_a_run_is_null_in_its_files(tmp_path: Path) -> None:
    """metrics.jsonl and the checkpoint contain `null`. It is read as NaN and written the same way again."""
    run = run_of(tmp_path, ["a", "b"])
    run.folder = tmp_path / "run"
    run.folder.mkdir()
    run.metrics = Metrics(
        [{"epoch": 1.0, "train.loss": float("nan"), "valid.m": [[1.0, float("inf")]], "seconds": 0.5}]
    )
    run.progress.epoch, run.progress.sums = 1, {"loss": float("inf"), "other": 1.5}
    run.save()
    text = (run.folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert strict(text) == {"epoch": 1.0, "train.loss": None, "valid.m": [[1.0, None]], "seconds": 0.5}
    progress = load_checkpoint(run.folder / CHECKPOINT, run.program.persistent)
    assert np.isnan(progress.sums["loss"])
    assert progress.sums["other"] == 1.5
    run.metrics = read_metrics(run.folder / "metrics.jsonl", progress.epoch, progress.metrics)
    assert np.isnan(run.metrics[0]["train.loss"])
    run.save()
    assert (run.folder / "metrics.jsonl").read_text(encoding="utf-8") == text


def test_commands_print_null_for_nan(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    (tmp_path / "iris.net").write_bytes((ROOT / "examples" / "iris.net").read_bytes())
    trained = command("train", "iris.net", "--epochs", "1", "--out", "runs/r", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    run = netc.open(tmp_path / "runs" / "r")
    spoiled = {name: np.full_like(array, np.nan) for name, array in run.program.persistent.items()}
    save_checkpoint(run.folder / CHECKPOINT, spoiled, run.progress, run._owned)
    (run.folder / "best.safetensors").unlink(missing_ok=True)
    metrics = strict(command("eval", "runs/r", "--json", cwd=tmp_path).stdout)
    assert metrics["loss"] is None
    rows = (run.folder / "metrics.jsonl").read_text(encoding="utf-8")
    (run.folder / "metrics.jsonl").write_text(re.sub(r'("train.loss": )[\d.e-]+', r"\1null", rows), encoding="utf-8")
    listed = strict(command("runs", "--json", cwd=tmp_path).stdout)
    assert listed[0]["figures"]["train.loss"] is None
    assert " nan" in command("runs", "--metric", "train.loss", cwd=tmp_path).stdout
