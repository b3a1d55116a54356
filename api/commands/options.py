"""Arguments that several commands share, and the values of `--set`."""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from netc.compiler.model import Model
    from netc.dsl.diagnostics import Diagnostic


ModelFile = Annotated[Path, typer.Argument(metavar="M.net", help="The model's file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/iris.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Replace a `let` value or a setting of `train`. May be repeated.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Number of threads (default: all cores). Any number gives the same bits."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Print all metrics of each epoch in a line, and how long reading and compiling took."
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="NAME",
        help="Only this output, or another named value of the model. May be repeated.",
    ),
]


def _load_plugins(names: list[str] | None) -> list[str] | None:
    from netc.runtime import plugins

    plugins.load(names or ())
    return names


Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="PKG",
        callback=_load_plugins,
        help="A Python module whose operations, passes, readers, steps, optimizers and blocks the file may use. "
        "May be repeated.",
    ),
]


def loudness(is_quiet: bool, is_verbose: bool) -> "AbstractContextManager[None]":
    """The context in which a command prints as `--quiet` asks. Raises BadParameter for both options at once."""
    from netc.commands.terminal import quiet

    if is_quiet and is_verbose:
        raise typer.BadParameter("it contradicts --verbose", param_hint="--quiet")
    return quiet(is_quiet)


def known_values(model: "Model", names: Iterable[str], others: Collection[str] = ()) -> None:
    """Raises BadParameter (exit status 2) for a name that is neither a value of the model nor one of the others."""
    for name in names:
        if name not in model.values and name not in others:
            raise typer.BadParameter(f"the model has no value `{name}`: it has {', '.join(model.values)}")


def constants(settings: list[str] | None) -> dict[str, Any]:
    """The values of `--set`: numbers, true and false, or texts. Raises BadParameter (exit status 2) without a `=`."""
    values: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"`{setting}` is not NAME=VALUE", param_hint="--set")
        if not text.strip():
            raise typer.BadParameter(f"`{setting}` has no value: `{name.strip()}=...`", param_hint="--set")
        if "," in text and all(isinstance(constant(part.strip()), int | float) for part in text.split(",")):
            hint = f"`{setting}` has several values: `netc study M.net --vary {setting}` trains with each"
            raise typer.BadParameter(hint, param_hint="--set")
        values[name.strip()] = constant(text.strip())
    return values


def constant(text: str) -> Any:
    """The value of a text of `--set`. A text may stand in quotes, as in the file, and has to if it is `"2"`."""
    from netc.dsl.literals import unquoted
    from netc.dsl.mistakes.scanning import TEXT

    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(TEXT, text):
        return unquoted(text)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def load(
    path: Path, settings: list[str] | None, strict: bool = False, fold: int | None = None
) -> "tuple[Model, dict[str, Any]]":
    """Loads a model and shows its warnings. Returns it with the values that were set.

    If `strict`, a warning ends the command (exit status 1). `fold` is the validation part of a split into folds.
    """
    from netc.dsl.parser import parse_file
    from netc.runtime.loading import load_model

    values, file = constants(settings), parse_file(path)
    if fold is not None:
        from netc.runtime.data.block.split import with_fold

        file = with_fold(file, fold)
    return checked(load_model(file, values), strict), values


def checked(model: "Model", strict: bool = False) -> "Model":
    """Shows the warnings of a model. If `strict`, a warning ends the command (exit status 1)."""
    warn(model.warnings, strict)
    return model


def warn(warnings: "Sequence[Diagnostic]", strict: bool) -> None:
    """Shows warnings. If `strict`, any warning ends the command (exit status 1)."""
    from netc.commands.terminal import show_diagnostics

    show_diagnostics(warnings)
    if warnings and strict:
        raise typer.Exit(1)
