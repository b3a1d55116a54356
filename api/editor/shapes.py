"""The shapes that an editor shows at the ends of lines: of the names that a statement assigns, and of each step of a
chain that is written over several lines."""

from collections.abc import Iterator

from msgspec import Struct

from netc.compiler.ir.types import describe_sample
from netc.compiler.ir.value import Value
from netc.dsl import syntax
from netc.dsl.node import Node, children
from netc.dsl.source import Span
from netc.editor.analysis import Analysis

_MOST = 3  # the types of a block that is applied several times


class Shape(Struct, frozen=True):
    """A type, such as `float[10]`, behind `span`, and what an editor shows for it under the mouse."""

    span: Span
    text: str
    tip: str = ""


def shapes(analysis: Analysis) -> list[Shape]:
    """The shapes of a text, at most one a line, in the order of the text.

    A declaration gets none if it says the same: `input x: float[2]`.
    """
    by_line: dict[int, Shape] = {}
    for shape in (*_steps(analysis), *_statements(analysis)):
        source = analysis.source
        by_line[source.position(shape.span.end)[0]] = shape
    return [by_line[line] for line in sorted(by_line)]


def statements(file: syntax.File) -> Iterator[syntax.Statement]:
    """All statements of a file: of its model, its blocks and the scans in them."""
    pending: list[Node] = list(file.items)
    while pending:
        node = pending.pop()
        if isinstance(node, syntax.Statement):
            yield node
        pending += children(node)


def _statements(analysis: Analysis) -> Iterator[Shape]:
    for statement in statements(analysis.file) if analysis.file is not None else ():
        names = statement.names if isinstance(statement, syntax.Assign) else (getattr(statement, "name", None),)
        targets = [name for name in names if isinstance(name, syntax.Name) and name.span in analysis.assigned]
        if not targets:
            continue
        assigned = [analysis.assigned[name.span] for name in targets]
        text = ", ".join(_types([each.value for each in values]) for values in assigned)
        declared = getattr(statement, "type", None)
        if declared is not None and "".join(declared.span.text.split()) == "".join(text.split()):
            continue
        parameters = dict.fromkeys(name for values in assigned for each in values for name in each.parameters)
        count = sum(analysis.parameters[name] for name in parameters)
        yield Shape(statement.span, text, f"{count:,} parameters" if count else "")


def _steps(analysis: Analysis) -> Iterator[Shape]:
    """The type before each `->` that begins a line."""
    before: dict[int, list[Value]] = {}
    for applied in analysis.applied:
        if applied.span.source is analysis.source:
            before.setdefault(applied.span.end, []).append(applied.result)
    for statement in statements(analysis.file) if analysis.file is not None else ():
        pending: list[Node] = [statement]
        while pending:
            node = pending.pop()
            if isinstance(node, syntax.Pipe) and node.into.span.line > analysis.source.position(node.value.span.end)[0]:
                values = before.get(node.value.span.end, [])
                if values:
                    yield Shape(node.value.span, _types(values))
            pending += (child for child in children(node) if not isinstance(child, syntax.Statement))


def _types(values: list[Value]) -> str:
    """The types of a name or a step, each once: several in a block that is applied several times."""
    types = list(dict.fromkeys(describe_sample(value.type) for value in values))
    return " | ".join([*types[:_MOST], "..."] if len(types) > _MOST else types)
