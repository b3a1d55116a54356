"""Steps on labels: classes, one_hot."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.dsl.quoting import cell as shown_cell
from netc.runtime.available import require_at
from netc.runtime.data.cells import Location, natural, refuse_missing
from netc.runtime.data.data_step import Chunks, DataStep, State
from netc.runtime.data.state_checks import are_texts
from netc.runtime.data.stored import Array


def _classes_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    labels: set[str] = set()
    for array, location in chunks():
        refuse_missing(array, location)
        labels |= {str(cell) for cell in array.ravel()}
    return {"classes": sorted(labels, key=natural)}


def _classes(array: Array, state: State, location: Location) -> Array:
    refuse_missing(array, location)
    number_of = {label: i for i, label in enumerate(state["classes"])}
    result = np.array([number_of.get(str(cell), -1) for cell in array.ravel()], np.int32).reshape(array.shape)
    location.refuse(
        result < 0,
        "E0805",
        lambda index: f'the class "{shown_cell(array[index])}" does not occur in the training split',
    )
    return result


CLASSES = DataStep(
    _classes,
    _classes_fit,
    lambda array, state: np.array(state["classes"], object)[array],
    takes_text=True,
    doc="Replaces labels by numbers: labels that are numbers come first, by value, then texts.",
    keeps={"classes": are_texts},
    labels=lambda state: list(state["classes"]),
    name="classes",
)


def _one_hot(array: Array, state: State, location: Location) -> Array:
    class_numbers, count = _classes(array, state, location), len(state["classes"])
    cells = class_numbers.size
    require_at(8 * cells * count, f"{cells:,} cells of {count:,} numbers", location.span)
    result = np.zeros((*class_numbers.shape, count))
    np.put_along_axis(result, class_numbers[..., None], 1.0, axis=-1)
    return result


ONE_HOT = DataStep(
    _one_hot,
    _classes_fit,
    takes_text=True,
    doc="Replaces a label by a number for each label: 1 for its own, 0 for all others.",
    keeps={"classes": are_texts},
    name="one_hot",
)
