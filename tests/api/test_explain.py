"""`netc explain`: graphs and their differences, the values that share a loop, the width of kernels, and times."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support import ROOT, command

import netc
from netc.compiler import pipeline
from netc.compiler.analysis.differences import Labels, Lines, as_lines, difference
from netc.compiler.planning.verify_plan import verify_plan
from netc.compiler.program.listing_parser import parse_tasks
from netc.compiler.program.plan_parser import parse_plan
from netc.compiler.program.verify import verify_tasks
from netc.dsl.source import Source

HERE = Path(__file__).parent
TEXT = """model {
  input x: float[3]
  target y: class(4)
  h = x -> dense(5) -> tanh
  z = h -> dense(4)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""


def test_a_difference_between_two_passes(golden, tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(TEXT, encoding="utf-8")
    printed = command("explain", "m.net", "--after", "simplify", "--diff", "expand", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    golden(HERE / "diff.txt", printed.stdout)
    assert command("explain", "m.net", "--diff", "recompute", cwd=tmp_path).returncode == 2  # the last pass, and itself


def test_the_body_of_a_scan_is_indented_below_it(golden, tmp_path: Path) -> None:
    """In the whole graph, and in the values of one line."""
    (tmp_path / "m.net").write_text(
        """model {
  input x: float[time, 3]
  target y: float
  s = scan xt in x with a = zeros(3) {
    a = tanh(a + xt)
    yield a
  }
  z = last(s) -> dense(1) -> squeeze
  loss mse(z, y)
}
""",
        encoding="utf-8",
    )
    shown = command("explain", "m.net", "--after", "elaborate", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    golden(HERE / "scan.txt", shown.stdout)
    inside = command("explain", "m.net", "--after", "elaborate", "--line", "5", cwd=tmp_path).stdout.splitlines()
    assert " = scan[" in inside[0]
    assert inside[0].endswith(" {  # m.net:4")
    assert inside[-2:] == ["  yield.0 = %3", "}"]


def test_a_difference_between_two_versions_of_a_file(golden, tmp_path: Path) -> None:
    """A line that is inserted above moves all other lines, but they do not count as changed."""
    (tmp_path / "before.net").write_text(TEXT, encoding="utf-8")
    (tmp_path / "now.net").write_text(
        "# one line more\n" + TEXT.replace("dense(5) -> tanh", "dense(5) -> relu"), encoding="utf-8"
    )
    printed = command("explain", "now.net", "--diff", "before.net", "--after", "elaborate", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    # a step's bytes depend on the machine, and the width of their column with them
    table, changes = printed.stdout.split("@@", 1)
    table = re.sub(r"(bytes of a step).*", r"\1 ...", re.sub(r" {2,}", "  ", table))
    golden(HERE / "changed.txt", f"{table}@@{changes}")
    same = command("explain", "now.net", "--diff", "now.net", "--after", "simplify", cwd=tmp_path)
    assert same.stdout.endswith("\nthe same values\n")
    wrong = command("explain", "now.net", "--diff", "nothing", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "neither a pass nor a file" in " ".join(wrong.stderr.split())


def test_a_graph_has_no_difference_from_itself() -> None:
    for path in sorted((ROOT / "examples").glob("*.net"))[:6]:
        graph, labels = pipeline.training_graph(netc.load(path)), Labels()
        first = as_lines(graph, labels)
        names = [line.partition(" = ")[0] for line in first if " : " in line and not line.startswith(" ")]
        assert len({*names}) == len(names), "two values of one name"
        assert list(difference(first, as_lines(pipeline.training_graph(netc.load(path)), labels))) == []


def test_lines_of_two_texts_are_matched() -> None:
    lines = Lines.of(Source("a", "one\ntwo\nthree"), Source("b", "zero\none\n2\nthree  # told\nfour"))
    assert dict(lines.numbers) == {2: "1", 3: "2", 4: "3"}


def test_the_values_of_one_line_after_a_pass(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(TEXT, encoding="utf-8")
    printed = command("explain", "m.net", "--after", "elaborate", "--line", "4", cwd=tmp_path)
    assert [line.split(" = ")[1].split("(")[0].split("[")[0] for line in printed.stdout.splitlines()] == [
        "parameter",
        "parameter",
        "einsum",
        "add",
        "tanh",
    ]


def test_values_that_share_a_loop_are_listed(golden, tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(TEXT + "train { optimizer = sgd(lr = 0.1) }\n", encoding="utf-8")
    printed = command("explain", "m.net", "--fusion", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    golden(HERE / "fusion.txt", printed.stdout)
    only = command("explain", "m.net", "--fusion", "--line", "7", cwd=tmp_path)
    assert 0 < len(only.stdout) < len(printed.stdout)


def test_lowered_programs_and_plans_are_printed(tmp_path: Path) -> None:
    """Tasks and plans print in a form that reads back, with the lines of the file."""
    (tmp_path / "m.net").write_text(TEXT + "train { optimizer = sgd(lr = 0.1) }\n", encoding="utf-8")
    lowered = command("explain", "m.net", "--after", "lower", cwd=tmp_path)
    assert lowered.returncode == 0, lowered.stderr
    program = parse_tasks(lowered.stdout)
    verify_tasks(program)
    assert "# line 4" in lowered.stdout
    of_line = command("explain", "m.net", "--after", "lower", "--line", "4", cwd=tmp_path).stdout
    assert 0 < len(parse_tasks(of_line).tasks) < len(program.tasks)
    planned = command("explain", "m.net", "--after", "plan", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    again, plan = parse_plan(planned.stdout)
    verify_plan(again, plan)
    assert len(plan.tasks) == len(program.tasks)
    for options in (("--after", "plan", "--line", "4"), ("--after", "lower", "--diff", "sink"), ("--after", "lowered")):
        assert command("explain", "m.net", *options, cwd=tmp_path).returncode == 2, options


def test_the_width_of_a_kernel_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.net").write_text(TEXT, encoding="utf-8")
    assert command("check", "m.net", "--try", cwd=tmp_path).returncode == 0
    printed = command("explain", "m.net", "--line", "4", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert re.search(r"tanh : f32\[batch, 5\]\n# vectors of (4|8|16) elements\ndef kernel", printed.stdout)
    (tmp_path / "other.net").write_text(TEXT.replace("dense(5)", "dense(7)"), encoding="utf-8")
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))  # where nobody compiled anything yet
    new = command("explain", "other.net", "--line", "4", cwd=tmp_path)
    assert "# not compiled yet" in new.stdout


def test_a_flame_graph_shows_times(tmp_path: Path) -> None:
    done = command("profile", ROOT / "examples" / "iris.net", "--lines", "-o", "iris.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[0].split()[:3] == ["line", "text", "kernels"]
    assert any("dense(16)" in row for row in rows)
    picture = ElementTree.fromstring((tmp_path / "iris.svg").read_text(encoding="utf-8"))
    titles = [element.text or "" for element in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert [title.partition(":")[0] for title in titles if title.startswith(("forward", "backward", "update"))] == [
        "forward",
        "backward",
        "update",
    ]
    boxes = picture.iter("{http://www.w3.org/2000/svg}rect")
    step, *inner = ((float(box.get("x", "0")), float(box.get("width", "0"))) for box in boxes)
    assert all(step[0] - 0.1 <= x and x + width <= step[0] + step[1] + 0.1 for x, width in inner)
    assert command("profile", ROOT / "examples" / "iris.net", "-o", "iris.png", cwd=tmp_path).returncode == 2
