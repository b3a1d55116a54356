"""Turns Lark's tree of a text into the classes of syntax.py, by a table with one row for each grammar rule."""

from collections.abc import Callable
from typing import Any

from lark import Token, Tree
from msgspec import Struct, field

from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault
from netc.dsl.limits import is_level, nested_too_deeply, number_too_large
from netc.dsl.literals import unquoted, wrong_escape
from netc.dsl.source import Source, Span


def _span(source: Source, tree: Tree[Token]) -> Span:
    if tree.meta.empty:
        return Span(source, 0, 0)
    return Span(source, tree.meta.start_pos, tree.meta.end_pos)


def _span_of(source: Source, token: Token) -> Span:
    return Span(source, token.start_pos or 0, token.end_pos or 0)


class _Open(Struct):
    """A rule of Lark's tree whose children are being built, with its depth in levels of brackets and of braces."""

    tree: Tree[Token]
    levels: int
    bodies: int
    parts: list[Any] = field(default_factory=list)
    next: int = 0


def build(source: Source, root: Tree[Token]) -> Any:
    """Builds the syntax tree of a rule, children first, without recursion. None stands for an absent optional part.

    Raises a Fault if the text is nested too deeply, for numbers that do not fit into 64 bits, and for wrong escapes.
    """
    pending, faults = [_Open(root, 0, 0)], list[Diagnostic]()
    while True:
        rule = pending[-1]
        if rule.next == len(rule.tree.children):
            pending.pop()
            span = _span(source, rule.tree)
            built = _RULES[rule.tree.data](span, rule.parts)
            if isinstance(built, syntax.Number) and (wrong := number_too_large(span, built.text)):
                faults.append(wrong)
            if pending:
                pending[-1].parts.append(built)
                continue
            if faults:
                raise Fault(faults)
            return built
        child = rule.tree.children[rule.next]
        rule.next += 1
        if not isinstance(child, Tree):
            if child is not None and child.type == "STRING" and (wrong := wrong_escape(_span_of(source, child))):
                faults.append(wrong)
            rule.parts.append(child)
            continue
        levels, bodies = rule.levels + is_level(rule.tree, rule.next - 1, child), rule.bodies + (child.data == "body")
        body_span = _span(source, rule.tree if child.data == "body" else child)
        if wrong := nested_too_deeply(body_span, levels, bodies):
            raise Fault([wrong])
        pending.append(_Open(child, levels, bodies))


def _present(parts: list[Any]) -> tuple[Any, ...]:
    return tuple(part for part in parts if part is not None)


def _argument(span: Span, parts: list[Any]) -> syntax.Argument:
    return syntax.Argument(span, *parts) if len(parts) == 2 else syntax.Argument(span, None, parts[0])


def _entries(parts: list[Any]) -> tuple[syntax.Argument, ...]:
    return tuple(
        part if isinstance(part, syntax.Argument) else syntax.Argument(part.span, None, part)
        for part in _present(parts)
    )


def _call(span: Span, parts: list[Any]) -> Any:
    """The rule `call` is only the bracket with its arguments; `path call` and `postfix call` are the call itself."""
    if (
        parts
        and not isinstance(parts[0], syntax.Argument | None)
        and len(parts) == 2
        and isinstance(parts[1], _Arguments)
    ):
        return syntax.Call(span, parts[0], parts[1].arguments)
    return _Arguments(_present(parts))


class _Arguments:
    """The arguments between the brackets of a call, before the called expression is attached."""

    def __init__(self, arguments: tuple[syntax.Argument, ...]) -> None:
        self.arguments = arguments


def _name(span: Span, parts: list[Any]) -> syntax.Name:
    return syntax.Name(span, str(parts[0]))


def _string(span: Span, token: Token) -> syntax.Text:
    return syntax.Text(_span_of(span.source, token), unquoted(token))


def _named(span: Span, parts: list[Any]) -> syntax.Argument:
    name = parts[0] if isinstance(parts[0], syntax.Name) else _string(span, parts[0])
    return syntax.Argument(span, name, parts[1])


def _param(span: Span, parts: list[Any]) -> syntax.Param:
    name, type_, initial, *rest = parts
    rest = list(_present(rest))
    options = tuple(
        syntax.Argument(key.span.to(value.span), key, value) for key, value in zip(rest[::2], rest[1::2], strict=True)
    )
    return syntax.Param(span, name, type_, initial, options)


def _type(span: Span, parts: list[Any]) -> syntax.TypeOf:
    if isinstance(parts[0], Token):
        return syntax.TypeOf(span, str(parts[0]), None, parts[1] or ())
    return syntax.TypeOf(span, "class", parts[0], parts[1] or ())


def _scan(span: Span, parts: list[Any]) -> syntax.Scan:
    names, over, until, *carries, body = parts
    return syntax.Scan(span, names, over, until, _present(carries), body)


_RULES: dict[str, Callable[[Span, list[Any]], Any]] = {
    "let": lambda span, parts: syntax.Let(span, *parts),
    "import_from": lambda span, parts: syntax.Import(span, _string(span, parts[0]), parts[1]),
    "block": lambda span, parts: syntax.Block(span, parts[0], _present(parts[1:-1]), parts[-1]),
    "parameter": lambda span, parts: syntax.Parameter(span, *parts),
    "layer": lambda span, parts: syntax.Layer(span, *parts),
    "op": lambda span, parts: syntax.Op(span, *parts),
    "data": lambda span, parts: syntax.Data(span, parts[0]),
    "train": lambda span, parts: syntax.Train(span, parts[0]),
    "study": lambda span, parts: syntax.Study(span, _present(parts)),
    "study_setting": lambda span, parts: syntax.StudySetting(span, *parts),
    "model": lambda span, parts: syntax.Model(span, parts[0]),
    "settings": lambda span, parts: _present(parts),
    "setting": lambda span, parts: syntax.Setting(span, *parts),
    "names": lambda span, parts: tuple(parts),
    "body": lambda span, parts: _present(parts),
    "input": lambda span, parts: syntax.Input(span, *parts),
    "target": lambda span, parts: syntax.Target(span, *parts),
    "output": lambda span, parts: syntax.Output(span, *parts),
    "loss": lambda span, parts: syntax.Loss(span, *parts),
    "metric": lambda span, parts: syntax.Metric(span, *parts),
    "watch": lambda span, parts: syntax.Watch(span, *parts),
    "param": _param,
    "state": lambda span, parts: syntax.State(span, *parts),
    "update": lambda span, parts: syntax.Update(span, *parts),
    "return_": lambda span, parts: syntax.Return(span, parts[0]),
    "yield_": lambda span, parts: syntax.Yield(span, parts[0]),
    "for_": lambda span, parts: syntax.For(span, *parts),
    "assign": lambda span, parts: syntax.Assign(span, parts[0], None, parts[1]),
    "typed": lambda span, parts: syntax.Assign(span, (parts[0],), parts[1], parts[2]),
    "exprs": lambda span, parts: tuple(parts),
    "type": _type,
    "dims": lambda span, parts: _present(parts),
    "leading": lambda span, parts: syntax.Leading(span),
    "choose": lambda span, parts: syntax.Choose(span, *parts),
    "pipe": lambda span, parts: syntax.Pipe(span, *parts),
    "binary": lambda span, parts: syntax.Binary(span, str(parts[1]), parts[0], parts[2]),
    "unary": lambda span, parts: syntax.Unary(span, str(parts[0]), parts[1]),
    "call": _call,
    "argument": _argument,
    "index": lambda span, parts: syntax.Index(span, parts[0], _present(parts[1:])),
    "slice": lambda span, parts: syntax.Slice(span, *parts),
    "attribute": lambda span, parts: syntax.Attribute(span, *parts),
    "name": _name,
    "number": lambda span, parts: syntax.Number(span, str(parts[0])),
    "text": lambda span, parts: _string(span, parts[0]),
    "group": lambda span, parts: syntax.Group(span, *parts),
    "tuple": lambda span, parts: syntax.Tuple(span, _entries(parts)),
    "list": lambda span, parts: syntax.ListOf(span, _present(parts)),
    "named": _named,
    "scan": _scan,
    "range": lambda span, parts: syntax.Range(span, *parts),
    "carry": lambda span, parts: syntax.Carry(span, *parts),
}
