"""A command imports only what it needs: modules are most of the time in which a small model is checked."""

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTS = """
import sys
from netc.commands.main import main
sys.argv = ["netc", *sys.argv[1:]]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
MODEL = """model {
  input x: float[4]
  target y: float[2]
  p = x -> dense(2)
  output q = p
  loss mse(p, y)
}
"""
DATA = """data {
  source = csv("t.csv")
  x = columns("a", "b", "c", "d")
  y = columns("a", "b")
}
"""
OF_DATA = {
    f"netc.runtime.data.{name}"
    for name in ("readers.readers", "steps.steps", "block.spec", "division.partition", "dataset")
}


def imported_by(*words: object) -> set[str]:
    """The modules that a command imports."""
    command = [sys.executable, "-c", IMPORTS, *map(str, words)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split())


@pytest.mark.parametrize(("text", "needs_data"), [(MODEL, False), (DATA + MODEL, True)])
def test_a_file_without_data_is_checked_without_what_reads_it(text: str, needs_data: bool, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c,d\n" + "1,2,3,4\n5,6,7,9\n3,1,2,5\n2,2,1,7\n" * 10, encoding="utf-8")
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    modules = imported_by("check", tmp_path / "m.net")
    assert "netc.compiler.elaborate.elaborator" in modules
    assert OF_DATA & modules == (OF_DATA if needs_data else set())
    assert "netc.runtime.studies" not in modules


def test_plugins_are_looked_for_without_what_they_may_add_to(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(MODEL, encoding="utf-8")
    modules = imported_by("check", tmp_path / "m.net", "--resolved")
    assert "netc.runtime.plugins" in modules
    assert not {"netc.runtime.additions", "importlib.metadata", "netc.runtime.studies", "netc.runtime.runs"} & modules


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_words_about_netc_need_no_numbers(option: str) -> None:
    modules = imported_by(option)
    assert "netc.commands.table" in modules
    assert "numpy" not in modules
    assert ("netc.commands.train" in modules) == (option == "--help")
