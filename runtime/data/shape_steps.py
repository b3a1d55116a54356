"""Steps that change a sample's shape or which rows it is made of: window, next, reshape, train_only, flatten."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.runtime.data.cells import Location
from netc.runtime.data.data_step import DataStep, State, learn_nothing
from netc.runtime.data.state_checks import are_counts
from netc.runtime.data.stored import Array


def _window_check(arguments: Sequence[Any]) -> str | None:
    is_right = all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in arguments)
    return None if is_right else "whole numbers, at least 1"


WINDOW = DataStep(
    lambda array, state, location: array,
    learn_nothing,
    lambda array, state: array,
    (1, 2),
    _window_check,
    doc="So many rows of a series, or tokens of a text, a sample: window(100), or window(100, 10) with a new one every 10 rows. What parts there are is decided first, in order.",
    name="window",
)
NEXT = DataStep(
    lambda array, state, location: array,
    learn_nothing,
    lambda array, state: array,
    (1, 1),
    _window_check,
    doc="Before `window`: the series so many rows later. After it: the row so many after the window's last.",
    name="next",
)


def _reshape(array: Array, state: State, location: Location) -> Array:
    dims = tuple(state["dims"])
    if int(np.prod(array.shape[1:])) != int(np.prod(dims)):
        fault("E0804", f"a sample of shape {list(array.shape[1:])} cannot become {list(dims)}", location.span)
    return array.reshape(len(array), *dims)


def _reshape_check(arguments: Sequence[Any]) -> str | None:
    return None if all(isinstance(one, int) and one >= 1 for one in arguments) else "whole numbers, at least 1"


RESHAPE = DataStep(
    _reshape,
    lambda chunks, arguments: {"dims": list(arguments)},
    lambda array, state: array,
    (1, 8),
    _reshape_check,
    doc="The same numbers in another shape: reshape(28, 28, 1).",
    keeps={"dims": are_counts},
    name="reshape",
)
TRAIN_ONLY = DataStep(
    lambda array, state, location: array,
    learn_nothing,
    arguments=(1, 1),
    doc="What is done to the training part's images anew in every epoch, after all other steps: train_only(flip(horizontal) -> shift(2)).",
    name="train_only",
)
FLATTEN = DataStep(
    lambda array, state, location: array.reshape(len(array), -1),
    learn_nothing,
    doc="All numbers of a sample in one row.",
    name="flatten",
)
