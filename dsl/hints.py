"""Hints of messages: their text, and as data the changes of the file that follow them.

A `Hint` is a text like any other. Whoever proposes a change gives it along, so that editors offer it and tests follow
it. Knows positions in a text, but not what messages are about.
"""

import re
from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from netc.dsl.scanning import blanked
from netc.dsl.source import Span


class At(Enum):
    """What of the text a change replaces, seen from the place that a message points at."""

    SPAN = "the place itself"
    BEHIND = "nothing: it is added behind the place, after a blank"
    STATEMENT = "the code in the line of the place, without its comment"
    LINE_BEFORE = "nothing: it is a line of its own before that of the place"
    ARGUMENT = "nothing: it is added to the arguments of the call at the place"
    TYPE = "the type that is declared for the name at the place"


class Edit(Struct, frozen=True):
    """A change of a text: `text` replaces the characters of `span`."""

    span: Span
    text: str


class Change(Struct, frozen=True):
    """A proposed text, and what it replaces: a span, what lies so to the message's place, or a word in that place."""

    text: str
    at: Span | At | str = At.SPAN

    def edit(self, span: Span) -> Edit | None:
        """The change of the file for a message at `span`; None if that does not have what is replaced."""
        if isinstance(self.at, Span):
            return Edit(self.at, self.text)
        if isinstance(self.at, str):
            return _in_place_of_word(self.at, self.text, span)
        start = span.start - span.column + 1  # of the line
        match self.at:
            case At.SPAN:
                return Edit(span, self.text)
            case At.BEHIND:
                return Edit(Span(span.source, span.end, span.end), f" {self.text}")
            case At.ARGUMENT:
                return _as_argument(self.text, span)
            case At.LINE_BEFORE:
                return Edit(Span(span.source, start, start), f"{self.text}\n")
            case At.STATEMENT:
                code = blanked(span.source.line(span.line)).partition("#")[0]
                indent = len(code) - len(code.lstrip())
                return Edit(Span(span.source, start + indent, start + len(code.rstrip())), self.text)
            case At.TYPE:
                declared = _TYPE.match(span.source.text, span.end)
                return Edit(Span(span.source, declared.start(1), declared.end()), self.text) if declared else None


_TYPE = re.compile(r"\s*:\s*(\w+(?:\([^()\n]*\))?(?:\s*\[[^\]\n]*\])?)")


def _as_argument(text: str, span: Span) -> Edit | None:
    """An argument behind the others of a call; None if the call has one of that name."""
    has_it = re.search(rf"\b{text.partition(' = ')[0]}\s*=", blanked(span.text)) is not None
    is_call = span.text.endswith(")") and not span.text.endswith("()")
    return Edit(Span(span.source, span.end - 1, span.end - 1), f", {text}") if is_call and not has_it else None


def _in_place_of_word(word: str, text: str, span: Span) -> Edit | None:
    """The first `word` within a place replaced; None if there is none, or if the text needs quotes that it lacks."""
    match = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", span.text) if word else None
    if match is None or re.search(r'["\\\n]', text):
        return None
    start, end = span.start + match.start(), span.start + match.end()
    is_quoted = span.source.text[max(start - 1, 0) : start] == '"' == span.source.text[end : end + 1]
    if not is_quoted and re.fullmatch(r"\w+", text) is None:
        return None
    return Edit(Span(span.source, start, end), text)


class Hint(str):
    """The text of a hint, with the changes that it proposes: each of them alone follows it."""

    __slots__ = ("changes",)
    changes: tuple[Change, ...]

    def __new__(cls, text: str, *changes: Change) -> "Hint":
        hint = super().__new__(cls, text)
        hint.changes = changes
        return hint

    def __getnewargs__(self) -> tuple[str, *tuple[Change, ...]]:  # type: ignore[override]
        return (str(self), *self.changes)

    @classmethod
    def code(cls, text: str, at: Span | At | str = At.SPAN) -> "Hint":
        """A hint that is nothing but the proposed text."""
        return cls(text, Change(text, at))

    @classmethod
    def assignment(cls, name: str, value: object, note: str = "") -> "Hint":
        """The hint `name = value`, with a note behind it, where the message points at the value."""
        return cls(f"{name} = {value}{note}", Change(str(value)))

    @classmethod
    def options(cls, *texts: str, note: str = "") -> "Hint":
        """A hint with an argument that the call at the place lacks, or with several of which one is right."""
        return cls(" or ".join(texts) + note, *(Change(text, At.ARGUMENT) for text in texts))

    def in_place(self) -> "Hint":
        """The same hint with its texts in place of all that the message points at, as for `nn.Linear`."""
        return Hint(str(self), *(Change(change.text) for change in self.changes))

    def proposals(self, span: Span) -> Iterator[tuple[str, Edit]]:
        """The changes of the file for a message at `span`, each with a title."""
        for change in self.changes:
            edit = change.edit(span)
            if edit is not None:
                yield self._title(change, edit), edit

    def _title(self, change: Change, edit: Edit) -> str:
        if isinstance(change.at, str) or (change.at is At.SPAN and f"`{change.text}`" in self):
            return f"`{change.text}` in place of `{edit.span.text}`"
        if change.at in (At.BEHIND, At.ARGUMENT):
            return f"add `{change.text}`"
        return f"`{self}`" if "`" not in self and change.text in self and " in its place" not in self else str(self)
