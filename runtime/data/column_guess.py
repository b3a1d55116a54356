"""Guesses what a column of a table is: a class, a category, a number, a date, a text, an array or a constant."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from netc.runtime.data.cells import is_missing, natural, texts_of
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table

_MOST_CLASSES, _MOST_CATEGORIES = 50, 20


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess for a column: `kind` is number, class, category, date, text, array or constant.

    `missing` is the number of empty cells, `labels` the distinct cells of a class or category with their counts.
    """

    name: str
    kind: str
    missing: int
    labels: tuple[tuple[str, int], ...] = ()
    shape: tuple[int, ...] = ()
    is_bytes: bool = False


def guess_column(table: Table, name: str, is_target: bool) -> Guess:
    """A guess by the number of distinct cells, and by whether they are numbers or dates."""
    cells: Array = table.columns[name][np.arange(len(table))]
    if cells.ndim > 1:
        return Guess(name, "array", 0, (), cells.shape[1:], cells.dtype == np.uint8)
    missing = is_missing(cells)
    present = cells[~missing]
    labels = Counter(texts_of(present))
    sorted_labels = tuple(sorted(labels.items(), key=lambda item: natural(item[0])))
    empty = int(missing.sum())
    if len(labels) < 2:
        return Guess(name, "constant", empty)
    values = _as_numbers(present)
    if is_target:
        few = len(labels) <= (_MOST_CLASSES if values is None else _MOST_CATEGORIES) and len(present) >= 5 * len(labels)
        is_whole = values is None or bool((values == np.floor(values)).all())
        if few and is_whole:
            return Guess(name, "class", empty, sorted_labels)
        return Guess(name, "text" if values is None else "number", empty)
    if values is not None:
        return Guess(name, "number", empty)
    if len(labels) <= _MOST_CATEGORIES and len(present) >= 3 * len(labels):
        return Guess(name, "category", empty, sorted_labels)
    is_date = all(re.match(r"\d{4}-\d{2}(-\d{2})?([T ].*)?$", str(cell)) for cell in present[:1000])
    return Guess(name, "date" if is_date else "text", empty)


def _as_numbers(cells: Array) -> Array | None:
    """The cells as finite numbers; None if they are not."""
    try:
        values = cells.astype(np.float64)
        return values if np.isfinite(values).all() else None
    except (ValueError, TypeError, OverflowError):
        return None
