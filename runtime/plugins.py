"""Operations, passes, readers, data steps, optimizers and libraries of blocks from elsewhere: of installed packages, by entry point, and of modules that a command names (`--plugin`).

A module gives all of them that stand in it under a name without a leading underscore; an entry point may also name one alone. Never a `.net` file.
"""

import importlib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from netc.compiler.elaborate.library import LIBRARIES, Library, library_names, register_library
from netc.compiler.elaborate.special import FORMS
from netc.compiler.ir.value import OPERATIONS, Operation
from netc.compiler.ir.value import register as register_operation
from netc.compiler.passes.update import OPTIMIZERS, OptimizerRule
from netc.compiler.pipeline import PASSES, Pass, register_pass
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.runtime.data.data_step import DataStep
from netc.runtime.data.readers import READERS, Reader
from netc.runtime.data.steps import STEPS

GROUPS = ("netc.operations", "netc.passes", "netc.readers", "netc.steps", "netc.optimizers", "netc.libraries")
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
_named: list[str] = []  # by commands, in this process
_origin: dict[str, str] = {}  # which plug-in an operation is of
_looked = False


def load_installed() -> None:
    """Register what installed packages offer, once a process. Faults as `load`."""
    global _looked
    if _looked:
        return
    _looked = True
    installed = entry_points()  # one look through what is installed, for all groups
    for group in GROUPS:
        for entry in installed.select(group=group):
            _take(entry.value, _given(entry.value))


def load(names: Iterable[str]) -> None:
    """Register what these modules give, and remember them for runs. Faults E1101 where one cannot be imported or gives nothing, and E1102 where a name of its is taken."""
    for name in names:
        if name not in _named:
            _take(name, _given(name))
            _named.append(name)


def loaded() -> tuple[str, ...]:
    """The modules that `load` was given."""
    return tuple(_named)


def origin_of(name: str) -> str | None:
    """The plug-in that an operation, reader or optimizer comes from, if it comes from one."""
    return _origin.get(name)


def register(one: Addition) -> Addition:
    """Make an operation, a pass, a reader, a step of the data, an optimizer or a library of blocks part of netc. Raises ValueError if its name is taken."""
    if type(one) in _REGISTER:
        _REGISTER[type(one)](one)
        return one
    if _known(one) is not None:
        raise ValueError(f"`{one.name}` is registered already")
    _TABLES[type(one)][one.name] = one
    return one


def _known(one: Addition) -> Addition | None:
    """What has its name, of its kind."""
    found: Addition | None = _TABLES[type(one)].get(one.name)
    return found


def _given(name: str) -> list[Addition]:
    """What `package.module` or `package.module:name` holds."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, attribute) if attribute else module
    except Exception as error:  # whatever the code of somebody else raises is told as a message
        told = f"{type(error).__name__}: {error}"
        fault("E1101", f"the plug-in `{name}` cannot be imported", _place(name), told, hint="pip install ...")
    if isinstance(found, Addition):
        return [found]
    values = vars(found).items() if isinstance(found, ModuleType) else ()
    additions = [one for key, one in values if isinstance(one, Addition) and not key.startswith("_")]
    if not additions:
        told = f"the plug-in `{name}` adds nothing"
        fault("E1101", told, _place(name), hint="swish = elementwise(...)")
    return list({id(one): one for one in additions}.values())


def _take(plugin: str, additions: Iterable[Addition]) -> None:
    for one in additions:
        if _known(one) is one:  # it was registered by the module itself, or comes in two ways
            _origin.setdefault(one.name, plugin)
            continue
        by = f"by the plug-in `{_origin[one.name]}`" if one.name in _origin else "by netc itself"
        taken = one.name if _known(one) is not None else next((name for name in _words(one) if _is_word(name)), None)
        if taken is not None:
            told = f"`{plugin}` defines `{taken}`, which is defined {by}"
            fault("E1102", told, _place(plugin), hint="another name")
        try:
            register(one)
        except ValueError as error:  # a pass after one that is not there
            fault("E1101", f"the plug-in `{plugin}` cannot be used", _place(plugin), str(error))
        _origin[one.name] = plugin


def _words(one: Addition) -> list[str]:
    """The names that a model may call once this is there."""
    if isinstance(one, Library):
        return [block.name.text for block in one.blocks()]
    return [one.name] if isinstance(one, Operation) else []


def _is_word(name: str) -> bool:
    """Whether a model may call something so already."""
    return name in FORMS or name in OPERATIONS or name in library_names()


def _place(name: str) -> Span:
    return Span(Source(f"the plug-in {name}", ""), 0, 0)
