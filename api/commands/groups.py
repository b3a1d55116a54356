"""The classes of the commands and of their group for Typer: exceptions of a command reach `frame.run`, and plain
arguments are converted here."""

import re
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from netc.commands.frame import Passed
from netc.dsl.quoting import escaped


class _Conversion:
    """Converts the argument of a parameter to its type."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Returns the argument as Typer does. It is None, a text, a list of texts, or what a default is."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        kind = param.type_descriptor.annotation
        if kind in (str, Path) and isinstance(value, str):
            return kind(value)
        if kind == list[str] and isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
            return [*value]
        if kind is int and _is_in_range(value, param.type_descriptor.parameter_info):
            return int(value)
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _is_in_range(value: Any, limits: Any) -> bool:
    """Whether a text consists of decimal digits, of a number between the limits of a parameter."""
    if not isinstance(value, str) or not re.fullmatch("[0-9]{1,18}", value):
        return False
    return (limits.min is None or limits.min <= int(value)) and (limits.max is None or int(value) <= limits.max)


def _converted_plainly(parameters: list[Any]) -> list[Any]:
    """Makes parameters convert absent arguments, paths, texts and counts without pydantic.

    Recent Typer converts each argument by pydantic, and to import that takes as long as to compile a small model. A
    Typer that does not ask for a parameter's `_runtime_param` converts all arguments itself.
    """
    for parameter in parameters:
        if getattr(parameter, "_runtime_param", None) is None:
            parameter._runtime_param = _Conversion()
    return parameters


def _setting_of(option: str) -> str | None:
    """The setting of a file that an unknown option such as `--batch-size` means; None for any other text."""
    from netc.dsl.mistakes.synonyms import Kind, synonym
    from netc.dsl.word import Section
    from netc.dsl.words import settings_of

    name = option.removeprefix("--").replace("-", "_")
    if not option.startswith("--"):
        return None
    if name in (*settings_of(Section.TRAIN), "lr", "momentum"):
        return name
    hint = synonym(name, Kind.SETTING, ())
    return next((change.text for change in hint.changes), None) if hint is not None else None


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Overrides the method that returns the parameters, that of `--help` among them."""
        return _converted_plainly([*super().get_params(ctx)])


class Commands(TyperGroup):
    """The group of all commands. Exceptions of a command reach `run`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Overrides the method that returns the parameters, that of `--help` among them."""
        return _converted_plainly([*super().get_params(ctx)])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = escaped(error.message)
            raise
        except (OSError, EOFError, KeyboardInterrupt) as error:
            raise Passed(error) from error
        except Exception as error:
            if (name := _setting_of(getattr(error, "option_name", ""))) is None:
                raise
            message = f"there is no such option; `--set {name}=...` gives `{name}` of the file a value"
            raise typer.BadParameter(message, ctx=getattr(error, "ctx", ctx), param_hint=error.option_name) from None  # type: ignore[attr-defined]
