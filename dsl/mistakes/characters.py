"""The characters that a `.net` text must not contain, and the messages about them.

A lone carriage return ends a line for other programs but not for netc. Invisible characters and characters that reverse
the direction of text make a text look like a different one. None of them has a use, not even in a comment.
"""

import unicodedata

from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.quoting import escaped, refused
from netc.dsl.source import Source, Span

_MOST = 10
_NAMES = {"\0": "a null character", "\b": "a backspace", "\x1b": "an escape character", "\x7f": "a delete character"}


def forbidden_characters(source: Source) -> list[Diagnostic]:
    """Returns one message for each of the first ten forbidden characters."""
    return [_message(source, match.start()) for match in refused(source.text)[:_MOST]]


def _message(source: Source, at: int) -> Diagnostic:
    character, label = source.text[at], Label(Span(source, at, at + 1), "here")
    if character == "\r":
        title = "a carriage return without a line feed"
        hint = "end lines with a line feed, with or without a carriage return before it"
        return Diagnostic("E0105", title, label, hint=hint)
    if character == "\ufeff":
        return Diagnostic("E0105", "the text contains a byte order mark, `\\ufeff`", label, hint=_PLAIN)
    title = f"the text contains {_name(character)}, `{escaped(character)}`"
    return Diagnostic("E0105", title, label, hint="remove it")


_PLAIN = "save the file as UTF-8 without a byte order mark"


def _name(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return "half of a surrogate pair"
    return _NAMES.get(character) or f"a {unicodedata.name(character, 'control character').lower()}"
