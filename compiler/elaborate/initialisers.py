"""Initialisers of parameters and states: a table of their names with the numbers that each takes, and their reader."""

import math
from collections.abc import Sequence
from typing import Any

from netc.compiler.elaborate.bindings import Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant
from netc.compiler.ir.types import Type
from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest_or_all
from netc.dsl.hints import Hint
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.plural import counted
from netc.dsl.printer import expression
from netc.dsl.source import Span

# the numbers that each takes; `constant` takes one, or one for each equal part of the last axis
INITIALISERS: dict[str, tuple[str, ...]] = {
    "zeros": (),
    "ones": (),
    "constant": ("value",),
    "normal": ("std",),
    "uniform": ("low", "high"),
    "glorot_uniform": (),
    "glorot_normal": (),
    "he_uniform": (),
    "he_normal": (),
    "orthogonal": (),
}


def initialiser(
    context: Context, statement: syntax.Param | syntax.State, type_: Type, scope: Scope
) -> tuple[str, tuple[float, ...]]:
    """The initialiser of a parameter or state, by its name, and its numbers.

    Raises E0504 for a name that there is not, E0301 for too few or too many numbers, E0304 for a wrong number.
    """
    node = statement.initial
    if node is None:
        return ("glorot_uniform" if isinstance(statement, syntax.Param) else "zeros"), ()
    function = node.function if isinstance(node, syntax.Call) else node
    arguments = node.arguments if isinstance(node, syntax.Call) else ()
    if not isinstance(function, syntax.Name) or function.text not in INITIALISERS:
        text = function.text if isinstance(function, syntax.Name) else expression(node)
        is_number = isinstance(node, syntax.Number | syntax.Unary)
        hint = Hint.code(f"constant({text})") if is_number else nearest_or_all(text, INITIALISERS, Kind.INITIALISER)
        fault("E0504", f"there is no initialiser `{text}`", node.span, hint=hint)
    name = function.text
    numbers = tuple(
        _number(constant(context, argument.value, scope), argument.span, f"a number of `{name}`")
        for argument in arguments
    )
    if name == "constant":
        size = type_.dims[-1] if type_.dims else 1
        if not numbers or size % len(numbers):
            note = ("1 element" if size == 1 else f"{size} elements") if numbers else "none is given"
            fault("E0301", "`constant` takes a number, or one for each equal part of the last axis", node.span, note)
    elif len(numbers) != len(INITIALISERS[name]):
        count = len(INITIALISERS[name])
        fault("E0301", f"`{name}` takes {counted(count, 'number') if count else 'no numbers'}", node.span)
    for argument, key in zip(arguments, INITIALISERS[name], strict=False):
        if isinstance(argument.name, syntax.Name) and argument.name.text != key:
            fault(
                "E0302", f"`{name}` takes `{key}` here", argument.span, hint=f"{name}({', '.join(INITIALISERS[name])})"
            )
    _check_range(name, numbers, arguments)
    return name, numbers


def _number(value: Any, span: Span, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        fault("E0304", f"{what} must be a finite number", span, f"this is {_shown(value)}")
    return float(value)


def _shown(value: Any) -> str:
    return "a list" if isinstance(value, tuple) else f'"{value}"' if isinstance(value, str) else str(value).lower()


def _check_range(name: str, numbers: Sequence[float], arguments: Sequence[syntax.Argument]) -> None:
    """Raises E0304 for a negative deviation, and for bounds of which the first is the larger."""
    if name == "normal" and numbers[0] < 0:
        fault("E0304", "a standard deviation is not negative", arguments[0].span)
    if name == "uniform" and numbers[0] > numbers[1]:
        low, high = numbers
        fault("E0304", "the first bound is the larger one", arguments[0].span, hint=f"uniform({high:g}, {low:g})")
