"""Prints the lowest versions that pyproject.toml declares, as constraints for pip.

Takes the dependencies, those of the extras `onnx`, `xlsx`, `duckdb` and `mpi`, and those that the tests need to run.
Linters, type checkers and the site's builder are left out, because CI uses their newest versions only:
`python .ci/lowest.py >constraints.txt`.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

TOOLS = {"mypy", "ruff", "types-Pygments", "mkdocs-material", "mkdocstrings-python", "latex2mathml"}
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)>=([0-9]+(?:\.[0-9]+)*)")


def lowest(pyproject: Path) -> Iterator[str]:
    """`NAME==VERSION` for each package, in order. Raises ValueError for a dependency without a lower bound."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for text in dict.fromkeys(
        [*project["dependencies"], *extras["onnx"], *extras["xlsx"], *extras["duckdb"], *extras["mpi"], *extras["test"]]
    ):
        match = _REQUIREMENT.fullmatch(text)
        if match is None:
            raise ValueError(f"`{text}` in {pyproject} has no lower bound")
        if match[1] not in TOOLS:
            yield f"{match[1]}=={match[2]}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{constraint}\n" for constraint in lowest(Path(__file__).parent.parent / "pyproject.toml"))
