"""Changes of a text that an editor offers: fixes for its messages, and its canonical form."""

import re

from msgspec import Struct

from netc.dsl.diagnostics import Diagnostic
from netc.dsl.printer import print_file
from netc.dsl.source import Span
from netc.editor.analysis import Analysis
from netc.editor.meaning import IDENTIFIER
from netc.editor.pasted import pasted


class Edit(Struct, frozen=True):
    """A change of the text: `text` replaces the characters of `span`."""

    span: Span
    text: str


class Action(Struct, frozen=True):
    """A fix for a message that an editor offers."""

    title: str
    edit: Edit
    diagnostic: Diagnostic


def formatted(analysis: Analysis) -> str | None:
    """The text as `netc fmt` writes it; None if it does not follow the grammar."""
    return print_file(analysis.file) if analysis.file is not None else None


def actions(analysis: Analysis, diagnostic: Diagnostic) -> list[Action]:
    """The fixes for a message: a name that its hint suggests, text to add, a comment to silence a warning."""
    offers: list[Action] = []
    span = diagnostic.primary.span
    if span.source is not analysis.source:
        return []
    hint = diagnostic.hint or ""
    offered = re.findall(r"`(\w+)`", hint) if hint.startswith("did you mean") else []
    if hint.startswith("one of "):
        offered = [name for name in hint.removeprefix("one of ").split(", ") if IDENTIFIER.fullmatch(name)][:8]
    wrong = wrong_name(diagnostic)
    if wrong is not None:
        for name in offered:
            offers.append(Action(f"`{name}` in place of `{wrong.text}`", Edit(wrong, name), diagnostic))
    offers += (Action(_title(hint), Edit(place, text), diagnostic) for place, text in pasted(diagnostic))
    if not diagnostic.is_error:
        line = analysis.source.line(span.line)
        start = span.start - span.column + 1
        end = Span(span.source, start + len(line.rstrip()), start + len(line))
        before = re.search(r"#\s*allow:", line)
        text = f", {diagnostic.code}" if before else f"  # allow: {diagnostic.code}"
        offers.append(Action(f"allow {diagnostic.code} here", Edit(end, text), diagnostic))
    return offers


def _title(hint: str) -> str:
    """The title of a fix that a hint describes: the hint, in backticks if it is nothing but code."""
    if hint.startswith("-> "):
        return f"add `{hint}`"
    return hint if "`" in hint or " in its place" in hint else f"`{hint}`"


def wrong_name(diagnostic: Diagnostic) -> Span | None:
    """The span of the name that a message is about: a name that its title quotes, within the message's location."""
    span = diagnostic.primary.span
    for quoted in re.findall(r"`(\w+)`", diagnostic.title):
        at = re.search(rf"\b{re.escape(quoted)}\b", span.text)
        if at is not None:
            return Span(span.source, span.start + at.start(), span.start + at.end())
    return span if IDENTIFIER.fullmatch(span.text) else None
