"""The pages for users of PyTorch and Keras: their code runs, and their tables have every name of netc."""

import json
import re
from pathlib import Path

import outputs
import pytest
from support import ROOT, command

PACKAGES = {"pytorch": "torch", "keras": "keras"}
TEXTS = {name: (ROOT / "docs" / f"for-{name}-users.md").read_text(encoding="utf-8") for name in PACKAGES}


@pytest.mark.parametrize("framework", PACKAGES)
def test_python_of_the_page_runs(framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one namespace and one folder. Keras computes with PyTorch."""
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip(PACKAGES[framework])
    outputs.copy_examples(tmp_path)
    monkeypatch.chdir(tmp_path)
    kinds = rf"python|\{{\.python \.{framework}\}}"
    bodies = re.findall(rf"^```(?:{kinds})\n(.*?)^```$", TEXTS[framework], re.MULTILINE | re.DOTALL)
    assert len(bodies) >= 8
    names: dict[str, object] = {"__name__": framework}
    for body in bodies:
        exec(compile(body, f"docs/for-{framework}-users.md", "exec"), names)


@pytest.mark.parametrize("framework", PACKAGES)
def test_the_tables_have_every_name(framework: str) -> None:
    """The first columns have each name that `netc ops` lists, but passes and words, once and under its kind."""
    kinds: dict[str, set[str]] = {}
    for entry in json.loads(command("ops", "--json", cwd=ROOT).stdout):
        kinds.setdefault(entry["kind"], set()).add(entry["name"])
    del kinds["pass"], kinds["word"]  # of the compiler, and of the language itself
    for kind, names in kinds.items():
        heading = f"\n### {kind.capitalize()}{'es' if kind == 'loss' else 's'}\n"
        assert heading in TEXTS[framework]
        section = re.split(r"^#", TEXTS[framework].partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
        listed = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE)))
        assert sorted(listed) == sorted(names), f"docs/for-{framework}-users.md: each {kind} has one row"
