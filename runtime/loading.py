"""Checks a parsed `.net` file with its constants: plug-ins are loaded, and classes are counted in the data."""

from typing import Any

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.runtime.data.classes import class_counter
from netc.runtime.plugins import load_installed


def load_model(file: syntax.File, constants: dict[str, Any]) -> Model:
    """The model of a file. `constants` replace its `let` values. Raises Fault."""
    load_installed()
    return elaborate(file, constants, class_counter(file))
