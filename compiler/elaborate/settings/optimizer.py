"""The setting `optimizer`: its name, and its arguments with their defaults and ranges."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from netc.compiler.elaborate.settings.readers import value_of
from netc.compiler.model import Optimizer
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl import syntax
from netc.dsl.chains import last_word
from netc.dsl.diagnostics import fault, nearest, nearest_or_all
from netc.dsl.hints import Hint
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.source import Span

_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    **dict.fromkeys(("lr", "eps"), (lambda number: number > 0, "it must be above 0")),
    **dict.fromkeys(
        ("momentum", "beta1", "beta2", "alpha"), (lambda number: 0 <= number < 1, "it must be at least 0 and below 1")
    ),
    **dict.fromkeys(("decay", "lr_decay"), (lambda number: number >= 0, "it must be at least 0")),
    "history": (lambda number: number >= 1 and number == int(number), "it must be a whole number, at least 1"),
}


def default_numbers(name: str) -> dict[str, float | bool]:
    """The default values of an optimizer's arguments that have one."""
    return {key: value for key, value in OPTIMIZERS[name].numbers.items() if value is not None}


def optimizer(node: syntax.Expression, constant: Any) -> Optimizer:
    """Reads `adam`, or `sgd(0.1, momentum = 0.9)`."""
    name = _name_of(node)
    parameters, numbers = OPTIMIZERS[name].numbers, default_numbers(name)
    assigned: set[str] = set()
    for position, argument in enumerate(node.arguments if isinstance(node, syntax.Call) else ()):
        key = _parameter_of(argument, position, list(parameters))
        if key not in parameters or key in assigned:
            fault(
                "E0302",
                f"`{name}` has no argument `{key or argument.span.text}`"
                if key not in parameters
                else f"`{key}` is given twice",
                argument.span,
                hint=nearest(key, parameters, Kind.ARGUMENT) or f"it takes {', '.join(parameters)}",
            )
        assigned.add(key)
        numbers[key] = _value_of(key, argument, isinstance(parameters[key], bool), constant)
    for key, default in parameters.items():
        if default is None and key not in assigned:
            fault("E0301", f"`{name}` lacks its argument `{key}`", node.span, hint=f"{name}({key} = 0.1)")
    if numbers.get("nesterov") and not numbers["momentum"]:
        fault("E0602", "`nesterov` needs a momentum", node.span, hint="momentum = 0.9")
    return Optimizer(name, numbers)


def _name_of(node: syntax.Expression) -> str:
    """The name of an optimizer. Raises E0602 if there is none of this name, or if it stands in quotes."""
    function = node.function if isinstance(node, syntax.Call) else node
    if isinstance(function, syntax.Name) and function.text in OPTIMIZERS:
        return function.text
    if isinstance(node, syntax.Text) and node.value in OPTIMIZERS:
        hint = Hint.assignment("optimizer", f"{node.value}(lr = 0.001)")
        fault("E0602", "an optimizer stands without quotes", node.span, hint=hint)
    nearby = nearest_or_all(last_word(function), OPTIMIZERS, Kind.OPTIMIZER).in_place()
    fault("E0602", f"there is no optimizer `{function.span.text}`", function.span, hint=nearby)


def _value_of(key: str, argument: syntax.Argument, is_switch: bool, constant: Any) -> float | bool:
    """The value of an argument: true or false for a switch, else a number in the range of its parameter."""
    fact = f"`{key}` must be {'true or false' if is_switch else 'a number'}"
    value = value_of(argument.value, constant, fact)
    if not is_switch:
        return _number_in_range(key, value, argument.value.span)
    if not isinstance(value, bool):
        fault("E0602", fact, argument.value.span)
    return value


def _parameter_of(argument: syntax.Argument, position: int, parameters: Sequence[str]) -> str:
    """The parameter that an argument names, or that stands at its position; "" if there is none."""
    if isinstance(argument.name, syntax.Name):
        return argument.name.text
    return parameters[position] if position < len(parameters) and argument.name is None else ""


def _number_in_range(key: str, value: Any, span: Span) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        is_text = isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", value)
        fault("E0602", f"`{key}` must be a number", span, hint=f"{key} = {value}, without quotes" if is_text else None)
    is_in_range, condition = _RANGES.get(key, (lambda number: True, ""))
    if not is_in_range(value):
        decimals = re.match(r",(\d+)", span.source.text[span.end :])
        hint = f"{key} = {span.text}.{decimals[1]}, with a decimal point" if decimals is not None else None
        fault("E0602", f"`{key}` is out of range", span, condition, hint=hint)
    return float(value)
