"""The group of all commands for Typer, through which exceptions of a command reach `frame.run`."""

from typing import Any

import typer
from typer.core import TyperGroup

from netc.commands.frame import Passed
from netc.dsl.quoting import escaped


class Commands(TyperGroup):
    """The group of all commands. Exceptions of a command reach `run`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = escaped(error.message)
            raise
        except (OSError, EOFError, KeyboardInterrupt) as error:
            raise Passed(error) from error
