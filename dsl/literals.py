r"""Texts in quotes as a `.net` file writes them: their pattern, their value, and messages about wrong escapes.

The escapes are `\"`, `\\`, `\n`, `\t` and `\u{...}` with the number of a character in hexadecimal digits. The other
direction, from a value to a text in quotes, is `net_string` in quoting.py.
"""

import re

from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.source import Span

_ESCAPE = re.compile(r"\\(?:u\{(?P<digits>[0-9a-fA-F]+)\}|(?P<unfinished>u\{?[0-9a-fA-F]*)|(?P<letter>.))")
_LETTERS = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}
_LAST_CHARACTER = 0x10FFFF
_DIGITS_ELSEWHERE = 4  # Python, JavaScript and JSON write so many digits without braces
_MOST_HEX_DIGITS = 20  # a message shows at most so many digits of a number that is too large


def unquoted(literal: str) -> str:
    """The value of a text in quotes. Escapes that `wrong_escape` reports stay as they are."""
    return _ESCAPE.sub(lambda escape: _character(escape) or escape[0], literal[1:-1])


def _character(escape: re.Match[str]) -> str | None:
    """The character that an escape stands for; None if there is none."""
    if escape["digits"] is None:
        return _LETTERS.get(escape["letter"])
    code = int(escape["digits"], 16)
    is_character = code <= _LAST_CHARACTER and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_character else None


def wrong_escape(literal: Span) -> Diagnostic | None:
    """The message for the first escape of a text in quotes that stands for no character; None if there is none."""
    text = literal.text
    escape = next((match for match in _ESCAPE.finditer(text) if _character(match) is None), None)
    if escape is None:
        return None
    start = literal.start + escape.start()
    span = Span(literal.source, start, start + len(escape[0]))
    if escape["digits"] is not None:
        digits = escape["digits"].lstrip("0")
        shown = digits if len(digits) <= _MOST_HEX_DIGITS else digits[:_MOST_HEX_DIGITS] + "..."
        is_half = len(digits) <= 6 and int(digits, 16) <= _LAST_CHARACTER
        why = "it is half of a surrogate pair" if is_half else r"the last character is `\u{10ffff}`"
        hint = r"`\u{e9}` is é, and `\u{1f600}` is 😀"
        return Diagnostic("E0111", rf"there is no character `\u{{{shown}}}`", Label(span, why), hint=hint)
    if escape["unfinished"] is not None:
        title = f"the escape `{escape[0]}` is not finished"
        digits = escape["unfinished"].lstrip("u{")
        hint = rf"a character is written `\u{{{digits or 'e9'}}}`"
        if len(digits) < _DIGITS_ELSEWHERE:
            hint += rf", and a backslash `\\`: {_with_backslashes(text)}"
        return Diagnostic("E0111", title, Label(span, "expected digits in braces"), hint=hint)
    hint = rf"a backslash is written `\\`: {_with_backslashes(text)}"
    return Diagnostic("E0111", f"there is no escape `{escape[0]}`", Label(span), hint=hint)


def _with_backslashes(literal: str) -> str:
    r"""The text in quotes as it was most likely meant: with `\\` for each backslash.

    A text that contains `\"`, `\\` or `\u{...}` was written by an author who uses escapes: all that exist stay there.
    """
    uses_escapes = re.search(r'\\["\\]|\\u\{[0-9a-fA-F]+\}', literal) is not None

    def meant(escape: re.Match[str]) -> str:
        return escape[0] if uses_escapes and _character(escape) is not None else "\\" + escape[0]

    return _ESCAPE.sub(meant, literal)
