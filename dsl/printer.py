"""Prints a syntax tree as text that parses to the same tree, for `netc fmt` and messages. Keeps the source's comments.

A comment on its own line is printed before the statement that follows it; a comment at the end of a line stays there.
"""

import re
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from netc.dsl import syntax
from netc.dsl.mistakes.scanning import COMMENT, TEXT, blanked
from netc.dsl.node import Node
from netc.dsl.quoting import net_string
from netc.dsl.syntax import Expression

_WIDTH = 100
_INDENT = "  "


class _Comment(Struct, frozen=True):
    start: int
    text: str
    is_alone: bool


def print_file(file: syntax.File) -> str:
    """Returns the file in its canonical form. Printing the result again changes nothing."""
    source = file.source.text
    comments = [
        _Comment(
            match.start(),
            match[0].rstrip(),
            not source[source.rfind("\n", 0, match.start()) + 1 : match.start()].strip(),
        )
        for match in re.finditer(f"{TEXT}|{COMMENT}", source)
        if match[0].startswith("#")
    ]
    writer = _Writer(source, comments)
    writer.write(file.items, 0)
    writer.comments_before(len(source) + 1, 0)
    return "\n".join(writer.lines) + "\n" if writer.lines else ""


class _Writer:
    """The lines printed so far, and the comments that are still to be printed."""

    def __init__(self, source: str, comments: list[_Comment]) -> None:
        self.source, self.comments = source, deque(comments)
        self.lines: list[str] = []

    def write(self, nodes: Sequence[Node], depth: int) -> None:
        for node in nodes:
            self.comments_before(node.span.start, depth)
            self.gap(node.span.start)
            self.statement(node, depth)

    def gap(self, start: int) -> None:
        """Adds one empty line where the source has empty lines, except at the start of a block."""
        is_first = not self.lines or not self.lines[-1] or self.lines[-1].endswith("{")
        end = start
        while end and self.source[end - 1].isspace():
            end -= 1
        if not is_first and self.source.count("\n", end, start) > 1:
            self.lines.append("")

    def comments_before(self, offset: int, depth: int) -> None:
        while self.comments and self.comments[0].start < offset:
            if self.comments[0].is_alone:
                self.gap(self.comments[0].start)
            self.lines.append(_INDENT * depth + self.comments.popleft().text)

    def trailing(self, offset: int) -> None:
        """Appends the comment on the source line of `offset` to the line just printed."""
        line_end = self.source.find("\n", offset)
        line_end = len(self.source) if line_end < 0 else line_end
        if self.comments and not self.comments[0].is_alone and offset <= self.comments[0].start < line_end:
            self.lines[-1] += "  " + self.comments.popleft().text

    def statement(self, node: Node, depth: int) -> None:
        indent = _INDENT * depth
        body = _body_of(node)
        if body is None:
            self.comments_before(node.span.end, depth)
            self.lines.append(_fit(indent, node))
            self.trailing(node.span.end)
            return
        self.lines.append(f"{indent}{_head(node)} {{")
        brace = self.source.index("{", node.span.start) if self.source else 0
        self.trailing(brace)
        self.write(body, depth + 1)
        self.comments_before(node.span.end - 1, depth + 1)
        self.lines.append(indent + "}")
        self.trailing(node.span.end)


def _body_of(node: Node) -> Sequence[Node] | None:
    match node:
        case syntax.Data(settings=body) | syntax.Train(settings=body) | syntax.Study(settings=body):
            return body
        case syntax.Model(body=body) | syntax.Block(body=body) | syntax.For(body=body):
            return body
        case syntax.Assign(value=syntax.Scan(body=body)) | syntax.Output(value=syntax.Scan(body=body)):
            return body
    return None


def _head(node: Node) -> str:
    match node:
        case syntax.Data():
            return "data"
        case syntax.Train():
            return "train"
        case syntax.Study():
            return "study"
        case syntax.Model():
            return "model"
        case syntax.Block(name=name, parameters=parameters):
            return f"block {name.text}({', '.join(parameter_text(parameter) for parameter in parameters)})"
        case syntax.For(name=name, start=start, stop=stop):
            return f"for {name.text} in {expression(start)}..{expression(stop)}"
        case syntax.Assign(names=names, type=type_, value=syntax.Scan() as scan):
            return f"{_left(names, type_)} = {_scan_head(scan)}"
        case syntax.Output(name=name, value=syntax.Scan() as scan):
            return f"output {name.text} = {_scan_head(scan)}"
    raise AssertionError(node)


def _left(names: Sequence[syntax.Name], type_: syntax.TypeOf | None) -> str:
    """The left side of an assignment."""
    return ", ".join(name.text for name in names) + (f": {type_text(type_)}" if type_ else "")


def _fit(indent: str, node: Node) -> str:
    """The statement on one line. A long pipe is broken before each `->`, a long choice after each `else`, other long
    lines after commas in brackets."""
    line = indent + _line(node)
    if "\n" in line:  # a scan inside of an expression
        return line.replace("\n", f"\n{indent}")
    value = getattr(node, "value", None)
    if len(line) <= _WIDTH or not isinstance(value, syntax.Pipe | syntax.Choose):
        return _wrapped(line, indent)
    if isinstance(value, syntax.Choose):
        return _choices(indent, line, value)
    steps: list[str] = []
    rest: Expression = value
    while isinstance(rest, syntax.Pipe):
        steps.append(f"{indent}{_INDENT}-> {expression(rest.into)}")
        rest = rest.value
    text = expression(value)
    head = line[: len(line) - len(text)]
    return "\n".join(_wrapped(line, indent + _INDENT) for line in (head + expression(rest), *reversed(steps)))


def _choices(indent: str, line: str, value: Expression) -> str:
    """A statement with a choice as its value, a line for each condition."""
    head, rest, lines = line[: len(line) - len(expression(value))], value, list[str]()
    while isinstance(rest, syntax.Choose):
        lines.append(f"{expression(rest.then)} if {expression(rest.condition)} else")
        rest = rest.otherwise
    lines.append(expression(rest))
    before = [head, *[indent + _INDENT] * (len(lines) - 1)]
    return "\n".join(_wrapped(start + text, indent + _INDENT) for start, text in zip(before, lines, strict=True))


def _wrapped(line: str, indent: str) -> str:
    """A line that is too long, broken after the commas of its outermost brackets, as late as the width allows."""
    if len(line) <= _WIDTH:
        return line
    depth, breaks = 0, list[int]()
    plain = blanked(line)
    for i, character in enumerate(plain):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 1 and plain[i + 1 : i + 2] == " ":
            breaks.append(i + 1)
    parts: list[str] = []
    start = 0
    for here, after in pairwise([*breaks, len(line)]):
        width = _WIDTH - (len(indent) + len(_INDENT) if parts else 0)
        if after - start > width and here > start:
            parts.append(line[start:here])
            start = here + 1
    return f"\n{indent}{_INDENT}".join([*parts, line[start:]])


def _line(node: Node) -> str:  # noqa: C901  a case for each kind of node
    match node:
        case syntax.Let(name=name, value=value):
            return f"let {name.text} = {expression(value)}"
        case syntax.Import(path=path, alias=alias):
            return f"import {net_string(path.value)}" + (f" as {alias.text}" if alias else "")
        case syntax.Layer(name=name, value=value):
            return f"layer {name.text} = {expression(value)}"
        case syntax.Op(name=name, parameters=parameters, value=value):
            return f"op {name.text}({', '.join(parameter.text for parameter in parameters)}) = {expression(value)}"
        case syntax.Setting(name=name, value=value):
            return f"{name.text} = {expression(value)}"
        case syntax.StudySetting(name=name, value=value, condition=condition):
            only = f" if {expression(condition)}" if condition else ""
            return f"{name.text} = {expression(value)}{only}"
        case syntax.Input(name=name, type=type_):
            return f"input {name.text}: {type_text(type_)}"
        case syntax.Target(name=name, type=type_):
            return f"target {name.text}: {type_text(type_)}"
        case syntax.Output(name=name, value=value):
            return f"output {name.text} = {expression(value)}"
        case syntax.Loss(name=label, value=value):
            return f"loss {label.text} = {expression(value)}" if label else f"loss {expression(value)}"
        case syntax.Metric(name=label, value=value):
            return f"metric {label.text} = {expression(value)}" if label else f"metric {expression(value)}"
        case syntax.Watch(name=name, value=value):
            return f"watch {name.text} = {expression(value)}"
        case syntax.Update(name=name, value=value):
            return f"update {name.text} = {expression(value)}"
        case syntax.Param(name=name, type=type_, initial=initial, options=options):
            start = f" = {expression(initial)}" if initial else ""
            listed = "".join(f", {expression(option)}" for option in options)
            return f"param {name.text}: {type_text(type_)}{start}{listed}"
        case syntax.State(name=name, type=type_, initial=initial):
            return f"state {name.text}: {type_text(type_)}" + (f" = {expression(initial)}" if initial else "")
        case syntax.Return(values=values):
            return f"return {_list(values)}"
        case syntax.Yield(values=values):
            return f"yield {_list(values)}"
        case syntax.Assign(names=names, type=type_, value=value):
            return f"{_left(names, type_)} = {expression(value)}"
        case syntax.For(body=body):
            return f"{_head(node)} {{\n" + "".join(f"{_line(statement)}\n" for statement in body) + "}"
    raise AssertionError(node)


def type_text(type_: syntax.TypeOf) -> str:
    kind = f"class({expression(type_.size)})" if type_.size else type_.kind
    return kind + (f"[{_list(type_.dims)}]" if type_.dims else "")


def parameter_text(node: syntax.Parameter) -> str:
    text = node.name.text + (f": {type_text(node.type)}" if node.type else "")
    return text + (f" = {expression(node.default)}" if node.default else "")


def _list(nodes: Sequence[Expression]) -> str:
    return ", ".join(expression(node) for node in nodes)


def expression(node: Expression | syntax.Argument) -> str:
    """An expression on one line. Brackets are printed exactly where the tree has a Group."""
    written: list[str] = []
    pending: list[str | Node] = [node]
    while pending:  # a loop, as a long chain is a deep tree
        part = pending.pop()
        if isinstance(part, str):
            written.append(part)
        else:
            pending += reversed(_pieces(part))
    return "".join(written)


_Pieces = list[str | Node]


def _pieces(node: Node) -> _Pieces:  # noqa: C901  a case for each kind of node
    """An expression or argument as a list of words and of the expressions between them."""
    match node:
        case syntax.Name(text=text) | syntax.Number(text=text):
            return [text]
        case syntax.Text(value=value):
            return [net_string(value)]
        case syntax.Leading():
            return ["..."]
        case syntax.Group(value=inner):
            return ["(", inner, ")"]
        case syntax.ListOf(items=items):
            return ["[", *_listed(items), "]"]
        case syntax.Tuple(entries=entries):
            end = ",)" if len(entries) == 1 and entries[0].name is None else ")"
            return ["(", *_listed(entries), end]
        case syntax.Argument(name=None, value=value):
            return [value]
        case syntax.Argument(name=syntax.Name() | syntax.Text() as name, value=value):
            return [name, " = ", value]
        case syntax.Unary(operator=operator, operand=operand):
            return ["not " if operator == "not" else operator, operand]
        case syntax.Binary(operator=operator, left=left, right=right):
            return [left, f" {operator} ", right]
        case syntax.Choose(then=then, condition=condition, otherwise=otherwise):
            return [then, " if ", condition, " else ", otherwise]
        case syntax.Call(function=function, arguments=arguments):
            return [function, "(", *_listed(arguments), ")"]
        case syntax.Pipe(value=value, into=into):
            return [value, " -> ", into]
        case syntax.Attribute(value=value, name=name):
            return [value, ".", name]
        case syntax.Slice(start=start, stop=stop):
            return [*([start] if start else []), ":", *([stop] if stop else [])]
        case syntax.Index(value=value, indices=indices):
            return [value, "[", *_listed(indices), "]"]
        case syntax.Scan():
            return [_scan(node)]
    raise AssertionError(type(node))


def _listed(nodes: Sequence[Node]) -> _Pieces:
    """The nodes, with commas between them."""
    return [piece for i, node in enumerate(nodes) for piece in ((", ", node) if i else (node,))]


def _scan(node: syntax.Scan) -> str:
    lines = (f"{_INDENT}{_line(statement)}\n" for statement in node.body)
    inside = "".join(line.replace("\n", f"\n{_INDENT}").rstrip(" ") for line in lines)
    return f"{_scan_head(node)} {{\n{inside}}}"


def _scan_head(node: syntax.Scan) -> str:
    over = (
        f"{expression(node.over.start)}..{expression(node.over.stop)}"
        if isinstance(node.over, syntax.Range)
        else _list(node.over)
    )
    text = f"scan {', '.join(name.text for name in node.names)} in {over}"
    if node.until:
        text += f" until {expression(node.until)}"
    if node.carries:
        text += " with " + ", ".join(f"{carry.name.text} = {expression(carry.value)}" for carry in node.carries)
    return text
