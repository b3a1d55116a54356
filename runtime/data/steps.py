"""The steps of a field's pipe: each may be fitted on the training split, is applied to every split, and some can be undone.

A fitted step is plain data (JSON), saved with the run. Arrays come with the sample in front.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span

Array = np.ndarray[Any, Any]
State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """What a message about a field's data names: the file, the columns, the number of each row, the step's place in the `.net` file."""

    file: str
    columns: tuple[str, ...]
    rows: Array
    span: Span


@dataclass(frozen=True, slots=True)
class Step:
    """`fit(array, arguments, place)` learns a state from the training split, `apply(array, state, place)` uses it; `undo` is its inverse."""

    apply: Callable[[Array, State, Place], Array]
    fit: Callable[[Array, Sequence[Any], Place], State]
    undo: Callable[[Array, State], Array] | None = None
    arguments: tuple[int, int] = (0, 0)


def is_missing(array: Array) -> Array:
    """True where a cell is empty."""
    if array.dtype == object:
        return np.array(
            [cell is None or (isinstance(cell, str) and not cell.strip()) for cell in array.ravel()], bool
        ).reshape(array.shape)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)


def _cell(index: Sequence[int], place: Place) -> str:
    column = place.columns[index[1] if len(index) > 1 and len(place.columns) > 1 else 0]
    return f"`{place.file}`, row {place.rows[index[0]]}, column `{column}`"


def refuse_missing(array: Array, place: Place) -> None:
    """Fault E0803 at the first empty cell."""
    missing = is_missing(array)
    if missing.any():
        index = tuple(int(i) for i in np.argwhere(missing)[0])
        fault(
            "E0803",
            "a value is missing",
            place.span,
            f"{_cell(index, place)}; {int(missing.sum())} in all",
            hint="impute(median) fills, impute(drop) leaves the row out",
        )


def numbers(array: Array, place: Place) -> Array:
    """The cells as f64 (bytes and floats stay what they are). Fault E0803 at the first that is missing or is no number."""
    refuse_missing(array, place)
    if array.dtype != object:
        return array
    try:
        return array.astype(np.float64)
    except ValueError:
        for index, cell in np.ndenumerate(array):
            try:
                float(cell)
            except ValueError:
                fault(
                    "E0803",
                    f'"{cell}" is not a number',
                    place.span,
                    _cell(index, place),
                    hint="`classes` or `one_hot` takes text",
                )
        raise


def _standardize_fit(array: Array, arguments: Sequence[Any], place: Place) -> State:
    values = numbers(array, place).astype(np.float64)
    spread = values.std(axis=0)
    return {"mean": values.mean(axis=0).tolist(), "std": np.where(spread > 0, spread, 1.0).tolist()}


def _scale_fit(array: Array, arguments: Sequence[Any], place: Place) -> State:
    if isinstance(arguments[0], bool) or not isinstance(arguments[0], int | float) or arguments[0] == 0:
        fault("E0303", "`scale` takes a number that is not 0", place.span)
    return {"by": float(arguments[0])}


def _classes_fit(array: Array, arguments: Sequence[Any], place: Place) -> State:
    refuse_missing(array, place)
    return {"classes": sorted({str(cell) for cell in array.ravel()}, key=_natural)}


def _natural(label: str) -> tuple[int, float, str]:
    """Numbers in the order of numbers, then texts."""
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _classes(array: Array, state: State, place: Place) -> Array:
    refuse_missing(array, place)
    codes = {label: i for i, label in enumerate(state["classes"])}
    result = np.empty(array.shape, np.int32)
    for index, cell in np.ndenumerate(array):
        if str(cell) not in codes:
            fault("E0805", f'the class "{cell}" does not occur in the training split', place.span, _cell(index, place))
        result[index] = codes[str(cell)]
    return result


def _one_hot(array: Array, state: State, place: Place) -> Array:
    return np.eye(len(state["classes"]), dtype=np.float64)[_classes(array, state, place)]


_FILLS: dict[str, Callable[[Array], Any]] = {"mean": np.mean, "median": np.median}


def _impute_fit(array: Array, arguments: Sequence[Any], place: Place) -> State:
    (how,) = arguments
    columns = array.reshape(len(array), -1)
    fills: list[Any] = []
    for i in range(columns.shape[1]):
        column = columns[:, i]
        present = column[~is_missing(column)]
        if not len(present) and how != "drop":
            fault("E0803", "a column of the training split is empty", place.span, f"`{place.columns[i]}`")
        if how in _FILLS:
            fills.append(float(_FILLS[how](numbers(present, place).astype(np.float64))))
        elif how == "mode":
            labels, counts = np.unique(present.astype(str), return_counts=True)
            fills.append(str(labels[np.argmax(counts)]))
        else:
            fills.append(how)
    return {"fill": fills, "drop": how == "drop"}


def _impute(array: Array, state: State, place: Place) -> Array:
    if state["drop"]:
        refuse_missing(array, place)
        return array
    filled = array.astype(object).reshape(len(array), -1)
    missing = is_missing(filled)
    for i, fill in enumerate(state["fill"]):
        filled[missing[:, i], i] = fill
    return filled.reshape(array.shape)


def _reshape(array: Array, state: State, place: Place) -> Array:
    dims = tuple(state["dims"])
    if int(np.prod(array.shape[1:])) != int(np.prod(dims)):
        fault("E0804", f"a sample of shape {list(array.shape[1:])} cannot become {list(dims)}", place.span)
    return array.reshape(len(array), *dims)


STEPS: dict[str, Step] = {
    "standardize": Step(
        lambda array, state, place: (numbers(array, place).astype(np.float64) - state["mean"]) / state["std"],
        _standardize_fit,
        lambda array, state: array * state["std"] + state["mean"],
    ),
    "scale": Step(
        lambda array, state, place: (
            numbers(array, place) * np.float64(state["by"])
            if array.dtype != np.uint8
            else array * np.float32(state["by"])
        ),
        _scale_fit,
        lambda array, state: array / state["by"],
        (1, 1),
    ),
    "classes": Step(_classes, _classes_fit, lambda array, state: np.array(state["classes"], object)[array]),
    "one_hot": Step(_one_hot, _classes_fit),
    "impute": Step(_impute, _impute_fit, lambda array, state: array, (1, 1)),
    "reshape": Step(
        _reshape,
        lambda array, arguments, place: {"dims": [int(one) for one in arguments]},
        lambda array, state: array,
        (1, 8),
    ),
}
WORDS: Mapping[str, tuple[str, ...]] = {"impute": ("mean", "median", "mode", "drop")}
