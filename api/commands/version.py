"""`netc --version`: the versions that a bug report needs. Imports none of the packages that it names."""

import platform
from collections.abc import Iterable
from typing import Annotated

import typer

from netc.commands.terminal import say

DECISIVE = ("llvmlite", "numpy")  # these decide the machine code and the numbers
REPORTED = (*DECISIVE, "polars", "lark", "typer", "msgspec", "safetensors", "pillow")


def versions(packages: Iterable[str] = DECISIVE) -> dict[str, str]:
    """The versions of netc, Python and some packages by name; "missing" for a package that is not installed."""
    python = platform.python_version()
    return {"netc": _version("netc"), "Python": python, **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # here, because every command imports this file

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


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
            help="Print the versions of netc, Python, llvmlite and NumPy, a line each.",
        ),
    ] = False,
) -> None:
    """Neural networks as text, compiled to fast CPU code."""
