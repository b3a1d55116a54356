"""The house: imports go down, never up and never in a circle; each file says what it is for."""

import ast
from pathlib import Path

import pytest
from support import ROOT

FLOORS = ("dsl", "compiler", "runtime", "api")
FILES = [path for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]


def test_there_are_files_on_each_floor() -> None:
    assert all(any(floor in path.parts for path in FILES) for floor in FLOORS)
    assert len(FILES) > 150


def floor_of(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "netc":
        return None
    return FLOORS.index(parts[1]) if len(parts) > 1 and parts[1] in FLOORS else 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = FLOORS.index(path.relative_to(ROOT).parts[0])
    assert ast.get_docstring(tree), "does not say what it is for"
    for node in ast.walk(tree):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in names:
            there = floor_of(name)
            assert there is None or there <= own, f"line {node.lineno} imports {name}, a floor above"
        assert not {"pickle", "marshal", "shelve", "dill"} & set(names), "what is unpickled can run code"
