"""The step `impute`: fills empty cells, or refuses them where their rows are dropped."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.dsl.structs import replace
from netc.runtime.data.steps.data_step import Chunks, DataStep, State, column_blocks, unchanged
from netc.runtime.data.steps.state_checks import are_cells_or_none, is_flag, is_number
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import (
    CellKind,
    Location,
    hint_of_text_column,
    is_missing,
    numbers,
    refuse_missing,
    texts_of,
)

_STATISTICS: Mapping[str, Callable[[Array], Any]] = {"mean": np.mean, "median": np.median}


def _impute_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The value that fills the empty cells of each column."""
    (method,) = arguments
    first, _ = next(chunks())
    if method == "drop" or (method not in _STATISTICS and method != "mode"):
        return {"fill": [method] * math.prod(first.shape[1:]), "drop": method == "drop"}
    fills: list[Any] = []
    hint = hint_of_text_column if first.ndim > 1 and first.shape[1] > 1 else lambda name: "impute(mode) fills texts"
    for block, location in column_blocks(chunks):
        missing = is_missing(block)
        for i, name in enumerate(location.columns):
            present = np.flatnonzero(~missing[:, i])
            column = replace(location, columns=(name,), rows=location.rows[present])
            if not len(present):
                fault("E0803", "a column of the training split is empty", location.span, f"`{shown_cell(name)}`")
            fills.append(_fill_of(block[present, i], method, column, hint(name)))
    return {"fill": fills, "drop": False}


def _fill_of(column: Array, method: str, location: Location, hint: str) -> Any:
    """The mean, median or mode of the cells of a column, none of which is missing."""
    if method in _STATISTICS:
        values = numbers(column, location, hint).astype(np.float64)
        value = float(_STATISTICS[method](values))
        return int(value) if column.dtype == object and value.is_integer() else value  # cells are labels perhaps
    counts = Counter(column.tolist() if column.dtype != object else texts_of(column))
    return min(counts, key=lambda cell: (-counts[cell], cell))


def _check(arguments: Sequence[Any]) -> str | None:
    (fill,) = arguments
    is_right = is_number(fill) or (isinstance(fill, str) and bool(fill.strip()))
    return None if is_right else "mean, median, mode, drop, a number or a text that is not empty"


def leaves_missing(state: State) -> bool:
    """Whether cells stay missing, NaN, because the model itself fills them: each member of an ensemble by its own."""
    return None in state["fill"]


def _impute(array: Array, state: State, location: Location) -> Array:
    if state["drop"]:
        refuse_missing(array, location, CellKind.NUMBER)
        return array
    missing = is_missing(array).reshape(len(array), -1)
    if not missing.any():
        return array
    is_text = array.dtype == object or any(isinstance(fill, str) for fill in state["fill"])
    filled = array.astype(object if is_text else np.float64).reshape(len(array), -1)
    for i, fill in enumerate(state["fill"]):
        filled[missing[:, i], i] = np.nan if fill is None else fill
    return filled.reshape(array.shape)


IMPUTE = DataStep(
    _impute,
    _impute_fit,
    unchanged,
    (1, 1),
    _check,
    words=("mean", "median", "mode", "drop"),
    doc="Fills missing cells with the mean, median, mode or a value of the training part, or leaves their rows out: "
    'impute(median), impute(0), impute("none"), impute(drop). It takes numbers, texts, dates and categories; before '
    "`date`, a mean or median is that of the dates.",
    keeps={"fill": are_cells_or_none, "drop": is_flag},
    name="impute",
)
