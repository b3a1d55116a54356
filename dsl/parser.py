"""Parses a text: reads a file, runs Lark on it, and collects the messages about what does not follow the grammar.

After a syntax error the rest of the text is still checked. tree_builder.py makes the syntax tree of Lark's tree.
"""

import os
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, fault
from netc.dsl.limits import MOST_WORDS, too_long
from netc.dsl.mistakes.brackets import CLOSE, OPEN, is_balanced
from netc.dsl.mistakes.characters import forbidden_characters
from netc.dsl.mistakes.scanning import CONTINUES, last_line
from netc.dsl.mistakes.syntax_error import explain
from netc.dsl.source import Source, Span
from netc.dsl.storage.files import content_of, reason
from netc.dsl.storage.near_files import near_file
from netc.dsl.tables import parser_of
from netc.dsl.tree_builder import build

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
                items.append(build(source, child))
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
