"""Steps that change the shape of a sample, or which rows it consists of: window, next, reshape, train_only, flatten."""

import math
from collections.abc import Sequence
from typing import Any

from netc.dsl.diagnostics import fault
from netc.runtime.data.steps.data_step import DataStep, State, are_integers, learn_nothing, unchanged
from netc.runtime.data.steps.state_checks import are_counts
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location


def _check_integers(arguments: Sequence[Any]) -> str | None:
    return None if are_integers(arguments) else "whole numbers, at least 1"


def _apply_later(array: Array, state: State, location: Location) -> Array:
    """The `apply` of a step that other code carries out: windows.py, pictures/augment.py."""
    return array


WINDOW = DataStep(
    _apply_later,
    learn_nothing,
    unchanged,
    (1, 2),
    _check_integers,
    doc="Makes a sample of n rows of a series, or of n tokens of a text: window(100), or window(100, 10) with a "
    "new window every 10 rows. The rows are divided into parts first, in order.",
    name="window",
)
NEXT = DataStep(
    _apply_later,
    learn_nothing,
    unchanged,
    (1, 1),
    _check_integers,
    doc="Before `window`, moves the series n rows on. After it, takes the row that is n rows after the window's last.",
    name="next",
)


def _reshape(array: Array, state: State, location: Location) -> Array:
    dims = tuple(state["dims"])
    if math.prod(array.shape[1:]) != math.prod(dims):  # the product of dimensions that a file names may exceed int64
        fault("E0804", f"a sample of shape {list(array.shape[1:])} cannot become {list(dims)}", location.span)
    return array.reshape(len(array), *dims)


RESHAPE = DataStep(
    _reshape,
    lambda chunks, arguments: {"dims": list(arguments)},
    unchanged,
    (1, 8),
    _check_integers,
    doc="Gives the numbers of a sample another shape: reshape(28, 28, 1).",
    keeps={"dims": are_counts},
    name="reshape",
)
TRAIN_ONLY = DataStep(
    _apply_later,
    learn_nothing,
    arguments=(1, 1),
    doc="Changes the images of the training part at random, anew in every epoch and after all other steps: "
    "train_only(flip(horizontal) -> shift(2)).",
    name="train_only",
)
FLATTEN = DataStep(
    lambda array, state, location: array.reshape(len(array), -1),
    learn_nothing,
    doc="Puts all numbers of a sample into one row.",
    name="flatten",
)
