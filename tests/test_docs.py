"""The docs are true: generated pages are what their generator writes, every `.net` in them checks, every command in them runs."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest
from support import ROOT, command

import netc
from netc.compiler import pipeline

SPEC = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
assert SPEC is not None
assert SPEC.loader is not None
pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pages)
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCES = [
    pytest.param(kind, body, id=f"{path.name}-{number}")
    for path in TEXTS
    for number, (kind, body) in enumerate(re.findall(r"^```(net[^\n]*)\n(.*?)^```", path.read_text(), re.M | re.S))
]
COMMANDS = [
    line
    for path in TEXTS
    for body in re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.M | re.S)
    for line in body.splitlines()
    if line.startswith("netc ")
]


@pytest.mark.parametrize("name", pages.PAGES)
def test_generated_pages(name: str, golden) -> None:
    golden(ROOT / "docs" / name, pages.PAGES[name]())


@pytest.mark.parametrize(("kind", "body"), FENCES)
def test_files_in_the_docs(kind: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples")
    text = body if kind == "net" else f"model {{\n  input x: float[6]\n{body}}}\n"
    model = netc.parse(text)
    assert not model.warnings
    if any(name.startswith("loss.") for name in model.graph.results):
        pipeline.training_graph(model)


def test_python_in_the_docs(tmp_path: Path) -> None:
    """What the page on new operations defines passes the check that it names. A kernel's text is read from its file."""
    bodies = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text(), re.M | re.S)
    assert len(bodies) >= 4
    (tmp_path / "of_the_docs.py").write_text("\n".join(bodies))
    spec = importlib.util.spec_from_file_location("of_the_docs", tmp_path / "of_the_docs.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_there_are_files_and_commands() -> None:
    assert len(FENCES) >= 8
    assert len(COMMANDS) >= 15


def test_commands_in_the_docs(tmp_path: Path) -> None:
    """In order, in one folder, as a reader would."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("runs"))
    for line in COMMANDS:
        done = command(*shlex.split(line)[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        is_meant = "rnn" in line  # what cannot be learned is told
        assert ("warning" in done.stderr) == is_meant, f"{line}\n{done.stderr}"
