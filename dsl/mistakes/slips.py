"""Hints for lines of which one word or sign is wrong: a misspelt statement, a missing `=` or comma, a habit of Python.

Takes a line, the offset in it where the parser stopped, and the block that the line stands in.
"""

import re
from collections.abc import Callable, Iterator

from netc.dsl.diagnostics import nearest_name
from netc.dsl.hints import At, Change, Hint
from netc.dsl.keywords import DEFINITIONS, STATEMENTS
from netc.dsl.word import Section
from netc.dsl.words import settings_of

_BEGINNINGS = (*STATEMENTS, "return", "yield", *DEFINITIONS)
_LONGEST = 1000  # characters of a line: patterns take time that grows with its square
_SECTIONS = {"data": Section.DATA, "train": Section.TRAIN, "study": Section.STUDY}


def hint_for_slip(line: str, at: int, section: str | None, is_statement: Callable[[str], bool]) -> str | None:
    """The hint for a line in the block `section`, or at the top level, that could not be read from `at` on.

    `is_statement` says whether a text that the hint would propose can be parsed.
    """
    if len(line) > _LONGEST:
        return None
    for rule in _RULES:
        if (hint := rule(line, at, section)) is not None:
            return hint
    return _statement(line, at, section, is_statement) or _comma(line, at)


def _statement(line: str, at: int, section: str | None, is_statement: Callable[[str], bool]) -> str | None:
    """`inputs x: float[4]`; `metric mae(a, b)` in the block `train`; `epochs 60`."""
    match = re.match(r"\s*(\w+)\s+(?=[\w\"])", line)
    if match is None or match.end() != at:
        return None
    word, rest = match[1], line[at:].split("#")[0].strip()
    if section in _SECTIONS:
        if word in settings_of(_SECTIONS[section]):
            return Hint.code(f"{word} = {rest}", At.STATEMENT)
        return f"`{word}` stands in the block `model`" if word in STATEMENTS else None
    meant = nearest_name(word, _BEGINNINGS)
    if meant is None or meant == word:
        return None
    text = f"{meant} {rest}"
    if not is_statement(text):
        return f"did you mean `{meant}`?"
    return Hint(f"did you mean `{text}`?", Change(text, At.STATEMENT))


def _comma(line: str, at: int) -> str | None:
    """`concat(a b)`."""
    before = re.search(r"[(\[,][^()\[\]]*?(\w+|\")\s+$", line[:at])
    after = re.match(r"[\w\"]", line[at:])
    return "a comma stands between two arguments" if before and after and "lambda" not in line[:at] else None


def _class(line: str, at: int, section: str | None) -> str | None:
    """`class 10` and `classes(10)`."""
    if names := re.search(r":\s*class\s*\(([^()]*,[^()]*)\)", line):
        count = names[1].count(",") + 1
        return f"the number of classes stands here, not their names: class({count})"
    size = re.search(r":\s*(?:classes|class|Class)\b\s*\(?\s*(\w+)", line)
    return f"class({size[1]})" if size is not None and size.start() < at <= size.end() else None


def _percent(line: str, at: int, section: str | None) -> str | None:
    """`valid = 10%`."""
    share = re.search(r"(\d+(?:\.\d+)?)\s*%\s*$", line[:at])
    return f"{float(share[1]) / 100:g}, since a share is a number from 0 to 1" if share is not None else None


def _unit(line: str, at: int, section: str | None) -> str | None:
    """`epochs = 3 epochs`, `batch = 16k`, `memory = 2GB` and `epochs = 3 batch = 16`."""
    number = re.search(r"(\w+)\s*=\s*(\d[\d_.]*(?:e-?\d+)?)\s*$", line[:at])
    unit = re.match(r"[^\W\d]\w*", line[at:])
    if number is None or unit is None or unit[0] in ("if", "else", "and", "or"):
        return None
    if re.match(r"\w+\s*=(?!=)", line[at:]):
        return "each setting has a line of its own"
    if number[1] in ("memory", "time"):
        return f'a size or a time stands in quotes: {number[1]} = "{number[2]} {unit[0]}"'
    return f"a number has no unit: `{number[1]} = {number[2]}`, without `{unit[0]}`"


def _dictionary(line: str, at: int, section: str | None) -> str | None:
    """`split = {"train": 0.8}`."""
    pairs = re.match(r"\{([^{}]*)\}?", line[at:])
    if pairs is None or not re.search(r"[=(,]\s*$", line[:at]):
        return None
    named = re.sub(r"[\"']?(\w+)[\"']?\s*:", r"\1 =", pairs[1]).strip()
    return f"({named})" if "=" in named else "( ) stands around values with names, as in (train = 0.8, test = 0.2)"


def _of_python(line: str, at: int, section: str | None) -> Iterator[str]:
    if re.search(r"\b[fFrRbBuU]$", line[:at]) and line[at : at + 1] == '"':
        yield "a text begins with its quote: no letter stands before it"
    if re.search(r"\blambda\b", line[: at + 8]):
        yield "an operation has a name: `op half(x) = x / 2` above the model, then `x -> half`"
    if re.match(r"\s*if\b", line) and line[:at].strip() in ("", "if"):
        yield "`a if condition else b` chooses between two values"
    if loop := re.match(r"\s*for\s+(\w+)\s+in\s+\[", line):
        yield f"a loop counts, as in `for {loop[1]} in 0..3 {{`, and `sizes[{loop[1]}]` is an entry of a list"
    if re.match(r"\s*\w+\s*,\s*\((?=[^()]*\)\s*=)", line) and line[at : at + 1] == "(":
        yield "results stand side by side: `hs, cs = x -> lstm(64)`, and `last(hs)` is the last state"
    if loop := re.match(r"\s*for\s+(\w+)\s+in\s+([^\W\d]\w*)\s*\{", line):
        yield f"a loop counts, as in `for i in 0..size({loop[2]}) {{`, and `{loop[2]}[i]` is an entry of a list"
    if re.search(r"\w\[[^\[\]]*:\s*$", line[:at]) and line[at : at + 1] == ":":
        yield "a slice takes every element: `reshape(x, 4, 2)[:, 0]` is every second one of 8, `reverse(x)` turns them"
    if re.search(r"\w\[[^\[\]]*$", line[:at]) and line[at:].startswith("..."):
        yield "an index names each axis: `x[:, 0]`"
    if typed := re.match(r"\s*(output|loss|metric|watch)\s+(\w+)\s*:\s*[^=]*=\s*(.+)", line):
        yield f"a value has the type that it is computed with: {typed[1]} {typed[2]} = {typed[3].strip()}"


def _python(line: str, at: int, section: str | None) -> str | None:
    return next(_of_python(line, at, section), None)


def _block(line: str, at: int, section: str | None) -> str | None:
    """`model = Sequential {`, `train: {`, `model Net {` and `model() {`."""
    block = re.match(r"\s*(data|model|train|study)\s*(?:[=:]|\(|[^\W\d]\w*\s*\{)", line) if section is None else None
    return f"`{block[1]} {{` begins the block, and `}}` ends it" if block is not None and block.end() > at else None


_RULES: tuple[Callable[[str, int, str | None], str | None], ...] = (
    _block,
    _class,
    _percent,
    _unit,
    _dictionary,
    _python,
)
