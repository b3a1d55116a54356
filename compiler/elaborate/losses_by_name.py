"""Losses and metrics that are named by a text, as in other libraries: `loss = "mse"` means `loss mse(y, price)`."""

import re
from collections.abc import Sequence

from netc.compiler.elaborate.library import LIBRARIES
from netc.dsl import syntax
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.dsl.printer import expression

_LIKELIHOODS = ("softmax", "sigmoid", "log_softmax")  # losses take what stands before these
_CALL = re.compile(r"`((?:loss )?(?:\w+\()*)(\w+)(, | - )(\w+)(.*?)`")


def applied(text: syntax.Text, statements: Sequence[syntax.Statement]) -> str:
    """The call that a text such as "mse" stands for, with what the model compares; the text itself if it is no known
    name."""
    form = _form(text.value)
    if form is None:
        return expression(text)
    before, first, sign, second, after = form
    prediction, target = _compared(statements) or (first, second)
    return f"{before}{prediction}{sign}{target}{after}"


def _form(name: str) -> tuple[str, str, str, str, str] | None:
    """A loss or metric as it is written, in parts: before, the first operand, the sign, the second operand, after."""
    libraries = (library for library in LIBRARIES.values() if library.kind in ("loss", "metric"))
    if any(name.lower() in library.names() for library in libraries):
        return f"{name.lower()}(", "prediction", ", ", "target", ")"
    match = _CALL.search(synonym(name, Kind.VALUE, ()) or "")
    if match is None:
        return None
    before, first, sign, second, after = match.groups()
    return before.removeprefix("loss "), first, sign, second, after


def _compared(statements: Sequence[syntax.Statement]) -> tuple[str, str] | None:
    """The two sides that a model compares, as written: the operands of a loss or metric, or else the last output before
    its softmax, and the first target."""
    for statement in statements:
        match statement:
            case (
                syntax.Loss(value=syntax.Call(arguments=arguments))
                | syntax.Metric(value=syntax.Call(arguments=arguments))
            ) if len(arguments) >= 2 and arguments[0].name is None and arguments[1].name is None:
                return expression(arguments[0].value), expression(arguments[1].value)
    outputs = [statement.value for statement in statements if isinstance(statement, syntax.Output)]
    targets = [statement.name.text for statement in statements if isinstance(statement, syntax.Target)]
    if not outputs or not targets:
        return None
    match outputs[-1]:
        case syntax.Call(function=syntax.Name(text=function), arguments=(argument, *_)) if function in _LIKELIHOODS:
            return expression(argument.value), targets[0]
        case syntax.Pipe(value=value, into=syntax.Name(text=function)) if function in _LIKELIHOODS:
            return expression(value), targets[0]
    return expression(outputs[-1]), targets[0]
