"""Whether two sets of results are the same: up to rounding, or bit by bit. Gives the result that differs and a sentence with figures.

Rounding is judged in two steps: first by the size of each array; where that is exceeded, by how far rounding noise moves the expected results themselves.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.runtime.data.stored import Array
from netc.runtime.verification.interpreter import Noise

_TOLERANCE = {2: 1e-2, 4: 3e-5, 8: 1e-10}  # of an array's largest element, by the bytes of one
_NOISE_RUNS, _TIMES_NOISE = 6, 16
Results = Mapping[str, Any]


@dataclass(slots=True)
class Counter:
    """How many results were compared."""

    count: int = 0


_counter: ContextVar[Counter | None] = ContextVar("results compared", default=None)


@contextmanager
def counting() -> Iterator[Counter]:
    """Counts the results that are compared meanwhile: a check that compared none does not apply to its model."""
    counter = Counter()
    token = _counter.set(counter)
    try:
        yield counter
    finally:
        _counter.reset(token)


def compared(results: int = 1) -> None:
    """Say that so many results were compared."""
    counter = _counter.get()
    if counter is not None:
        counter.count += results


@dataclass(slots=True)
class Rounding:
    """How far rounding may bring results apart. `disturbed(noise)` computes them once more with noise in every operation; it is asked only in doubt."""

    disturbed: Callable[[Noise], Results] | None = None
    base: Results | None = None  # the results without noise, if the expected ones were computed in another way
    _moves: dict[str, float] | None = field(default=None, init=False)

    def moved(self, name: str, expected: Results) -> float:
        """The farthest that an element of a result moved under noise."""
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


def differences(found: Results, expected: Results, rounding: Rounding | None = None) -> Iterator[tuple[str, str]]:
    """The results that differ by more than rounding explains, by name, each with a sentence. Results that only one side has differ too."""
    compared(len(expected))
    for name in [*expected, *(name for name in found if name not in expected)]:
        if name not in found or name not in expected:
            yield name, "only one of the two computes it"
            continue
        detail = difference(found[name], expected[name])
        if detail is not None and rounding is not None:
            allowed = _TIMES_NOISE * rounding.moved(name, expected)
            detail = difference(found[name], expected[name], allowed)
        if detail is not None:
            yield name, detail


def difference(found: Any, expected: Any, allowed: float = 0.0) -> str | None:
    """How two arrays (or lists of them) differ by more than rounding of their size, or `allowed` more; None if they do not."""
    if (shapes := _shapes(found, expected)) is not None:
        return shapes
    one, two = flat(found), flat(expected)
    itemsize = min(np.asarray(part).dtype.itemsize for part in parts(expected)) if parts(expected) else 8
    is_float = all(np.asarray(part).dtype.kind == "f" for part in parts(expected))
    finite = np.abs(two[np.isfinite(two)])
    tolerance = _TOLERANCE.get(itemsize, 1e-10) * float(finite.max(initial=0.0)) if is_float else 0.0
    with np.errstate(invalid="ignore"):
        fits = (one == two) | (np.abs(one - two) <= tolerance + allowed) | (np.isnan(one) & np.isnan(two))
    if np.isinf(allowed) or fits.all():
        return None
    return _sentence(one, two, fits, np.shape(expected) if not isinstance(expected, list) else None)


def different_bits(found: Results, expected: Results) -> Iterator[tuple[str, str]]:
    """The results that are not the same bits, by name, each with a sentence."""
    compared(len(expected))
    for name in expected:
        if (shapes := _shapes(found[name], expected[name])) is not None:
            yield name, shapes
            continue
        pairs = zip(parts(found[name]), parts(expected[name]), strict=True)
        if all(np.asarray(one).tobytes() == np.asarray(two).tobytes() for one, two in pairs):
            continue
        one, two = flat(found[name]), flat(expected[name])
        same = (one == two) & (np.signbit(one) == np.signbit(two)) | (np.isnan(one) & np.isnan(two))
        if not same.all():  # which NaN it is does not count
            yield (
                name,
                _sentence(one, two, same, None if isinstance(expected[name], list) else np.shape(expected[name])),
            )


def parts(result: Any) -> list[Any]:
    """A result as a list of arrays: several where samples differ in length."""
    return list(result) if isinstance(result, list | tuple) and not np.isscalar(result) else [np.asarray(result)]


def flat(result: Any) -> Array:
    """All numbers of a result in one row of float64."""
    pieces = [np.asarray(part, np.float64).ravel() for part in parts(result)]
    return np.concatenate(pieces) if pieces else np.zeros(0)


def _shapes(found: Any, expected: Any) -> str | None:
    one, two = ([np.shape(part) for part in parts(result)] for result in (found, expected))
    if one == two:
        return None
    if len(one) == len(two) == 1:
        return f"it has the shape {list(one[0])}, and should have {list(two[0])}"
    return f"it has other shapes in {sum(a != b for a, b in zip(one, two, strict=False))} of {len(two)} samples"


def _largest(one: Array, two: Array) -> float:
    """The largest distance of two arrays; infinite where only one of them is a number."""
    if one.shape != two.shape:
        return np.inf
    with np.errstate(invalid="ignore"):
        apart = np.where((one == two) | (np.isnan(one) & np.isnan(two)), 0.0, np.abs(one - two))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def _sentence(found: Array, expected: Array, fits: Array, shape: tuple[int, ...] | None) -> str:
    with np.errstate(invalid="ignore"):
        apart = np.where(fits, -1.0, np.nan_to_num(np.abs(found - expected), nan=np.inf))
    at = int(apart.argmax())
    place = f" at {[int(i) for i in np.unravel_index(at, shape)]}" if shape else ""
    others = f"; {int((~fits).sum())} of {fits.size} elements differ" if fits.size > 1 else ""
    return f"it is {found[at]:.9g}{place} and should be {expected[at]:.9g}{others}"
