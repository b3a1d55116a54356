"""The options of readers, as a source names them: what each takes, and its value.

`csv("cars.csv", delimiter = ";", missing = ["NA"])`
"""

import codecs
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, fault
from netc.dsl.structs import replace
from netc.runtime.data.block.constant_values import constant_or_truth, constant_value
from netc.runtime.data.block.declarations import Constants

# `codecs` has others besides encodings of characters: some take long, and some are not text
_ENCODING = re.compile(
    r"(ascii|utf|latin|iso|cp[0-9]|windows|mac|koi|gb|hz|big5|shift|euc|johab|tis|ptcp|kz)[a-z0-9_-]*", re.IGNORECASE
)
_MOST_SKIPPED = 1_000


class Option(Struct, frozen=True):
    """An option of a reader: `read` gives its value or raises E0303, `example` shows how it is written."""

    read: Callable[[syntax.Expression, Constants], Any]
    example: str

    def parse(self, node: syntax.Expression, constants: Constants) -> Any:
        """The value of the option. Raises E0303 for another one, with the example where there is no other hint."""
        try:
            return self.read(node, constants)
        except Fault as error:
            first = error.diagnostics[0]
            raise Fault([replace(first, hint=first.hint or self.example)]) from None


def _character(name: str, example: str, choices: str = "", may_be_empty: bool = False) -> Option:
    """An option that takes one character: one of `choices`, if there are any."""

    def parse(node: syntax.Expression, constants: Constants) -> str:
        value = constant_or_truth(node, constants)
        is_right = isinstance(value, str) and (len(value) == 1 or (may_be_empty and not value))
        if not is_right or (choices and value not in choices) or (not choices and value and value in "\r\n\0"):
            listed = f": one of {' '.join(choices)}" if choices else ""
            empty = ', or "" for none' if may_be_empty else ""
            fault("E0303", f"`{name}` is one character in quotes{listed}{empty}", node.span, hint=example)
        return str(value)

    return Option(parse, example)


def _texts(name: str, example: str, node: syntax.Expression, constants: Constants) -> tuple[str, ...]:
    """A list of texts. Raises E0303 for anything else."""
    value = constant_or_truth(node, constants)
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
        fault("E0303", f"`{name}` is a list of texts", node.span, hint=example)
    return texts


def _missing(node: syntax.Expression, constants: Constants) -> tuple[str, ...]:
    return tuple(text.strip() for text in _texts("missing", _MISSING, node, constants))


def _header(node: syntax.Expression, constants: Constants) -> bool | tuple[str, ...]:
    value = constant_or_truth(node, constants)
    if isinstance(value, bool):
        return value
    names = _texts("header", _HEADER, node, constants) if isinstance(value, tuple) else ()
    if not names or len(set(names)) != len(names):
        fact = "`header` is true, false, or the names of the columns, each once"
        fault("E0303", fact, node.span, hint=_HEADER)
    return names


def _skip(node: syntax.Expression, constants: Constants) -> int:
    number = constant_or_truth(node, constants)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MOST_SKIPPED:
        fact = f"`skip` is the number of lines above the names of the columns, at most {_MOST_SKIPPED:,}"
        fault("E0303", fact, node.span, hint="skip = 3")
    return number


def _encoding(node: syntax.Expression, constants: Constants) -> str:
    value = constant_or_truth(node, constants)
    try:
        if isinstance(value, str) and _ENCODING.fullmatch(value):
            return codecs.lookup(value).name
    except LookupError:
        pass
    fault("E0303", "`encoding` is the name of an encoding in quotes", node.span, hint=_ENCODINGS)


def _named(name: str, what: str, example: str) -> Option:
    """An option that takes a name in quotes."""

    def parse(node: syntax.Expression, constants: Constants) -> str:
        value = constant_or_truth(node, constants)
        if not isinstance(value, str) or not value:
            fault("E0303", f"`{name}` is the name of a {what} in quotes", node.span, hint=example)
        return value

    return Option(parse, example)


def _size(node: syntax.Expression, constants: Constants) -> tuple[int, int]:
    entries = [entry.value for entry in node.entries] if isinstance(node, syntax.Tuple) else []
    numbers = [constant_value(entry, constants) for entry in entries]
    if len(numbers) != 2 or not all(isinstance(number, int) and number >= 1 for number in numbers):
        fault("E0303", "`size` is the height and the width in pixels", node.span, hint="size = (32, 32)")
    return numbers[0], numbers[1]


def _channels(node: syntax.Expression, constants: Constants) -> int:
    number = constant_value(node, constants)
    if number not in (1, 3):
        fault("E0303", "`channels` is 1 (grey) or 3 (red, green, blue)", node.span)
    return int(number)


def _broken(node: syntax.Expression, constants: Constants) -> str:
    if not isinstance(node, syntax.Name) or node.text not in ("skip", "refuse"):
        fault("E0303", "`broken` is skip or refuse", node.span)
    return node.text


def _max_pixels(node: syntax.Expression, constants: Constants) -> int:
    number = constant_value(node, constants)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        fact = "`max_pixels` is the largest number of pixels of a picture"
        fault("E0303", fact, node.span, hint="max_pixels = 200_000_000")
    return number


def _ground(node: syntax.Expression, constants: Constants) -> tuple[int, ...]:
    """A colour as (red, green, blue)."""
    value = constant_value(node, constants)
    colour = _COLOURS.get(value, value).lower() if isinstance(value, str) else ""
    if not _COLOUR.fullmatch(colour):
        fact = "`ground` is the colour behind transparent pixels, in quotes: white, black, grey, or #rrggbb"
        fault("E0303", fact, node.span, hint='ground = "white"')
    return tuple(bytes.fromhex(colour[1:]))


_COLOURS = {"white": "#ffffff", "black": "#000000", "grey": "#808080", "gray": "#808080"}
_COLOUR = re.compile("#[0-9a-f]{6}")
_MISSING, _HEADER = 'missing = ["NA", "?"]', 'header = false, or header = ["a", "b"]'
_ENCODINGS = 'encoding = "cp1252", "latin-1", "utf-16", "shift_jis", "gb18030", ...'
MISSING = Option(_missing, _MISSING)
_CSV: Mapping[str, Option] = {
    "delimiter": _character("delimiter", 'delimiter = ";"'),
    "decimal": _character("decimal", 'decimal = ","', ",."),
    "thousands": _character("thousands", 'thousands = "."', "., '_\u00a0\u2009\u202f", may_be_empty=True),
    "encoding": Option(_encoding, 'encoding = "cp1252"'),
    "header": Option(_header, _HEADER),
    "skip": Option(_skip, "skip = 3"),
    "missing": MISSING,
    "quote": _character("quote", 'quote = "\'"', may_be_empty=True),
    "comment": _character("comment", 'comment = "#"'),
}
PICTURES: Mapping[str, Option] = {
    "size": Option(_size, "size = (32, 32)"),
    "channels": Option(_channels, "channels = 1"),
    "ground": Option(_ground, 'ground = "white"'),
    "broken": Option(_broken, "broken = skip"),
    "max_pixels": Option(_max_pixels, "max_pixels = 200_000_000"),
    "path": _named("path", "column", 'path = "file"'),
}
_SHEET = _named("sheet", "sheet", 'sheet = "Sheet1"')
OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "csv": _CSV,
    "jsonl": {"missing": MISSING},
    "json": {"missing": MISSING},
    "xlsx": {"sheet": _SHEET, "missing": MISSING},
    "sql": {"missing": MISSING},
    "parquet": {"missing": MISSING},
    "arrow": {"missing": MISSING},
    "npz": {"missing": MISSING},
    "images": {**PICTURES, **_CSV, "sheet": _SHEET},  # those of the table that names the pictures, too
}  # by reader
