"""Collects the columns of a table from batches of rows: numbers as float64, texts as numbers of the words that occur.

`tables/store.py` does the same for tables that are kept on disk.
"""

from collections.abc import Sequence

import numpy as np

from netc.runtime.available import SMALL, require
from netc.runtime.data.readers.request import WORDS, Uses
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import CellRules
from netc.runtime.data.tables.columns import Columns, TextColumn
from netc.runtime.data.tables.store import CHANGED, Batches


def collected(batches: Batches, names: Sequence[str], uses: Uses, rules: CellRules) -> Columns:
    """The columns `names` of a table in memory.

    A column whose every cell is a number or missing is float64, unless it is needed as texts. Raises Misread where a
    number is written in another notation than that of `rules`, NotEnough where memory lacks, and ValueError if the
    table got longer or shorter between two readings.
    """
    words = [name for name in names if uses(name) & WORDS]
    columns, others = _pass(batches, names, words, uses, rules)
    if others:  # they have texts after all
        columns |= _pass(batches, others, others, uses, rules)[0]
    if len({*map(len, columns.values())}) > 1:
        raise ValueError(CHANGED)
    return {name: columns[name] for name in names}


def _pass(
    batches: Batches, names: Sequence[str], words: Sequence[str], uses: Uses, rules: CellRules
) -> tuple[Columns, list[str]]:
    """The columns from one reading of all rows, those of `words` as texts, and the names of others that have a text."""
    from netc.runtime.data.readers.polars_cells import float_array, word_numbers

    parts: dict[str, list[Array]] = {name: [] for name in names}
    words_of: dict[str, dict[str, int]] = {name: {} for name in words}
    for frame in batches(names):
        require(SMALL, "the next rows of the table")
        for name in [*parts]:
            column = frame[name]
            if name in words_of:
                parts[name].append(word_numbers(column, uses(name), rules, words_of[name]))
            elif (numbers := float_array(column, rules)) is not None:
                parts[name].append(numbers)
            else:
                del parts[name]
    columns: Columns = {}
    others = [name for name in names if name not in parts]
    for name in [*parts]:  # one after the other, so that memory holds few columns twice
        pieces = parts.pop(name)
        if name in words_of:
            columns[name] = TextColumn(_joined(pieces, np.int32), tuple(words_of.pop(name)))
        else:
            columns[name] = _joined(pieces, np.float64)
    return columns, others


def _joined(pieces: list[Array], dtype: type) -> Array:
    return np.concatenate(pieces) if pieces else np.empty(0, dtype)
