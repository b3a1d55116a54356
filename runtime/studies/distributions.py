"""Reads a distribution of a `study` block, such as `log(1e-4, 1e-1)`, and checks the condition behind its `if`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, fault, nearest, nearest_or_all
from netc.dsl.printer import expression
from netc.dsl.source import Span
from netc.runtime.data.block.constant_values import constant_or_truth, constant_value
from netc.runtime.data.block.declarations import Constants
from netc.runtime.runs.run_info import Constant
from netc.runtime.studies.space import Choice, Domain, Range, Varying, number_of

EXAMPLES = {
    "choice": "choice(16, 32, 64)",
    "int": "int(1, 6)",
    "uniform": "uniform(0.1, 0.9)",
    "log": "log(1e-4, 1e-1)",
}
_SYNONYMS = {
    **dict.fromkeys(("loguniform", "suggestloguniform", "reciprocal", "logspace"), EXAMPLES["log"]),
    **dict.fromkeys(("categorical", "suggestcategorical", "oneof", "values", "list"), EXAMPLES["choice"]),
    **dict.fromkeys(("randint", "integer", "suggestint", "range", "quniform"), EXAMPLES["int"]),
    **dict.fromkeys(("float", "suggestfloat", "suggestuniform", "linspace", "between"), EXAMPLES["uniform"]),
}
_SCALARS = (bool, int, float, str)
_LARGEST = 1 << 53  # whole numbers beyond it are not exact in the samplers, which compute in f64


def name_of_distribution(node: syntax.Expression) -> str | None:
    """`log` of `log(1e-4, 1e-1)`; None if an expression is not a distribution."""
    match node:
        case syntax.Call(function=syntax.Name(text=text)) if text in EXAMPLES:
            return text
    return None


def read_domain(node: syntax.Expression, constants: Constants, is_let: bool) -> Domain:
    """The values of a distribution. `is_let` says that a `let` varies, whose values are constants.

    Raises E0602 for anything else, E0302 and E0303 for wrong arguments.
    """
    name = name_of_distribution(node)
    if name is None or not isinstance(node, syntax.Call):
        called = node.function.text if isinstance(node, syntax.Call) and isinstance(node.function, syntax.Name) else ""
        hint = (
            _SYNONYMS.get(called.lower().replace("_", ""))
            or nearest(called, EXAMPLES)
            or f"one of {', '.join(EXAMPLES.values())}"
        )
        fault("E0602", "a setting varies over a distribution", node.span, hint=hint)
    if name == "choice":
        return _choice(node, constants, is_let)
    options = {"int": ("step", "log"), "uniform": ("step",), "log": ()}[name]
    bounds, named = _arguments(node, name, options)
    low, high = (_number(bound, constants) for bound in bounds)
    if low >= high:
        fault("E0602", "the lower bound comes first", node.span, f"{low:g} is not below {high:g}")
    if name == "log" and low <= 0:
        fault("E0602", "the bounds of `log` are above 0", bounds[0].span, f"it is {low:g}")
    if name == "int":
        return _integers(bounds, low, high, named, constants)
    step = _step(named, low, high, constants)
    return Range(float(low), _reached(float(low), float(high), step), False, name == "log", step, bounds)


def _choice(node: syntax.Call, constants: Constants, is_let: bool) -> Choice:
    values, nodes = list[Constant](), list[syntax.Expression]()
    for argument in node.arguments:
        if argument.name is not None:
            fault("E0302", "`choice` takes values without names", argument.span, hint=EXAMPLES["choice"])
        value = _value(argument.value, constants, is_let)
        if any(value == other for other in values):
            fault("E0602", f"`{expression(argument.value)}` is among the choices twice", argument.span)
        values.append(value)
        nodes.append(argument.value)
    if not values:
        fault("E0301", "`choice` takes values", node.span, hint=EXAMPLES["choice"])
    return Choice(tuple(values), tuple(nodes))


def _value(node: syntax.Expression, constants: Constants, is_let: bool) -> Constant:
    """A choice as `--set` takes it: a constant of a `let`, or for settings of `train` the text that stands there."""
    try:
        value = constant_or_truth(node, constants)
    except Fault:
        if is_let:
            raise
        return expression(node)
    if isinstance(value, str) and not is_let:
        return expression(node)
    if isinstance(value, bool | int | float | str):
        return value
    if not is_let:
        return expression(node)
    if not all(isinstance(inner, _SCALARS) or _is_flat(inner) for inner in value):
        fault("E0303", "a `let` varies over numbers, texts, true and false, and lists of these", node.span)
    constant: Constant = value
    return constant


def _is_flat(value: Any) -> bool:
    """Whether a value is a list without lists."""
    return isinstance(value, tuple) and all(isinstance(inner, _SCALARS) for inner in value)


def _integers(
    bounds: tuple[syntax.Expression, ...],
    low: float,
    high: float,
    named: Mapping[str, syntax.Expression],
    constants: Constants,
) -> Range:
    for bound, value in zip(bounds, (low, high), strict=True):
        if not isinstance(value, int) or abs(value) > _LARGEST:
            fault("E0602", "the bounds of `int` are whole numbers, at most 2 ** 53", bound.span, f"it is {value:g}")
    is_log = constant_or_truth(named["log"], constants) if "log" in named else False
    if not isinstance(is_log, bool):
        fault("E0303", "`log` is true or false", named["log"].span)
    step = _step(named, low, high, constants) or 1
    if not isinstance(step, int):
        fault("E0602", "the step of `int` is a whole number", named["step"].span, f"it is {step:g}")
    if is_log and (low < 1 or step != 1):
        what = "a step does not go with `log`" if step != 1 else "with `log` the bounds are at least 1"
        fault("E0602", what, (named["step"] if step != 1 else bounds[0]).span)
    return Range(low, low + (high - low) // step * step, True, is_log, step, bounds)


def _reached(low: float, high: float, step: float | None) -> float:
    """The last number of a range."""
    return high if step is None else low + math.floor((high - low) / step + 1e-9) * step


def _step(named: Mapping[str, syntax.Expression], low: float, high: float, constants: Constants) -> float | None:
    if "step" not in named:
        return None
    step: float = _number(named["step"], constants)
    if not 0 < step <= high - low:
        fault("E0602", "the step is above 0, and not larger than the range", named["step"].span, f"it is {step:g}")
    return step


def _arguments(
    node: syntax.Call, name: str, options: Sequence[str]
) -> tuple[tuple[syntax.Expression, ...], dict[str, syntax.Expression]]:
    """The bounds of a range, and its other arguments by name."""
    bounds, named = list[syntax.Expression](), dict[str, syntax.Expression]()
    for argument in node.arguments:
        key = argument.name.text if isinstance(argument.name, syntax.Name) else ""
        if argument.name is None:
            bounds.append(argument.value)
        elif key in options and key not in named:
            named[key] = argument.value
        else:
            if key in named:
                fault("E0302", f"`{key}` is given twice", argument.span)
            hint = nearest(key, options) or EXAMPLES[name]
            fault("E0302", f"`{name}` has no argument `{key}`", argument.span, hint=hint)
    if len(bounds) != 2:
        fault("E0301", f"`{name}` takes two bounds", node.span, hint=EXAMPLES[name])
    return tuple(bounds), named


def _number(node: syntax.Expression, constants: Constants) -> Any:
    """A finite number. Raises E0303 for anything else."""
    value = constant_value(node, constants)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        fault("E0303", "this must be a number", node.span)
    return value


# ------------------------------------------------------------------ conditions


def check_condition(node: syntax.Expression, space: Mapping[str, Varying], later: Sequence[str]) -> None:
    """Raises E0201 and E0602 unless a condition compares settings of `space`, which come before it, with their values.

    `later` are the names of the settings that come after it, or are its own.
    """
    match node:
        case syntax.Group(value=inner) | syntax.Unary(operator="not", operand=inner):
            check_condition(inner, space, later)
        case syntax.Binary(operator="and" | "or", left=left, right=right):
            check_condition(left, space, later)
            check_condition(right, space, later)
        case syntax.Name():
            domain = _domain_of(node, space, later)
            if not isinstance(domain, Choice) or not all(isinstance(value, bool) for value in domain.values):
                fault("E0602", f"`{node.text}` is not true or false", node.span, hint=f"{node.text} == ...")
        case syntax.Binary(operator=symbol, left=syntax.Name() as name, right=right) if symbol in _COMPARISONS:
            _check_comparison(_domain_of(name, space, later), name, symbol, right)
        case _:
            _refuse(node.span)


_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def _domain_of(name: syntax.Name, space: Mapping[str, Varying], later: Sequence[str]) -> Domain:
    if name.text in space:
        return space[name.text].domain
    if name.text in later:
        title = f"`{name.text}` does not vary before this line"
        fault("E0602", title, name.span, "a condition reads settings of earlier lines")
    hint = nearest(name.text, space) or (f"one of {', '.join(space)}" if space else None)
    fault("E0201", f"no setting `{name.text}` varies before this line", name.span, hint=hint)


def _check_comparison(domain: Domain, name: syntax.Name, symbol: str, right: syntax.Expression) -> None:
    if isinstance(domain, Choice) and symbol in ("==", "!="):
        if domain.index_of(right) is None:
            texts = [expression(node) for node in domain.nodes]
            fact = f"`{name.text}` is never `{expression(right)}`"
            fault("E0602", fact, right.span, hint=nearest_or_all(expression(right), texts))
        return
    if isinstance(domain, Choice) and not all(_is_number(value) for value in domain.values):
        fault("E0602", f"`{name.text}` has no order", name.span, hint=f"{name.text} == ...")
    try:
        number_of(right)
    except ValueError:
        fault("E0602", f"`{name.text}` is compared with a number", right.span)


def _is_number(value: Constant) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse(span: Span) -> NoReturn:
    hint = "optimizer == sgd, or depth > 2 and width == 64"
    fault("E0602", "a condition compares a setting that varies with a value", span, hint=hint)
