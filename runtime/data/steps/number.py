"""The step `number`: takes the number out of a text such as `€ 1,234.50`, `12 %` or `1.234,5`.

A number is negative with a minus before it, before its unit, or behind it (`1.234,50-`), and in parentheses, as
bookkeepers write it.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from netc.dsl.quoting import cell as shown_cell
from netc.runtime.data.steps.data_step import DataStep, State, unchanged
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import BLANKS, Notation
from netc.runtime.data.tables.cells import Location, is_missing

MARKS = ".,' \u00a0\u2009\u202f"  # what stands within a number
_EXAMPLE = re.compile(
    rf"(?P<before>[^0-9+-]*)[+-]?(?P<number>[0-9]+(?:[{MARKS}][0-9]+)*)(?:[eE][+-]?[0-9]+)?(?P<after>[^0-9]*)"
)


class NumberForm(Struct, frozen=True):
    """The notation of a column's numbers: the units before and after them, which may be missing, and the marks."""

    before: str
    after: str
    notation: Notation

    @classmethod
    def of(cls, example: str) -> "NumberForm | None":
        """The form of an example such as `€ 1,234.50`; None if that is not a number, or not clear.

        Of two different marks the first stands between thousands. A single mark before three digits does so too, unless
        it is a point.
        """
        match = _EXAMPLE.fullmatch(split_sign(example.strip(BLANKS))[1])
        if match is None:
            return None
        marks = [character for character in match["number"] if not character.isdigit()]
        after_last = len(match["number"]) - 1 - max((match["number"].rfind(mark) for mark in marks), default=0)
        if len(set(marks)) > 2 or (len(set(marks)) == 2 and (marks.count(marks[-1]) > 1 or marks[-1] not in ".,")):
            return None
        if len(set(marks)) == 2:
            notation = Notation(marks[-1], marks[0])
        elif marks and (len(marks) > 1 or marks[0] not in ".," or (marks[0] == "," and after_last == 3)):
            notation = Notation("," if marks[0] == "." else ".", marks[0])
        else:
            notation = Notation(marks[0] if marks else ".")
        return cls(match["before"].strip(BLANKS), match["after"].strip(BLANKS), notation)

    def value(self, text: str) -> float | None:
        """The number of a cell; None if it is not written in this form."""
        sign, rest = split_sign(text.strip(BLANKS).replace("\u2212", "-"))
        inner, rest = split_sign(rest.removeprefix(self.before).removesuffix(self.after).strip(BLANKS))
        if sign and inner:
            return None
        signed = f"{sign or inner}{rest}"
        plain = self.notation.plain(signed)
        if self.notation.misreads(signed):
            return None
        try:
            return float(plain) if re.fullmatch(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?", plain) else None
        except ValueError:
            return None


def split_sign(text: str) -> tuple[str, str]:
    """The sign of a number, which may be parentheses or stand behind it, and the text without it."""
    if text[:1] in ("+", "-"):
        return text[0], text[1:].strip(BLANKS)
    if text[:1] == "(" and text[-1:] == ")":
        return "-", text[1:-1].strip(BLANKS)
    if text[-1:] == "-":
        return "-", text[:-1].strip(BLANKS)
    return "", text


def _number(array: Array, state: State, location: Location) -> Array:
    """The numbers; NaN where a cell is missing, for `impute`."""
    form = NumberForm.of(state["form"])
    assert form is not None, "the step's check and the loading of a run refuse others"
    missing = is_missing(array)
    value_of = {text: form.value(text) for text in {str(cell) for cell in array[~missing]}}
    values = [
        np.nan if is_empty else value_of[str(cell)] for cell, is_empty in zip(array.flat, missing.flat, strict=True)
    ]
    is_number = np.array([value is not None for value in values], bool).reshape(array.shape)
    location.refuse(
        ~is_number,
        "E0803",
        lambda index: f'"{shown_cell(array[index])}" is not a number like "{state["form"]}"',
        hint='number("€ 1,234.50") shows how the numbers of the column are written',
    )
    return np.array(values, np.float64).reshape(array.shape)


def _is_form(text: Any) -> bool:
    return isinstance(text, str) and NumberForm.of(text) is not None


def _check(arguments: Sequence[Any]) -> str | None:
    return None if all(map(_is_form, arguments)) else 'an example of a number in quotes: number("€ 1,234.50")'


NUMBER = DataStep(
    _number,
    lambda chunks, arguments: {"form": arguments[0]},
    unchanged,
    (1, 1),
    _check,
    takes_text=True,
    doc='Takes the number out of a text that is written like an example: number("€ 1,234.50"), number("12 %"), '
    'number("1.234,5"). The example has the unit, which a cell may lack, the mark between thousands and the decimal '
    "mark. A number is negative with a minus before or behind it, or in parentheses. A missing number stays missing, "
    "for `impute`.",
    keeps={"form": _is_form},
    name="number",
)
