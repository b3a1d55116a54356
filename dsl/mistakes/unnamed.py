"""The hint for a line that computes a value and does not say what for: `return`, `yield` or a name is missing.

Other languages have such lines at the end of a function. Takes the text and the span where the parser stopped. Knows
where statements of a block begin and end, but not the rules of the grammar.
"""

import re
from collections.abc import Callable

from netc.dsl.hints import At, Change, Hint
from netc.dsl.keywords import KEYWORDS, SECTIONS, STATEMENTS
from netc.dsl.mistakes.brackets import open_brackets
from netc.dsl.mistakes.scanning import blanked, last_line
from netc.dsl.source import Source, Span

_FIRST_VALUE = re.compile(r"\s*(?:[^\W\d]\w*|\d[\w.]*)?\s*")  # all that the parser has read of such a line
_OPERATOR = re.compile(r"->|\*\*?|//?|[+\-@%<\[(]|[=!<>]=|>|\d|(?:if|and|or|not)\b")
_NAMED = "name ="
_ASSIGNS = re.compile(r"(?<![=!<>])=(?!=)")


def hint_for_unnamed_value(source: Source, span: Span, is_statement: Callable[[str], bool]) -> Hint | None:
    """The hint for the line of `span` if it is a value within a model, a block or a scan, or None.

    If the value cannot be parsed, the hint says how the line begins.
    """
    line = source.line(span.line)
    code, at = blanked(line).partition("#")[0].rstrip(), span.column - 1
    first = re.match(r"\s*(\w*)", code)
    word = first[1] if first else ""
    if not _FIRST_VALUE.fullmatch(code[:at]) or not _OPERATOR.match(code[at:]) or code.endswith("{"):
        return None
    if (word in KEYWORDS and word != "not") or word in STATEMENTS or _ASSIGNS.search(re.sub(r"\([^()]*\)", "", code)):
        return None
    lines = source.text.split("\n")
    last = last_line(lines, span.line)
    if (statement := _statement(source, span, last)) is None:
        return None
    text = f"{statement} {line[: len(code)].strip()}"
    if not is_statement("\n".join([text, *lines[span.line : last]])):
        return Hint(f"{statement} ...") if code[:at].strip() else None
    goes_on = " ..." if last > span.line else ""
    return Hint(text + goes_on) if statement == _NAMED else Hint(text + goes_on, Change(text, At.STATEMENT))


def _statement(source: Source, span: Span, last: int) -> str | None:
    """The word that the line of `span` should begin with, by the braces that it stands in; None outside of those of
    values. The value ends in line `last`."""
    start = span.start - span.column + 1
    opened = open_brackets(source.text[:start])
    if not opened or any(bracket != "{" for bracket, _ in opened):
        return None
    begins_with = re.compile(r"\s*(\w+)")
    lines = [begins_with.match(source.text[source.text.rfind("\n", 0, at) + 1 :]) for _, at in opened]
    outermost, innermost = (match[1] if match else "" for match in (lines[0], lines[-1]))
    if outermost in SECTIONS and outermost != "model":
        return None
    following = blanked("\n".join(source.text.split("\n")[last:])).lstrip()
    if not following.startswith("}") or innermost in ("for", "model"):
        return _NAMED
    return "return" if innermost == "block" else "yield"
