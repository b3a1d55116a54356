"""The structure of the source: imports go down, never up and never in a circle, and each file states its purpose."""

import ast
from graphlib import CycleError, TopologicalSorter
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


def rooms_of_runtime() -> dict[str, set[str]]:
    """For each folder of runtime/ and each module directly in it, those that it imports."""
    folder = ROOT / "runtime"
    rooms: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        room = path.relative_to(folder).with_suffix("").parts[0]
        imported = rooms.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netc.runtime"):
                names = [node.module or ""] if node.module != "netc.runtime" else []
                names += [f"{node.module}.{alias.name}" for alias in node.names if node.module == "netc.runtime"]
                imported |= {name.split(".")[2] for name in names} - {room}
    return rooms


def test_the_rooms_of_the_runtime_import_each_other_in_no_circle() -> None:
    rooms = rooms_of_runtime()
    assert {"data", "execution", "training", "inference", "runs"} <= rooms.keys()
    assert rooms["runs"] >= {"execution"}, "imports are found"
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        pytest.fail(f"rooms in a circle: {' <- '.join(error.args[1])}")
