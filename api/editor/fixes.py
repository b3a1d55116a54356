"""Changes of a text that an editor offers: fixes for its messages, and its canonical form."""

import re

from msgspec import Struct

from netc.dsl.diagnostics import Diagnostic
from netc.dsl.hints import Edit
from netc.dsl.printer import print_file
from netc.dsl.source import Span
from netc.editor.analysis import Analysis


class Action(Struct, frozen=True):
    """A fix for a message that an editor offers."""

    title: str
    edit: Edit
    diagnostic: Diagnostic


def formatted(analysis: Analysis) -> str | None:
    """The text as `netc fmt` writes it; None if it does not follow the grammar."""
    return print_file(analysis.file) if analysis.file is not None else None


def actions(analysis: Analysis, diagnostic: Diagnostic) -> list[Action]:
    """The fixes for a message: the changes that its hint proposes, and a comment to silence a warning."""
    span = diagnostic.primary.span
    if span.source is not analysis.source:
        return []
    proposals = diagnostic.proposals()
    offers = [Action(title, edit, diagnostic) for title, edit in proposals if edit.span.source is analysis.source]
    if not diagnostic.is_error:
        line = analysis.source.line(span.line)
        start = span.start - span.column + 1
        end = Span(span.source, start + len(line.rstrip()), start + len(line))
        before = re.search(r"#\s*allow:", line)
        text = f", {diagnostic.code}" if before else f"  # allow: {diagnostic.code}"
        offers.append(Action(f"allow {diagnostic.code} here", Edit(end, text), diagnostic))
    return offers
