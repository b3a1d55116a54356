"""The whole page of a run of each kind: which sections it has, its size, and that hostile names stay text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from test_report import MB, run_of

from netc.runtime.insight import report
from netc.runtime.runs.metrics import Metrics

NASTY = "\"><script>PWNED</script><img src=x onerror='PWNED'>"
HEAD = 'data {\n  source = jsonl("t.jsonl")\n'
SPLIT = "  split = (train = 0.5, test = 0.5)\n}\n"


class Page(HTMLParser):
    """The tags of a page with the names of their attributes, its headings, and all texts outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.headings, self.texts, self.inside = set[str](), list[str](), list[str](), ""
        self.attributes = set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("h2", "h3"):
            self.headings.append(data)
        elif self.inside not in ("script", "style"):
            self.texts.append(data)


def page_of(folder: Path, fields: str, model: str, rows: list[dict[str, object]]) -> Page:
    run = run_of(folder, rows, f"{HEAD}{fields}{SPLIT}model {{\n{model}}}\n")
    run.metrics = Metrics({"epoch": n, "seconds": 0.1, "train.loss": 1 / n, "valid.loss": 2 / n} for n in range(1, 9))
    text = report.page(run)
    assert len(text.encode()) < MB
    assert "PWNED'" not in text.replace("&#39;", "").replace("&#x27;", "")
    page = Page(text)
    assert not page.tags & {"link", "iframe", "object"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert "Curves" in page.headings
    assert "The file" in page.headings
    return page


def test_a_table_of_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{NASTY: rng.normal(), "b": rng.normal(), "y": f"{NASTY}{n % 3}"} for n in range(60)]
    quoted = NASTY.replace('"', '\\"')
    page = page_of(
        tmp_path,
        f'  x = columns("{quoted}", "b") -> standardize\n  y = column("y") -> classes\n',
        "input x: float[2]\ntarget y: class(auto)\nz = x -> dense(size(y))\noutput p = softmax(z)\n"
        "loss cross_entropy(z, y)\nmetric accuracy(z, y)\n",
        rows,
    )
    for heading in ("y: precision and recall, ROC, test", "y: each class, test", "The worst mistakes, y"):
        assert heading in page.headings
    assert {"Importance of the columns, test", "Why: integrated gradients, test"} <= {*page.headings}
    assert any(heading.startswith("p: how often y is right") for heading in page.headings)
    assert page.texts.count(NASTY) >= 1, "the column of a mistake"
    assert page.texts.count(f"{NASTY}1") >= 2, "a row and a column of the confusion"


def test_a_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [{"a": rng.normal(), "b": "uv"[n % 2], "y": rng.normal()} for n in range(40)]
    page = page_of(
        tmp_path,
        '  x = column("a")\n  k = column("b") -> one_hot\n  y = column("y") -> standardize\n',
        "input x: float\ninput k: float[2]\ntarget y: float\nz = concat(stack(x, x), k) -> dense(1) -> squeeze\n"
        "output g = z\nloss mse(z, y)\nmetric mae(z, y)\n",
        rows,
    )
    assert {"y: predicted against true, test", "The worst mistakes, y"} <= {*page.headings}
    assert any(text.startswith("The residuals, true - predicted") for text in page.texts)


def test_a_number_that_is_written_twice(tmp_path: Path) -> None:
    """`y[0]` of the output and `y[0]` of the loss are one value, in the units of the target."""
    rng = np.random.default_rng(1)
    page = page_of(
        tmp_path,
        '  x = columns("a", "b")\n  y = column("y") -> standardize\n',
        "input x: float[2]\ntarget y: float\nz = x -> dense(1)\n"
        "output g = z[0]\nloss mse(z[0], y)\nmetric mae(z[0], y)\n",
        [{"a": rng.normal(), "b": rng.normal(), "y": rng.normal()} for _ in range(40)],
    )
    assert {"y: predicted against true, test", "The worst mistakes, y"} <= {*page.headings}
    assert "Why: integrated gradients, test" in page.headings


def test_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [{"p": rng.random((9, 9, 1)).tolist(), "y": f"k{n % 2}"} for n in range(24)]
    page = page_of(
        tmp_path,
        '  x = field("p")\n  y = field("y") -> classes\n',
        "input x: float[9, 9, 1]\ntarget y: class(2)\nh = x -> conv(3) -> relu -> flatten\nz = h -> dense(2)\n"
        "output p = softmax(z)\nloss cross_entropy(z, y)\n",
        rows,
    )
    assert any(heading.startswith("The kernels of the first convolution") for heading in page.headings)
    assert "Why: integrated gradients, test" in page.headings
    assert "Importance of the columns, test" not in page.headings, "there is only one input"
    assert any("Blue pixels" in text for text in page.texts)


def test_texts(tmp_path: Path) -> None:
    rows = [{"t": f"<b>&{'ab' * (n % 3 + 1)}", "y": f"k{n % 2}"} for n in range(24)]
    page = page_of(
        tmp_path,
        '  x = column("t") -> characters -> vocabulary\n  y = column("y") -> classes\n',
        "input x: class(auto)[letters]\ntarget y: class(2)\nh = x -> embed(3)\nz = h -> lstm(4) -> last -> dense(2)\n"
        "output p = softmax(z)\nloss cross_entropy(z, y)\n",
        rows,
    )
    assert "Why: integrated gradients, test" in page.headings
    assert {"<", "b", ">", "&"} <= {*page.texts}, "letters with their parts"


def test_an_autoencoder(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [{"p": rng.random(64).tolist()} for _ in range(24)]
    page = page_of(
        tmp_path,
        '  x = field("p")\n',
        "input x: float[64]\ncode = x -> dense(3)\nagain = code -> dense(64) -> sigmoid\noutput code = code\n"
        "output again = again\nloss mse(again, x)\n",
        rows,
    )
    assert any(re.match(r"x, and beside it again", heading) for heading in page.headings)
    assert any(heading.startswith("code, float[3]") for heading in page.headings)
    assert "again, decoded from a grid of code" in page.headings


@pytest.mark.parametrize("count", [200])
def test_many_columns(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = [{**{f"c{i}": rng.normal() for i in range(count)}, "y": f"k{n % 2}"} for n in range(40)]
    page = page_of(
        tmp_path,
        '  x = columns(all, except = "y")\n  y = column("y") -> classes\n',
        f"input x: float[{count}]\ntarget y: class(2)\nz = x -> dense(2)\noutput p = softmax(z)\n"
        "loss cross_entropy(z, y)\n",
        rows,
    )
    assert "Of more than 60 columns, the first 60 were shuffled." in page.texts
    assert f"{count - 12:,} more columns are left out." in page.texts
