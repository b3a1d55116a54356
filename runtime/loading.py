"""Checks a parsed `.net` file with its constants: plug-ins are loaded, and classes are counted in the data."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from netc.compiler.elaborate.elaborator import ClassCounter, elaborate
from netc.compiler.elaborate.settings.replaced import SET
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault
from netc.runtime.arguments import kind_of
from netc.runtime.plugins import load_installed


def load_model(file: syntax.File, constants: dict[str, Any], spelling: str = SET) -> Model:
    """The model of a file. `constants` replace its `let` values; `spelling` is how the caller writes one.

    Raises Fault; where shapes do not fit because a declared type differs from the data, it says that.
    """
    load_installed()
    count = _class_counter(file)
    try:
        return elaborate(file, constants, count, spelling)
    except Fault as error:
        from netc.runtime.data.declared_types import caused_by_data

        raise caused_by_data(error, file, constants, count) from None


def constants_of_call(constants: Mapping[str, Any]) -> dict[str, Any]:
    """Constants as a Python program passes them, with numbers of NumPy as those of Python.

    Raises TypeError for a value that the language cannot write.
    """
    return {name: _constant(name, value) for name, value in constants.items()}


def _constant(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return tuple(_constant(name, entry) for entry in value)
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"`{name}` is a number, True, False, a text or a list of these, not {kind_of(value)}")
    return value


def _class_counter(file: syntax.File) -> ClassCounter:
    """Counts classes in the data of a file: what reads data is imported if the model asks for a number."""

    @cache
    def counter() -> ClassCounter:
        from netc.runtime.data.classes import class_counter

        return class_counter(file)

    return lambda name, lets, asked: counter()(name, lets, asked)
