"""Why a text does not follow the grammar, in one message: what was found, where, and what is most likely meant.

Takes Lark's error and the text; knows the words and brackets of the language, and no rule of the grammar.
"""

import re

from lark import UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.source import Source, Span

OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")": "(", "]": "[", "}": "{"}
_LONGEST_NUMBER = 500  # characters that are searched for a second point
CONTINUES = ("+", "-", "*", "/", "//", "@", "%", "**", "=", ",", "<", ">", "<=", ">=", "==", "!=", "and", "or", "->")


def explain(source: Source, error: UnexpectedInput) -> Diagnostic:
    if isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        place = Span(source, at, at + 1)
        character = source.text[at]
        if character == '"':
            return Diagnostic(
                "E0101",
                "a text in quotes does not end on its line",
                Label(place, "it opens here"),
                hint='close it with `"`',
            )
        if re.match(r"[\w\"]", character) or character in "()[]{}=,:.+-*/<>":
            return _unexpected(source, place, character)
        return Diagnostic("E0101", f"`{character}` is no part of the language", Label(place))
    assert isinstance(error, UnexpectedToken)
    token = error.token
    if token.type == "$END":
        return _unclosed(source, Span(source, len(source.text), len(source.text))) or _unexpected(
            source, Span(source, len(source.text.rstrip()), len(source.text.rstrip())), ""
        )
    start = token.start_pos or 0
    if token.type == "_NL":
        return _unexpected(source, Span(source, start, start), "\n")
    return _unexpected(source, Span(source, start, start + len(token)), str(token))


_TOP = ("let", "import", "block", "op", "data", "train", "model")
_HARD = (
    *_TOP[:4],
    *["as", "class", "return", "yield", "scan", "for", "in", "with", "until", "if", "else", "and", "or", "not"],
)


def _unexpected(source: Source, place: Span, found: str) -> Diagnostic:
    early = _left_open(source, place, found) or _operator_at_line_end(source, place) or _two_points(source, place)
    if early:
        return early
    if found in CLOSE or found == "\n":
        unclosed = _unclosed(source, place, only_mismatch=True)
        if unclosed:
            return unclosed
    word = re.match(r"\w+", source.text[place.start :])
    if word and not found.startswith("\n"):
        place = Span(source, place.start, place.start + max(len(word[0]), place.end - place.start))
        found = place.text
    before = source.text[: place.start].rstrip(" \t")
    after = re.search(r"(->|[=+\-*/@%<>,:(\[.]|\b(?:if|else|in|and|or|not|as|let|block|for|return|yield))$", before)
    if found in ("", "\n"):
        line = source.line(place.line).split("#")[0].strip()
        if re.fullmatch(r"(input|target|param|state)\s+\w+", line):
            return Diagnostic("E0101", "the type is missing", Label(place, "here"), hint=f"{line}: float[10]")
        if re.fullmatch(r"((output|watch|update)\s+)?\w+", line) and not after:
            return Diagnostic("E0101", "the line ends too early", Label(place, "here"), hint=f"{line} = ...")
        if after:
            return Diagnostic("E0101", f"something is missing after `{after[0]}`", Label(place, "the line ends here"))
        return Diagnostic("E0101", "the line ends too early", Label(place, "here"))
    if after and after[0] == "->":
        return Diagnostic(
            "E0101",
            f"`->` cannot lead into `{found}`",
            Label(place, "expected a name or a call"),
            hint="what stands right of `->` is applied to what stands left, as in `x -> dense(10)`",
        )
    line_start = before.rfind("\n", 0, max(len(before) - 1, 0)) + 1
    if found == "=" and re.search(r"[=!<>(][^\S\n]*[\w.]+[^\S\n]*$|\bif\b[^\n]*$", before[line_start:]):
        return Diagnostic(
            "E0101", "`=` assigns; it does not compare", Label(place), hint="a comparison is written `==`"
        )
    is_first = not before or before.endswith("\n")
    if found in _TOP and is_first:
        return Diagnostic("E0101", f"`{found}` stands at the top of a file, outside of any `{{ }}`", Label(place))
    if found in _HARD and (is_first or not after):
        return Diagnostic(
            "E0101",
            f"unexpected `{found}`",
            Label(place, "a word of the language, no name"),
            hint=f"{found}_ is a name",
        )
    if is_first and re.match(r"\s*=[^=]", source.text[place.end :]):
        return Diagnostic(
            "E0101", f"`{found}` is assigned outside of a model or a block", Label(place), hint=f"let {found} = ..."
        )
    if re.match(r"[^\W\d]\w*$|\d", found) and before and not before.endswith("\n") and not after:
        return Diagnostic(
            "E0101", f"unexpected `{found}`", Label(place, "expected an operator or the end of the line before this")
        )
    return Diagnostic("E0101", f"unexpected `{found}`", Label(place))


def _left_open(source: Source, place: Span, found: str) -> Diagnostic | None:
    """A `(` or `[` that ought to have been closed before this: a `{`, or the beginning of another line, cannot stand in it."""
    opened = _open_brackets(source.text[: place.start])
    if not opened or opened[-1][0] == "{":
        return None
    bracket, at = opened[-1]
    before = source.text[: place.start]
    begins_line = not before.rpartition("\n")[2].strip() and not before.rstrip().endswith((*CONTINUES, *OPEN))
    if found == "{" or (begins_line and found not in CLOSE):
        return Diagnostic(
            "E0102",
            f"`{bracket}` is never closed",
            Label(Span(source, at, at + 1), "opened here"),
            (Label(place, "this cannot stand in it"),),
            f"add `{OPEN[bracket]}`",
        )
    return None


def _operator_at_line_end(source: Source, place: Span) -> Diagnostic | None:
    """An operator that ends a line takes in the next one; if the next one begins a statement, what is missing is here."""
    text = source.text[: place.start]
    start = text.rfind("\n") + 1
    end = start
    line = ""
    while end and not line:  # the last line before this one that holds more than a comment
        begin = text.rfind("\n", 0, end - 1) + 1
        line, end = re.sub(r"#[^\n]*", "", text[begin:end]).rstrip(), begin
    after = re.search(r"(->|\*\*|//|[=+\-*/@%<>,]|\b(?:and|or))$", line)
    if not after or not re.match(r"\s*\w+\s*$", text[start:]):
        return None
    at = Span(source, end + after.start(), end + after.end())
    return Diagnostic("E0101", f"something is missing after `{after[0]}`", Label(at))


def _two_points(source: Source, place: Span) -> Diagnostic | None:
    start = place.start
    while start and (source.text[start - 1].isdigit() or source.text[start - 1] in "_."):
        start -= 1
    if place.start - start > _LONGEST_NUMBER:
        return None
    before = re.search(r"\d[\d_]*\.\d*\.?$", source.text[start : place.start])
    after = re.match(r"\.?[\d.]*", source.text[place.start :])
    if not before or not after or not after[0]:
        return None
    whole = Span(source, start + before.start(), place.start + after.end())
    return Diagnostic("E0101", f"`{whole.text}` is no number", Label(whole, "it has two points"))


def _open_brackets(text: str) -> list[tuple[str, int]]:
    """The brackets that are open at the end of a text, and where."""
    opened: list[tuple[str, int]] = []
    for token in re.finditer(r'"[^"\n]*"|#[^\n]*|[()\[\]{}]', text):
        if token[0] in OPEN:
            opened.append((token[0], token.start()))
        elif token[0] in CLOSE and opened:
            opened.pop()
    return opened


def _unclosed(source: Source, place: Span, only_mismatch: bool = False) -> Diagnostic | None:
    """The bracket that is open at `place` and never closed there, if that is what went wrong."""
    opened: list[tuple[str, int]] = []
    for token in re.finditer(r'"[^"\n]*"|#[^\n]*|[()\[\]{}]', source.text[: place.end]):
        if token[0] in OPEN:
            opened.append((token[0], token.start()))
        elif token[0] in CLOSE:
            if not opened:
                return Diagnostic(
                    "E0102",
                    f"`{token[0]}` closes what was never opened",
                    Label(Span(source, token.start(), token.end())),
                )
            bracket, at = opened.pop()
            if OPEN[bracket] != token[0]:
                return Diagnostic(
                    "E0102",
                    f"`{bracket}` is closed by `{token[0]}`",
                    Label(Span(source, token.start(), token.end()), f"expected `{OPEN[bracket]}`"),
                    (Label(Span(source, at, at + 1), "opened here"),),
                )
    if opened and not only_mismatch:
        bracket, at = opened[-1]
        return Diagnostic(
            "E0102",
            f"`{bracket}` is never closed",
            Label(Span(source, at, at + 1), "opened here"),
            hint=f"add `{OPEN[bracket]}`",
        )
    return None
