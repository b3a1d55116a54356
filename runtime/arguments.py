"""Arguments of Python calls: what a caller passed in place of a model, a number or names.

A wrong argument raises ValueError or TypeError, as in other Python packages. One that concerns a file or a field is an
`ArgumentFault` as well, which points at the declaration.
"""

import re
from collections.abc import Iterable
from types import UnionType
from typing import NoReturn

from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.source import NOWHERE, Span

_WITH_AN = re.compile("[aeio]|nd|u(?!int|ni|se)", re.IGNORECASE)  # an int, an ndarray, a uint8


class ArgumentFault(Fault, ValueError):
    """A value that a Python program passes and that does not fit what the model declares."""


def refuse(code: str, title: str, span: Span | None, label: str = "", hint: str | None = None) -> NoReturn:
    """Raises an ArgumentFault with one message, at a span of the file if there is one."""
    raise ArgumentFault([Diagnostic(code, title, Label(span or NOWHERE, label), hint=hint)])


def kind_of(value: object) -> str:
    """The kind of a value as messages call it: `a list`, `an ndarray`, `None`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if _WITH_AN.match(name) else 'a'} {name}"


def integer(name: str, value: object, least: int = 1) -> int:
    """An argument that is a whole number. Raises TypeError for another kind, ValueError for one below `least`."""
    number = value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"`{name}` is a whole number, at least {least}, not {_shown(value)}")
    if number < least:
        raise ValueError(f"`{name}` is a whole number, at least {least}, not {number}")
    return number


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, int | float | str) else kind_of(value)


def names_of(name: str, values: Iterable[str] | str) -> tuple[str, ...]:
    """An argument that is a list of names; a text is one name. Raises TypeError for anything else."""
    if isinstance(values, str):
        return (values,)
    names = tuple(values) if isinstance(values, Iterable) else None
    if names is None or not all(isinstance(each, str) for each in names):
        raise TypeError(f"`{name}` is a list of names, not {kind_of(values)}" + (" of other things" if names else ""))
    return names


def require_kind(value: object, kind: type | UnionType | tuple[type, ...], what: str, instead: str) -> None:
    """Raises TypeError unless an argument is of a kind; `what` says who takes what, `instead` how it is written."""
    if not isinstance(value, kind):
        raise TypeError(f"{what}, not {kind_of(value)}: {instead}")
