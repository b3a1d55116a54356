"""Imports packages that come with an extra of netc, where a reader needs them."""

import importlib
from types import ModuleType

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span


def require_package(package: str, extra: str, span: Span) -> ModuleType:
    """Imports a package. Raises E0821 with the command that installs it, if it is not there."""
    try:
        return importlib.import_module(package)
    except ImportError:
        fact = f"this reader needs the package `{package}`"
        fault("E0821", fact, span, "it is not installed", hint=f'pip install "netc[{extra}]"')
