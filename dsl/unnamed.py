"""The hint for a line that computes a value and does not say what for: `return`, `yield` or a name is missing.

Other languages have such lines at the end of a function. Takes the text and the span where the parser stopped. Knows
where statements of a block begin and end, but not the rules of the grammar.
"""

import re

from netc.dsl.brackets import open_brackets
from netc.dsl.hints import At, Hint
from netc.dsl.keywords import KEYWORDS, SECTIONS, STATEMENTS
from netc.dsl.scanning import blanked
from netc.dsl.source import Source, Span

_FIRST_VALUE = re.compile(r"\s*(?:[^\W\d]\w*|\d[\w.]*)?\s*")  # all that the parser has read of such a line
_OPERATOR = re.compile(r"->|\*\*?|//?|[+\-@%<\[(]|[=!<>]=|>|\d|(?:if|and|or)\b")
_NAMED = "name ="
_ASSIGNS = re.compile(r"(?<![=!<>])=(?!=)")


def hint_for_unnamed_value(source: Source, span: Span) -> Hint | None:
    """The hint for the line of `span` if it is a value within a model, a block or a scan, or None."""
    line = source.line(span.line)
    code, at = blanked(line).partition("#")[0].rstrip(), span.column - 1
    first = re.match(r"\s*(\w*)", code)
    word = first[1] if first else ""
    if not _FIRST_VALUE.fullmatch(code[:at]) or not _OPERATOR.match(code[at:]) or code.endswith("{"):
        return None
    if word in KEYWORDS or word in STATEMENTS or _ASSIGNS.search(re.sub(r"\([^()]*\)", "", code)):
        return None
    if (statement := _statement(source, span)) is None:
        return None
    text = f"{statement} {line[: len(code)].strip()}"
    return Hint(text) if statement == _NAMED else Hint.code(text, At.STATEMENT)


def _statement(source: Source, span: Span) -> str | None:
    """The word that the line of `span` should begin with, by the braces that it stands in; None outside of those of
    values."""
    start = span.start - span.column + 1
    opened = open_brackets(blanked(source.text[:start]))
    if not opened or any(bracket != "{" for bracket, _ in opened):
        return None
    begins_with = re.compile(r"\s*(\w+)")
    lines = [begins_with.match(source.text[source.text.rfind("\n", 0, at) + 1 :]) for _, at in opened]
    outermost, innermost = (match[1] if match else "" for match in (lines[0], lines[-1]))
    if outermost in SECTIONS and outermost != "model":
        return None
    following = blanked(source.text[start:]).partition("\n")[2].lstrip()
    if not following.startswith("}") or innermost in ("for", "model"):
        return _NAMED
    return "return" if innermost == "block" else "yield"
