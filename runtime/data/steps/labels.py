"""Steps on labels: classes, one_hot. Both number the labels of the training part.

A label that training did not have is refused by `classes` and encoded as zeros by `one_hot`; `classes(unknown)` and
`one_hot(unknown)` have a place of their own for it, the last.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.dsl.quoting import cell as shown_cell
from netc.runtime.available import require_at
from netc.runtime.data.steps.data_step import UNKNOWN, Chunks, DataStep, State, are_integers
from netc.runtime.data.steps.remarks import NEW_CATEGORY, Lack, similar
from netc.runtime.data.steps.state_checks import are_texts, is_optional_count
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import label_of
from netc.runtime.data.tables.cells import CellKind, Index, Location, natural, numbers_of, refuse_missing, texts_of


def _fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The labels in their order; those that occur less often than `unknown` have no place of their own."""
    counts: Counter[str] = Counter()
    for array, location in chunks():
        refuse_missing(array, location, CellKind.CATEGORY)
        counts.update(texts_of(array))
    least = arguments[1] if len(arguments) > 1 else 1
    labels = sorted((label for label, count in counts.items() if count >= least), key=natural)
    return {"classes": labels, **({"unknown": least} if arguments else {})}


def _category_count(state: State) -> int:
    return len(state["classes"]) + bool(state.get("unknown"))


def _labels(state: State) -> list[str]:
    return [*state["classes"], *([UNKNOWN] if state.get("unknown") else [])]


def _numbers(array: Array, state: State, location: Location) -> Array:
    """The number of each label; for one that has no place of its own the unknown place, or -1 if there is none."""
    refuse_missing(array, location, CellKind.CATEGORY)
    result = numbers_of(array, state["classes"])
    if state.get("unknown"):
        _remark_unseen(result < 0, array, state, location)
        result[result < 0] = len(state["classes"])
    return result


def _remark_unseen(mask: Array, array: Array, state: State, location: Location) -> None:
    least = state.get("unknown") or 1
    is_rare = Lack("cell", f"with a category that occurs less than {least} times in training")
    location.remark_unseen(mask, array, is_rare if least > 1 else NEW_CATEGORY, state["classes"])


def _classes(array: Array, state: State, location: Location) -> Array:
    result = _numbers(array, state, location)

    def hint(index: Index) -> str:
        guess = similar(label_of(array[index]), state["classes"])
        advice = "" if location.is_target else "`classes(unknown)` has a class for labels that training lacks"
        return "; ".join(filter(None, (guess, advice)))

    location.refuse(
        result < 0,
        "E0805",
        lambda index: f'the class "{shown_cell(label_of(array[index]))}" does not occur in the training split',
        hint=hint,
    )
    return result


def _check(arguments: Sequence[Any]) -> str | None:
    is_right = not arguments or (arguments[0] == "unknown" and are_integers(arguments[1:]))
    return None if is_right else "`unknown`, then how often a label occurs at least to have a place of its own"


CLASSES = DataStep(
    _classes,
    _fit,
    lambda array, state: np.array(_labels(state), object)[array],
    (0, 2),
    _check,
    words=("unknown",),
    takes_text=True,
    takes_labels=True,
    doc="Replaces labels by numbers: labels that are numbers come first, by value, then texts. `classes(unknown)`, for "
    "inputs, adds a last class for labels that the training part does not have; `classes(unknown, 5)` also for those "
    "that occur less than 5 times in it.",
    usage="classes, classes(unknown), classes(unknown, n)",
    keeps={"classes": are_texts, "unknown": is_optional_count},
    labels=_labels,
    name="classes",
)


def _one_hot(array: Array, state: State, location: Location) -> Array:
    numbers, count = _numbers(array, state, location), _category_count(state)
    require_at(8 * numbers.size * count, f"{numbers.size:,} cells of {count:,} numbers", location.span)
    has_place = numbers >= 0
    _remark_unseen(~has_place, array, state, location)
    result = np.zeros((numbers.size, count))
    rows = np.flatnonzero(has_place)
    result[rows, numbers.ravel()[rows]] = 1.0
    return result.reshape(*numbers.shape, count)


ONE_HOT = DataStep(
    _one_hot,
    _fit,
    arguments=(0, 2),
    check=_check,
    words=("unknown",),
    takes_text=True,
    takes_labels=True,
    doc="Replaces a label by a number for each label: 1 for its own, 0 for all others. A label that the training part "
    "does not have becomes zeros. `one_hot(unknown)` has a last place for it; `one_hot(unknown, 5)` also for labels "
    "that occur less than 5 times in the training part.",
    usage="one_hot, one_hot(unknown), one_hot(unknown, n)",
    keeps={"classes": are_texts, "unknown": is_optional_count},
    category_count=_category_count,
    name="one_hot",
)
