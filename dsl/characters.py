"""Characters that a `.net` text may not hold, and what is said of them.

A carriage return by itself ends a line for other programs and not for netc, and characters that hide or turn what stands beside them make a text look
like another one: none has a use, in a comment as little as elsewhere.
"""

import unicodedata

from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.quoting import escaped, refused
from netc.dsl.source import Source, Span

_MOST = 10
_NAMES = {"\0": "a null character", "\b": "a backspace", "\x1b": "an escape character", "\x7f": "a delete character"}


def forbidden_characters(source: Source) -> list[Diagnostic]:
    """A message for each, of the first ten."""
    return [_message(source, found.start()) for found in refused(source.text)[:_MOST]]


def _message(source: Source, at: int) -> Diagnostic:
    character, place = source.text[at], Label(Span(source, at, at + 1), "here")
    if character == "\r":
        title = "a carriage return without a line feed"
        hint = "end lines with a line feed, with or without a carriage return before it"
        return Diagnostic("E0105", title, place, hint=hint)
    if character == "\ufeff":
        return Diagnostic("E0105", "the text holds a byte order mark, `\\ufeff`", place, hint=_PLAIN)
    return Diagnostic("E0105", f"the text holds {_name(character)}, `{escaped(character)}`", place, hint="leave it out")


_PLAIN = "save the file as UTF-8 without a byte order mark"


def _name(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return "half of a surrogate pair"
    return _NAMES.get(character) or f"a {unicodedata.name(character, 'control character').lower()}"
