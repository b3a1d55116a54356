"""Operations from elsewhere: of installed packages, by entry point (`netc.operations`), and of modules that a command names (`--plugin`).

A module gives all Operations that stand in it under a name without a leading underscore; an entry point may also name one alone. Never a `.net` file.
"""

import importlib
from collections.abc import Iterable
from importlib.metadata import entry_points
from types import ModuleType

from netc.compiler.elaborate.elaborator import library_names
from netc.compiler.elaborate.special import FORMS
from netc.compiler.value import OPERATIONS, Operation, register
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span

GROUP = "netc.operations"
_named: list[str] = []  # by commands, in this process
_origin: dict[str, str] = {}  # which plug-in an operation is of
_looked = False


def load_installed() -> None:
    """Register what installed packages offer, once a process. Faults as `load`."""
    global _looked
    if _looked:
        return
    _looked = True
    for entry in entry_points(group=GROUP):
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


def origin_of(operation: str) -> str | None:
    """The plug-in that an operation comes from, if it comes from one."""
    return _origin.get(operation)


def _given(name: str) -> list[Operation]:
    """The operations of `package.module` or `package.module:operation`."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, attribute) if attribute else module
    except Exception as error:  # whatever the code of somebody else raises is told as a message
        told = f"{type(error).__name__}: {error}"
        fault("E1101", f"the plug-in `{name}` cannot be imported", _place(name), told, hint="pip install ...")
    if isinstance(found, Operation):
        return [found]
    values = vars(found).items() if isinstance(found, ModuleType) else ()
    operations = [one for key, one in values if isinstance(one, Operation) and not key.startswith("_")]
    if not operations:
        fault("E1101", f"the plug-in `{name}` gives no operation", _place(name), hint="swish = elementwise(...)")
    return list({id(one): one for one in operations}.values())


def _take(plugin: str, operations: Iterable[Operation]) -> None:
    for one in operations:
        if OPERATIONS.get(one.name) is one:  # it was registered by the module itself, or comes in two ways
            _origin.setdefault(one.name, plugin)
            continue
        by = f"by the plug-in `{_origin[one.name]}`" if one.name in _origin else "by netc itself"
        if one.name in OPERATIONS or one.name in FORMS or one.name in library_names():
            fault(
                "E1102", f"`{plugin}` defines `{one.name}`, which is defined {by}", _place(plugin), hint="another name"
            )
        register(one)
        _origin[one.name] = plugin


def _place(name: str) -> Span:
    return Span(Source(f"the plug-in {name}", ""), 0, 0)
