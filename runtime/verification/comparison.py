"""Compares two sets of results, up to rounding or bit by bit: yields the results that differ, each with a sentence.

Rounding is judged in two steps: first by the size of each array; where the difference is larger, by how far rounding
noise moves the expected results themselves.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array
from netc.runtime.verification.interpreter import Noise

_TOLERANCE = {2: 1e-2, 4: 3e-5, 8: 1e-10}  # relative to an array's largest element, by bytes of an element
_NOISE_RUNS, _TIMES_NOISE = 6, 16
Results = Mapping[str, Any]


class Counter(Struct):
    """The number of results that were compared."""

    count: int = 0


_counter: ContextVar[Counter | None] = ContextVar("results compared", default=None)


@contextmanager
def counting() -> Iterator[Counter]:
    """Counts the results that are compared inside. A check that compares none does not apply to its model."""
    counter = Counter()
    token = _counter.set(counter)
    try:
        yield counter
    finally:
        _counter.reset(token)


def compared(results: int = 1) -> None:
    """Reports the number of results that were compared."""
    counter = _counter.get()
    if counter is not None:
        counter.count += results


class Rounding(Struct):
    """The distance by which rounding may move results.

    `disturbed(noise)` computes them again with noise in every operation; it is called only in doubt.
    """

    disturbed: Callable[[Noise], Results] | None = None
    base: Results | None = None  # the results without noise, if the expected ones are computed in another way
    _moves: dict[str, float] | None = None

    def moved(self, name: str, expected: Results) -> float:
        """The largest distance by which noise moves an element of a result."""
        if self.disturbed is None:
            return 0.0
        if self._moves is None:
            base = self.base if self.base is not None else expected
            self._moves = {}
            for seed in range(_NOISE_RUNS):
                for key, array in self.disturbed(Noise(seed)).items():
                    if key in base:
                        move = _largest(flat(array), flat(base[key]))
                        self._moves[key] = max(self._moves.get(key, 0.0), move)
        return self._moves.get(name, 0.0)


def differences(actual: Results, expected: Results, rounding: Rounding | None = None) -> Iterator[tuple[str, str]]:
    """The names of the results that differ by more than rounding explains, each with a sentence.

    A result that only one side has differs too.
    """
    compared(len(expected))
    for name in [*expected, *(name for name in actual if name not in expected)]:
        if name not in actual or name not in expected:
            yield name, "only one of the two computes it"
            continue
        detail = difference(actual[name], expected[name])
        if detail is not None and rounding is not None:
            allowed = _TIMES_NOISE * rounding.moved(name, expected)
            detail = difference(actual[name], expected[name], allowed)
        if detail is not None:
            yield name, detail


def difference(actual: Any, expected: Any, allowed: float = 0.0) -> str | None:
    """A sentence on how two arrays, or lists of them, differ.

    Returns None if they differ by no more than rounding of numbers of their size, and `allowed` beside that.
    """
    if (shapes := _shapes(actual, expected)) is not None:
        return shapes
    left, right = flat(actual), flat(expected)
    itemsize = min(np.asarray(part).dtype.itemsize for part in parts(expected)) if parts(expected) else 8
    is_float = all(np.asarray(part).dtype.kind == "f" for part in parts(expected))
    finite = np.abs(right[np.isfinite(right)])
    tolerance = _TOLERANCE.get(itemsize, 1e-10) * float(finite.max(initial=0.0)) if is_float else 0.0
    with np.errstate(invalid="ignore"):
        is_near = np.abs(left - right) <= tolerance + allowed
    fits = (left == right) | is_near | (np.isnan(left) & np.isnan(right))
    if np.isinf(allowed) or fits.all():
        return None
    return _sentence(left, right, fits, _shape(expected))


def different_bits(actual: Results, expected: Results) -> Iterator[tuple[str, str]]:
    """The names of the results that do not have the same bits, each with a sentence."""
    compared(len(expected))
    for name in expected:
        if (shapes := _shapes(actual[name], expected[name])) is not None:
            yield name, shapes
            continue
        pairs = zip(parts(actual[name]), parts(expected[name]), strict=True)
        if all(np.asarray(left).tobytes() == np.asarray(right).tobytes() for left, right in pairs):
            continue
        left, right = flat(actual[name]), flat(expected[name])
        has_same_sign = np.signbit(left) == np.signbit(right)
        is_same = (left == right) & has_same_sign | (np.isnan(left) & np.isnan(right))
        if not is_same.all():  # NaNs of different bits are the same
            yield name, _sentence(left, right, is_same, _shape(expected[name]))


def parts(result: Any) -> list[Any]:
    """A result as a list of arrays: several where samples differ in length."""
    return list(result) if isinstance(result, list | tuple) and not np.isscalar(result) else [np.asarray(result)]


def flat(result: Any) -> Array:
    """All numbers of a result in one row of float64."""
    pieces = [np.asarray(part, np.float64).ravel() for part in parts(result)]
    return np.concatenate(pieces) if pieces else np.zeros(0)


def _shape(result: Any) -> tuple[int, ...] | None:
    """The shape of a result; None for a list of arrays."""
    return None if isinstance(result, list) else np.shape(result)


def _shapes(actual: Any, expected: Any) -> str | None:
    """A sentence on how the shapes of two results differ; None if they do not."""
    left, right = ([np.shape(part) for part in parts(result)] for result in (actual, expected))
    if left == right:
        return None
    if len(left) == len(right) == 1:
        return f"it has the shape {list(left[0])}, and should have {list(right[0])}"
    count = sum(shape != other for shape, other in zip(left, right, strict=False))
    return f"it has other shapes in {count} of {len(right)} samples"


def _largest(left: Array, right: Array) -> float:
    """The largest distance of two arrays' elements; infinite if only one of two elements is a number."""
    if left.shape != right.shape:
        return np.inf
    with np.errstate(invalid="ignore"):
        is_same = (left == right) | (np.isnan(left) & np.isnan(right))
        distance = np.where(is_same, 0.0, np.abs(left - right))
    return float(np.nan_to_num(distance, nan=np.inf).max(initial=0.0))


def _sentence(actual: Array, expected: Array, fits: Array, shape: tuple[int, ...] | None) -> str:
    """A sentence on the element that differs most."""
    with np.errstate(invalid="ignore"):
        distance = np.where(fits, -1.0, np.nan_to_num(np.abs(actual - expected), nan=np.inf))
    at = int(distance.argmax())
    index = f" at {[int(i) for i in np.unravel_index(at, shape)]}" if shape else ""
    others = f"; {int((~fits).sum())} of {fits.size} elements differ" if fits.size > 1 else ""
    return f"it is {actual[at]:.9g}{index} and should be {expected[at]:.9g}{others}"
