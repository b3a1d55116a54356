"""Readers of the values of settings: numbers, words, truths and calls. A wrong value is a fault E0602."""

from collections.abc import Callable, Sequence
from typing import Any

from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, fault, nearest, nearest_or_all
from netc.dsl.hints import Hint
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.source import Span
from netc.dsl.structs import replace

TRUTH_WORDS = {  # what stands for a truth elsewhere, and what netc writes
    "yes": "true",
    "on": "true",
    "1": "true",
    "true": "true",
    "no": "false",
    "off": "false",
    "0": "false",
    "false": "false",
}


def value_of(node: syntax.Expression, constant: Any, fact: str) -> Any:
    """The constant that a setting's value stands for. Raises E0602 with this fact for a name that stands for none."""
    try:
        return constant(node)
    except Fault as error:
        first = error.diagnostics[0]
        if first.code != "E0201" or not isinstance(node, syntax.Name):
            raise
        fault("E0602", fact, node.span, f"nothing is named `{node.text}`", hint=first.hint)


def integer(least: int) -> Callable[[syntax.Expression, Any], int]:
    """A reader of integers that are at least `least`."""

    def read(node: syntax.Expression, constant: Any) -> int:
        fact = f"this must be a whole number, at least {least}"
        value = value_of(node, constant, fact)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            is_whole = isinstance(value, float) and value == value // 1 and value >= least
            fault("E0602", fact, node.span, f"it is {value}", hint=Hint.code(f"{value:.0f}") if is_whole else None)
        return value

    return read


def one_of(*words: str) -> Callable[[syntax.Expression, Any], str]:
    """A reader of one of these words."""

    def read(node: syntax.Expression, constant: Any) -> str:
        if not isinstance(node, syntax.Name) or node.text not in words:
            choice = f"{', '.join(words[:-1])} or {words[-1]}"
            hint = nearest_or_all(node.span.text.strip('"'), words, Kind.WORD)
            fault("E0602", f"this must be {choice}", node.span, hint=hint)
        return node.text

    return read


def truth(node: syntax.Expression, constant: Any) -> bool:
    fact = "this must be true or false"
    try:
        value = value_of(node, constant, fact)
    except Fault as error:
        word = TRUTH_WORDS.get(node.span.text.lower())
        raise Fault([replace(error.diagnostics[0], hint=Hint.code(word))]) if word else error from None
    if not isinstance(value, bool):
        word = TRUTH_WORDS.get(str(value).lower())
        fault("E0602", fact, node.span, hint=Hint.code(word) if word else None)
    return value


def call_of(node: syntax.Expression, name: str) -> syntax.Call | None:
    """The node if it is a call of this name, else None."""
    match node:
        case syntax.Call(function=syntax.Name(text=text)) if text == name:
            return node
    return None


def above_zero(node: syntax.Expression, constant: Any) -> float:
    value = value_of(node, constant, "this must be a number above 0")
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        fault("E0602", "this must be a number above 0", node.span, f"it is {value}")
    return float(value)


def at_least_zero(node: syntax.Expression, constant: Any) -> float:
    value = value_of(node, constant, "this must be a number, at least 0")
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        fault("E0602", "this must be a number, at least 0", node.span, f"it is {value}")
    return float(value)


def entries_of(
    entries: Sequence[syntax.Argument], keys: Sequence[str], what: str, span: Span
) -> dict[str, syntax.Expression]:
    """The values of `name = value` pairs by their names. Raises E0602 for a name that is not in `keys`, or twice."""
    values: dict[str, syntax.Expression] = {}
    for position, entry in enumerate(entries):
        name = entry.name.text if isinstance(entry.name, syntax.Name) else keys[min(position, len(keys) - 1)]
        if name not in keys or name in values:
            fault("E0602", f"{what} takes {' and '.join(keys)}", entry.span, hint=nearest(name, keys))
        values[name] = entry.value
    return values
