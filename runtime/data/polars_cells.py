"""The cells of columns of polars, by the rules of `cell_text.py`: as numbers, or as texts and labels."""

from typing import Any

import numpy as np
import polars

from netc.runtime.data.cell_text import BLANKS, NAN, CellRules, cleaned, cleaner, label_of, moment_text
from netc.runtime.data.request import Use


def numbers(name: str, dtype: polars.DataType, rules: CellRules) -> polars.Expr:
    """A column as float64, null where a cell is missing or no number."""
    column = polars.col(name)
    return (_present(column, rules) if dtype == polars.String else column).cast(polars.Float64, strict=False)


def is_no_number(name: str, dtype: polars.DataType, rules: CellRules) -> polars.Expr:
    """True for the cells of a column that are neither missing nor a number."""
    column = polars.col(name)
    present = _present(column, rules) if dtype == polars.String else column
    return present.is_not_null() & numbers(name, dtype, rules).is_null()


def _present(column: polars.Expr, rules: CellRules) -> polars.Expr:
    """A column of texts, null where a cell stands for a missing value."""
    core = column.str.strip_chars(BLANKS)
    is_missing = (core == "") | core.str.to_lowercase().str.contains(NAN)
    if rules.marks:
        is_missing |= core.is_in(list(rules.marks))
    return polars.when(is_missing).then(None).otherwise(column)


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
