"""The structure of the source: imports go down, never up and never in a circle, and each file states its purpose."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support import ROOT, syntax

FLOORS = ("dsl", "compiler", "runtime", "api")
MAY_HAVE_DATACLASSES = {ROOT / "dsl/structs.py", ROOT / "api/estimators/estimators.py"}
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
    tree = syntax(path)
    floor = FLOORS.index(path.relative_to(ROOT).parts[0])
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
            assert there is None or there <= floor, f"line {node.lineno} imports {name}, a floor above"
        assert not {"pickle", "marshal", "shelve", "dill"} & set(names), "what is unpickled can run code"
        assert "dataclasses" not in names or path in MAY_HAVE_DATACLASSES, "a record derives from msgspec.Struct"


def packages_in(name: str) -> dict[str, set[str]]:
    """For each folder of a package, such as "runtime", and each module directly in it, those that it imports."""
    folder, start = ROOT.joinpath(*name.split(".")), f"netc.{name}."
    packages: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        package = path.relative_to(folder).with_suffix("").parts[0]
        imported = packages.setdefault(package, set())
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.ImportFrom):
                modules = (f"{node.module}.{alias.name}" for alias in node.names)
                imported |= {module.removeprefix(start).split(".")[0] for module in modules if module.startswith(start)}
        imported.discard(package)
    return packages


@pytest.mark.parametrize(
    ("name", "upper", "lower"), [("compiler.targets.cpu", "text", "llvm"), ("runtime", "runs", "execution")]
)
def test_folders_of_a_package_import_each_other_in_no_circle(name: str, upper: str, lower: str) -> None:
    packages = packages_in(name)
    assert lower in packages[upper], "imports are found"
    try:
        TopologicalSorter(packages).prepare()
    except CycleError as error:
        pytest.fail(f"packages in a circle: {' <- '.join(error.args[1])}")


# Packages whose docstring is a map: it names every file directly in the package, alone or by a pattern.
MAPPED = ["export", "lowering", "passes", "passes/stepping", "planning", "targets/cpu"]


@pytest.mark.parametrize("name", MAPPED)
def test_the_map_of_a_package_names_its_files(name: str) -> None:
    folder = ROOT / "compiler" / name
    patterns = re.findall(r"[\w*]+\.py", ast.get_docstring(syntax(folder / "__init__.py")) or "")
    assert len(patterns) > 4
    assert not [pattern for pattern in patterns if not any(folder.rglob(pattern))], "files that do not exist"
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert not [file for file in sorted(files) if not any(fnmatch(file, pattern) for pattern in patterns)]


# Names that do not say what they hold; docs/contributing.md has the words to use. The number 1 may be called `one`.
VAGUE = {"found", "held", "known", "made", "own", "place", "places", "room", "rooms", "told", "wanted"}


def names_of(path: Path) -> Iterator[tuple[int, str]]:
    """The names that a file gives to variables, functions and classes, with their lines."""
    for node in ast.walk(syntax(path)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name


def test_names_say_what_they_hold() -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{line}: `{name}`"
        for path in FILES
        for line, name in names_of(path)
        if name.strip("_").lower() in VAGUE
    ]
    assert not vague


# What each package of the compiler may import from the others. A file directly in compiler/ counts as one.
PACKAGES_OF_COMPILER: dict[str, set[str]] = {
    "ir": set(),
    "operations": {"ir"},
    "model": {"ir"},
    "reference": {"ir", "operations"},
    "passes": {"ir", "operations", "model", "reference"},
    "elaborate": {"ir", "operations", "model", "passes", "analysis"},
    "pipeline": {"ir", "model", "passes"},
    "analysis": {"ir", "operations", "model", "passes"},
    "evaluation": {"ir", "operations", "model", "passes", "analysis"},
    "ensemble": {"ir", "operations", "model", "analysis"},
    "program": {"ir"},
    "export": {"ir", "operations", "passes", "elaborate", "pipeline", "program"},
    "targets": {"ir", "program"},
    "lowering": {"ir", "operations", "passes", "program", "targets"},
    "planning": {"ir", "lowering", "program", "targets"},
    "targets/cpu": {"ir", "program", "targets"},
    "targets/emulator": {"ir", "program", "planning", "targets", "targets/cpu"},
    "targets/reference": {"ir", "reference", "targets"},
    "backends": {"reference", "targets", "targets/cpu", "targets/emulator", "targets/reference"},
}

# What the runtime may import from the compiler's targets: its interface (target.py), and descriptions of machines.
DATA = tuple(
    f"netc.compiler.targets.{name}." for name in ("machine", "bounds", "processor")
)  # descriptions of machines
DOOR = (*DATA, "netc.compiler.targets.target.", "netc.compiler.targets.named.")
BEHIND_THE_DOOR = {
    "verification/backends.py": {"netc.compiler.targets.emulator.run.random_order"},  # checks the emulated plan
    "verification/installation.py": {"netc.compiler.targets.cpu.target.MachineCode"},  # checks the CPU's kernel cache
}


def package_of(parts: tuple[str, ...]) -> str:
    """The package of a file or module of the compiler: its folder; targets have one each."""
    is_target = parts[0] == "targets" and len(parts) > 1 and (ROOT / "compiler" / "targets" / parts[1]).is_dir()
    return "/".join(parts[:2]) if is_target else parts[0]


def imports_of(path: Path, at_module_level: bool = False) -> set[str]:
    tree = syntax(path)
    names = set[str]()
    for node in tree.body if at_module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of_compiler() -> dict[str, list[Path]]:
    packages: dict[str, list[Path]] = {}
    for path in (ROOT / "compiler").rglob("*.py"):
        parts = path.relative_to(ROOT / "compiler").with_suffix("").parts
        if parts != ("__init__",):
            packages.setdefault(package_of(parts), []).append(path)
    return packages


def test_each_package_of_the_compiler_imports_only_those_below_it() -> None:
    packages = files_of_compiler()
    assert packages.keys() == PACKAGES_OF_COMPILER.keys()
    for package, paths in packages.items():
        for path in paths:
            names = {name.removeprefix("netc.compiler.") for name in imports_of(path) if "netc.compiler." in name}
            imported = {package_of(tuple(name.split("."))) for name in names} - {package}
            assert imported <= PACKAGES_OF_COMPILER[package], (
                f"{path} imports {imported - PACKAGES_OF_COMPILER[package]}"
            )
    TopologicalSorter(PACKAGES_OF_COMPILER).prepare()  # raises CycleError


def test_programs_are_lowered_and_planned_without_a_code_generator() -> None:
    """Up to the plan, the only part of a target that is known is its description."""
    packages = files_of_compiler()
    for package in ("ir", "operations", "passes", "program", "lowering", "planning"):
        for path in packages[package]:
            names = imports_of(path)
            assert not any(name.split(".")[0] in ("numba", "llvmlite") for name in names), path
            of_targets = {name for name in names if name.startswith("netc.compiler.targets")}
            assert all(name.startswith(DATA) for name in of_targets), path
    for name in ("machine", "bounds", "processor"):
        imported = imports_of(ROOT / "compiler" / "targets" / f"{name}.py", at_module_level=True)
        assert not any(module.startswith(("numba", "llvmlite")) for module in imported)


def test_the_runtime_knows_only_the_door_to_the_targets() -> None:
    behind: dict[str, set[str]] = {}
    for path in (ROOT / "runtime").rglob("*.py"):
        names = {name for name in imports_of(path) if name.startswith("netc.compiler.targets")}
        if hidden := {name for name in names if not name.startswith(DOOR)}:
            behind[path.relative_to(ROOT / "runtime").as_posix()] = hidden
    assert behind == BEHIND_THE_DOOR


def test_only_one_file_chooses_a_target_by_its_name() -> None:
    """Elsewhere nobody compares a backend with a name."""
    for floor in ("compiler", "runtime"):
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(syntax(path)):
                sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
                if any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides):
                    names = [ast.unparse(side) for side in sides if isinstance(side, ast.Attribute | ast.Name)]
                    compares = any("backend" in name for name in names)
                    assert not compares, f"{path}: line {node.lineno} compares a backend with a name"


def test_training_imports_nothing_of_mpi() -> None:
    """A process that was started by itself needs no package for it: only imports inside of functions reach mpi.py."""
    folder = ROOT / "runtime" / "distributed"
    for path in [*folder.glob("*.py"), ROOT / "api" / "commands" / "train.py"]:
        if path.name not in ("mpi.py", "mpi_exchange.py"):
            names = imports_of(path, at_module_level=True)
            assert not any("mpi4py" in name or ".distributed.mpi" in name for name in names), path
