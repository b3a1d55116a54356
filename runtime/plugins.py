"""Additions of other packages: operations, passes, readers, data steps, optimizers, libraries of blocks.

They come from installed packages, by entry point, and from modules that a command names (`--plugin`), never from a
`.net` file. A module gives all additions that it has under a name without a leading underscore; an entry point may
also name a single one.
"""

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.runtime.environment import may_have_entry_points

if TYPE_CHECKING:
    from netc.runtime.additions import Addition

GROUPS = ("netc.operations", "netc.passes", "netc.readers", "netc.steps", "netc.optimizers", "netc.libraries")
_named: list[str] = []  # the modules that commands named, in this process
_added: list[str] = []  # the names of all additions
_origin: dict[str, str] = {}  # the plug-in of each addition, by the addition's name
_looked = False


def load_installed() -> None:
    """Registers what installed packages offer, once in a process. Raises what `load` raises."""
    global _looked
    if _looked:
        return
    _looked = True
    if not may_have_entry_points("netc."):
        return
    from importlib.metadata import entry_points

    installed = entry_points()  # one look through what is installed, for all groups
    for group in GROUPS:
        for entry in installed.select(group=group):
            _take(entry.value, _additions_of(entry.value))


def load(names: Iterable[str]) -> None:
    """Registers the additions of these modules, and remembers the modules for runs.

    Raises E1101 if one cannot be imported or adds nothing, and E1102 if a name is taken.
    """
    for name in names:
        if name not in _named:
            _take(name, _additions_of(name))
            _named.append(name)


def loaded() -> tuple[str, ...]:
    """The modules that were passed to `load`."""
    return tuple(_named)


def are_any() -> bool:
    """Whether anything was added: by an installed package, a module that a command named, or a call of `register`."""
    return bool(_named or _origin or _added)


def are_installed() -> bool:
    """Whether all additions come from installed packages, so that another process has them too."""
    return not _named and all(name in _origin for name in _added)


def origin_of(name: str) -> str | None:
    """The plug-in that an operation, reader or optimizer comes from, or None."""
    return _origin.get(name)


def register(addition: "Addition") -> "Addition":
    """Makes an operation, a pass, a reader, a data step, an optimizer or a library of blocks part of netc.

    Raises ValueError if its name is taken, TypeError for anything else, and Fault, at the class, for an operation whose
    attributes are of a wrong class.
    """
    from netc.runtime.additions import add

    add(addition)
    _added.append(addition.name)
    return addition


def _additions_of(name: str) -> "list[Addition]":
    """The additions of `package.module`, or the single one of `package.module:name`."""
    from netc.runtime.additions import Addition

    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
        target = getattr(module, attribute) if attribute else module
    except (Exception, SystemExit) as error:  # whatever a plug-in's own code raises becomes a message
        from netc.runtime.plugin_faults import refuse_import

        refuse_import(name, error, _span(name))
    if isinstance(target, Addition):
        return [target]
    values = vars(target).items() if isinstance(target, ModuleType) else ()
    additions = [value for key, value in values if isinstance(value, Addition) and not key.startswith("_")]
    if not additions:
        fault("E1101", f"the plug-in `{name}` adds nothing", _span(name), hint="swish = elementwise(...)")
    return list({id(addition): addition for addition in additions}.values())


def _take(plugin: str, additions: "Iterable[Addition]") -> None:
    """Registers the additions of a plug-in. Raises E1102 if a name is taken, and E1101 if one cannot be used."""
    from netc.runtime.additions import registered

    for addition in additions:
        if registered(addition) is addition:  # the module registered it itself, or it comes in two ways
            _origin.setdefault(addition.name, plugin)
            continue
        _refuse_taken(plugin, addition)
        try:
            register(addition)
        except ValueError as error:  # a pass that names another pass which does not exist
            fault("E1101", f"the plug-in `{plugin}` cannot be used", _span(plugin), str(error))
        _origin[addition.name] = plugin


def _refuse_taken(plugin: str, addition: "Addition") -> None:
    """Raises E1102 if a name of an addition is taken."""
    from netc.runtime.additions import taken_name

    name = taken_name(addition)
    if name is not None:
        by = f"by the plug-in `{_origin[addition.name]}`" if addition.name in _origin else "by netc itself"
        title = f"`{plugin}` defines `{name}`, which is defined {by}"
        fault("E1102", title, _span(plugin), hint="another name")


def _span(name: str) -> Span:
    """The span for a message about a plug-in as a whole."""
    return Span(Source(f"the plug-in {name}", ""), 0, 0)
