"""Readers of the values of settings: numbers, words, truths and calls. A wrong value is a fault E0602."""

from collections.abc import Callable, Sequence
from typing import Any

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.source import Span


def integer(least: int) -> Callable[[syntax.Expression, Any], int]:
    """A reader of integers that are at least `least`."""

    def read(node: syntax.Expression, constant: Any) -> int:
        value = constant(node)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            fault("E0602", f"this must be a whole number, at least {least}", node.span, f"it is {value}")
        return value

    return read


def one_of(*words: str) -> Callable[[syntax.Expression, Any], str]:
    """A reader of one of these words."""

    def read(node: syntax.Expression, constant: Any) -> str:
        if not isinstance(node, syntax.Name) or node.text not in words:
            choice = f"{', '.join(words[:-1])} or {words[-1]}"
            fault("E0602", f"this must be {choice}", node.span, hint=nearest(node.span.text, words))
        return node.text

    return read


def truth(node: syntax.Expression, constant: Any) -> bool:
    value = constant(node)
    if not isinstance(value, bool):
        fault("E0602", "this must be true or false", node.span)
    return value


def call_of(node: syntax.Expression, name: str) -> syntax.Call | None:
    """The node if it is a call of this name, else None."""
    match node:
        case syntax.Call(function=syntax.Name(text=text)) if text == name:
            return node
    return None


def above_zero(node: syntax.Expression, constant: Any) -> float:
    value = constant(node)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        fault("E0602", "this must be a number above 0", node.span, f"it is {value}")
    return float(value)


def at_least_zero(node: syntax.Expression, constant: Any) -> float:
    value = constant(node)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        fault("E0602", "this must be a number, at least 0", node.span, f"it is {value}")
    return float(value)


def entries_of(
    entries: Sequence[syntax.Argument], keys: Sequence[str], what: str, span: Span
) -> dict[str, syntax.Expression]:
    """The values of `name = value` pairs by their names. Faults E0602 for a name that is not in `keys`, or twice."""
    values: dict[str, syntax.Expression] = {}
    for position, entry in enumerate(entries):
        name = entry.name.text if isinstance(entry.name, syntax.Name) else keys[min(position, len(keys) - 1)]
        if name not in keys or name in values:
            fault("E0602", f"{what} takes {' and '.join(keys)}", entry.span, hint=nearest(name, keys))
        values[name] = entry.value
    return values
