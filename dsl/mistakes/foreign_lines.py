"""Hints for lines that are written as in another language: Python, YAML, or that of a library.

foreign_words.py has the tables of words and signs. Knows a line and a position in it, not the syntax error there.
"""

import re
from collections.abc import Callable

from netc.dsl.mistakes import foreign_words
from netc.dsl.mistakes.comments import sign_before
from netc.dsl.mistakes.foreign_words import METHODS, SIGNS, WORDS
from netc.dsl.mistakes.scanning import blanked
from netc.dsl.source import Source, Span

_LINES = "each setting has a line of its own, without a comma"


def hint_for_foreign_line(source: Source, span: Span, is_statement: Callable[[str], bool]) -> str | None:
    """The hint for a sign of another language at `span`, a word at the start of its line, or a comment before it.

    `is_statement` says whether a text can be parsed; what a hint proposes can.
    """
    line, at = blanked(source.line(span.line)), span.column - 1
    if line[at : at + 1] == ";":
        return _for_semicolon(line, at)
    if re.search(r"\bcolumns\s*\([^()]*$", line[:at]) and line[at : at + 1] in (".", ":"):
        return foreign_words.PATTERN
    for sign in sorted(SIGNS, key=len, reverse=True):
        if sign in line[max(at - len(sign) + 1, 0) : at + len(sign)]:
            return SIGNS[sign]
    first = re.match(r"\s*(\w+)", line)
    if first and first[1] in WORDS and not (first[1] == "import" and '"' in line):
        return WORDS[first[1]]
    if hint := _of_method(line, at) or _of_setting(line, at, is_statement) or _of_type(line, at, is_statement):
        return hint
    if hint := _of_python(line, at, is_statement):
        return hint
    return foreign_words.COMMENT if sign_before(line[:at]) else None


def _of_method(line: str, at: int) -> str | None:
    """The hint for a statement such as `model.add(...)` or `self.fc = ...`, whose `.` is at `at`."""
    statement = re.match(r"\s*(\w+)\s*\.\s*(\w+)", line)
    if statement is None or line[at : at + 1] != ".":
        return None
    owner, method = (word.lower().replace("_", "") for word in statement.groups())
    return METHODS.get(owner) or METHODS.get(method)


def _of_setting(line: str, at: int, is_statement: Callable[[str], bool]) -> str | None:
    """The hint for `epochs: 3`, `optimizer: adam(lr: 0.01)`, and for `adam(lr: 0.01)`."""
    setting = re.match(r"\s*(\w+)\s*:\s*([^#]*?)\s*(#|$)", line)
    if line[at : at + 1] != ":":
        return None
    if setting is not None and setting[2] and line[:at].strip() == setting[1]:
        value = re.sub(r"([(,]\s*\w+)\s*:\s*", r"\1 = ", setting[2].rstrip(","))
        text = f"{setting[1]} = {value}"
        if is_statement(text):
            return text
        return _LINES if re.search(r",\s*\w+\s*[:=]", setting[2]) else f"{setting[1]} = ..."
    argument = re.search(r"[(,]\s*(\w+)\s*$", line[:at])
    number = re.match(r":\s*([^\s,()]+)", line[at:])
    return f"{argument[1]} = {number[1]}" if argument is not None and number is not None else None


def _of_type(line: str, at: int, is_statement: Callable[[str], bool]) -> str | None:
    """The hint for `input x: float(4)` and `input x: (4,)`."""
    declared = re.match(r"\s*(input|target|param|state)\s+\w+\s*:\s*(\w*)\s*\(([^()]*?),?\s*\)", line)
    if declared is None or line[at : at + 1] != "(" or declared[2] in ("class", "classes"):
        return None
    type_ = f"{declared[2] or 'float'}[{declared[3]}]"
    example = type_ if is_statement(f"input x: {type_}") else "float[4]"
    return f"the dimensions of a type stand in brackets: `{example}`"


def _of_python(line: str, at: int, is_statement: Callable[[str], bool]) -> str | None:
    """The hint for `model:`, a comma at the end of a setting, `for i in range(2)`, and an output without a name."""
    if block := re.match(r"\s*(data|model|train|study)\s*:\s*(#|$)", line):
        return f"{block[1]} {{ ... }}"
    is_between = line[at : at + 1] == "," and re.fullmatch(r"\s*(\w+\s*=.*)?", line[at + 1 :].split("#")[0])
    if is_between and re.match(r"\s*((data|train|study)\s*\{\s*)?\w+\s*=", line):
        return _LINES
    if loop := re.match(r"\s*(for\s+\w+\s+in)\s+range\(\s*(?:(\w+)\s*,\s*)?(\w+)\s*\)", line):
        return f"{loop[1]} {loop[2] or 0}..{loop[3]} {{"
    if result := re.match(r"\s*(output|watch)\s+([^=#]*?)\s*(#|$)", line):
        text = f"{result[1]} name = {result[2]}"
        return text if is_statement(text) else f"{result[1]} name = ..."
    return None


def _for_semicolon(line: str, at: int) -> str:
    """The hint for a semicolon, which ends a statement or begins a comment in other languages."""
    if not line[:at].strip():
        return foreign_words.COMMENT
    return f"{SIGNS[';']}, and {foreign_words.COMMENT}" if line[at + 1 :].strip() else SIGNS[";"]
