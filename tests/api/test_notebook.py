"""The output in notebooks: models, runs and predictions as HTML, the progress of a training, `%%net`, notebooks."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import ROOT, write_project
from terminals import Moment, record

import netc
from netc.notebook import live
from netc.notebook.html import curves, html_of
from netc.runtime.insight.drawing.colours import COLOURS
from netc.runtime.trainer import Report

MOST = 2_000  # characters of the text of an output
NET = "model {\n  input x: float[3]\n  output z = x -> dense(2)\n}\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> netc.Run:
    folder = tmp_path_factory.mktemp("runs")
    write_project(folder)
    return netc.train(netc.load(folder / "m.net"), out=folder / "run", epochs=5)


# ------------------------------------------------------------------ HTML


def test_a_model_is_its_picture_and_a_row_for_each_layer() -> None:
    text = netc.load(ROOT / "examples" / "lenet.net")._repr_html_()
    assert text is not None
    assert text.count("<svg") == text.count("<table") == 1
    assert text.count("<tr>") == 1 + 16
    assert "<td style='text-align:right;padding:1px 8px;min-width:0;white-space:nowrap'>200,832</td>" in text
    assert "features.conv_2" in text


def test_a_model_of_many_values_has_no_picture() -> None:
    lines = "".join(f"  h{i + 1} = sin(h{i})\n" for i in range(200))
    text = netc.parse(f"model {{\n  input x: float[3]\n  h0 = x\n{lines}  output z = h200\n}}\n")._repr_html_()
    assert text is not None
    assert "<svg" not in text
    assert "netc show draws it" in text
    assert text.count("<tr>") <= 62


def test_a_run_is_its_curves_and_its_metrics(run: netc.Run) -> None:
    text = run._repr_html_()
    assert text is not None
    assert text.count("<svg") == 1, "losses share a panel, and there is no metric"
    kept = run.kept_epoch()
    assert kept is not None
    assert "stroke-dasharray" in text, "the epoch that is kept"
    assert f"{run.metrics[-1]['valid.loss']:.4g}" in text


def test_curves_have_gaps_where_a_metric_is_no_number() -> None:
    values = [3.0, 2.0, float("nan"), 1.0, 0.5]
    rows = [{"epoch": i, "train.loss": 1.0, "valid.loss": value} for i, value in enumerate(values, 1)]
    lines = re.findall(r'class="trace" d="([^"]+)"', curves(rows))
    assert sum(line.count("M") for line in lines) == 3, "one line, and two pieces of the other"
    assert "nan" not in curves(rows)
    assert "nan" not in curves([{"epoch": 1, "train.loss": float("nan")}]).replace("train nan", "")


def test_predictions_are_a_table_of_the_first_rows(run: netc.Run) -> None:
    rows = [{"a": number / 10, "b": 1.0} for number in range(30)]
    text = run.predict(rows)._repr_html_()
    assert text is not None
    assert text.count("<tr>") == 1 + 10
    assert "<b>30 predictions</b>" in text
    assert "20 more rows" in text
    html = run.predict([{"a": 1.0, "b": 2.0}, {"a": "x", "b": 1.0}])._repr_html_()
    assert html is not None
    assert "row 2 was not used: `a`" in html.replace("&#x27;", "'")


def test_other_objects_have_no_html() -> None:
    assert html_of(3) is None


# ------------------------------------------------------------------ progress and callbacks


def test_on_epoch_gets_the_rows_of_the_metrics(tmp_path: Path) -> None:
    write_project(tmp_path)
    model, rows = netc.load(tmp_path / "m.net"), list[Any]()
    run = netc.train(model, out=tmp_path / "run", epochs=3, on_epoch=rows.append)
    assert rows == list(run.metrics)


def test_an_exception_of_on_epoch_leaves_a_run_of_its_epochs(tmp_path: Path) -> None:
    write_project(tmp_path)

    def stop(row: Any) -> None:
        if row["epoch"] == 2:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", on_epoch=stop)
    assert len(netc.open(tmp_path / "run").metrics) == 2


def test_a_script_shows_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_project(tmp_path)
    netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", epochs=2)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_a_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_project(tmp_path)
    netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", epochs=2, progress=True)
    assert capfd.readouterr().out == "", "the bar is on the error stream"


PRINTING = """
import netc, time
def show(row):
    if row["epoch"] == 2:
        print("in the middle")
        print("without an end", end="")
    time.sleep(0.4)
netc.train(netc.load("m.net"), out="run", epochs=4, progress=True, on_epoch=show)
print(", and the end")
"""


def test_what_a_callback_prints_is_above_the_bar(tmp_path: Path) -> None:
    write_project(tmp_path)
    recording = record(80, tmp_path, program=PRINTING, moments=[Moment(r"epoch 4/4  ━.*  loss \d")])
    during = recording.moments[0].split("\n")
    assert during[0].rstrip() == "in the middle"
    assert re.match(r"epoch 4/4  ━+╸?─+  loss [\d.]+  [▁-█]+  .* left", during[1]), during
    assert recording.text.strip().split("\n") == ["in the middle", "without an end, and the end"], "the bar goes away"


def test_a_notebook_shows_a_bar_and_curves_and_at_the_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each drawing replaces the one before."""
    write_project(tmp_path)
    drawn = list[dict[str, str]]()
    handle = SimpleNamespace(update=lambda bundle, raw: drawn.append(bundle))

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Any:
        drawn.append(bundle)
        return handle

    shell = SimpleNamespace(kernel=object())
    fake = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))  # type: ignore[arg-type]
    monkeypatch.setattr(live, "_EVERY", 0.0)
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", epochs=3)
    assert "<progress" in drawn[0]["text/html"]
    during = [bundle["text/html"] for bundle in drawn if "epoch 2 of 3" in bundle["text/html"]]
    assert during
    assert all("<svg" in text for text in during)
    assert drawn[-1] == {"text/html": run._repr_html_(), "text/plain": repr(run)}
    display_of = live.NotebookDisplay(run.model)
    display_of.started(run)
    display_of.update(Report(4, 3, 10, 100, 0.5, 1234.0))
    assert "1,234 samples/s" in drawn[-1]["text/html"]


# ------------------------------------------------------------------ IPython


@pytest.fixture
def shell() -> Iterator[Any]:
    """A shell that has loaded the extension."""
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.extension_manager.load_extension("netc")
    yield shell
    InteractiveShell.clear_instance()


def test_a_cell_becomes_a_model(shell: Any) -> None:
    from IPython.utils.capture import capture_output

    with capture_output() as captured:
        shell.run_cell_magic("net", "small width=5", "let width = 2\n" + NET.replace("dense(2)", "dense(width)"))
    model = shell.user_ns["small"]
    assert repr(model) == "<Model 'small.net': x: float[3] -> z: float[5], 20 parameters>"
    (output,) = captured.outputs
    assert output.data["text/plain"] == repr(model)
    assert "<svg" in output.data["text/html"]
    assert f"<span style='color:{COLOURS['blue'].either}'>model</span>" in output.data["text/html"], (
        "the text has colours"
    )
    assert output.data["text/html"].count("user-select:none") == 5, "and numbers of its lines"


def test_a_mistake_in_a_cell_is_its_message(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "%%net wrong\n" + NET.replace("dense", "dens")
    result = shell.run_cell(text)
    assert isinstance(result.error_in_exec, netc.Fault)
    shown = capsys.readouterr().out
    assert "wrong.net:3:" in shown
    assert "did you mean `dense`" in shown
    assert "Traceback" not in shown
    assert "wrong" not in shell.user_ns


@pytest.mark.parametrize("line", ["a b", "3x", "a-b width=3"])
def test_a_name_that_is_no_variable_is_refused(shell: Any, line: str) -> None:
    from IPython.core.error import UsageError

    with pytest.raises(UsageError, match="takes a name"):
        shell.run_cell_magic("net", line, NET)


def test_the_extension_of_jupyterlab_has_the_words_of_the_lexer() -> None:
    from netc.dsl import lexer
    from netc.dsl.keywords import KEYWORDS, SECTIONS, STATEMENTS

    folder = ROOT / "editors" / "jupyter"
    text = (folder / "static" / "remoteEntry.js").read_text(encoding="utf-8")
    words = {
        name: tuple(re.findall(r'"(\w+)"', body)) for name, body in re.findall(r"^    (\w+): \[(.*)\],$", text, re.M)
    }
    assert sorted(words.pop("hard") + words.pop("choice")) == sorted(KEYWORDS)
    assert words == {
        "sections": SECTIONS,
        "declared": STATEMENTS,
        "types": lexer._TYPES,
        "constants": ("true", "false", "yes", "no", "training"),
    }
    package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    assert (folder / package["jupyterlab"]["_build"]["load"]).is_file()
    assert package["version"] == netc.__version__
    assert f'["{package["name"]}"] = container' in text


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_extension_of_jupyterlab_colours_a_text() -> None:
    """Each token of a line has its kind; the modules of JupyterLab are replaced by simple ones."""
    done = subprocess.run(
        [
            "node",
            Path(__file__).with_name("labextension.mjs"),
            ROOT / "editors" / "jupyter" / "static" / "remoteEntry.js",
        ],
        input='%%net a\n  input x: float[3]  # three\nlet s = "a # b"\nfor i in 0..3 { h = h -> dense(1.5e3) }\n',
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        "keyword:input variable:x variable:: type:float variable:[ number:3 variable:] comment:# three",
        'keyword:let variable:s operator:= string:"a # b"',
        "keyword:for variable:i keyword:in number:0 operator:.. number:3 variable:{ variable:h operator:= variable:h "
        "operator:-> def:dense variable:( number:1.5e3 variable:) variable:}",
    ]


# ------------------------------------------------------------------ the notebook of the docs


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("notebook_of_docs", ROOT / "docs" / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_notebook(golden: Any) -> None:
    golden(ROOT / "docs" / "notebook.md", _module().page())


def test_the_notebook_of_the_docs_runs(tmp_path: Path) -> None:
    """Without an error, with pictures, without a long text, and with the kinds of outputs that it holds."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("sklearn")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    module = _module()
    notebook = module.executed(tmp_path)
    stored = json.loads(module.NOTEBOOK.read_text(encoding="utf-8"))
    pictures = 0
    for cell, before in zip(notebook.cells, stored["cells"], strict=True):
        outputs, expected = cell.get("outputs", []), before.get("outputs", [])
        assert [_kind(output) for output in outputs] == [_kind(output) for output in expected]
        for output in outputs:
            assert output["output_type"] != "error"
            data = output.get("data", {})
            text = data.get("text/plain", output.get("text", ""))
            assert len(text) <= MOST, text
            pictures += "<svg" in data.get("text/html", "")
            assert "<script" not in data.get("text/html", "")
    assert pictures >= 3


def _kind(output: Any) -> tuple[str, list[str]]:
    return output["output_type"], sorted(output.get("data", {}))


def test_arrays_of_a_program_print_short() -> None:
    program = netc.compile(netc.parse(NET.replace("dense(2)", "dense(500)")))
    assert repr(program.parameters) == "{'z.dense.W': float32[3, 500], 'z.dense.b': float32[500]}"
    assert isinstance(program.parameters["z.dense.b"], np.ndarray)
