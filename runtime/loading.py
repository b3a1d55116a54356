"""Checks a parsed `.net` file with its constants: plug-ins are loaded, and classes are counted in the data."""

from typing import Any

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault
from netc.runtime.data.classes import class_counter
from netc.runtime.data.declared_types import caused_by_data
from netc.runtime.plugins import load_installed


def load_model(file: syntax.File, constants: dict[str, Any]) -> Model:
    """The model of a file. `constants` replace its `let` values.

    Raises Fault; where shapes do not fit because a declared type differs from the data, it says that.
    """
    load_installed()
    count = class_counter(file)
    try:
        return elaborate(file, constants, count)
    except Fault as error:
        raise caused_by_data(error, file, constants, count) from None
