"""Hints of messages: their text, and the changes of the file that they propose, as data.

A `Hint` is a string that carries its changes, so that editors can offer them as fixes and tests can apply them. Knows
positions in a text, but not what messages are about.
"""

import re
from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from netc.dsl.mistakes.scanning import blanked
from netc.dsl.source import Span


class At(Enum):
    """The part of a text that a change replaces, relative to the span of the message."""

    SPAN = "the span itself"
    BEHIND = "nothing: it is added behind the span, after a blank"
    STATEMENT = "the code in the line of the span, without its comment"
    LINE_BEFORE = "nothing: it is a new line before that of the span"
    ARGUMENT = "nothing: it is added to the arguments of the call at the span"
    TYPE = "the type that is declared for the name at the span"


class Edit(Struct, frozen=True):
    """A change of a text: `text` replaces the characters of `span`."""

    span: Span
    text: str


class Change(Struct, frozen=True):
    """A proposed text, and what it replaces: a span, a part relative to the message's span, or a word inside it."""

    text: str
    at: Span | At | str = At.SPAN

    def edit(self, span: Span) -> Edit | None:
        """The edit of the file for a message at `span`; None if the part to replace does not exist there."""
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
    """Adds an argument behind the others of a call; None if the call has an argument of that name."""
    has_it = re.search(rf"\b{text.partition(' = ')[0]}\s*=", blanked(span.text)) is not None
    is_call = span.text.endswith(")") and not span.text.endswith("()")
    return Edit(Span(span.source, span.end - 1, span.end - 1), f", {text}") if is_call and not has_it else None


def _in_place_of_word(word: str, text: str, span: Span) -> Edit | None:
    """Replaces the first `word` within a span; None if there is none, or if the text would need quotes there."""
    match = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", span.text) if word else None
    if match is None or re.search(r'["\\\n]', text):
        return None
    start, end = span.start + match.start(), span.start + match.end()
    is_quoted = span.source.text[max(start - 1, 0) : start] == '"' == span.source.text[end : end + 1]
    if not is_quoted and re.fullmatch(r"\w+", text) is None:
        return None
    return Edit(Span(span.source, start, end), text)


class Hint(str):
    """The text of a hint, with the changes that it proposes. Each change alone is enough to follow the hint."""

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
        """A hint that consists of the proposed text alone."""
        return cls(text, Change(text, at))

    @classmethod
    def assignment(cls, name: str, value: object, note: str = "") -> "Hint":
        """The hint `name = value`, followed by a note, for a message that points at the value."""
        return cls(f"{name} = {value}{note}", Change(str(value)))

    @classmethod
    def options(cls, *texts: str, note: str = "") -> "Hint":
        """A hint with an argument that a call lacks, or with several of which the user chooses one."""
        return cls(" or ".join(texts) + note, *(Change(text, At.ARGUMENT) for text in texts))

    def in_place(self) -> "Hint":
        """The same hint, whose texts replace the whole span of the message, as for `nn.Linear`."""
        return Hint(str(self), *(Change(change.text) for change in self.changes))

    def at_call(self) -> "Hint":
        """The same hint for a message that moved from inside a block to its call.

        `k = 2`, the value of a parameter that the call leaves out, becomes an argument of the call.
        """
        arguments = [Change(str(self), At.ARGUMENT) for change in self.changes if self.endswith(f" = {change.text}")]
        return Hint(str(self), *(arguments or (change for change in self.changes if change.at is not At.SPAN)))

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
