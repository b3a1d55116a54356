"""The page that compares runs: metrics with intervals, curves of all runs, differences of settings and files."""

import json
import math
import re
from pathlib import Path

from support import command

import netc
from netc.runtime.insight.comparison import comparison_page
from netc.runtime.insight.curves import curve_sections
from netc.runtime.insight.highlighted import highlighted
from netc.runtime.insight.sections import Curves

TEXT = """# <b>hostile</b> & "text"
data {
  source = csv("t.csv")
  x = columns("a", "b") -> standardize
  y = column("y") -> classes
  split = (train = 0.6, test = 0.4)
}
model {
  input x: float[2]
  target y: class(2)
  z = x -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}
train { epochs = 3 }
"""


def test_two_runs_are_compared(tmp_path: Path) -> None:
    rows = "\n".join(f"{n % 7},{n % 3},{'<u>' if n % 2 else 'v'}" for n in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,y\n{rows}\n", encoding="utf-8")
    (tmp_path / "m.net").write_text(TEXT, encoding="utf-8")
    (tmp_path / "n.net").write_text(TEXT.replace("dense(2)", "dense(3) -> tanh -> dense(2)"), encoding="utf-8")
    for file, run, epochs in (("m.net", "r<1>", 3), ("n.net", "r2", 2)):
        done = command("train", file, "--out", run, "--set", f"epochs={epochs}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = command("report", "r<1>", "r2", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "comparison.html\n"), done.stderr
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "<h1>r&lt;1&gt; and r2</h1>" in page
    assert "r<1>" not in page
    assert "http" not in page
    for run in ("r<1>", "r2"):
        metrics, intervals = netc.open(tmp_path / run).evaluate_with_intervals("test")
        low, high = intervals["accuracy"]
        assert f"<td>{metrics['accuracy']:.4g} [{low:.4g}, {high:.4g}]</td>" in page
    assert "<td>--set epochs</td><td>3</td><td>2</td>" in page
    assert re.search(r'<span class="line old">-<?', page)
    assert re.search(r'<span class="line new">\+', page)
    same = comparison_page([netc.open(tmp_path / "r2"), netc.open(tmp_path / "r2")])
    assert "are the same." in same
    assert command("report", *["r2"] * 9, cwd=tmp_path).returncode == 2


def test_curves_of_runs_share_their_epochs() -> None:
    runs = {
        "a": [{"epoch": float(n), "valid.loss": 1 / n} for n in (1, 2, 3)],
        "b": [{"epoch": float(n), "valid.loss": math.nan if n == 2 else n} for n in (1, 2, 4)],
    }
    (curves,) = (section for section in curve_sections(runs) if isinstance(section, Curves))
    (curve,) = curves.curves
    assert curve.title == "loss"
    assert curve.numbers["x"] == [1, 2, 3, 4]
    assert curve.numbers["names"] == ["a valid", "b valid"]
    assert curve.numbers["numbers"] == [[1, 0.5, 0.33333, None], [1, None, None, 4]]
    assert json.dumps(curve.numbers)
    assert curve.logarithmic
    first, last = curve.numbers["pixels"][:2]
    assert f"{last:.1f}" in curve.markup
    assert f"M{first:.1f}" in curve.markup


def test_a_highlighted_text_is_the_text() -> None:
    text = TEXT + '\n\n  let a = "\\u{41} <i>"  # end\n'
    lines = highlighted(text)
    assert ["".join(piece for _, piece in line) for line in lines] == text.split("\n")
    assert ("k", "model") in [piece for line in lines for piece in line]
    changed = "-" + text.replace("\n", "\n+")
    assert ["".join(piece for _, piece in line) for line in highlighted(changed, True)] == changed.split("\n")
