"""The docs are true: generated pages are up to date, every `.net` text in them checks, and every command runs."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import included
import pages
import pytest
from diagnostics_page import ELSEWHERE, by_code
from support import ROOT, command, warnings_of

import netc
from netc.compiler import pipeline
from netc.compiler.ir.results import ResultKind
from netc.dsl.codes import CODES

TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TITLE = re.compile(r'^\{\.(net|text) title="[^"]+"\}$')  # of a file that a page shows


def fences(path: Path) -> list[tuple[str, str]]:
    """The fenced texts of a page, each with its kind: its first line, or `net` or `text` for a file that is shown."""
    text = path.read_text(encoding="utf-8")
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert text.count("\n```") == 2 * len(fences), f"{path}: a fence that is not closed"
    return [(TITLE.sub(r"\1", kind.strip()), body) for kind, body in fences]


MODELS = [
    pytest.param(kind, body, id=f"{path.stem}-{number}")
    for path in TEXTS
    for number, (kind, body) in enumerate(fences(path))
    if kind in ("net", "{.net .fragment}")
]
# The commands of a page, in order. Those of `.long` take minutes: .ci/run runs them.
# Pages that show outputs are left to test_course.py.
COMMANDS = {
    path.stem: [
        (line, kind != "sh")
        for kind, body in fences(path)
        if kind in ("sh", "{.sh .long}")
        for line in body.splitlines()
        if line.startswith("netc ")
    ]
    for path in TEXTS
    if path.parent.name != "course" and "{.text .output" not in path.read_text(encoding="utf-8")
}


@pytest.mark.parametrize("name", pages.PAGES)
def test_generated_pages_are_up_to_date(name: str, golden) -> None:
    golden(ROOT / "docs" / name, pages.PAGES[name]())


@pytest.mark.parametrize("name", included.pages_with_files())
def test_pages_show_files_as_they_are(name: str, golden) -> None:
    path = ROOT / "docs" / f"{name}.md"
    golden(path, included.with_files(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("kind", "body"), MODELS)
def test_files_in_the_docs_are_right(kind: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # as its data's paths say, the text is a file of examples/ or of examples/course/
    monkeypatch.chdir(ROOT / "examples" / ("course" if '"../data/' in body else ""))
    text = body if kind == "net" else f"model {{\n  input x: float[6]\n{body}}}\n"
    model = netc.parse(text)
    assert not model.warnings
    if model.graph.has(ResultKind.LOSS):
        pipeline.training_graph(model)


def test_python_in_the_docs_runs(tmp_path: Path) -> None:
    """The definitions on the page about new operations pass the check that it names.

    A kernel's text is read from its file.
    """
    bodies = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.M | re.S
    )
    assert len(bodies) >= 4
    (tmp_path / "of_the_docs.py").write_text("\n".join(bodies), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("of_the_docs", tmp_path / "of_the_docs.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_python_in_the_page_about_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one namespace and one folder, as a reader would run it."""
    _copy_examples(tmp_path)
    monkeypatch.chdir(tmp_path)
    bodies = [body for kind, body in fences(ROOT / "docs" / "python.md") if kind == "python"]
    assert len(bodies) >= 6
    names: dict[str, object] = {}
    for body in bodies:
        exec(compile(body, "docs/python.md", "exec"), names)


def _copy_examples(folder: Path) -> None:
    """Copies the examples to a folder, where commands may write beside them, and links their data."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("runs", "data"))
    (folder / "examples" / "data").symlink_to(ROOT / "examples" / "data")


def test_the_docs_have_files_and_commands() -> None:
    assert len(MODELS) >= 24
    assert sum(map(len, COMMANDS.values())) >= 6
    kinds = {re.sub(r" \.(?:(?:first|last)-\d+|varies)", "", kind) for path in TEXTS for kind, _ in fences(path)}
    languages = {
        "",
        "net",
        "text",
        "{.net .fragment}",
        "{.net .wrong}",
        "{.net .right}",
        "{.net .library}",
        "sh",
        "{.sh .long}",
        "{.sh .warns}",
        "{.sh .fails}",
        "{.sh .long .warns}",
        "{.text .output}",
    }
    pythons = {"python", "{.python .kernel}", "{.python .pytorch}", "{.python .keras}"}
    assert kinds <= languages | pythons | {"diff", "lua", "toml"}, "fences that nobody checks"


@pytest.mark.every(9)
@pytest.mark.parametrize("page", [page for page, commands in COMMANDS.items() if commands])
def test_commands_in_the_docs_run(page: str, tmp_path: Path, is_long: bool) -> None:
    """In order and in one folder, as a reader would run them."""
    _copy_examples(tmp_path)
    for line, takes_long in COMMANDS[page]:
        if takes_long and not is_long:
            continue
        done = command(*shlex.split(line)[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert "warning" not in done.stderr, f"{line}\n{done.stderr}"


def test_each_code_has_a_wrong_and_a_right_file() -> None:
    """The wrong file is a case of the gallery. The right one, beside it, gives no message."""
    cases = by_code()
    assert {*cases} | {*ELSEWHERE} == {*CODES}
    assert not {*cases} & {*ELSEWHERE}
    for code, folder in cases.items():
        assert not warnings_of(folder / "right.net"), f"{code}: {folder.name}"


def test_each_picture_exists_and_is_shown() -> None:
    """docs/figures/, the folder of pictures and the pages have the same names."""
    shown = {name for path in TEXTS for name in re.findall(r"pictures/(\w+)\.svg\)", path.read_text(encoding="utf-8"))}
    assert shown == {path.stem for path in (ROOT / "docs" / "pictures").glob("*.svg")}
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "figures").glob("*.py"))]
    assert shown == {name for source in sources for name in re.findall(r"^@picture\ndef (\w+)\(", source, re.M)}


# Pages that name files of the repository, in backticks: `compiler/passes/`, `passes/differentiate.py`, `pipeline.py`.
MAPS = [
    ROOT / "ARCHITECTURE.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("caching", "compiler", "contributing", "invariants", "kernels")),
]
FILE_NAME = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.py)`")
FOLDERS = ["dsl", "compiler", "runtime", "api", "tests"]


@pytest.mark.parametrize("page", MAPS, ids=lambda page: page.stem)
def test_files_that_the_maps_name_exist(page: Path) -> None:
    names = {name for name in FILE_NAME.findall(page.read_text(encoding="utf-8")) if "NAME" not in name}
    names = {name for name in names if not name.startswith(".venv/")}
    assert len(names) >= 8
    missing = [
        name
        for name in sorted(names)
        if not (ROOT / name).exists() and not any(any((ROOT / folder).rglob(name)) for folder in FOLDERS)
    ]
    assert not missing, f"{page.name} names files that do not exist: {', '.join(missing)}"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # a file of MkDocs itself
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "site" / "course" / "01-neuron.html").read_text(encoding="utf-8")
    assert '<span class="k">let</span>' in page, "a .net text has no colours"
    assert not re.search(r'(?:src|href)="https?://(?!squidfunk)', page), "the page fetches something"
