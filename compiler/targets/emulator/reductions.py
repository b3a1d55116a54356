"""The functions that a vectorised kernel calls: indices along an axis, choices, and reductions in order."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from netc.compiler.targets.emulator.functions import cast, largest, smallest, where

Array = np.ndarray[Any, Any]


@cache
def axis(first: int, count: int, depth: int, rank: int) -> Array:
    """Returns first, first + 1, ... along one of `rank` axes."""
    numbers = np.arange(first, first + count).reshape((1,) * depth + (count,) + (1,) * (rank - depth - 1))
    numbers.flags.writeable = False
    return numbers


def _in_order(operand: Any, sizes: Sequence[int], axes: Sequence[int]) -> Array:
    """An operand with one more axis at the end, which has the points of all the axes that are reduced."""
    rank = len(sizes)
    shape = np.broadcast_shapes(np.shape(operand), tuple(sizes))
    full = np.broadcast_to(operand, shape)
    kept = [axis for axis in range(rank) if axis not in axes]
    moved = full.transpose([*kept, *axes])
    count = math.prod(shape[axis] for axis in axes)
    return moved.reshape([*(1 if axis in axes else shape[axis] for axis in range(rank)), count])


def added(total: Any, operand: Any, sizes: Sequence[int], axes: Sequence[int]) -> Any:
    """Returns total + operand[0] + operand[1] + ..., added one after another."""
    terms = _in_order(operand, sizes, axes)
    if terms.shape[-1] == 0:
        return total
    first = np.broadcast_to(total, np.broadcast_shapes(np.shape(total), terms.shape[:-1]))
    terms = np.broadcast_to(terms, (*first.shape, terms.shape[-1]))
    return np.add.accumulate(np.concatenate([first[..., None], terms], axis=-1), axis=-1)[..., -1]


def folded(
    function: Callable[..., Any], total: Any, operands: Sequence[Any], sizes: Sequence[int], axes: Sequence[int]
) -> Any:
    """Computes total = function(total, *operands) at each point, one after another, and returns the last total."""
    rows = [_in_order(operand, sizes, axes) for operand in operands]
    for i in range(math.prod(sizes[axis] for axis in axes)):
        total = function(total, *(row[..., i] for row in rows))
    return total


# a kernel's plain functions, and the names of those that take arrays in their place
ARRAY_FUNCTIONS = {"max": "largest", "min": "smallest", "bool": "to_bool", "float": "F64", "int": "to_int"}
PLAIN = {*ARRAY_FUNCTIONS, "abs"}
NAMES: dict[str, Any] = {
    "axis": axis,
    "added": added,
    "folded": folded,
    "where": where,
    "largest": largest,
    "smallest": smallest,
    "to_bool": cast(np.bool_),
    "to_int": cast(np.int64),
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
}
