"""Text -> syntax tree: Lark's tree turned into the dataclasses of syntax.py, by a table of one row a grammar rule.

A text that does not follow the grammar raises a Fault; statements that parse after a broken one are checked all the same.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label, fault
from netc.dsl.source import Source, Span

_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, {")": "(", "]": "[", "}": "{"}
_CONTINUES = ("+", "-", "*", "/", "//", "@", "%", "**", "=", ",", "<", ">", "<=", ">=", "==", "!=", "and", "or", "->")
_MOST_SYNTAX_FAULTS = 10


class Newlines:
    """Drops newlines inside ( ) and [ ], and after an operator, `=` or `,`; inside { } they end a statement.

    Lark's contextual lexer asks the parser for its state after each token, so none may be held back.
    """

    always_accept = ("_NL",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        brackets: list[str] = []
        before = ""
        for token in stream:
            if token.type == "_NL" and ((brackets and brackets[-1] != "{") or before in _CONTINUES):
                continue
            if token in _OPEN:
                brackets.append(str(token))
            elif token in _CLOSE and brackets:
                brackets.pop()
            before = str(token)
            yield token


@cache
def _parser() -> Lark:
    grammar = resources.files("netc.dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", postlex=Newlines(), propagate_positions=True, maybe_placeholders=True)


def parse_file(path: Path, name: str | None = None) -> syntax.File:
    """Read and parse a file; raises Fault E0104 if it cannot be read."""
    shown = name or str(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        fault("E0104", f"cannot read `{shown}`", _start_of(shown), error.strerror or "cannot be read")
    except UnicodeDecodeError as error:
        fault("E0104", f"`{shown}` is not UTF-8", _start_of(shown), f"byte {error.start} is not text")
    return parse(Source(shown, text, path))


def _start_of(name: str) -> Span:
    return Span(Source(name, ""), 0, 0)


def parse(source: Source) -> syntax.File:
    """Parse a whole text; raises a Fault with every independent syntax fault."""
    found: list[Diagnostic] = []
    text = source.text
    while True:
        try:
            tree = _parser().parse(text)
        except UnexpectedInput as error:
            found.append(_explain(source, error))
            shortened = _without_line(text, found[-1].primary.span.line)
            if shortened is None or len(found) == _MOST_SYNTAX_FAULTS:
                break
            text = shortened
        else:
            break
    if found:
        raise Fault(found)
    return syntax.File(source, tuple(_build(source, child) for child in tree.children if isinstance(child, Tree)))


def _without_line(text: str, number: int) -> str | None:
    """The text with one line blanked, so that the rest can still be checked; None if that would unbalance its brackets."""
    lines = text.split("\n")
    line = lines[number - 1]
    if not line.strip() or any(line.count(a) != line.count(b) for a, b in _OPEN.items()):
        return None
    lines[number - 1] = " " * len(line)
    return "\n".join(lines)


# ------------------------------------------------------------------ what went wrong

_WORDS = {
    "_NL": "the end of the line",
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a text in quotes",
    "$END": "the end of the file",
}


def _explain(source: Source, error: UnexpectedInput) -> Diagnostic:
    if isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        place = Span(source, at, at + 1)
        character = source.text[at]
        if character == '"':
            return Diagnostic(
                "E0101",
                "a text in quotes does not end on its line",
                Label(place, "it opens here"),
                hint='close it with `"`',
            )
        if re.match(r"[\w\"]", character) or character in "()[]{}=,:.+-*/<>":
            return _unexpected(source, place, character)
        return Diagnostic("E0101", f"`{character}` is no part of the language", Label(place))
    assert isinstance(error, UnexpectedToken)
    token = error.token
    if token.type == "$END":
        return _unclosed(source, Span(source, len(source.text), len(source.text))) or _unexpected(
            source, Span(source, len(source.text.rstrip()), len(source.text.rstrip())), ""
        )
    start = token.start_pos or 0
    if token.type == "_NL":
        return _unexpected(source, Span(source, start, start), "\n")
    return _unexpected(source, Span(source, start, start + len(token)), str(token))


_TOP = ("let", "import", "block", "op", "data", "train", "model")
_HARD = (
    *_TOP[:4],
    *["as", "class", "return", "yield", "scan", "for", "in", "with", "until", "if", "else", "and", "or", "not"],
)


def _unexpected(source: Source, place: Span, found: str) -> Diagnostic:
    early = _left_open(source, place, found) or _operator_at_line_end(source, place) or _two_points(source, place)
    if early:
        return early
    if found in _CLOSE or found == "\n":
        unclosed = _unclosed(source, place, only_mismatch=True)
        if unclosed:
            return unclosed
    word = re.match(r"\w+", source.text[place.start :])
    if word and not found.startswith("\n"):
        place = Span(source, place.start, place.start + max(len(word[0]), place.end - place.start))
        found = place.text
    before = source.text[: place.start].rstrip(" \t")
    after = re.search(r"(->|[=+\-*/@%<>,:(\[.]|\b(?:if|else|in|and|or|not|as|let|block|for|return|yield))$", before)
    if found in ("", "\n"):
        line = source.line(place.line).split("#")[0].strip()
        if re.fullmatch(r"(input|target|param|state)\s+\w+", line):
            return Diagnostic("E0101", "the type is missing", Label(place, "here"), hint=f"{line}: float[10]")
        if re.fullmatch(r"\w+", line) and not after:
            return Diagnostic("E0101", "the line ends too early", Label(place, "here"), hint=f"{line} = ...")
        if after:
            return Diagnostic("E0101", f"something is missing after `{after[0]}`", Label(place, "the line ends here"))
        return Diagnostic("E0101", "the line ends too early", Label(place, "here"))
    if after and after[0] == "->":
        return Diagnostic(
            "E0101",
            f"`->` cannot lead into `{found}`",
            Label(place, "expected a name or a call"),
            hint="what stands right of `->` is applied to what stands left, as in `x -> dense(10)`",
        )
    if found == "=" and re.search(r"[=!<>(][^\S\n]*[\w.]+[^\S\n]*$|\bif\b[^\n]*$", before):
        return Diagnostic(
            "E0101", "`=` assigns; it does not compare", Label(place), hint="a comparison is written `==`"
        )
    is_first = not before or before.endswith("\n")
    if found in _TOP and is_first:
        return Diagnostic("E0101", f"`{found}` stands at the top of a file, outside of any `{{ }}`", Label(place))
    if found in _HARD and (is_first or not after):
        return Diagnostic(
            "E0101",
            f"unexpected `{found}`",
            Label(place, "a word of the language, no name"),
            hint=f"{found}_ is a name",
        )
    if is_first and re.match(r"\s*=[^=]", source.text[place.end :]):
        return Diagnostic(
            "E0101", f"`{found}` is assigned outside of a model or a block", Label(place), hint=f"let {found} = ..."
        )
    if re.match(r"[^\W\d]\w*$|\d", found) and before and not before.endswith("\n") and not after:
        return Diagnostic(
            "E0101", f"unexpected `{found}`", Label(place, "expected an operator or the end of the line before this")
        )
    return Diagnostic("E0101", f"unexpected `{found}`", Label(place))


def _left_open(source: Source, place: Span, found: str) -> Diagnostic | None:
    """A `(` or `[` that ought to have been closed before this: a `{`, or the beginning of another line, cannot stand in it."""
    opened = _open_brackets(source.text[: place.start])
    if not opened or opened[-1][0] == "{":
        return None
    bracket, at = opened[-1]
    before = source.text[: place.start]
    begins_line = not before.rpartition("\n")[2].strip() and not before.rstrip().endswith((*_CONTINUES, *_OPEN))
    if found == "{" or (begins_line and found not in _CLOSE):
        return Diagnostic(
            "E0102",
            f"`{bracket}` is never closed",
            Label(Span(source, at, at + 1), "opened here"),
            (Label(place, "this cannot stand in it"),),
            f"add `{_OPEN[bracket]}`",
        )
    return None


def _operator_at_line_end(source: Source, place: Span) -> Diagnostic | None:
    """An operator that ends a line takes in the next one; if the next one begins a statement, what is missing is here."""
    text = source.text[: place.start]
    start = text.rfind("\n") + 1
    before = re.sub(r"#[^\n]*", "", text[:start]).rstrip()
    after = re.search(r"(->|\*\*|//|[=+\-*/@%<>,]|\b(?:and|or))$", before)
    if not after or not re.match(r"\s*\w+\s*$", text[start:]):
        return None
    at = re.search(re.escape(after[0]) + r"\s*(#[^\n]*)?(\n\s*(#[^\n]*)?)*$", text[:start])
    assert at is not None
    return Diagnostic(
        "E0101", f"something is missing after `{after[0]}`", Label(Span(source, at.start(), at.start() + len(after[0])))
    )


def _two_points(source: Source, place: Span) -> Diagnostic | None:
    before = re.search(r"\d[\d_]*\.\d*\.?$", source.text[: place.start])
    after = re.match(r"\.?[\d.]*", source.text[place.start :])
    if not before or not after or not after[0]:
        return None
    whole = Span(source, before.start(), place.start + after.end())
    return Diagnostic("E0101", f"`{whole.text}` is no number", Label(whole, "it has two points"))


def _open_brackets(text: str) -> list[tuple[str, int]]:
    """The brackets that are open at the end of a text, and where."""
    opened: list[tuple[str, int]] = []
    for token in re.finditer(r'"[^"\n]*"|#[^\n]*|[()\[\]{}]', text):
        if token[0] in _OPEN:
            opened.append((token[0], token.start()))
        elif token[0] in _CLOSE and opened:
            opened.pop()
    return opened


def _unclosed(source: Source, place: Span, only_mismatch: bool = False) -> Diagnostic | None:
    """The bracket that is open at `place` and never closed there, if that is what went wrong."""
    opened: list[tuple[str, int]] = []
    for token in re.finditer(r'"[^"\n]*"|#[^\n]*|[()\[\]{}]', source.text[: place.end]):
        if token[0] in _OPEN:
            opened.append((token[0], token.start()))
        elif token[0] in _CLOSE:
            if not opened:
                return Diagnostic(
                    "E0102",
                    f"`{token[0]}` closes what was never opened",
                    Label(Span(source, token.start(), token.end())),
                )
            bracket, at = opened.pop()
            if _OPEN[bracket] != token[0]:
                return Diagnostic(
                    "E0102",
                    f"`{bracket}` is closed by `{token[0]}`",
                    Label(Span(source, token.start(), token.end()), f"expected `{_OPEN[bracket]}`"),
                    (Label(Span(source, at, at + 1), "opened here"),),
                )
    if opened and not only_mismatch:
        bracket, at = opened[-1]
        return Diagnostic(
            "E0102",
            f"`{bracket}` is never closed",
            Label(Span(source, at, at + 1), "opened here"),
            hint=f"add `{_OPEN[bracket]}`",
        )
    return None


# ------------------------------------------------------------------ Lark's tree -> syntax tree


def _span(source: Source, tree: Tree[Token]) -> Span:
    if tree.meta.empty:
        return Span(source, 0, 0)
    return Span(source, tree.meta.start_pos, tree.meta.end_pos)


def _build(source: Source, node: Any) -> Any:
    """The syntax of a tree, of the children first; None stays None (an optional part that is not there)."""
    if node is None:
        return None
    if isinstance(node, Token):
        return node
    return _RULES[node.data](
        _span(source, node),
        [_build(source, child) for child in node.children if not (isinstance(child, Token) and child.type == "_NL")],
    )


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
    """The rule `call` is the bracket alone (a tuple of arguments); `path call` and `postfix call` are the call itself."""
    if (
        parts
        and not isinstance(parts[0], syntax.Argument | None)
        and len(parts) == 2
        and isinstance(parts[1], _Arguments)
    ):
        return syntax.Call(span, parts[0], parts[1].arguments)
    return _Arguments(_present(parts))


class _Arguments:
    """What stands between the brackets of a call, before it is known what is called."""

    def __init__(self, arguments: tuple[syntax.Argument, ...]) -> None:
        self.arguments = arguments


def _name(span: Span, parts: list[Any]) -> syntax.Name:
    return syntax.Name(span, str(parts[0]))


def _string(span: Span, token: Any) -> syntax.Text:
    return syntax.Text(Span(span.source, token.start_pos, token.end_pos), str(token)[1:-1])


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
