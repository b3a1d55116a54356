"""The step `bucket`: a number becomes the number of its bucket, of which each has as many training samples."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from netc.runtime.data.steps.data_step import Chunks, DataStep, State, are_integers, column_blocks
from netc.runtime.data.steps.state_checks import are_rows_of_numbers
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location, numbers


def _bucket_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The quantiles between neighbouring buckets, for each column."""
    (count,) = arguments
    edges: list[list[float]] = []
    for block, location in column_blocks(chunks):
        values = numbers(block, location).astype(np.float64)
        edges += np.quantile(values, np.arange(1, count) / count, axis=0).T.tolist()
    return {"edges": edges}


def _bucket(array: Array, state: State, location: Location) -> Array:
    values = numbers(array, location).astype(np.float64).reshape(len(array), -1)
    columns = [np.searchsorted(edges, column, "right") for edges, column in zip(state["edges"], values.T, strict=True)]
    return np.stack(columns, axis=1).reshape(array.shape).astype(np.int32)


def _ranges(edges: Sequence[float]) -> list[str]:
    """The words for each bucket: "below 3", "3 to 5", "from 5"."""
    shown = [f"{edge:.6g}" for edge in edges]
    middle = [f"{low} to {high}" for low, high in pairwise(shown)]
    words = [f"below {shown[0]}", *middle, f"from {shown[-1]}"]
    return words if len(set(words)) == len(words) else [f"{text} ({i})" for i, text in enumerate(words)]


def _labels(state: State) -> list[str]:
    """The ranges of one column; the numbers of the buckets if the columns have ranges of their own."""
    edges = state["edges"]
    return _ranges(edges[0]) if len(edges) == 1 else [str(i) for i in range(len(edges[0]) + 1)]


def _check(arguments: Sequence[Any]) -> str | None:
    return None if are_integers(arguments, 2) else "how many buckets there are, at least 2"


BUCKET = DataStep(
    _bucket,
    _bucket_fit,
    lambda array, state: np.array(_labels(state), object)[array],
    (1, 1),
    _check,
    doc="Replaces a number by the number of its bucket, 0 to n - 1: bucket(4) cuts the training samples into four "
    "parts of equal size, by their quantiles. It fits an input `class(4)`, or `one_hot` after it.",
    keeps={"edges": are_rows_of_numbers},
    labels=_labels,
    name="bucket",
)
