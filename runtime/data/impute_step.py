"""The step `impute`: what stands for an empty cell."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.runtime.data.cells import Location, is_missing, numbers, refuse_missing, texts_of
from netc.runtime.data.data_step import Chunks, DataStep, State
from netc.runtime.data.state_checks import are_cells, is_flag
from netc.runtime.data.stored import Array

_FILLS: dict[str, Callable[[Array], Any]] = {"mean": np.mean, "median": np.median}


def _impute_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """What stands for an empty cell, of each column: one at a time, so that no more than a column is in memory."""
    (how,) = arguments
    first, location = next(chunks())
    width = int(np.prod(first.shape[1:]))
    if how == "drop" or (how not in _FILLS and how != "mode"):
        return {"fill": [how] * width, "drop": how == "drop"}
    fills: list[Any] = []
    for i in range(width):
        column = np.concatenate([array.reshape(len(array), -1)[:, i] for array, _ in chunks()])
        present = column[~is_missing(column)]
        if not len(present):
            fault(
                "E0803",
                "a column of the training split is empty",
                location.span,
                f"`{shown_cell(location.columns[i])}`",
            )
        if how in _FILLS:
            fills.append(float(_FILLS[how](numbers(present, location).astype(np.float64))))
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
    lambda array, state: array,
    (1, 1),
    words=("mean", "median", "mode", "drop"),
    doc="Fills empty cells with the mean, median, mode or a value, or drops their rows.",
    keeps={"fill": are_cells, "drop": is_flag},
    name="impute",
)
