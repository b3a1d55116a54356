"""Steps on labels: classes, one_hot."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.runtime.available import require_at
from netc.runtime.data.cells import Location, natural, refuse_missing
from netc.runtime.data.data_step import Chunks, DataStep, State
from netc.runtime.data.state_checks import are_texts
from netc.runtime.data.stored import Array


def _classes_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    found: set[str] = set()
    for array, location in chunks():
        refuse_missing(array, location)
        found |= {str(cell) for cell in array.ravel()}
    return {"classes": sorted(found, key=natural)}


def _classes(array: Array, state: State, location: Location) -> Array:
    refuse_missing(array, location)
    codes = {label: i for i, label in enumerate(state["classes"])}
    result = np.empty(array.shape, np.int32)
    for index, cell in np.ndenumerate(array):
        if str(cell) not in codes:
            fault(
                "E0805",
                f'the class "{shown_cell(cell)}" does not occur in the training split',
                location.span,
                location.cell(index),
            )
        result[index] = codes[str(cell)]
    return result


CLASSES = DataStep(
    _classes,
    _classes_fit,
    lambda array, state: np.array(state["classes"], object)[array],
    takes_text=True,
    doc="Labels as numbers, in the order of numbers, then of texts.",
    keeps={"classes": are_texts},
    labels=lambda state: list(state["classes"]),
    name="classes",
)


def _one_hot(array: Array, state: State, location: Location) -> Array:
    codes, count = _classes(array, state, location), len(state["classes"])
    require_at(8 * codes.size * count, f"{codes.size:,} cells of {count:,} numbers", location.span)
    result = np.zeros((*codes.shape, count))
    np.put_along_axis(result, codes[..., None], 1.0, axis=-1)
    return result


ONE_HOT = DataStep(
    _one_hot,
    _classes_fit,
    takes_text=True,
    doc="A 1 at the label's location among as many numbers as there are labels.",
    keeps={"classes": are_texts},
    name="one_hot",
)
