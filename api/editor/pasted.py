"""Edits that hints of messages describe: text to add, a line to write, an expression in place of another one.

`FORMS` is the table: the form of a hint, and what of the text it changes.
"""

import re
from collections.abc import Callable, Iterator

from netc.dsl.brackets import open_brackets
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.literals import blanked
from netc.dsl.source import Source, Span

_DECLARED = r"(?:input|target)\s+{}\s*:\s*[^#\n]*?(?=\s*(?:#|\n|$))"
_STEP = r"\w+(?:\([^`]*\))?"
Edit = tuple[Span, str]  # the characters that are replaced, and by what


def pasted(diagnostic: Diagnostic) -> Iterator[Edit]:
    """The edits that follow the hint of a message literally; none for a hint of another form."""
    for form, edit in FORMS.items():
        match = re.fullmatch(form, diagnostic.hint or "", re.DOTALL)
        if match is not None and (changed := edit(diagnostic, match)) is not None:
            yield changed
            return


def _appended(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """Further steps behind the place; not for a layer around another one, whose order changes."""
    if diagnostic.code == "E0301":
        return None
    span = diagnostic.primary.span
    return Span(span.source, span.end, span.end), f" {match[0]}"


def _called(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """`dense(units)` for `dense`; the call around the place for `conv(16, 3, pad = same)`."""
    span = diagnostic.primary.span
    if span.text == match[1]:
        return span, match[0]
    is_call = diagnostic.code == "E0301" or "` has no argument `" in diagnostic.title
    if not is_call or " or " in match[0]:
        return None
    before = [at for bracket, at in open_brackets(span.source.text[: span.start]) if bracket == "("]
    start = before[-1] - len(match[1]) if before else -1
    end = _closing(span.source.text, before[-1]) if before else None
    is_written = start >= 0 and span.source.text.startswith(f"{match[1]}(", start)
    return (Span(span.source, start, end), match[0]) if is_written and end is not None else None


def _closing(text: str, opening: int) -> int | None:
    """The offset behind the bracket that closes the one at `opening`."""
    depth = len(open_brackets(text[:opening]))
    ends = (match.end() for match in re.finditer(r"\)", text[opening:]))
    return next((opening + end for end in ends if len(open_brackets(text[: opening + end])) == depth), None)


def _at_end(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    source = diagnostic.primary.span.source
    end = Span(source, len(source.text.rstrip()), len(source.text))
    return end, ("\n" if match[1] == "}" else "") + match[1] + "\n"


def _at_end_of_line(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """The end of a line's code: before its comment."""
    source, number = diagnostic.primary.span.source, int(match[2])
    line = source.line(number)
    code = len(blanked(line).partition("#")[0].rstrip())
    start = sum(len(before) + 1 for before in source.text.split("\n")[: number - 1]) + code
    return Span(source, start, start), match[1]


def _before_line(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    return _line_before(diagnostic.primary.span.source, int(match[2]), match[1])


def _before_place(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    span = diagnostic.primary.span
    return _line_before(span.source, span.line, match[1])


def _line_before(source: Source, number: int, text: str) -> Edit:
    start = sum(len(line) + 1 for line in source.text.split("\n")[: number - 1])
    return Span(source, start, start), f"{text}\n"


def _in_place(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    return diagnostic.primary.span, match[1]


def _in_place_of_call(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    return _in_place(diagnostic, match) if diagnostic.primary.span.text.endswith(")") else None


def _in_place_of(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """`window(4, 1)` in place of `window(4)`, which one of the labels shows."""
    spans = (label.span for label in (diagnostic.primary, *diagnostic.others))
    span = next((span for span in spans if span.text == match[2]), None)
    return (span, match[1]) if span is not None else None


def _declared(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """The declaration whose name the message points at."""
    span = diagnostic.primary.span
    if span.text != match[2]:
        return None
    start = span.start - span.column + 1
    old = re.compile(_DECLARED.format(re.escape(span.text))).search(span.source.text, start, span.end + 1000)
    return (Span(span.source, old.start(), old.end()), match[1]) if old is not None else None


def _classes(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    span = diagnostic.primary.span
    old = re.search(r"class\(\w+\)", span.source.line(span.line)[span.column - 1 :])
    start = span.start + old.start() if old is not None else 0
    is_type = old is not None and diagnostic.code == "E0805"
    return (Span(span.source, start, start + len(old[0])), match[0]) if is_type and old is not None else None


def _columns(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """The columns for a difference of columns."""
    return _in_place(diagnostic, match) if " - " in diagnostic.primary.span.text else None


def _line(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """A setting with a value for a line that has its name alone."""
    span = diagnostic.primary.span
    line = span.source.line(span.line)
    start = span.start - span.column + 1 + len(line) - len(line.lstrip())
    is_name = line.strip() == match[1] and not match[0].endswith("...")
    return (Span(span.source, start, start + len(match[1])), match[0]) if is_name else None


def _statement(diagnostic: Diagnostic, match: re.Match[str]) -> Edit | None:
    """The whole line of a misspelt statement, but for its comment."""
    span = diagnostic.primary.span
    line = blanked(span.source.line(span.line)).partition("#")[0]
    start = span.start - span.column + 1 + len(line) - len(line.lstrip())
    return Span(span.source, start, start + len(line.strip())), match[1]


FORMS: dict[str, Callable[[Diagnostic, re.Match[str]], Edit | None]] = {
    rf"-> {_STEP}(?: -> {_STEP})*": _appended,
    r"add `([)\]}])`(?: at the end)?": _at_end,
    r"add `([)\]}])` at the end of line (\d+)": _at_end_of_line,
    r"add `([)\]}])` before line (\d+)": _before_line,
    r"a line `(\w+ \{)` before this one": _before_place,
    r"did you mean `\w+ = (\w+)`\?": _in_place,
    r"did you mean `(\w+ [^`]*)`\?": _statement,
    r"`(concat\(.*\))` puts them side by side": _in_place,
    r"(concat\(.*\))": _in_place,
    r"(columns\(all, except = .*\))": _columns,
    r"the layer is `(.*)`": _in_place_of_call,
    r"(\d+) in its place, .*": _in_place,
    r"`(.*)` in place of `(.*)`": _in_place_of,
    r"((?:input|target) (\w+): \w[^,]*(?:\[[^\]]*\])?)(?:, since channels come last)?": _declared,
    r"class\(\d+\)": _classes,
    r"(\w+) = .*": _line,
    r"(\w+)\(.*\)": _called,
}
