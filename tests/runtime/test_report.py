"""The size of a report is limited: large contents are cut, and the page says so."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netc.commands import terminal
from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.classes import class_counter
from netc.runtime.data.dataset import load
from netc.runtime.insight import report, residuals, sections
from netc.runtime.insight.codes import nearest
from netc.runtime.insight.confusion import confusion
from netc.runtime.insight.curves import draw
from netc.runtime.insight.histograms import histogram_sections
from netc.runtime.insight.pages import page_html, section_html
from netc.runtime.insight.pictures import MOST_PIXELS, png, thinned
from netc.runtime.insight.sections import Heading, Paragraph
from netc.runtime.metric_names import is_histogram
from netc.runtime.metric_values import histogram
from netc.runtime.predictions import TargetPrediction
from netc.runtime.program import Program
from netc.runtime.runs.metrics import Metrics
from netc.runtime.runs.run import Run

MB = 1_000_000


def prediction(classes: int, count: int, seed: int = 0) -> TargetPrediction:
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, classes, count), rng.integers(0, classes, count)
    predicted = np.where(rng.random(count) < 0.6, true, predicted)
    labels = tuple(f"label <{i}> {'x' * (i % 90)}" for i in range(classes))
    return TargetPrediction("y", "p", labels, predicted, true, (true != predicted).astype(float))


def confusion_html(prediction: TargetPrediction) -> str:
    return "".join(map(section_html, confusion(prediction)))


def cells(table: str) -> tuple[list[str], np.ndarray]:
    """The labels of the rows and the numbers of a matrix in HTML."""
    rows = re.findall(r"<tr><th>(.*?)</th>(.*?)</tr>", table)
    cells = [re.findall(r"<td[^>]*>(?:(\d+)<small>[^<]*</small>)?</td>", row) for _, row in rows]
    numbers = [[int(cell or 0) for cell in row] for row in cells]
    return [label for label, _ in rows], np.array(numbers)


@pytest.mark.parametrize("classes", [2, 30])
def test_a_confusion_matrix_of_few_classes_is_complete(classes: int) -> None:
    sections = prediction(classes, 500)
    labels, numbers = cells(confusion_html(sections))
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (sections.true, sections.predicted), 1)
    np.testing.assert_array_equal(numbers, expected)
    assert len(labels) == classes
    assert "left" not in confusion_html(sections)


@pytest.mark.parametrize("classes", [31, 2_000, 200_000])
def test_a_confusion_matrix_of_many_classes_keeps_the_confused_ones(classes: int) -> None:
    sections = prediction(classes, 5_000)
    text = confusion_html(sections)
    assert len(text) < MB // 5
    assert f"30 of {classes:,} classes are shown, those that are in most mistakes; all others are one." in text
    labels, numbers = cells(text)
    assert labels[-1] == "others"
    assert numbers.shape == (31, 31)
    assert numbers.sum() == 5_000
    kept = [int(re.match(r"label &lt;(\d+)&gt;", label)[1]) for label in labels[:-1]]
    mistakes = np.zeros(classes, int)
    for side in (sections.true, sections.predicted):
        np.add.at(mistakes, side[sections.true != sections.predicted], 1)
    rest = np.delete(mistakes, kept)
    assert mistakes[kept].min() >= rest.max()
    for i, row in enumerate(kept):
        assert numbers[i, i] == ((sections.true == row) & (sections.predicted == row)).sum()
        assert numbers[i].sum() == (sections.true == row).sum()


def run_of(folder: Path, rows: list[dict], text: str) -> Run:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    file = parse(Source("m.net", text, folder / "m.net"))
    model = elaborate(file, {}, class_counter(file))
    spec = parse_data(model)
    data = load(model, spec)
    return Run(folder / "run", model, data.spec, data.states, Program(model, backend="reference"), dataset=data)


def test_a_page_of_two_thousand_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"a": rng.normal(), "kind": f"a long label of a kind {i} {'x' * 500}"} for i in range(2_000) for _ in range(3)
    ]
    text = """data {
  source = jsonl("t.jsonl")
  x = columns("a")
  y = column("kind") -> classes
  split = (train = 0.5, test = 0.5)
}
model {
  input x: float[1]
  target y: class(auto)
  z = x -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
    page = report.page(run_of(tmp_path, rows, text))
    assert len(page) < MB // 2
    assert "30 of 2,000 classes are shown" in page


def test_a_page_of_many_targets_parameters_and_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "_MOST_TEXT", 3_000)
    monkeypatch.setattr(residuals, "_MOST_POINTS", 10)
    rows = [{f"y{i}": i + n * 0.5 for i in range(20)} | {"a": n * 0.1} for n in range(40)]
    names = [f"y{i}" for i in range(20)]
    text = (
        'data {\n  source = jsonl("t.jsonl")\n  x = columns("a")\n'
        + "".join(f'  {name} = column("{name}")\n' for name in names)
        + "  split = (train = 0.5, test = 0.5)\n}\nmodel {\n  input x: float[1]\n"
        + "".join(f"  target {name}: float\n" for name in names)
        + "".join(f"  z{name} = x -> dense(1) -> squeeze\n" for name in names)
        + "".join(f"  h{i} = x -> dense(1)\n" for i in range(300))
        + "".join(f"  output o{name} = z{name}\n  loss l{name} = mse(z{name}, {name})\n" for name in names)
        + "}\n"
    )
    page = report.page(run_of(tmp_path, rows, text))
    assert page.count("predicted against true, test</h2>") == 8
    assert "12 more targets are left out." in page
    assert "340 more parameters are left out." in page
    assert "One of every 2 samples is shown." in page
    assert re.search(
        r"[\d,]+ more characters are in the run's folder", page.replace("&#x27;", "'").replace("&#39;", "'")
    )
    assert len(page) < 2 * MB


def test_a_page_of_large_pictures(tmp_path: Path) -> None:
    """Pictures are scaled down, so the size of a page does not grow with the pixels of the data."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "p" / label).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (900, 900, 3), np.uint8)).save(tmp_path / "p" / label / f"{i}.png")
    text = """data {
  source = images("p")
  x = field("image") -> scale(1 / 255)
  y = field("label") -> classes
  split = (train = 0.5, test = 0.5)
}
model {
  input x: float[900, 900, 3]
  target y: class(auto)
  s = x -> mean(over = (0, 1))
  z = s -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
    page = report.page(run_of(tmp_path, [], text))
    assert "One of every 10 pixels, along each side, is shown." in page
    assert page.count("data:image/png") >= 3
    assert len(page) < MB


def test_jinja_is_imported_for_reports_only() -> None:
    """Training, predicting and diagnosing start without it."""
    modules = (
        "netc.runtime.trainer, netc.runtime.predictions, netc.runtime.insight.diagnose, netc.runtime.insight.curves"
    )
    program = f"import sys, {modules}\nassert 'jinja2' not in sys.modules\nimport netc.runtime.insight.report\n"
    program += "assert 'jinja2' in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_pictures_are_scaled_down() -> None:
    image = np.arange(2 * 1000 * 600.0).reshape(2, 1000, 600)
    small, every = thinned(image)
    assert (every, small.shape) == (4, (2, 250, 150))
    np.testing.assert_array_equal(small, image[:, ::4, ::4])
    assert thinned(image[:, :256, :256])[1] == 1
    assert len(png(np.random.default_rng(0).random((5000, 5000)))) < 6 * MOST_PIXELS**2


def test_curves_of_many_epochs_and_metrics() -> None:
    rng = np.random.default_rng(0)
    names = [f"valid.watch.{name}.{kind}" for name in ("g", "h") for kind in ("mean", "std", "min", "max")]
    rows = Metrics(
        {"epoch": i + 1, "train.loss": rng.random(), **{name: rng.random() for name in names}} for i in range(9_001)
    )
    text = draw(rows).decode()
    assert "one of every 19" in text
    assert len(text) < 2 * MB
    few = draw(rows[:500]).decode()
    assert "one of every" not in few
    many = Metrics([{"epoch": 1, **{f"train.m{i}": 1.0 for i in range(40)}}])
    assert "16 more metrics are in metrics.jsonl" in draw(many).decode()
    assert draw(many).decode().count(">epoch</text>") == 24


def test_the_nearest_codes_are_found_row_by_row() -> None:
    codes = np.random.default_rng(0).standard_normal((50, 3))
    distance = np.square(codes[:, None] - codes[None]).sum(axis=-1)
    asked = np.linspace(0, 49, 8).astype(int)
    np.testing.assert_array_equal(nearest(codes), np.argsort(distance[asked], axis=1, kind="stable")[:, :9])


def test_matrices_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.matrices({"confusion": [[1.0, 0.0], [2.0, 3.0]]})
    assert "rows are true, columns predicted" in capsys.readouterr().out
    terminal.matrices({"confusion": [[0.0] * 2000] * 2000})
    printed = capsys.readouterr().out
    assert "2000 rows of 2000 numbers, too many to show" in printed
    assert len(printed) < 200


def test_watched_weights_and_gradients_have_histograms(tmp_path: Path) -> None:
    """Each epoch has the counts of 24 bins; of values that samples have, only mean, deviation and range are kept."""
    rng = np.random.default_rng(5)
    rows = [{"a": rng.normal(), "b": rng.normal(), "y": rng.normal()} for _ in range(30)]
    text = """data {
  source = jsonl("t.jsonl")
  x = columns("a", "b")
  y = column("y")
  split = (train = 0.5, test = 0.5)
}
model {
  input x: float[2]
  target y: float
  param W: float[2, 5] = normal(1)
  h = tanh(x @ W)
  e = (mean(h) - y) ** 2
  loss mean(e, over = batch)
  watch weight = W
  watch slope = grad(mean(e, over = batch), W)
  watch hidden = h
  watch scale = W[0, 0]
}
"""
    run = run_of(tmp_path, rows, text)
    metrics = run.evaluate("test")
    assert {name for name in metrics if is_histogram(name)} == {"watch.weight.histogram", "watch.slope.histogram"}
    weight = run.program.parameters["W"]
    counts, edges = np.histogram(weight.astype(np.float64), 24)
    lower, heights = metrics["watch.weight.histogram"]
    np.testing.assert_array_equal(lower, edges[:-1])
    assert heights == counts.tolist()
    fields = run.load_data().parts["test"]
    x, y = (np.asarray(fields[name], np.float64) for name in ("x", "y"))
    h = np.tanh(x @ weight)
    slope = x.T @ (2 * (h.mean(axis=1) - y)[:, None] * (1 - h**2) / 5) / len(x)
    np.testing.assert_allclose(metrics["watch.slope.histogram"][0], np.histogram(slope, 24)[1][:-1], rtol=1e-4)
    assert sum(metrics["watch.slope.histogram"][1]) == 10
    epochs = [{"epoch": float(n), **{f"valid.{name}": value for name, value in metrics.items()}} for n in range(1, 40)]
    page = "".join(map(section_html, histogram_sections(epochs)))
    assert page.count("<svg") == 2
    assert page.count('class="trace"') == 2 * 14
    assert not [*histogram_sections([{"epoch": 1.0, "valid.loss": 1.0}])]
    assert histogram(np.array([np.nan, np.inf]))[1] == [0.0] * 24


def test_a_page_has_a_largest_size() -> None:
    parts = [Heading("first"), Paragraph("x" * MB), Paragraph("y" * MB), Paragraph("the end")]
    page = page_html("title", "subtitle", parts)
    assert len(page.encode()) < 2 * MB
    assert "x" * MB in page
    assert "yyy" not in page
    assert re.search(r"1,000,\d{3} bytes are left out here, for which the page has no room\.", page)
    assert "the end" in page


def test_a_page_says_which_sections_it_leaves_out(tmp_path: Path) -> None:
    rows = [{"a": float(i), "c": i % 5 / 2, "b": i % 3 - 1.0} for i in range(20)]
    text = """data {
  source = jsonl("t.jsonl")
  x = columns("a", "c")
  y = column("b")
  split = (train = 0.5, test = 0.5)
}
model {
  input x: float[2]
  target y: float
  output z = x -> dense(1) -> squeeze
  loss mse(z, y)
}
"""
    page = report.page(run_of(tmp_path, rows, text))
    (left_out,) = re.findall(r"Left out, with what each needs: ([^<]*)\.<", page)
    names = [needs.partition(" (")[0] for needs in left_out.split("; ")]
    assert names == ["calibration", "reconstructions", "codes", "kernels"]
    assert "The worst mistakes" in page
