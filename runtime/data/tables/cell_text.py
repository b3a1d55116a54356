"""The texts of cells: which stand for a missing value, how a number in another notation is written plainly, and the
one spelling that a label has, whatever file it comes from.

`readers/polars_cells.py` applies the same rules to columns of polars.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from msgspec import Struct, field

# white space as Python and Rust have it; each engine alone would leave out some
BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000"
)
NAN = r"^[+-]?nan$"  # in small letters
INTEGER = r"^([+-]?[0-9]+)\.0+$"  # a whole number that is written with a fraction
_NAN, _INTEGER = re.compile(NAN), re.compile(INTEGER)
_EXACT = 1 << 53  # below it every whole number is a float64
_SPACES = " \u00a0\u2009\u202f"  # those that separate thousands


def is_missing_text(text: str, marks: Sequence[str] = (), is_text: bool = False) -> bool:
    """Whether a cell stands for a missing value: it is blank, `nan` in any case, or one of the declared marks.

    Blanks around it do not count. In a text that is read letter by letter or word by word (`is_text`) `nan` is a word:
    people are called Nan.
    """
    core = text.strip(BLANKS)
    return not core or core in marks or (not is_text and len(core) <= 4 and _NAN.match(core.lower()) is not None)


_COMMON_MARKS = ("na", "n/a", "#n/a", "null", "none", "nil", "missing", "unknown", "?", "-", "--", ".", "*")
_WITH_COMMAS = re.compile(r"[+-]?[0-9.']*[0-9],[0-9][0-9.,]*")


def hint_for_number(text: str) -> str | None:
    """The option of a source that may make a number, or a missing one, of a text."""
    core = text.strip(BLANKS)
    if core.lower() in _COMMON_MARKS:
        return f'missing = ["{core}"] in the source, if it stands for a missing value'
    if _WITH_COMMAS.fullmatch(core):
        return 'decimal = "," or thousands = "," in the source, if this is a number'
    return None


def label_of_text(text: str) -> str:
    """A text as a label: a whole number loses its `.0`."""
    return _INTEGER.sub(r"\1", text) if text.endswith("0") else text


def label_of(cell: Any) -> str:
    """A cell of any type as a label: `1`, never `1.0`; `true` and `false`. A text is kept."""
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, bool | np.bool):
        return "true" if cell else "false"
    if isinstance(cell, float | np.floating) and float(cell).is_integer() and abs(float(cell)) < _EXACT:
        return str(int(cell))
    return str(cell)


_MOMENT = re.compile(r"([0-9-]+)[T ]([0-9:]+)(?:\.([0-9]+))?(.*)")


def moment_text(text: str) -> str:
    """The one spelling of a time from a typed column: `2004-07-15` at midnight, else `2004-07-15 09:30:00.25+02:00`."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return text
    day, time, fraction, zone = match[1], match[2], (match[3] or "").rstrip("0"), match[4]
    if time == "00:00:00" and not fraction and not zone:
        return day
    return f"{day} {time}{f'.{fraction}' if fraction else ''}{zone}"


class Notation(Struct, frozen=True, dict=True):
    """The notation of numbers: the mark before decimals, and the one between thousands (empty: there is none)."""

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def _pattern(self) -> "re.Pattern[str]":
        separators = _SPACES if self.thousands and self.thousands in _SPACES else self.thousands
        grouped = rf"[0-9]{{1,3}}(?:[{re.escape(separators)}][0-9]{{3}})+|" if separators else ""
        mark = re.escape(self.decimal)
        pattern = rf"([+-]?)({grouped}[0-9]+|(?={mark}[0-9]))(?:{mark}([0-9]*))?([eE][+-]?[0-9]+)?"
        return re.compile(pattern)

    @property
    def is_plain(self) -> bool:
        return self.decimal == "." and not self.thousands

    def plain(self, text: str) -> str:
        """A number without marks of thousands and with a decimal point; any other text is kept."""
        match = self._pattern.fullmatch(text.strip(BLANKS))
        if match is None:
            return text
        sign, integer, fraction, exponent = match.groups()
        digits = "".join(character for character in integer if character.isdigit()) or "0"
        return f"{sign}{digits}{f'.{fraction}' if fraction else ''}{exponent or ''}"

    def misreads(self, text: str) -> bool:
        """Whether a cell is not a number in this notation, but would be taken for one after all: `1.500` among decimal
        commas.
        """
        if self.decimal == "." or self._pattern.fullmatch(text.strip(BLANKS)) is not None:
            return False
        try:
            return math.isfinite(float(text))
        except ValueError:
            return False


class Misread(Exception):
    """A cell is a number in another notation than that of its file (`Notation.misreads`)."""


class CellRules(Struct, frozen=True):
    """The rules by which cells of a file become values: the marks of missing values, and the notation of numbers."""

    marks: tuple[str, ...] = ()
    notation: Notation = field(default_factory=Notation)


PLAIN = CellRules()


def cleaner(rules: CellRules, is_label: bool, is_text: bool) -> Callable[[str | None], str | None]:
    """Returns a function that converts a cell of text: None if it is missing, numbers in plain notation.

    A cell that is needed as text (`is_text`) keeps its notation; a label gets its one spelling.
    """
    notation, marks = rules.notation, rules.marks

    def clean(text: str | None) -> str | None:
        if text is None or is_missing_text(text, marks, is_text):
            return None
        if not (is_text or notation.is_plain):
            text = notation.plain(text)
        return label_of_text(text) if is_label and not is_text else text

    return clean


def cleaned(cells: Sequence[str | None], clean: Callable[[str | None], str | None]) -> list[str | None]:
    """The cells after `clean`, which is called once for each distinct cell."""
    results = {cell: clean(cell) for cell in set(cells)}
    return [results[cell] for cell in cells]


def is_number_or_blank(text: str) -> bool:
    """Whether a cell is a number, with a decimal point or comma, or missing."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return is_missing_text(text)
    return True
