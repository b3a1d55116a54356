"""The package's metadata is true.

CI installs the lowest versions, imported packages are declared, and versions and licences agree everywhere.
"""

import ast
import importlib.util
import json
import platform
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from support import ROOT, command

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
FOR_DEVELOPERS = {"test", "docs", "oracle", "bench"}  # extras
# CI uses the newest versions of these.
TOOLS = {"mypy", "ruff", "types-pygments", "mkdocs-material", "mkdocstrings-python", "latex2mathml"}


def bounds(requirements: list[str]) -> dict[str, str]:
    """The lower bound of each package."""
    lowest = dict(text.split(">=") for text in requirements)
    assert len(lowest) == len(requirements)
    return lowest


def test_ci_installs_the_lowest_versions_that_are_declared() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / ".ci" / "lowest.py"], capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout
    installed = dict(line.split("==") for line in printed.splitlines())
    extras = PROJECT["optional-dependencies"]
    declared = bounds([*PROJECT["dependencies"], *extras["onnx"], *extras["xlsx"], *extras["duckdb"], *extras["mpi"]])
    assert declared.items() <= installed.items()
    for_tests = {name: bound for name, bound in bounds(extras["test"]).items() if name.lower() not in TOOLS}
    assert installed == declared | for_tests
    assert '.ci/lowest.py >"$work/lowest.txt"' in CI
    assert '-c "$work/lowest.txt" "$wheel[onnx,xlsx,duckdb,study,mpi,sklearn]"' in CI


def test_a_dependency_without_a_lower_bound_is_refused(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("lowest", ROOT / ".ci" / "lowest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for text in ("numpy", "numpy==2.0", "numpy>=2.0,<3", "numpy>2"):
        extras = "onnx = []\nxlsx = []\nduckdb = []\nmpi = []\ntest = []\n"
        project = f'[project]\ndependencies = ["{text}"]\n[project.optional-dependencies]\n{extras}'
        (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
        with pytest.raises(ValueError, match="has no lower bound"):
            list(module.lowest(tmp_path / "pyproject.toml"))


def imported(folder: str) -> set[str]:
    """The packages that modules below a folder import, except for Python's standard library and netc."""
    imported = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    return imported - {*sys.stdlib_module_names, "netc"}


def test_every_folder_of_code_is_part_of_the_wheel() -> None:
    """The project is installed in place where it is developed, so a package that is not declared is missed nowhere."""
    declared = set(PYPROJECT["tool"]["setuptools"]["packages"])
    folders = {
        path.parent.relative_to(ROOT)
        for floor in ("api", "dsl", "compiler", "runtime")
        for path in (ROOT / floor).rglob("*.py")
    }
    assert {".".join(("netc", *folder.parts)).replace("netc.api", "netc") for folder in folders} == declared


@pytest.mark.parametrize("folder", ["dsl", "compiler", "runtime", "api"])
def test_imported_packages_are_declared(folder: str) -> None:
    """A package that another dependency installs today may be missing tomorrow."""
    names = packages_distributions()
    for_users = {name: texts for name, texts in PROJECT["optional-dependencies"].items() if name not in FOR_DEVELOPERS}
    extras = {text for texts in for_users.values() for text in texts}
    declared = {name.lower() for name in bounds([*PROJECT["dependencies"], *extras])}
    undeclared = {
        module for module in imported(folder) if not declared & {name.lower() for name in names.get(module, ())}
    }
    assert not undeclared


def test_the_pythons_that_are_named_are_tested() -> None:
    named = {
        match[1]
        for text in PROJECT["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text))
    }
    (versions,) = re.findall(r"^for version in (.+); do$", CI, re.MULTILINE)
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"version/lowest/{lowest}" in CI
    assert named <= {lowest, *versions.split()}
    assert lowest == min(named, key=lambda text: int(text.partition(".")[2]))


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = command("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"netc {version('netc')}",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("llvmlite", "numpy")),
    ]


def test_versions_and_licences_agree() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:2] == ["Apache", "License"]
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"
    extension = json.loads((ROOT / "editors" / "vscode" / "package.json").read_text(encoding="utf-8"))
    assert extension["license"] == PROJECT["license"]
    assert extension["version"] == PROJECT["version"]
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in readme for name in ("LICENSE", "SECURITY.md", "CHANGELOG.md"))


def test_a_workspace_of_vs_code_cannot_choose_the_command() -> None:
    extension = json.loads((ROOT / "editors" / "vscode" / "package.json").read_text(encoding="utf-8"))
    assert extension["contributes"]["configuration"]["properties"]["netc.command"]["scope"] == "machine"
    trust = extension["capabilities"]["untrustedWorkspaces"]
    assert trust["supported"] == "limited"
    assert trust["restrictedConfigurations"] == ["netc.command"]
    started = (ROOT / "editors" / "vscode" / "extension.js").read_text(encoding="utf-8")
    assert "isTrusted: workspace.isTrusted" in started
    assert "cwd: context.extensionPath" in started


def test_the_manifest_names_everything_in_the_repository() -> None:
    """MANIFEST.in names each folder and file at the top. .ci/run builds an sdist and compares it file by file."""
    lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    packed = {word for line in lines if line.startswith(("include ", "graft ")) for word in line.split()[1:]}
    missing = {
        entry.name
        for entry in ROOT.iterdir()
        if entry.name not in packed | {"pyproject.toml", "MANIFEST.in"} and _is_of_the_repository(entry)
    }
    assert not missing
    assert all((ROOT / word).exists() for word in packed)


def _is_of_the_repository(path: Path) -> bool:
    """Whether a path belongs to the repository: .gitignore does not name it, and git ignores folders without files."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    if path.name in (".git", "PKG-INFO", "setup.cfg"):  # setuptools adds the last two to an sdist
        return False
    return not any(path.match(pattern.rstrip("/")) for pattern in ignored)
