"""The cells of columns of polars, by the rules of `tables/cell_text.py`: as numbers, or as texts and labels."""

from typing import Any

import numpy as np
import polars

from netc.runtime.data.readers.request import Use
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import BLANKS, CellRules, Misread, cleaned, cleaner, label_of, moment_text


def float_array(column: polars.Series, rules: CellRules) -> Array | None:
    """A column as float64, NaN where a cell is missing; None if a cell is not a number, or a text that is infinite.

    Raises Misread where a number is written in another notation than that of the rules. polars reads the plain numbers
    of texts, which are some of those that Python reads; Python reads each distinct cell of the others.
    """
    if column.dtype != polars.String:
        is_number = column.dtype.is_numeric() or column.dtype == polars.Boolean
        typed: Array | None = column.cast(polars.Float64).to_numpy().copy() if is_number else None
        return typed
    notation = rules.notation
    plain = column if notation.decimal == "." else column.str.replace(notation.decimal, ".", literal=True)
    numbers = plain.cast(polars.Float64, strict=False)
    is_open = numbers.is_null() if numbers.null_count() > column.null_count() else None
    if not notation.is_plain or any(_is_float(mark) for mark in rules.marks):
        marks = [notation.thousands, *([] if notation.decimal == "." else ["."])]
        for mark in filter(None, marks):
            has_mark = column.str.contains(mark, literal=True)
            is_open = has_mark if is_open is None else is_open | has_mark
        if rules.marks:
            has_mark = column.str.strip_chars(BLANKS).is_in([*rules.marks])
            is_open = has_mark if is_open is None else is_open | has_mark
    result: Array = numbers.to_numpy().copy()
    if is_open is not None:
        rows = np.flatnonzero((is_open & column.is_not_null()).to_numpy())
        cells = column.gather(rows).to_list()
        values = {cell: _number(cell, rules) for cell in set(cells)}
        if None in values.values():
            return None
        result[rows] = [values[cell] for cell in cells]
    result[np.isnan(result)] = np.nan  # -nan has other bits
    return None if np.isinf(result).any() else result


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, rules: CellRules) -> float | None:
    """The number of a cell of text, NaN if it is missing, None if it is not a number."""
    if rules.notation.misreads(text):
        raise Misread
    plain = cleaner(rules, False, False)(text)
    if plain is None:
        return np.nan
    try:
        return float(plain)
    except ValueError:
        return None


def word_numbers(column: polars.Series, use: Use, rules: CellRules, words: dict[str, int]) -> Array:
    """The cells of a column as numbers (int32) of texts, by `words`, which new texts are added to; -1 where one is
    missing.

    Raises Misread where a number is written in another notation than that of the rules.
    """
    distinct = column.unique(maintain_order=True) if column.dtype == polars.String else column
    misreads = rules.notation.misreads
    if Use.NUMBERS in use and rules.notation.decimal != "." and any(map(misreads, distinct.drop_nulls().to_list())):
        raise Misread
    numbers = [-1 if text is None else words.setdefault(text, len(words)) for text in texts(distinct, use, rules)]
    if len(distinct) == len(column):
        return np.array(numbers, np.int32)
    codes = column.replace_strict(distinct, polars.Series(numbers, dtype=polars.Int32), return_dtype=polars.Int32)
    array: Array = codes.to_numpy().copy()
    return array


def texts(column: polars.Series, use: Use, rules: CellRules) -> list[str | None]:
    """The cells of a column as texts, None where one is missing. A number has the spelling of a label: `1`, not `1.0`;
    integers are exact.
    """
    if column.dtype.is_float():
        floats = column.fill_nan(None).to_list()
        kind: Any = np.float32 if column.dtype == polars.Float32 else float
        labels = {number: None if number is None else label_of(kind(number)) for number in set(floats)}
        return [labels[number] for number in floats]
    cells = column.cast(polars.String).to_list()
    if isinstance(column.dtype, polars.Datetime):
        cells = [None if cell is None else moment_text(cell) for cell in cells]
    return cleaned(cells, cleaner(rules, Use.LABELS in use, Use.TEXT in use))
