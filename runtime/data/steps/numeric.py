"""Steps on numbers: standardize, minmax, scale, log, clip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from netc.runtime.data.steps.data_step import Chunks, DataStep, State, learn_nothing
from netc.runtime.data.steps.state_checks import are_numbers, are_optional_numbers, is_number
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location, numbers

_FAR = 20.0  # standard deviations from the mean of training that are worth a note
_FAR_WIDTHS = 5.0  # ranges of training, beyond its least and its largest number
_ROUNDING = 8 * np.finfo(np.float64).eps  # relative


def _floats(chunks: Chunks) -> Iterator[Array]:
    for array, location in chunks():
        yield numbers(array, location).astype(np.float64)


class _Usual(Struct, frozen=True):
    """The results of a step that are not far outside of training's, from `least` to `most`.

    `limits(state)` are the least and the largest number of training, for each column: None if an older run did not keep
    them. A number between them is never outside, as a 1 among thousands of zeros.
    """

    least: float
    most: float
    limits: Callable[[State], tuple[Any, Any] | None]

    def is_outside(self, values: Array, results: Array, state: State) -> Array:
        """True for each number far outside of those of training."""
        limits = self.limits(state)
        if limits is None:
            return np.zeros(results.shape, bool)
        is_far: Array = (results < self.least) | (results > self.most)
        return is_far & ((values < limits[0]) | (values > limits[1])) if is_far.any() else is_far

    def of_column(self, state: State, index: tuple[int, ...]) -> str:
        """The words for the numbers that training had in a column."""
        low, high = (
            float(limit[index] if limit.ndim else limit) for limit in map(np.asarray, self.limits(state) or ())
        )
        return f"they went from {low:.6g} to {high:.6g}"


def _arithmetic(
    name: str,
    doc: str,
    formula: Callable[[Any, Any], Any],
    fit: Callable[[Chunks, Sequence[Any]], State],
    undo: Callable[[Array, State], Array],
    keeps: Mapping[str, Callable[[Any], bool]],
    usual: _Usual,
) -> DataStep:
    """A step that is plain arithmetic on numbers, in float64."""

    def apply(array: Any, state: State, location: Location) -> Array:
        values = numbers(array, location).astype(np.float64)
        result: Array = formula(values, state)
        is_outside = usual.is_outside(values, result, state)
        location.note_far_outside(values, is_outside, lambda index: usual.of_column(state, index))
        return result

    return DataStep(apply, fit, undo, doc=doc, formula=formula, keeps=keeps, name=name)


def is_constant(low: Array, high: Array) -> Array:
    """True for each column whose least and largest value are equal up to the rounding of a few operations."""
    result: Array = high - low <= _ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return result


def _standardize_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """Mean and population standard deviation of each column; chunks are combined by Chan, Golub and LeVeque 1979.

    A constant column keeps its scale, and its mean is the constant itself: a sum would round it.
    """
    count, mean, squares = 0, np.float64(0), np.float64(0)
    low, high = np.asarray(np.inf), np.asarray(-np.inf)
    for values in _floats(chunks):
        size, chunk_mean = len(values), values.mean(axis=0)
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
        difference = chunk_mean - mean
        squares = squares + ((values - chunk_mean) ** 2).sum(axis=0) + difference**2 * (count * size / (count + size))
        mean = chunk_mean if not count else mean + difference * (size / (count + size))
        count += size
    is_same = is_constant(low, high)
    deviation = np.where(is_same, 1.0, np.sqrt(squares / count))
    return {
        "mean": np.where(is_same, low, mean).tolist(),
        "std": np.where(deviation > 0, deviation, 1.0).tolist(),  # squares of tiny numbers may underflow
        "min": low.tolist(),
        "max": high.tolist(),
    }


def _limits_kept(state: State) -> tuple[Any, Any] | None:
    """The least and the largest number of training, if the state has both."""
    low, high = state.get("min"), state.get("max")
    return None if low is None or high is None else (low, high)


STANDARDIZE = _arithmetic(
    "standardize",
    "Subtracts the mean of each column and divides by its standard deviation. A column that is the same in every row "
    "becomes 0.",
    lambda array, state: (array - state["mean"]) / state["std"],
    _standardize_fit,
    lambda array, state: array * state["std"] + state["mean"],
    {"mean": are_numbers, "std": are_numbers, "min": are_optional_numbers, "max": are_optional_numbers},
    _Usual(-_FAR, _FAR, _limits_kept),
)


def _minmax_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    low, high = np.asarray(np.inf), np.asarray(-np.inf)
    for values in _floats(chunks):
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    spread = np.where(is_constant(low, high), 1.0, high - low)
    return {"min": low.tolist(), "range": spread.tolist(), "max": high.tolist()}


def _limits_of_minmax(state: State) -> tuple[Any, Any]:
    """An older run kept no `max`, and a constant column has the range 1."""
    high = state.get("max")
    return state["min"], np.asarray(state["min"]) + state["range"] if high is None else high


MINMAX = _arithmetic(
    "minmax",
    "Brings each column to the range from 0, its least value, to 1, its largest.",
    lambda array, state: (array - state["min"]) / state["range"],
    _minmax_fit,
    lambda array, state: array * state["range"] + state["min"],
    {"min": are_numbers, "range": are_numbers, "max": are_optional_numbers},
    _Usual(
        -_FAR_WIDTHS,
        1 + _FAR_WIDTHS,
        _limits_of_minmax,
    ),
)


def _scale(array: Array, state: State, location: Location) -> Array:
    if array.dtype == np.uint8:
        return array * np.float32(state["by"])
    return numbers(array, location) * np.float64(state["by"])


def _scale_check(arguments: Sequence[Any]) -> str | None:
    return None if is_number(arguments[0]) and arguments[0] != 0 else "a number that is not 0"


SCALE = DataStep(
    _scale,
    lambda chunks, arguments: {"by": float(arguments[0])},
    lambda array, state: array / state["by"],
    (1, 1),
    _scale_check,
    doc="Multiplies by a number: scale(1 / 255). Bytes stay bytes in memory.",
    keeps={"by": are_numbers},
    name="scale",
)


def _log(array: Array, state: State, location: Location) -> Array:
    values = numbers(array, location).astype(np.float64)
    location.refuse(values <= 0, "E0803", lambda index: f"{values[index]:g} has no logarithm")
    return np.log(values)


LOG = DataStep(
    _log,
    learn_nothing,
    lambda array, state: np.exp(array),
    doc="The natural logarithm, of numbers above 0.",
    name="log",
)


def _clip_check(arguments: Sequence[Any]) -> str | None:
    is_right = all(map(is_number, arguments)) and arguments[0] < arguments[1]
    return None if is_right else "the least number, then the largest"


CLIP = DataStep(
    lambda array, state, location: np.clip(numbers(array, location).astype(np.float64), state["least"], state["most"]),
    lambda chunks, arguments: {"least": float(arguments[0]), "most": float(arguments[1])},
    arguments=(2, 2),
    check=_clip_check,
    doc="Limits numbers to a range: clip(0, 100).",
    keeps={"least": are_numbers, "most": are_numbers},
    name="clip",
)
