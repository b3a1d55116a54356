"""Findings: the faults that tests of definitions (netc.testing) report in an operation or a pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from msgspec import Struct

BATCH = 5  # samples
Array = np.ndarray[Any, Any]


class Finding(Struct, frozen=True):
    """A fault of a definition: the `point` of the definition, the `case` that shows it, and a message."""

    point: str
    case: str
    message: str

    def __str__(self) -> str:
        return f"{self.point}, {self.case}: {self.message}"


class Failure(Exception):
    """The definition is wrong at a point of it."""

    def __init__(self, point: str, message: str) -> None:
        super().__init__(message)
        self.point, self.message = point, message


@contextmanager
def at(point: str) -> Iterator[None]:
    """Within this context, an exception of the definition becomes a Failure at this point."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise Failure(point, f"it raises {type(error).__name__}: {first}") from error


def compare(
    point: str, actual: Array, expected: Array, tolerance: float, gives: str, other: str, is_absolute: bool = False
) -> None:
    """Raises Failure if two arrays differ too much, with the element where they differ most."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise Failure(point, f"{gives} the shape {list(actual.shape)}, {other} {list(expected.shape)}")
    left, right = actual.astype(np.float64), expected.astype(np.float64)
    allowed = tolerance if is_absolute else tolerance * (1 + np.abs(right))
    with np.errstate(invalid="ignore"):
        fits = (left == right) | (np.abs(left - right) <= allowed) | (np.isnan(left) & np.isnan(right))
    if not fits.all():
        with np.errstate(invalid="ignore"):
            apart = np.where(fits, 0.0, np.nan_to_num(np.abs(left - right), nan=np.inf))
        index = np.unravel_index(int(apart.argmax()), apart.shape)
        position = f" at {[int(i) for i in index]}" if index else ""
        raise Failure(point, f"{gives} {left[index]:.9g}{position}, {other} {right[index]:.9g}")
