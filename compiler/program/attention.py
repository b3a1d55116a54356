"""The arguments of the attention kernels by name, and the memory that they work in.

A kernel takes samples of queries, keys and values, each with heads of some columns. `attention` computes

    scores[i, j] = scale * sum over d of queries[i, d] * keys[j, d]
    sums[i] = log of the sum over j of exp(scores[i, j])
    result[i, m] = sum over j of exp(scores[i, j] - sums[i]) * values[j, m]

and `attention gradient` the gradients of the queries, the keys and the values. If `is_causal` is not 0, j is at most i.
With lengths, a sample has keys (and queries) up to its own length alone.

Queries, or keys and values, or both may be packed: row j of a sample then lies at number rows[starts[sample] + j], and
the tensors, which hold the steps of all samples, have no axis of samples. Knows no buffers and no machine.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

_RESULT = ("queries", "keys", "values", "result")
_GRADIENT = (*_RESULT, "gradient", "of_queries", "of_keys", "of_values")
SCRATCH = ("scratch", "all_keys")  # memory of blocks, and of all keys and values of a head
AXES = ("sample", "row", "head", "column")
LENGTHS = ("key_lengths", "query_lengths")  # a kernel takes none of them, the first, or both
SIDES = ("key", "query")
_OF_KEYS = ("keys", "values", "of_keys", "of_values")
_TABLES = tuple(f"{side}_{table}" for side in SIDES for table in ("starts", "rows"))  # of packed sides
_COUNTS = (
    *("samples", "heads", "query_count", "key_count", "width", "value_width", "scale", "is_causal", "lengths"),
    *("packs_keys", "packs_queries"),
)


def bits_of(number: float) -> int:
    """Returns the bits of a number as an f64, for kernels, which take integers alone."""
    bits: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return bits


def number_of(bits: int) -> float:
    """Returns the number that has some bits as an f64."""
    number: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return number


def tensors(is_gradient: bool) -> tuple[str, ...]:
    """Returns the operands and results that have a row for each query or key, in the order of their pointers."""
    return _GRADIENT if is_gradient else _RESULT


def pointers(is_gradient: bool) -> tuple[str, ...]:
    """Returns the names of a kernel's addresses, in order. Those of tables that it does not use stand anywhere."""
    return (*tensors(is_gradient), "sums", *SCRATCH, *LENGTHS, *_TABLES)


def tables(lengths: int, packs_keys: bool, packs_queries: bool) -> tuple[str, ...]:
    """Returns the names of the index tables that a kernel uses."""
    packed = zip(_TABLES, (packs_keys, packs_keys, packs_queries, packs_queries), strict=True)
    return (*LENGTHS[:lengths], *(name for name, is_used in packed if is_used))


def is_rows(pointer: str) -> bool:
    """Whether a table has the numbers of rows, those of all samples."""
    return pointer in _TABLES and pointer.endswith("_rows")


def side_of(pointer: str) -> str:
    """Returns the side that a tensor, or the sums, has rows of: "key" or "query"."""
    return "key" if pointer in _OF_KEYS else "query"


def written(is_gradient: bool) -> tuple[str, ...]:
    """Returns the names of the addresses that a kernel writes to, except its scratch memory."""
    return ("of_queries", "of_keys", "of_values") if is_gradient else ("result", "sums")


@cache
def numbers(is_gradient: bool) -> tuple[str, ...]:
    """Returns the names of a kernel's numbers, in order: counts, then the strides of each pointer in elements.

    `scale` is given by its bits. `lengths` is how many of LENGTHS are used.
    """
    strides = [f"{tensor}_{axis}" for tensor in tensors(is_gradient) for axis in AXES]
    strides += [f"sums_{axis}" for axis in ("sample", "head", "row")]
    return (*_COUNTS, *strides, *(f"{name}_sample" for name in (*LENGTHS, *_TABLES) if not is_rows(name)))


def axes_of(pointer: str) -> Sequence[tuple[str, str]]:
    """Returns the axes of a pointer, each by its name and that of the number which is its size.

    Packed tensors have no axis "sample", and theirs of rows has as many as all samples together.
    """
    if pointer in (*LENGTHS, *_TABLES):
        return (("row", pointer.replace("_rows", "_count")),) if is_rows(pointer) else (("sample", "samples"),)
    rows = f"{side_of(pointer)}_count"
    if pointer == "sums":
        return (("sample", "samples"), ("head", "heads"), ("row", rows))
    columns = "value_width" if pointer in ("values", "result", "gradient", "of_values") else "width"
    return (("sample", "samples"), ("row", rows), ("head", "heads"), ("column", columns))


class ScratchLayout(NamedTuple):
    """The parts of a kernel's scratch memory, by the element at which each begins, and the element behind the last.

    Rows of a block are `block` or `width` or `value_width` elements apart; the latter two are rounded up to vectors.
    The forward kernel does not use the parts of the gradients.
    """

    width: Any
    value_width: Any
    queries: Any  # a block of queries, and the same transposed
    queries_across: Any
    scores: Any  # of a block of keys (rows) and a block of queries (columns)
    result: Any  # of a block of queries: the result so far, or the gradient of the queries
    rows: Any  # three numbers for each query of a block
    gradients: Any  # a block of the result's gradient, and the same transposed
    gradients_across: Any
    results_across: Any
    slopes: Any  # the gradient of the scores
    end: Any


def scratch_layout(block: int, lanes: int, width: Any, value_width: Any, is_gradient: int) -> ScratchLayout:
    """Returns the parts of a kernel's memory for heads of some columns, all numbers or terms of a kernel."""
    w, v = (width + (lanes - 1)) // lanes * lanes, (value_width + (lanes - 1)) // lanes * lanes
    queries_across = w * block
    scores = queries_across + w * block
    result = scores + block * block
    rows = result + (w + v) * block
    gradients = rows + 3 * block
    gradients_across = gradients + v * (block * is_gradient)
    results_across = gradients_across + v * (block * is_gradient)
    slopes = results_across + v * (block * is_gradient)
    end = slopes + block * block * is_gradient
    parts = (scores, result, rows, gradients, gradients_across, results_across, slopes)
    return ScratchLayout(w, v, w * 0, queries_across, *parts, end)


class KeysLayout(NamedTuple):
    """The parts of the memory of all keys and values of a head, and of their gradients, as in ScratchLayout.

    It has `row` elements for each key.
    """

    keys: Any
    values: Any
    of_keys: Any
    of_values: Any
    row: Any


def keys_layout(lanes: int, keys: Any, width: Any, value_width: Any, is_gradient: int) -> KeysLayout:
    """Returns the parts of that memory for some keys, all numbers or terms of a kernel."""
    w, v = (width + (lanes - 1)) // lanes * lanes, (value_width + (lanes - 1)) // lanes * lanes
    both = w + v
    return KeysLayout(keys * 0, keys * w, keys * both, keys * (both + w), both * (1 + is_gradient))


class QueryLayout(NamedTuple):
    """The parts of the memory of the kernel for a single query, by the element at which each begins.

    Each part has a row for each head: of the query, at the beginning, of `scores`, of `result`, and a vector of
    `numbers`. Rows are multiples of vectors. `queries_apart` is how far rows of the query are apart, and so on.
    """

    queries_apart: Any
    scores: Any
    scores_apart: Any
    result: Any
    result_apart: Any
    numbers: Any
    end: Any


def query_layout(lanes: int, heads: Any, keys: Any, width: Any, value_width: Any) -> QueryLayout:
    """Returns the parts of that memory, all numbers or terms of a kernel. Behind the scores is room for a vector."""
    query, score, result = ((count + (lanes - 1)) // lanes * lanes for count in (width, keys + lanes, value_width))
    scores = heads * query
    results = scores + heads * score
    numbers = results + heads * result
    return QueryLayout(query, scores, score, results, result, numbers, numbers + heads * lanes)
