"""The kinds of additions that other packages make, and the tables that hold them beside netc's own.

plugins.py registers additions.

It imports all of these tables, which most commands do not need.
"""

from collections.abc import Callable
from typing import Any

from netc.compiler.elaborate.forms.table import FORMS
from netc.compiler.elaborate.library import LIBRARIES, Library, library_names, register_library
from netc.compiler.ir.value import OPERATIONS, Operation
from netc.compiler.ir.value import register as register_operation
from netc.compiler.passes.optimizers import OPTIMIZERS, OptimizerRule
from netc.compiler.pipeline import PASSES, Pass, register_pass
from netc.runtime.arguments import require_kind
from netc.runtime.data.readers.readers import READERS, Reader
from netc.runtime.data.steps.data_step import DataStep
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.plugin_faults import require_attributes

Addition = Operation | Pass | Reader | DataStep | OptimizerRule | Library
_TABLES: dict[type, dict[str, Any]] = {
    Operation: OPERATIONS,
    Pass: PASSES,
    Reader: READERS,
    DataStep: STEPS,
    OptimizerRule: OPTIMIZERS,
    Library: LIBRARIES,
}
_REGISTER: dict[type, Callable[[Any], Any]] = {
    Operation: register_operation,
    Pass: register_pass,
    Library: register_library,
}


def add(addition: Addition) -> None:
    """Puts an addition into its table.

    Raises ValueError if its name is taken, TypeError for anything that is not an addition, Fault for attributes of a
    wrong class.
    """
    require_kind(
        addition,
        Addition,
        "netc.register takes an operation, a pass, a reader, a data step, an optimizer or a library",
        "netc.register(elementwise(...)); `netc.extend` has the functions that make them",
    )
    if isinstance(addition, Operation):
        require_attributes(addition)
    if type(addition) in _REGISTER:
        _REGISTER[type(addition)](addition)
    elif registered(addition) is not None:
        raise ValueError(f"`{addition.name}` is registered already")
    else:
        _TABLES[type(addition)][addition.name] = addition


def registered(addition: Addition) -> Addition | None:
    """The addition of the same kind that has this name already."""
    same: Addition | None = _TABLES[type(addition)].get(addition.name)
    return same


def taken_name(addition: Addition) -> str | None:
    """The first name of an addition that is taken, or None."""
    if registered(addition) is not None:
        return addition.name
    return next((word for word in _words(addition) if _is_word(word)), None)


def _words(addition: Addition) -> list[str]:
    """The names that a model may call once an addition is registered."""
    if isinstance(addition, Library):
        return [block.name.text for block in addition.blocks()]
    return [addition.name] if isinstance(addition, Operation) else []


def _is_word(name: str) -> bool:
    """Whether a model may already call something by this name."""
    return name in FORMS or name in OPERATIONS or name in library_names()
