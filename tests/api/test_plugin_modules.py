"""Plug-ins as modules: named by an option, installed, or wrong; with operations, passes, data steps and blocks."""

import re
import subprocess
from pathlib import Path

import pytest
from support import ROOT, command

import netc
from netc import extend

MODULE = """
import numpy as np
from netc.extend import apply, elementwise

soft = elementwise(
    "NAME",
    "x / (scale + |x|).",
    scalar="x / (scale + abs(x))",
    reference=lambda x, scale: x / (scale + np.abs(x)),
    gradient=lambda g, r, x, scale: g * scale / ((scale + apply("abs", x)) * (scale + apply("abs", x))),
    numbers={"scale": 1.0},
)
"""
PASS = """
from netc.extend import Pass, rebuild

def rule(copy, value, operands):
    if value.operation == "add" and operands[0] is operands[1]:
        return operands[0] * 2.0
    return copy.add(value.operation, operands, value.attributes, value.type)

twins = Pass("twins", "x + x becomes 2 * x.", lambda graph: rebuild(graph, rule), after="simplify")
"""
STEP = """
from netc.extend import step

halved = step("NAME", "Half of it.", lambda values, state: values / 2, undo=lambda values, state: values * 2)
"""
LIBRARY = """
from netc.extend import Library

blocks = Library("mine.net", "layer", "# As it is.\\nblock NAME(x: float[...]) { return x }\\n")
"""
NET = """
data {
  source = csv("d.csv")
  x = columns("a", "b")
  y = column("c")
  split = (train = 1.0)
}
model {
  input x: float[2]
  target y: float
  z = NAME(x -> dense(4), scale = 2) -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
}
train { epochs = 2 }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE.replace("NAME", "softly"), encoding="utf-8")
    (tmp_path / "m.net").write_text(NET.replace("NAME", "softly"), encoding="utf-8")
    (tmp_path / "d.csv").write_text(
        "a,b,c\n" + "\n".join(f"{i % 5},{i % 3},{(i % 5) - (i % 3)}" for i in range(40)), encoding="utf-8"
    )
    return tmp_path


def run(project: Path, *arguments: object) -> subprocess.CompletedProcess:
    return command(*arguments, cwd=project, path=project)


def test_a_plugin_is_part_of_the_language(project: Path) -> None:
    unknown = run(project, "check", "m.net")
    assert unknown.returncode == 1
    assert "E0201" in unknown.stderr
    assert run(project, "check", "m.net", "--plugin", "mine").returncode == 0
    done = run(project, "train", "m.net", "--plugin", "mine")
    assert done.returncode == 0, done.stderr
    refused = run(project, "predict", "runs/m", "d.csv")
    assert refused.returncode == 1, "a run chose what is imported"
    assert "it was trained with the plug-in `mine`\n  = hint: --plugin mine, if you trust it\n" in refused.stderr
    result = run(project, "predict", "runs/m", "d.csv", "--plugin", "mine")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 41
    page = run(project, "ops", "softly", "--plugin", "mine").stdout
    assert page.startswith(
        "softly(x, scale = 1.0)    (operation)\nx / (scale + |x|).\nDefined by the plug-in `mine`.\n"
    )
    tested = run(project, "ops", "softly", "--test", "--plugin", "mine")
    assert tested.stdout == "softly: type rule, reference, kernel and gradients agree, in f32 and f64, in 2 cases\n"
    kernels = run(project, "explain", "m.net", "--line", "11", "--plugin", "mine").stdout
    assert "softly" in kernels


def test_the_example_of_a_plugin_loads_and_passes_its_check(tmp_path: Path) -> None:
    """Each module of examples/plugin, by name: .ci/run installs the package and runs its own tests."""
    package = ROOT / "examples/plugin"
    names = [path.stem for path in (package / "netc_extras").glob("*.py") if path.stem != "__init__"]
    assert "mish" in names
    for name in names:
        listed = command("ops", "--plugin", f"netc_extras.{name}", cwd=tmp_path, path=package)
        assert listed.returncode == 0, listed.stderr
    checked = command("ops", "mish", "--test", "--plugin", "netc_extras.mish", cwd=tmp_path, path=package)
    assert "gradients agree" in checked.stdout, checked.stderr


def test_a_file_that_a_plugin_never_closes_is_written(project: Path) -> None:
    (project / "logging_plugin.py").write_text(
        "from mine import soft\nLOG = open('log.txt', 'w')\nLOG.write('loaded')\n", encoding="utf-8"
    )
    assert run(project, "check", "m.net", "--plugin", "logging_plugin").returncode == 0
    assert (project / "log.txt").read_text(encoding="utf-8") == "loaded"


def test_an_installed_plugin_needs_no_option(project: Path) -> None:
    metadata = project / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text("[netc.operations]\nsoftly = mine:soft\n", encoding="utf-8")
    done = run(project, "train", "m.net")
    assert done.returncode == 0, done.stderr
    assert "softly(x, scale = 1.0)" in run(project, "ops").stdout
    (metadata / "entry_points.txt").write_text("[netc.operations]\nsoftly = mine:hard\n", encoding="utf-8")
    broken = run(project, "check", "m.net")
    assert broken.returncode == 1
    assert broken.stderr.startswith(
        "error[E1101]: the plug-in `mine:hard` cannot be imported\n --> the plug-in mine:hard\n"
    )


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODULE.replace("NAME", "relu"), "error[E1102]: `mine` defines `relu`, which is defined by netc itself"),
        (MODULE.replace("NAME", "dense"), "error[E1102]: `mine` defines `dense`, which is defined by netc itself"),
        (MODULE.replace("NAME", "split"), "error[E1102]: `mine` defines `split`, which is defined by netc itself"),
        ("import nowhere_to_be_found", "error[E1101]: the plug-in `mine` cannot be imported"),
        ("1 / 0", "error[E1101]: the plug-in `mine` cannot be imported"),
        ("def f(:", "error[E1101]: the plug-in `mine` cannot be imported"),
        ("x = 1", "error[E1101]: the plug-in `mine` adds nothing"),
        (LIBRARY.replace("NAME", "dense"), "error[E1102]: `mine` defines `dense`, which is defined by netc itself"),
        (LIBRARY.replace("NAME", "relu"), "error[E1102]: `mine` defines `relu`, which is defined by netc itself"),
        (LIBRARY.replace("{ return", "return"), "error[E0101]: unexpected `return`"),
        (STEP.replace("NAME", "classes"), "error[E1102]: `mine` defines `classes`, which is defined by netc itself"),
        (PASS.replace("simplify", "simplified"), "error[E1101]: the plug-in `mine` cannot be used"),
        (PASS.replace("twins", "hoist"), "error[E1102]: `mine` defines `hoist`, which is defined by netc itself"),
        (
            PASS.replace("copy.add(value.op", "1 / 0 or copy.add(value.op"),
            "error[E1103]: the pass `twins` spoils the graph",
        ),
    ],
)
def test_a_plugin_that_does_not_load_is_a_message(text: str, message: str, project: Path) -> None:
    (project / "mine.py").write_text(text, encoding="utf-8")
    (project / "plain.net").write_text(NET.replace("NAME(x -> dense(4), scale = 2)", "x -> dense(4)"), encoding="utf-8")
    result = run(project, "check", "plain.net", "--plugin", "mine")
    assert result.returncode == 1
    assert result.stderr.startswith(message + "\n"), result.stderr
    assert "Traceback" not in result.stderr


ATTRIBUTES = """
from dataclasses import dataclass
from netc.extend import Attributes, Expansion, Operation

CLASS

scaled = Operation(
    "scaled",
    "x times a factor.",
    type=lambda x, factor: x,
    reference=lambda x, factor: x * factor,
    lower=Expansion(lambda x, factor: x * factor),
    arguments={"x": "value", "factor": "real"},
    attributes=K,
    examples=((("f64[3, 4]",), {"factor": 2.0}),),
)
"""


@pytest.mark.parametrize(
    ("definition", "line", "message", "hint"),
    [
        (
            "@dataclass(frozen=True)\nclass K(Attributes):\n    factor: float",
            "@dataclass(frozen=True)",
            "`K` is derived from Attributes, which makes its fields by itself",
            "class K(Attributes, frozen=True): without @dataclass",
        ),
        (
            "@dataclass\nclass K:\n    factor: float",
            "@dataclass",
            "`K` is a dataclass and not derived from Attributes",
            "from netc.extend import Attributes; class K(Attributes, frozen=True): factor: ...",
        ),
        (
            "class K(Attributes, frozen=True):\n    power: float",
            "class K(Attributes, frozen=True):",
            "`K` has no field `factor`",
            "factor: ...",
        ),
    ],
)
def test_attributes_of_a_wrong_class_are_a_message(
    definition: str, line: str, message: str, hint: str, project: Path
) -> None:
    """The message has the file and the line of the class."""
    (project / "mine.py").write_text(ATTRIBUTES.replace("CLASS", definition), encoding="utf-8")
    for words in (("check", "m.net"), ("ops", "scaled", "--test")):
        result = run(project, *words, "--plugin", "mine")
        assert result.returncode == 1
        _, place, _, shown, label, printed = result.stderr.splitlines()
        assert place == " --> mine.py:5:1"
        assert shown == f"5 | {line}"
        assert label.endswith(f"^ {message}")
        assert printed == f"  = hint: {hint}"


def test_attributes_that_are_no_class_are_refused_in_a_script() -> None:
    with pytest.raises(netc.Fault, match="`attributes` is an int, not a class"):
        netc.register(extend.Operation("n", "", type=max, reference=max, lower=extend.Scalar("x"), attributes=5))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"netc\.register takes an operation, .* not an int"):
        netc.register(5)  # type: ignore[type-var]


def test_a_module_in_this_folder_that_python_does_not_look_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unlooked_for.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(netc.Fault) as raised:
        netc.open("runs/m", plugins=["unlooked_for"])
    assert str(raised.value).splitlines()[-1] == (
        "  = hint: `unlooked_for` is in this folder, which is not on Python's path: PYTHONPATH=. netc ..."
    )


@pytest.mark.parametrize(
    ("last", "message"),
    [("return x / 0", "ZeroDivisionError: division by zero"), ("raise SystemExit(0)", "SystemExit: 0")],
)
def test_the_line_of_a_plugin_that_raises_is_shown(last: str, message: str, project: Path) -> None:
    """Also if it ends the process."""
    (project / "mine.py").write_text(f"def half(x):\n    {last}\n\nhalf(1)\n", encoding="utf-8")
    result = run(project, "check", "m.net", "--plugin", "mine")
    assert result.returncode == 1
    assert " --> mine.py:2:5\n" in result.stderr
    assert message in result.stderr


def test_a_plugin_is_a_module_and_no_file(project: Path) -> None:
    result = run(project, "check", "m.net", "--plugin", "mine.py")
    assert result.stderr.endswith("  = hint: a module is named without its suffix: --plugin mine\n")


def test_a_plugin_with_a_pass_a_data_step_and_blocks(project: Path) -> None:
    text = NET.replace("NAME(x -> dense(4), scale = 2)", "softly(x + x) -> dense(4)").replace(
        'column("c")', 'column("c") -> halved'
    )
    (project / "m.net").write_text(text, encoding="utf-8")
    (project / "mine.py").write_text(
        PASS + STEP.replace("NAME", "halved") + LIBRARY.replace("NAME", "softly"), encoding="utf-8"
    )
    done = run(project, "train", "m.net", "--plugin", "mine")
    assert done.returncode == 0, done.stderr
    result = run(project, "explain", "m.net", "--diff", "simplify", "--after", "twins", "--plugin", "mine")
    assert result.returncode == 0, result.stderr
    assert "-add@11 = add(x, x) : f32[batch, 2]" in result.stdout
    assert re.search(r"^\+multiply@11\.\d+ = multiply\(x, 2\.0\) : f32\[batch, 2\]$", result.stdout, re.MULTILINE)
    page = run(project, "ops", "softly", "--plugin", "mine").stdout
    assert page.startswith("softly(x: float[...])    (layer)\nAs it is.\nDefined by the plug-in `mine`.\n")
    untested = run(project, "ops", "twins", "--test", "--plugin", "mine")
    assert untested.returncode == 1
    assert untested.stderr == "example, twins: there is none to test it with\n"
    assert run(project, "predict", "runs/m", "d.csv", "--plugin", "mine").returncode == 0
