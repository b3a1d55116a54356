"""The step `impute`: fills empty cells, or refuses them where their rows are dropped."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.runtime.data.cells import Location, is_missing, numbers, refuse_missing, texts_of
from netc.runtime.data.data_step import Chunks, DataStep, State, unchanged
from netc.runtime.data.state_checks import are_cells, is_flag
from netc.runtime.data.stored import Array

_STATISTICS: Mapping[str, Callable[[Array], Any]] = {"mean": np.mean, "median": np.median}


def _impute_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The value that fills the empty cells of each column. Columns are read one by one: only one is in memory."""
    (method,) = arguments
    first, location = next(chunks())
    width = int(np.prod(first.shape[1:]))
    if method == "drop" or (method not in _STATISTICS and method != "mode"):
        return {"fill": [method] * width, "drop": method == "drop"}
    fills: list[Any] = []
    for i in range(width):
        column = np.concatenate([array.reshape(len(array), -1)[:, i] for array, _ in chunks()])
        present = column[~is_missing(column)]
        if not len(present):
            name = shown_cell(location.columns[i])
            fault("E0803", "a column of the training split is empty", location.span, f"`{name}`")
        if method in _STATISTICS:
            fills.append(float(_STATISTICS[method](numbers(present, location).astype(np.float64))))
        else:
            counts = Counter(texts_of(present))
            fills.append(min(counts, key=lambda text: (-counts[text], text)))
    return {"fill": fills, "drop": False}


def _impute(array: Array, state: State, location: Location) -> Array:
    if state["drop"]:
        refuse_missing(array, location)
        return array
    missing = is_missing(array).reshape(len(array), -1)
    if not missing.any():
        return array
    is_text = array.dtype == object or any(isinstance(fill, str) for fill in state["fill"])
    filled = array.astype(object if is_text else np.float64).reshape(len(array), -1)
    for i, fill in enumerate(state["fill"]):
        filled[missing[:, i], i] = fill
    return filled.reshape(array.shape)


IMPUTE = DataStep(
    _impute,
    _impute_fit,
    unchanged,
    (1, 1),
    words=("mean", "median", "mode", "drop"),
    doc="Fills empty cells with the mean, median, mode or a value, or drops their rows.",
    keeps={"fill": are_cells, "drop": is_flag},
    name="impute",
)
