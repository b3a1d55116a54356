"""Lines that stand outside of the block they belong to: a statement without `model {`, a setting without `train {`.

Takes the text and the word that begins the line. Knows the words of the language, but not its grammar.
"""

import re

from netc.dsl.diagnostics import Diagnostic, Label, nearest_or_all
from netc.dsl.hints import At, Change, Hint
from netc.dsl.keywords import SECTIONS
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.source import Source, Span
from netc.dsl.word import Section
from netc.dsl.words import settings_of

_STATEMENTS = re.compile(
    r"(input|target)\s+\w+\s*:|(param|state)\s+\w+\s*[:=]|(output|update|watch)\s+\w+\s*=|(loss|metric)\s+\w"
    r"|for\s+\w+\s+in\b|(return|yield)\b"
)
_FIELD = re.compile(r"\w+\s*=\s*(column|columns|field)\b")


def outside_of_blocks(source: Source, span: Span) -> Diagnostic | None:
    """The message for a line at the top level whose first word is at `span`; None if it may be anything else."""
    line = source.text[span.start :].partition("\n")[0]
    if re.match(r"[^\W\d]\w*[ \t]*\{", line):
        names = nearest_or_all(span.text, SECTIONS, Kind.SECTION)
        return Diagnostic("E0101", f"there is no block `{span.text}`", Label(span), hint=names)
    if section := _section_of(span.text, line):
        title = f"`{span.text}` stands outside of `{section} {{ }}`"
        has_section = re.search(rf"(?m)^[ \t]*{section}\s*\{{", source.text)
        hint = f"move it between the braces of `{section}`" if has_section else _opening(section)
        return Diagnostic("E0103", title, Label(span), hint=hint)
    if re.match(r"\w+\s*=[^=]", line):
        title = f"`{span.text}` is assigned outside of a model or a block"
        return Diagnostic("E0101", title, Label(span), hint=f"let {span.text} = ...")
    return None


def _opening(section: str) -> Hint:
    """The hint that a block begins before a line."""
    return Hint(f"a line `{section} {{` before this one", Change(f"{section} {{", At.LINE_BEFORE))


def _section_of(word: str, line: str) -> str | None:
    """The block that a line belongs to, by its first word or its value."""
    if _STATEMENTS.match(line):
        return "model"
    if not re.match(r"\w+\s*=[^=]", line):
        return None
    if word in settings_of(Section.DATA) or _FIELD.match(line):
        return "data"
    return "train" if word in settings_of(Section.TRAIN) else None
