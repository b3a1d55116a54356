"""Computes the constants in a `data` block, and takes calls such as `csv(...)` apart."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from netc.compiler.elaborate.constants import compute
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.runtime.data.block.declarations import Constants

_TRUTHS = {"true": True, "false": False}


class _Apply(Struct, frozen=True):
    """A pending list or operator: `to` replaces the values of its operands, the last ones, by its own."""

    node: syntax.ListOf | syntax.Unary | syntax.Binary

    def to(self, values: list[Any]) -> None:
        match self.node:
            case syntax.ListOf(items=items):
                values[len(values) - len(items) :] = [tuple(values[len(values) - len(items) :])]
            case syntax.Unary():
                values[-1] = compute("-", 0, values[-1], self.node.span)
            case syntax.Binary(operator=operator):
                right = values.pop()
                values[-1] = compute(operator, values[-1], right, self.node.span)


def constant_value(node: syntax.Expression, constants: Constants) -> Any:
    """The value of a constant expression: a number, a text, the value of a `let`, or a tuple of these.

    Raises E0303 for anything else.
    """
    values: list[Any] = []
    pending: list[syntax.Expression | _Apply] = [node]
    while pending:  # not recursive: a long chain of operators is a deep tree
        match part := pending.pop():
            case _Apply():
                part.to(values)
            case syntax.Number() | syntax.Text():
                values.append(part.value)
            case syntax.Group(value=inner):
                pending.append(inner)
            case syntax.ListOf(items=items):
                pending += [_Apply(part), *reversed(items)]
            case syntax.Unary(operator="-", operand=operand):
                pending += [_Apply(part), operand]
            case syntax.Binary(left=left, right=right):
                pending += [_Apply(part), right, left]
            case syntax.Name(text=text) if text in constants:
                values.append(constants[text])
            case _:
                hint = f'a text stands in quotes: "{part.span.text}"' if isinstance(part, syntax.Attribute) else None
                fault("E0303", "this must be a number or a text", part.span, hint=hint)
    return values[0]


def constant_or_truth(node: syntax.Expression, constants: Constants) -> Any:
    """The value of a constant expression, or of the words `true` and `false`."""
    if isinstance(node, syntax.Name) and node.text in _TRUTHS:
        return _TRUTHS[node.text]
    return constant_value(node, constants)


def call_of(node: syntax.Expression) -> tuple[str, Sequence[syntax.Argument]]:
    """The name and arguments of `name(arguments)` or `name`; an empty name for anything else."""
    if isinstance(node, syntax.Call) and isinstance(node.function, syntax.Name):
        return node.function.text, node.arguments
    if isinstance(node, syntax.Name):
        return node.text, ()
    return "", ()
