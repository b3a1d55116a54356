"""Comments as other languages write them, for hints: in netc a comment begins with `#`.

`//` and `--` are operators of netc too, so a comment of one word is an operand, and no syntax error.
"""

import re

from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.mistakes.foreign_words import COMMENT
from netc.dsl.mistakes.scanning import blanked
from netc.dsl.source import Span

_SIGN = re.compile(r"//|/\*|(?<!\S)--|^\s*;")
_SIGN_AT_END = re.compile(r"(?://|--)\s*$")


def sign_before(line: str) -> re.Match[str] | None:
    """The first sign in a piece of a line, without its texts in quotes, that begins a comment elsewhere."""
    return _SIGN.search(line)


def with_hint(hint: str | None, span: Span) -> str | None:
    """A hint for an unknown name, and the one about comments if the name follows a sign that begins one elsewhere."""
    before = blanked(span.source.line(span.line))[: span.column - 1]
    if not _SIGN_AT_END.search(before):
        return hint
    return f"{hint}; {COMMENT}" if hint else COMMENT


def explained(error: Fault, value: syntax.Expression) -> Fault:
    """The fault of a setting with this value; another one if the value ends with a comment of one word."""
    match value:
        case syntax.Binary(operator="//", right=syntax.Name() as word):
            pass
        case syntax.Binary(operator="-", right=syntax.Unary(operator="-", operand=syntax.Name() as word)):
            pass
        case _:
            return error
    label = Label(word.span, "nothing of this name is defined")
    return Fault([Diagnostic("E0201", f"unknown name `{word.text}`", label, hint=COMMENT)])
