"""Recognises how the cells of a column are written: numbers with units, dates, marks of missing values.

Takes distinct cells without blanks around them. Each function answers for all of them or not at all.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from netc.runtime.data.steps.date import moment_of
from netc.runtime.data.steps.number import MARKS, NumberForm, split_sign

# fmt: off
_MARKS = frozenset((
    "na", "n/a", "#n/a", "n.a.", "k.a.", "nan", "null", "none", "nil", "missing", "unknown", "undefined",
    "?", "-", "--", "---", ".", "*", "inf", "-inf", "infinity", "#value!", "#div/0!", "#ref!",
))
_CURRENCIES = frozenset((
    "€", "$", "£", "¥", "₹", "₽", "₩", "₺", "₴", "₪", "CHF", "EUR", "USD", "GBP", "JPY", "SEK", "NOK", "DKK", "PLN",
    "CZK", "HUF", "INR", "CNY", "AUD", "CAD", "BRL", "US$", "A$", "C$", "R$", "kr", "Fr.",
))
# fmt: on
_AFTER = re.compile(r"[%‰°²³µ/a-zA-Z$€£¥₹₽₩₺₴₪.]{1,5}")
_NUMBER = re.compile(
    rf"(?P<before>[^0-9+-]*)[+-]?(?P<before2>[^0-9+-]*)(?P<number>[0-9]+(?:[{MARKS}][0-9]+)*)(?P<after>.*)"
)
_DATES = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y"),
    *("%d. %B %Y", "%a %b %d %Y", "%b %Y", "%B %Y", "%m/%Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", "T%H:%M:%S")
_TIMES_OF_DAY = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
_FIRST, _LAST = 1800, 2200  # years


def is_mark(cell: str) -> bool:
    """Whether a cell may stand for a missing value, in a column of numbers or dates."""
    return cell.lower() in _MARKS


def are_numbers(cells: Iterable[str]) -> bool:
    """Whether all cells are finite numbers as Python writes them."""
    try:
        return all(abs(float(cell)) < float("inf") and "_" not in cell for cell in cells)
    except ValueError:
        return False


def number_example(cells: Sequence[str]) -> str | None:
    """An example of how the numbers are written, for the step `number`; None if they are not numbers with a unit or
    with marks between thousands.
    """
    unsigned = [split_sign(cell.replace("\u2212", "-"))[1] for cell in cells]
    matches = [match for cell in unsigned if (match := _NUMBER.fullmatch(cell)) is not None]
    if not cells or len(matches) < len(cells):
        return None
    before = {(match["before"] + match["before2"]).strip() for match in matches} - {""}
    after = {match["after"].strip() for match in matches} - {""}
    if len(before) + len(after) > 1 or not all(_is_unit(unit, unit in before) for unit in before | after):
        return None
    number = _example_of_marks([match["number"] for match in matches])
    if number is None:
        return None
    example = f"{f'{next(iter(before))} ' if before else ''}{number}{f' {next(iter(after))}' if after else ''}"
    form = NumberForm.of(example)
    return example if form is not None and all(form.value(cell) is not None for cell in cells) else None


def _is_unit(text: str, is_before: bool) -> bool:
    return text in _CURRENCIES or (not is_before and _AFTER.fullmatch(text) is not None)


def _example_of_marks(numbers: Sequence[str]) -> str | None:
    """A number with the marks of all numbers."""
    marks = [[character for character in number if not character.isdigit()] for number in numbers]
    last = {used_marks[-1] for used_marks in marks if len(set(used_marks)) == 2}
    if last:  # a number such as 1,234.50 shows both
        decimal = last.pop()
        thousands = next(
            mark for used_marks in marks if len(set(used_marks)) == 2 for mark in used_marks if mark != decimal
        )
        return f"1{thousands}234{decimal}5" if not last else None
    used = {mark for used_marks in marks for mark in used_marks}
    if not used:
        return "12"
    groups = [re.split(f"[{MARKS}]", number) for number in numbers if not number.isdigit()]
    if len(used) == 1:
        (mark,) = used
        is_thousands = all(len(part) == 3 for parts in groups for part in parts[1:]) and all(
            0 < len(parts[0]) <= 3 and parts[0] != "0" for parts in groups
        )
        if mark not in ".," or (is_thousands and (mark == "," or any(len(parts) > 2 for parts in groups))):
            return f"1{mark}234" if mark != "." else "1.234.567"
        return f"1{mark}5"
    spaces = used - {".", ","}
    decimals = used & {".", ","}
    if len(spaces) == 1 and len(decimals) == 1:
        return f"1{spaces.pop()}234{decimals.pop()}5"
    return None


def date_formats(cells: Sequence[str]) -> tuple[str, ...]:
    """The formats that all cells have, the most likely one first; `""` stands for ISO 8601."""
    if not cells or not all(re.search(r"\d", cell) and len(cell) < 40 for cell in cells):
        return ()
    if all(re.fullmatch(r"\d{8}", cell) for cell in cells):
        candidates = ["%Y%m%d"]
    elif are_numbers(cells):
        return ()
    else:
        candidates = ["", *(date + time for time in _TIMES for date in _DATES), *_TIMES_OF_DAY]
    return tuple(form for form in candidates if all(_is_date(cell, form) for cell in cells))


def is_time_of_day(form: str) -> bool:
    """Whether a format of dates has only a time of day."""
    return form in _TIMES_OF_DAY


def _is_date(cell: str, form: str) -> bool:
    moment: datetime | None = moment_of(cell, form)
    return moment is not None and _FIRST <= moment.year <= _LAST
