"""Parses a text: turns Lark's tree into the classes of syntax.py, by a table with one row for each grammar rule.

A text that does not follow the grammar raises a Fault. After a syntax error the rest of the text is still checked.
"""

import os
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from msgspec import Struct, field

from netc.dsl import syntax
from netc.dsl.brackets import CLOSE, OPEN, is_balanced
from netc.dsl.characters import forbidden_characters
from netc.dsl.diagnostics import Diagnostic, Fault, fault
from netc.dsl.files import content_of, reason
from netc.dsl.limits import MOST_WORDS, is_level, nested_too_deeply, number_too_large, too_long
from netc.dsl.literals import unquoted, wrong_escape
from netc.dsl.mistakes import explain
from netc.dsl.near_files import near_file
from netc.dsl.scanning import CONTINUES, last_line
from netc.dsl.source import Source, Span
from netc.dsl.tables import parser_of

_MOST_SYNTAX_FAULTS = 10
_OUTSIDE = "E0103"  # the code of a statement outside of its block


class TooLong(Exception):
    """The text has more words than a file may have. `token` is the first word beyond the limit."""

    def __init__(self, token: Token) -> None:
        super().__init__()
        self.token = token


class Newlines:
    """Drops newlines inside ( ) and [ ], and after an operator, `=`, `,` or `else`; inside { } they end a statement.

    Lark's contextual lexer reads the parser's state after each token, so this filter must not look ahead.
    It looks for a name in every state: where only `train` may stand, `training` is a wrong word, not `train` and `ing`.
    """

    always_accept = ("_NL", "NAME")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        brackets: list[str] = []
        before = ""
        for count, token in enumerate(stream):
            if count >= MOST_WORDS:
                raise TooLong(token)
            if token.type == "_NL" and ((brackets and brackets[-1] != "{") or before in CONTINUES):
                continue
            if token in OPEN:
                brackets.append(str(token))
            elif token in CLOSE and brackets:
                brackets.pop()
            before = str(token)
            yield token


@cache
def _parser() -> Lark:
    grammar = resources.files("netc.dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
    return parser_of(grammar, Newlines())


_OF_DATA = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".xlsx", ".npz", ".npy", ".gz")
_MODEL = "model.net"  # the file of a run, in its folder


def parse_file(path: Path, name: str | None = None) -> syntax.File:
    """Reads and parses a file. Raises Fault E0104 if it cannot be read, and what `parse` raises."""
    shown = name or str(path)
    if path.suffix.lower() in _OF_DATA and os.path.isfile(path):
        new = f"`netc new {path.stem} --data {path}` writes a first `.net` file for it"
        fault("E0104", f"`{shown}` is data, and no `.net` file", _start_of(shown), hint=new)
    try:
        text = content_of(path).decode()
    except FileNotFoundError:
        fault("E0104", f"there is no file `{shown}`", _start_of(shown), hint=near_file(str(path)))
    except OSError as error:
        # os.path: a method of Path raises where the name is too long
        is_run = os.path.isfile(path / _MODEL)
        hint = f"this is the folder of a run, and its file is `{path / _MODEL}`" if is_run else None
        fault("E0104", f"cannot read `{shown}`", _start_of(shown), reason(error), hint=hint)
    except UnicodeDecodeError as error:
        fault("E0104", f"`{shown}` is not UTF-8", _start_of(shown), reason(error))
    return parse(Source(shown, text, path))


def _start_of(name: str) -> Span:
    return Span(Source(name, ""), 0, 0)


def parse(source: Source, text: str | None = None) -> syntax.File:
    """Parses a text: that of the source, or one that has spaces in place of some of its characters.

    Raises a Fault with all independent syntax errors, at most ten.
    """
    faults = forbidden_characters(source)
    if faults:
        raise Fault(faults)
    text = source.text if text is None else text
    while True:
        try:
            tree = _parser().parse(text)
        except (UnexpectedCharacters, UnexpectedToken) as error:
            message = explain(source, error, _is_statement)
            faults.append(message)
            shortened = _without_line(text, message)
            if shortened is None or len(faults) == _MOST_SYNTAX_FAULTS:
                break
            text = shortened
        except TooLong as error:
            faults.append(too_long(source, error.token.start_pos or 0))
            break
        else:
            break
    if faults:
        raise Fault(faults)
    items: list[syntax.Item] = []
    for child in tree.children:
        try:
            if isinstance(child, Tree):
                items.append(_build(source, child))
        except Fault as wrong:
            faults += wrong.diagnostics
    if faults:
        raise Fault(faults[:_MOST_SYNTAX_FAULTS])
    return syntax.File(source, tuple(items))


def _is_statement(text: str) -> bool:
    """Whether a text can be parsed as a statement of a block; those of `data` and `train` look like assignments."""
    try:
        _parser().parse(f"block name(x) {{\n{text}\n}}")
    except (UnexpectedCharacters, UnexpectedToken, TooLong):
        return False
    return True


def _without_line(text: str, message: Diagnostic) -> str | None:
    """The text with the line of a message blanked, and those in which its statement goes on, to check the rest.

    Returns None if that would unbalance its brackets, and for a line outside of its block, since the lines after it
    are outside for the same reason. A line that stands by itself at the margin takes what is indented below it along,
    such as the body of a `class`.
    """
    lines, number = text.split("\n"), message.primary.span.line
    line = lines[number - 1]
    if message.code == _OUTSIDE:
        return None
    if not line.strip() or any(line.count(a) != line.count(b) for a, b in OPEN.items()):
        return None
    end = last_line(lines, number)
    if not line[0].isspace():
        while end < len(lines) and (not lines[end].strip() or lines[end][0].isspace()):
            end += 1
        if end > number and end < len(lines) and lines[end].strip() == "}":
            end += 1
    for i in range(number - 1, end):
        lines[i] = " " * len(lines[i])
    rest = "\n".join(lines)
    return rest if is_balanced(rest) else None


# ------------------------------------------------------------------ Lark's tree -> syntax tree


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


def _build(source: Source, root: Tree[Token]) -> Any:
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
