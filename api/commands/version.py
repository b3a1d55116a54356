"""`netc --version`: what a bug report has to say of an installation. Imports nothing of what it names."""

import platform
from importlib.metadata import version
from typing import Annotated

import typer

from netc.commands.terminal import say

_PACKAGES = ("numba", "llvmlite", "numpy")  # what decides the code and the numbers


def versions() -> dict[str, str]:
    """The versions of netc, Python and the packages that decide what is computed, by name."""
    return {
        "netc": version("netc"),
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def _show(is_asked: bool) -> None:
    if is_asked:
        for name, number in versions().items():
            say(f"{name} {number}")
        raise typer.Exit


def common(
    show_versions: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show,
            is_eager=True,
            help="Print the versions of netc, Python, Numba, llvmlite and NumPy, a line each.",
        ),
    ] = False,
) -> None:
    """Neural networks as text, compiled to fast CPU code."""
