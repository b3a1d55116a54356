"""Checks for the values in a saved state: the folder of a run may come from somebody else."""

from typing import Any

import numpy as np


def are_numbers(value: Any) -> bool:
    """A finite number, or a nested list of them that is an array."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return False
    return array.dtype.kind in "if" and bool(np.isfinite(array).all())


def are_optional_numbers(value: Any) -> bool:
    """Numbers, as `are_numbers` has them, or None: an older run did not keep them."""
    return value is None or are_numbers(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_count, value))


def are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def are_cells(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(cell, str | int | float) for cell in value)


def are_cells_or_none(value: Any) -> bool:
    """Cells, with None where a state has no such cell."""
    return isinstance(value, list) and are_cells([cell for cell in value if cell is not None])


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_optional_text(value: Any) -> bool:
    """A text, or None where a state has no such value."""
    return value is None or isinstance(value, str)


def is_optional_count(value: Any) -> bool:
    """A count, or None where a state has no such value."""
    return value is None or is_count(value)


def are_rows_of_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and are_numbers(value) and np.ndim(value) == 2 and np.size(value) > 0
