"""Turns a syntax error of Lark into one message: what is wrong, where, and what was most likely meant.

Takes Lark's error and the text. Knows the words and brackets of the language, but not the rules of the grammar.
"""

import re
from collections.abc import Callable

from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from netc.dsl import words as language
from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.hints import At, Change, Hint
from netc.dsl.keywords import DEFINITIONS, KEYWORDS, SECTIONS, STATEMENTS
from netc.dsl.mistakes import foreign_words
from netc.dsl.mistakes.brackets import CLOSE, OPEN, is_balanced, open_block, open_brackets, unmatched
from netc.dsl.mistakes.comments import sign_before
from netc.dsl.mistakes.foreign_lines import hint_for_foreign_line
from netc.dsl.mistakes.foreign_words import WORDS
from netc.dsl.mistakes.scanning import CONTINUES, blanked
from netc.dsl.mistakes.sections import outside_of_blocks
from netc.dsl.mistakes.slips import hint_for_slip
from netc.dsl.mistakes.unnamed import hint_for_unnamed_value
from netc.dsl.source import Source, Span
from netc.dsl.structs import replace
from netc.dsl.word import Section

_LONGEST_NUMBER = 500  # the most characters that are searched for a second decimal point


def explain(
    source: Source, error: UnexpectedCharacters | UnexpectedToken, is_statement: Callable[[str], bool]
) -> Diagnostic:
    """Returns the message for a syntax error. If it has no other hint, one for a sign or word of another language.

    `is_statement` says whether a text that a hint would propose can be parsed.
    """
    diagnostic = _explained(source, error)
    span = diagnostic.primary.span
    hint = diagnostic.hint or hint_for_foreign_line(source, span, is_statement)
    if hint is None or hint.endswith("_ is a name"):
        section = _section_of(source, span)
        hint = hint_for_slip(source.line(span.line), span.column - 1, section, is_statement) or hint
        if diagnostic.code == "E0101" and (hint is None or hint.endswith("_ is a name")):
            hint = hint_for_unnamed_value(source, span, is_statement) or hint
    return replace(diagnostic, hint=hint)


def _section_of(source: Source, span: Span) -> str | None:
    """The word before the outermost `{` that is open at `span`; None at the top level."""
    braces = [at for bracket, at in open_brackets(source.text[: span.start]) if bracket == "{"]
    word = re.search(r"(\w+)[^\w]*$", source.text[: braces[0]].rstrip()) if braces else None
    return word[1] if word is not None else None


def _explained(source: Source, error: UnexpectedCharacters | UnexpectedToken) -> Diagnostic:
    if isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        span = Span(source, at, at + 1)
        character = source.text[at]
        if character == '"':
            return Diagnostic(
                "E0101",
                "a text in quotes does not end on its line",
                Label(span, "it opens here"),
                hint=_CLOSING if '\\"' in source.line(span.line)[span.column :] else 'close it with `"`',
            )
        if re.match(r"[\w\"]", character) or character in "()[]{}=,:.+-*/<>":
            return _unexpected(source, span, character)
        return Diagnostic("E0101", f"`{character}` is not part of the language", Label(span))
    token = error.token
    if token.type == "$END":
        length, last = len(source.text), len(source.text.rstrip())
        return unmatched(source, Span(source, length, length)) or _unexpected(source, Span(source, last, last), "")
    start = token.start_pos or 0
    if token.type == "_NL":
        return _unexpected(source, Span(source, start, start), "\n")
    return _unexpected(source, Span(source, start, start + len(token)), str(token))


_CLOSING = r'close it with `"`; `\"` is a quote within the text, and a backslash is written `\\`'
_AT_TOP = (*DEFINITIONS, *SECTIONS)


def _unexpected(source: Source, span: Span, word: str) -> Diagnostic:
    """The message for a word at `span` that does not fit; `word` is empty at the end of the text."""
    early = (
        _comment_in_brackets(source, span)
        or _left_open(source, span, word)
        or _operator_at_line_end(source, span)
        or _two_points(source, span)
        or _type_missing(source, span, word)
        or _classes_missing(source, span, word)
        or _section_inside(source, span, word)
    )
    if early:
        return early
    if word in CLOSE or word == "\n":
        unclosed = unmatched(source, span, only_mismatch=True)
        if unclosed:
            return unclosed
    identifier = re.match(r"\w+", source.text[span.start :])
    if identifier and not word.startswith("\n"):
        span = Span(source, span.start, span.start + max(len(identifier[0]), span.end - span.start))
        word = span.text
    before = source.text[: span.start].rstrip(" \t")
    after = re.search(r"(->|[=+\-*/@%<>,:(\[.]|\b(?:if|else|in|and|or|not|as|let|block|for|return|yield))$", before)
    if word in ("", "\n"):
        return _unfinished_line(source, span, after)
    is_first = not before or before.endswith("\n")
    return (
        _arrow_to_no_call(span, word, after)
        or _assignment_in_condition(source, span, word, before)
        or _only_elsewhere(source, span, word, is_first)
        or _keyword_as_name(span, word, is_first, after)
        or _two_operands(span, word, before, after)
        or Diagnostic("E0101", f"unexpected `{word}`", Label(span))
    )


def _arrow_to_no_call(span: Span, word: str, after: re.Match[str] | None) -> Diagnostic | None:
    """The message for `x -> 3`."""
    if after is None or after[0] != "->":
        return None
    return Diagnostic(
        "E0101",
        f"`->` cannot lead into `{word}`",
        Label(span, "expected a name or a call"),
        hint="the right side of `->` is applied to the left side, as in `x -> dense(10)`",
    )


def _assignment_in_condition(source: Source, span: Span, word: str, before: str) -> Diagnostic | None:
    """The message for `if x = 3`."""
    line_start = before.rfind("\n", 0, max(len(before) - 1, 0)) + 1
    is_compared = re.search(r"[=!<>(][^\S\n]*[\w.]+[^\S\n]*$|\bif\b[^\n]*$", before[line_start:])
    if word != "=" or source.text[span.end : span.end + 1] == ">" or not is_compared:
        return None
    return Diagnostic("E0101", "`=` assigns; it does not compare", Label(span), hint="a comparison is written `==`")


def _only_elsewhere(source: Source, span: Span, word: str, is_first: bool) -> Diagnostic | None:
    """The message for a definition inside of a block, or a statement outside of all blocks."""
    if word in _AT_TOP and is_first:
        return _only_at_top(source, span)
    is_at_top = is_first and not open_brackets(source.text[: span.start])
    return outside_of_blocks(source, span) if is_at_top else None


def _keyword_as_name(span: Span, word: str, is_first: bool, after: re.Match[str] | None) -> Diagnostic | None:
    """The message for a word of the language where a name is expected."""
    if word not in KEYWORDS or not (is_first or not after) or (is_first and word in WORDS):
        return None
    return Diagnostic(
        "E0101",
        f"unexpected `{word}`",
        Label(span, "a word of the language, not a name"),
        hint=Hint(f"{word}_ is a name", Change(f"{word}_")),
    )


def _two_operands(span: Span, word: str, before: str, after: re.Match[str] | None) -> Diagnostic | None:
    """The message for `x y`, two operands without an operator."""
    if not re.match(r"[^\W\d]\w*$|\d", word) or not before or before.endswith("\n") or after:
        return None
    return Diagnostic("E0101", f"unexpected `{word}`", Label(span, "expected an operator or a new line before this"))


def _section_inside(source: Source, span: Span, word: str) -> Diagnostic | None:
    """The message for a block such as `train {` inside of another one, where its name could be that of a value."""
    section = re.search(r"(?:^|\n)[ \t]*(data|train|model|study)[ \t]*$", source.text[: span.start])
    return _only_at_top(source, Span(source, section.start(1), section.end(1))) if word == "{" and section else None


def _only_at_top(source: Source, span: Span) -> Diagnostic:
    """The message for a word of the top level inside of braces, one of which was most likely never closed."""
    unclosed = None if is_balanced(source.text) else open_block(source, span)
    if unclosed is not None and _begins_left_of(source, span, unclosed.primary.span):
        return unclosed
    title = f"`{span.text}` is only allowed at the top level, outside of any `{{ }}`"
    return Diagnostic("E0101", title, Label(span))


def _begins_left_of(source: Source, span: Span, opened: Span) -> bool:
    """Whether the line of `span` begins no further to the right than that of an opening brace."""
    line = source.line(opened.line)
    return span.column - 1 <= len(line) - len(line.lstrip())


def _type_missing(source: Source, span: Span, word: str) -> Diagnostic | None:
    """The message for `param scale = ones`, which lacks its type."""
    before, _, after = source.line(span.line).split("#")[0].partition("=")
    declared = re.fullmatch(r"\s*((input|target|param|state)\s+\w+)\s*", before)
    if word != "=" or declared is None:
        return None
    has_value = declared[2] in ("param", "state")
    hint = f"{declared[1]}: float" + (f" = {after.strip()}" if has_value else "")
    return Diagnostic("E0101", "the type is missing", Label(span, "expected `:` and a type"), hint=hint)


def _classes_missing(source: Source, span: Span, word: str) -> Diagnostic | None:
    """The message for `target y: class` and `class[3]`, which lack the number of classes."""
    line = source.line(span.line)
    declared = re.search(r":\s*class\s*$", line[: span.column - 1])
    if declared is None or word not in ("", "\n", "["):
        return None
    size = re.match(r"\[\s*(\d+)\s*\]", line[span.column - 1 :])
    hint = f"class({size[1] if size else 3}), or class(auto), which counts them in the data"
    label = "a dimension stands in `[]`, the number of classes in `()`" if size else "expected `(` and a number"
    return Diagnostic("E0101", "the number of classes is missing", Label(span, label), hint=hint)


def _unfinished_line(source: Source, span: Span, after: re.Match[str] | None) -> Diagnostic:
    """The message for a line that ends too early; `after` is the operator or word that it ends with, if any."""
    line = source.line(span.line).split("#")[0].strip()
    if re.fullmatch(r"(input|target|param|state)\s+\w+", line):
        return Diagnostic("E0101", "the type is missing", Label(span, "here"), hint=f"{line}: float[10]")
    if re.fullmatch(r"\w+\s*:\s*(float|bool|class\(\w+\))(\[[^\]]*\])?", line):
        return Diagnostic(
            "E0101", "the line ends too early", Label(span, "here"), hint=f"input {line}, or target {line}"
        )
    if re.fullmatch(r"((output|watch|update)\s+)?\w+", line) and not after:
        if line in STATEMENTS:
            written = language.WORDS[line].example
            return Diagnostic("E0101", "the line ends too early", Label(span, "here"), hint=written)
        is_setting = line in language.settings_of(Section.TRAIN)
        example = Hint.code(language.WORDS[line].example, At.STATEMENT) if is_setting else f"{line} = ..."
        return Diagnostic("E0101", "the line ends too early", Label(span, "here"), hint=example)
    if after:
        return Diagnostic("E0101", f"something is missing after `{after[0]}`", Label(span, "the line ends here"))
    return Diagnostic("E0101", "the line ends too early", Label(span, "here"))


def _left_open(source: Source, span: Span, word: str) -> Diagnostic | None:
    """The message for a `(` or `[` that should have been closed before `span`.

    Neither a `{` nor the start of another statement can stand inside of such brackets.
    """
    opened = open_brackets(source.text[: span.start])
    if not opened or opened[-1][0] == "{":
        return None
    bracket, at = opened[-1]
    before = source.text[: span.start]
    first = before.rpartition("\n")[2].strip()
    if first in STATEMENTS and re.match(r"\w", word):  # `output p` behind `dense(`: two words that no operator joins
        start = before.rindex(first)
        span, before, word = Span(source, start, start + len(first)), before[:start], first
    may_go_on = word != first and before.rstrip().endswith((*CONTINUES, *OPEN))
    begins_line = not before.rpartition("\n")[2].strip() and not may_go_on
    if word == "{" or (begins_line and word not in CLOSE):
        return Diagnostic(
            "E0102",
            f"`{bracket}` is never closed",
            Label(Span(source, at, at + 1), "opened here"),
            (Label(span, "this cannot stand inside of it"),),
            _at_end_of_line(source, OPEN[bracket], _last_line_before(source, span)),
        )
    return None


def _at_end_of_line(source: Source, bracket: str, number: int) -> Hint:
    """The hint to close a bracket at the end of a line's code, before its comment."""
    code = len(blanked(source.line(number)).partition("#")[0].rstrip())
    end = sum(len(line) + 1 for line in source.text.split("\n")[: number - 1]) + code
    return Hint(f"add `{bracket}` at the end of line {number}", Change(bracket, Span(source, end, end)))


def _last_line_before(source: Source, span: Span) -> int:
    """The number of the line of `span`, or if only blanks come before it there, of the last line with code."""
    lines = source.text[: span.start].split("\n")
    while len(lines) > 1 and not blanked(lines[-1]).partition("#")[0].strip():
        lines.pop()
    return len(lines)


def _comment_in_brackets(source: Source, span: Span) -> Diagnostic | None:
    """The message for a comment as other languages write it, at the end of the line before `span` within brackets."""
    opened = open_brackets(source.text[: span.start])
    start = source.text.rfind("\n", 0, span.start)
    if start < 0 or source.text[start : span.start].strip() or not opened or opened[-1][0] == "{":
        return None
    begin = source.text.rfind("\n", 0, start) + 1
    sign = sign_before(blanked(source.text[begin:start]))
    if sign is None:
        return None
    at = Span(source, begin + sign.start(), begin + sign.end())
    return Diagnostic("E0101", f"unexpected `{at.text.strip()}`", Label(at), hint=foreign_words.COMMENT)


def _operator_at_line_end(source: Source, span: Span) -> Diagnostic | None:
    """The message for an operator at the end of a line that has taken the next statement as its operand."""
    text = source.text[: span.start]
    start = text.rfind("\n") + 1
    end = start
    line = ""
    while end and not line:  # the last line before this one that contains more than a comment
        begin = text.rfind("\n", 0, end - 1) + 1
        line, end = re.sub(r"#[^\n]*", "", text[begin:end]).rstrip(), begin
    after = re.search(r"(->|\*\*|//|[=+\-*/@%<>,]|\b(?:and|or|else))$", line)
    if not after or not re.match(r"\s*\w+\s*$", text[start:]):
        return None
    at = Span(source, end + after.start(), end + after.end())
    return Diagnostic("E0101", f"something is missing after `{after[0]}`", Label(at))


def _two_points(source: Source, span: Span) -> Diagnostic | None:
    """The message for a number with two decimal points."""
    start = span.start
    while start and (source.text[start - 1].isdigit() or source.text[start - 1] in "_."):
        start -= 1
    if span.start - start > _LONGEST_NUMBER:
        return None
    before = re.search(r"\d[\d_]*\.\d*\.?$", source.text[start : span.start])
    after = re.match(r"\.?[\d.]*", source.text[span.start :])
    if not before or not after or not after[0]:
        return None
    number = Span(source, start + before.start(), span.start + after.end())
    return Diagnostic("E0101", f"`{number.text}` is not a number", Label(number, "it has two decimal points"))
