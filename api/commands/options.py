"""Arguments that several commands share, and `--set` values read as constants."""

from pathlib import Path
from typing import Annotated, Any

import typer

from netc.compiler.model import Model

ModelFile = Annotated[Path, typer.Argument(metavar="M.net", help="The model's file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/iris.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Replace a `let` value; may be given again.")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="How many threads (default: the cores). Any number gives the same bits."),
]


def constants(settings: list[str] | None) -> dict[str, Any]:
    """`--set` values: numbers, true and false, or texts. Wrong usage (exit 2) without a `=`."""
    found: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"`{setting}` is not NAME=VALUE", param_hint="--set")
        found[name.strip()] = constant(text.strip())
    return found


def constant(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def load(path: Path, settings: list[str] | None) -> tuple[Model, dict[str, Any]]:
    """The checked model, its warnings shown, and the constants that were set."""
    import netc
    from netc.commands.terminal import show_diagnostics

    given = constants(settings)
    model = netc.load(path, **given)
    show_diagnostics(model.warnings)
    return model, given
