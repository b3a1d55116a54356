"""Brackets of a text that do not match: which one was never closed, and where that shows.

Takes the text and an offset in it, and knows nothing of the grammar.
"""

import re

from msgspec import Struct

from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.hints import Change, Hint
from netc.dsl.mistakes.scanning import COMMENT, TEXT
from netc.dsl.source import Source, Span

_BRACKETS = re.compile(rf"{TEXT}|{COMMENT}|[()\[\]{{}}]")
OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")": "(", "]": "[", "}": "{"}


class _Opened(Struct, frozen=True):
    """An opening bracket that is not closed yet: its offset, and the column of the first character of its line."""

    bracket: str
    at: int
    indent: int


def open_brackets(text: str) -> list[tuple[str, int]]:
    """The brackets that are open at the end of a text, each with its offset."""
    opened: list[tuple[str, int]] = []
    for token in _BRACKETS.finditer(text):
        if token[0] in OPEN:
            opened.append((token[0], token.start()))
        elif token[0] in CLOSE and opened:
            opened.pop()
    return opened


def is_balanced(text: str) -> bool:
    """Whether all brackets of a text match."""
    opened: list[str] = []
    for token in _BRACKETS.findall(text):
        if token in OPEN:
            opened.append(OPEN[token])
        elif token in CLOSE and (not opened or opened.pop() != token):
            return False
    return not opened


def unmatched(source: Source, span: Span, only_mismatch: bool = False) -> Diagnostic | None:
    """The message for brackets before the end of `span` that do not match, or that are never closed.

    With `only_mismatch` a bracket that is still open there is no fault.
    """
    opened: list[tuple[str, int]] = []
    for token in _BRACKETS.finditer(source.text[: span.end]):
        if token[0] in OPEN:
            opened.append((token[0], token.start()))
        elif token[0] in CLOSE:
            if not opened:
                title = f"`{token[0]}` closes what was never opened"
                return Diagnostic("E0102", title, Label(Span(source, token.start(), token.end())))
            bracket, at = opened.pop()
            if OPEN[bracket] != token[0]:
                return Diagnostic(
                    "E0102",
                    f"`{bracket}` is closed by `{token[0]}`",
                    Label(Span(source, token.start(), token.end()), f"expected `{OPEN[bracket]}`"),
                    (Label(Span(source, at, at + 1), "opened here"),),
                )
    if not opened or only_mismatch:
        return None
    bracket, at = opened[-1]
    if bracket == "{" and (block := open_block(source, span)) is not None:
        return block
    hint = Hint(f"add `{OPEN[bracket]}`", _at_end(source, OPEN[bracket]))
    return Diagnostic(
        "E0102", f"`{bracket}` is never closed", Label(Span(source, at, at + 1), "opened here"), hint=hint
    )


def open_block(source: Source, span: Span) -> Diagnostic | None:
    """The message for the `{` that was never closed before `span`; None if none is open there.

    A `}` at the start of a line closes the `{` whose line begins at the same column, so those inside of that one which
    are still open were forgotten.
    """
    opened: list[_Opened] = []
    for token in _BRACKETS.finditer(source.text[: span.start]):
        if token[0] in OPEN:
            opened.append(_Opened(token[0], token.start(), _indent(source.text, token.start())))
        elif token[0] in CLOSE and opened:
            indent = _indent(source.text, token.start())
            is_first = source.text[: token.start()].rpartition("\n")[2].strip() == ""
            outer = [other for other in opened[:-1] if other.bracket == "{" and other.indent == indent]
            if token[0] == "}" and is_first and opened[-1].indent > indent and outer:
                return _never_closed(source, opened[-1], Span(source, token.start(), token.end()))
            opened.pop()
    braces = [other for other in opened if other.bracket == "{"]
    return _never_closed(source, braces[-1], span) if braces else None


def _never_closed(source: Source, opened: _Opened, span: Span) -> Diagnostic:
    """The message for a `{` that should have been closed in a line before `span`, or at the end of the text."""
    line = span.line if span.start < len(source.text.rstrip()) else None
    change = Change("}\n", _start_of_line(source, line)) if line is not None else _at_end(source, "}")
    hint = Hint(f"add `}}` {f'before line {line}' if line is not None else 'at the end'}", change)
    others = (Label(span, "it should be closed before this"),) if line is not None else ()
    label = Label(Span(source, opened.at, opened.at + 1), "opened here")
    return Diagnostic("E0102", "`{` is never closed", label, others, hint)


def _at_end(source: Source, bracket: str) -> Change:
    """A bracket at the end of the text; a `}` in a line of its own."""
    end = Span(source, len(source.text.rstrip()), len(source.text))
    return Change(f"\n{bracket}\n" if bracket == "}" else f"{bracket}\n", end)


def _start_of_line(source: Source, number: int) -> Span:
    start = sum(len(line) + 1 for line in source.text.split("\n")[: number - 1])
    return Span(source, start, start)


def _indent(text: str, at: int) -> int:
    """The column of the first character in the line of an offset."""
    line = text[text.rfind("\n", 0, at) + 1 :]
    return len(line) - len(line.lstrip(" \t"))
