"""The table of commands, and the Typer application of all or some of them. A command's module is imported with it."""

import re
from collections.abc import Iterable
from importlib import import_module

import typer

from netc.commands import version
from netc.commands.groups import Command, Commands

# the module of this package, and the function in it, by the name of the command, in the order of `netc --help`
COMMANDS = {
    "train": "train",
    "study": "study",
    "check": "check",
    "eval": "evaluate",
    "predict": "predict",
    "generate": "generate",
    "show": "show",
    "explain": "explain",
    "profile": "profile",
    "report": "report",
    "diagnose": "diagnose",
    "export": "export",
    "ensemble": "ensemble",
    "runs": "runs",
    "studies": "studies",
    "new": "new",
    "fmt": "fmt",
    "ops": "ops",
    "lsp": "lsp",
    "cache": "cache",
    "selftest": "selftest",
}

_HELP = {"help_option_names": ["--help", "-h"]}


def app_of(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Returns the application with these commands. The module of every other one is not imported."""
    app = typer.Typer(
        cls=Commands,
        context_settings=_HELP,
        name="netc",
        help="Neural networks as text, compiled to fast CPU code.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(version.common)
    for name in names:
        function = getattr(import_module(f"netc.commands.{COMMANDS[name]}"), COMMANDS[name])
        text = "\n\n".join(" ".join(part.split()) for part in (function.__doc__ or "").split("\n\n"))
        summary = re.match(r".*?\.(?=\s|$)", text)
        app.command(
            name, cls=Command, context_settings=_HELP, help=text, short_help=summary[0] if summary is not None else text
        )(function)
    return app


def app_for(arguments: list[str]) -> typer.Typer:
    """Returns the application for a command line: with the command that it begins with, or else with all of them."""
    if arguments[:1] == ["--version"]:
        return app_of(())
    return app_of(arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS)
