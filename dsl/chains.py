"""Questions about chains of expressions, such as `a.b.c` and `x -> f -> g`: how they begin and end, and their steps."""

from netc.dsl import syntax
from netc.dsl.node import Node


def first_part(node: Node) -> syntax.Expression | None:
    """The part that a chain of expressions begins with, such as `a + b` in `a + b + c`; None if it is not a chain."""
    match node:
        case (
            syntax.Binary(left=part)
            | syntax.Pipe(value=part)
            | syntax.Call(function=part)
            | syntax.Index(value=part)
            | syntax.Attribute(value=part)
        ):
            return part
    return None


def last_word(node: Node) -> str:
    """The name that an expression ends with: `Adam` of `torch.optim.Adam`, or of the text "Adam"; "" for others."""
    match node:
        case syntax.Name(text=text) | syntax.Text(value=text) | syntax.Attribute(name=syntax.Name(text=text)):
            return text
    return ""


def steps_of(node: syntax.Expression) -> list[str]:
    """The names of the steps that a value is piped through, the last first."""
    steps: list[str] = []
    while isinstance(node, syntax.Pipe):
        steps.append(last_word(node.into.function if isinstance(node.into, syntax.Call) else node.into))
        node = node.value
    return steps
