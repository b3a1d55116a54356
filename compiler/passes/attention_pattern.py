"""Recognises attention in a graph: a softmax of scaled and masked scores, which is multiplied by values.

    scores  = einsum("bqhd,bkhd->bhqk", queries, keys)   # indices in any order; heads may be missing
    scaled  = scores / sqrt(d)                           # constant factors
    masked  = where(k <= q, scaled, -1e9)                # masks: causal, or of the steps beyond a sample's end
    weights = softmax(masked, over=k)
    result  = einsum("bhqk,bkhd->bqhd", weights, values)

The walk goes from the last product back to the first. attend.py replaces what is found.
"""

import math
from collections.abc import Callable

from msgspec import Struct

from netc.compiler.ir.attributes import Constant, Over
from netc.compiler.ir.index_tables import TableKind, table_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Bounded, Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.elementwise import cast, less, where
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.reduce import softmax
from netc.compiler.operations.shape import reshape

_FEW_SCORES = 1024  # of a head: with fewer, they stay in the first cache beside their operands
_MASKED = -1e9  # a score that a mask replaces by at most this has no weight
# comparisons of a key's number with a query's, by whether the mask keeps scores where they are true: the operation, and
# whether the key's number is its first operand
_SEEN = {
    True: {("less_equal", True), ("greater_equal", False)},
    False: {("greater", True), ("less", False)},
}

Axis = int | None  # of an operand or a result; None if it has no such axis
Layout = tuple[Axis, Axis, Axis, Axis]  # the numbers of the axes of batch, steps, heads and columns


class _Mask(Struct, frozen=True):
    """A mask, and whether scores are kept where it is true."""

    value: Value
    keeps: bool


class _Scores(Struct, frozen=True):
    """A product of queries and keys, and the steps from it to weights: the axis of the keys, the scale and the
    masks."""

    product: Value
    over: int
    scale: float
    masks: list[_Mask]


class _Axes(Struct, frozen=True):
    """The operands of a product of queries and keys with their layouts, and its axes of queries, keys and heads.

    There may be a single query, without an axis, and the same queries for all samples.
    """

    queries: Value
    keys: Value
    query: Axis
    key: int
    head: Axis
    layouts: tuple[Layout, Layout]


class AttentionMatch(Struct, frozen=True):
    """Attention: its operands q, k and v in the graph, and the layouts of q, k, v and the result.

    `key_lengths`, i32[batch], is the number of keys of each sample, or None if all keys count.
    """

    operands: tuple[Value, Value, Value]
    layouts: tuple[Layout, Layout, Layout, Layout]
    scale: float
    is_causal: bool
    key_lengths: Value | None


def match_attention(value: Value, is_private: Callable[[Value], bool]) -> AttentionMatch | None:
    """Returns the attention that a product of weights and values completes, or None."""
    inputs = value.attributes_as(Subscripts).inputs.split(",")
    for number in (0, 1):
        weights, values = value.operands[number], value.operands[1 - number]
        scores = _scores(weights, is_private)
        axes = _axes(scores) if scores else None
        layouts = _of_values(value, inputs[number], inputs[1 - number], axes) if axes else None
        if scores is None or axes is None or layouts is None:
            continue
        is_causal = [_is_causal(mask, scores, axes) for mask in scores.masks]
        ends = [
            _lengths(mask, scores, axes) for mask, causal in zip(scores.masks, is_causal, strict=True) if not causal
        ]
        if None in ends or len({end.name or end for end in ends if end is not None}) > 1:
            continue
        operands = (axes.queries, axes.keys, values)
        if _is_worthwhile(scores, axes, bool(ends)) and scores.product.type.dims[0] == BATCH:
            key_lengths = ends[0] if ends else None
            return AttentionMatch(operands, (*axes.layouts, *layouts), scores.scale, any(is_causal), key_lengths)
    return None


def _is_worthwhile(scores: _Scores, axes: _Axes, has_ends: bool) -> bool:
    """Whether there are many scores, of sizes that are known, without any that only a mask could leave out."""
    sizes: list[Dim] = [1 if axis is None else scores.product.type.dims[axis] for axis in (axes.query, axes.key)]
    has_all = has_ends or not isinstance(sizes[1], Bounded)
    numbers = [size for size in sizes if isinstance(size, int)]
    return has_all and len(numbers) == 2 and math.prod(numbers) >= _FEW_SCORES


def _scores(weights: Value, is_private: Callable[[Value], bool]) -> _Scores | None:
    """Walks from weights back to the product of queries and keys; None if anything on the way is not understood."""
    masks, value = list[_Mask](), weights
    if weights.definition is where and number_of(weights.operands[2]) == 0:
        masks.append(_Mask(weights.operands[0], keeps=True))
        value = weights.operands[1]
    over = value.attributes_as(Over).over if value.definition is softmax else ()
    if len(over) != 1 or not (is_private(weights) and is_private(value)):
        return None
    scale, product = 1.0, value.operands[0]
    while product.role is not Role.CONTRACTION:
        if not is_private(product) or product.type.dims != value.type.dims:
            return None
        match product.operation, product.operands:
            case "where", (mask, kept, other) if _is_low(other, scale):
                masks.append(_Mask(mask, keeps=True))
                product = kept
            case "where", (mask, other, kept) if _is_low(other, scale):
                masks.append(_Mask(mask, keeps=False))
                product = kept
            case "divide", (kept, divisor) if number_of(divisor):
                scale, product = scale / (number_of(divisor) or 1.0), kept
            case "multiply", (kept, factor) if number_of(factor) is not None:
                scale, product = scale * (number_of(factor) or 0.0), kept
            case "multiply", (factor, kept) if number_of(factor) is not None:
                scale, product = scale * (number_of(factor) or 0.0), kept
            case _:
                return None
    is_usable = is_private(product) and product.type.dims == value.type.dims and 0 < scale < math.inf
    return _Scores(product, over[0], scale, masks) if is_usable else None


def _is_low(value: Value, scale: float) -> bool:
    """Whether a score that is replaced by a value has no weight."""
    number = number_of(value)
    return number is not None and number * scale <= _MASKED


def number_of(value: Value) -> float | None:
    """The number that all elements of a value are known to be, or None."""
    while value.role is Role.SHAPE:
        value = value.operands[0]
    return float(value.attributes_as(Constant).value) if value.role is Role.CONSTANT else None


def _axes(scores: _Scores) -> _Axes | None:
    """Returns what each axis of the scores is: the batch, then queries and keys and perhaps heads in any order."""
    left, right = scores.product.attributes_as(Subscripts).inputs.split(",")
    out = scores.product.attributes_as(Subscripts).out
    key = out[scores.over]
    if (key in left) == (key in right):
        return None
    x, y = scores.product.operands
    queries, of_queries, keys, of_keys = (x, left, y, right) if key in right else (y, right, x, left)
    of_query_alone = [letter for letter in out if letter in of_queries and letter not in of_keys]
    shared = [letter for letter in out if letter in of_queries and letter in of_keys]
    depth = [letter for letter in of_queries if letter in of_keys and letter not in out]
    batch = out[0]
    heads = [letter for letter in shared if letter != batch]
    letters = {*of_query_alone, *shared, *depth, key, batch}
    if len(of_query_alone) > 1 or len(depth) != 1 or len(heads) > 1 or letters != set(left + right):
        return None
    if of_keys[0] != batch or of_queries.find(batch) > 0 or len(of_queries) != len(set(of_queries)):
        return None
    query, head = "".join(of_query_alone), "".join(heads)
    layouts = (_layout(of_queries, batch, query, head, depth[0]), _layout(of_keys, batch, key, head, depth[0]))
    return _Axes(queries, keys, _axis_of(out, query), scores.over, _axis_of(out, head), layouts)


def _axis_of(letters: str, letter: str) -> Axis:
    return letters.index(letter) if letter and letter in letters else None


def _layout(letters: str, batch: str, steps: str, head: str, columns: str) -> Layout:
    """The axes of an operand that these letters stand for; None for a letter that the operand does not have."""
    return (_axis_of(letters, batch), _axis_of(letters, steps), _axis_of(letters, head), _axis_of(letters, columns))


def _of_values(value: Value, weights: str, values: str, axes: _Axes) -> tuple[Layout, Layout] | None:
    """Returns the layouts of the values and of the result, or None if the product is of another kind."""
    batch, key = weights[0], weights[axes.key]
    query, head = ("" if axis is None else weights[axis] for axis in (axes.query, axes.head))
    columns = "".join(letter for letter in values if letter not in weights)
    out = value.attributes_as(Subscripts).out
    is_sum = len(columns) == 1 and sorted(values) == sorted(batch + key + head + columns)
    is_sum = is_sum and sorted(out) == sorted(batch + query + head + columns)
    if not is_sum or values[0] != batch or out[0] != batch or len(set(weights)) != len(weights):
        return None
    return _layout(values, batch, key, head, columns), _layout(out, batch, query, head, columns)


def _is_causal(mask: _Mask, scores: _Scores, axes: _Axes) -> bool:
    """Whether a mask leaves each query the keys up to its own number."""
    if axes.query is None:
        return False
    compared = unshaped(mask.value)
    varying = _varying(mask.value, scores.product.type.rank)
    if len(compared.operands) != 2 or varying != sorted((axes.query, axes.key)):
        return False
    compared_axes = _varying(compared, compared.type.rank)
    numbers = [_counted(operand, compared.type.rank) for operand in compared.operands]
    if len(compared_axes) != 2 or sorted(axis for axis in numbers if axis is not None) != compared_axes:
        return False
    is_key_first = numbers[0] == compared_axes[int(axes.key > axes.query)]
    return (compared.operation, is_key_first) in _SEEN[mask.keeps]


def _lengths(mask: _Mask, scores: _Scores, axes: _Axes) -> Value | None:
    """Returns how many keys each sample has, i32[batch], if a mask keeps those before the sample's end."""
    compared = unshaped(mask.value)
    if not mask.keeps or compared.definition is not less:
        return None
    if _varying(mask.value, scores.product.type.rank) != [axes.key]:
        return None
    ends = unshaped(compared.operands[1])
    is_per_sample = ends.type.dims == (BATCH,) and ends.type.dtype == "i32"
    is_number = _counted(compared.operands[0], compared.type.rank) is not None
    return ends if is_number and is_per_sample else None


def unshaped(value: Value) -> Value:
    """The value that reshapes and casts show with its elements in the same order."""
    while value.definition in (reshape, cast):
        value = value.operands[0]
    return value


def _varying(value: Value, rank: int) -> list[int]:
    """The axes, except the batch, along which a value varies, where it is broadcast to `rank` axes."""
    lead = rank - value.type.rank
    return [axis + lead for axis, dim in enumerate(value.type.dims) if dim not in (1, BATCH)]


def _counted(value: Value, rank: int) -> int | None:
    """The axis along which a value is 0, 1, 2, ..., where it is broadcast to `rank` axes; None if it is no such value.

    That of a varying dimension may end before the bound, and repeat its last number from there on.
    """
    numbers = unshaped(value)
    if numbers.definition is gather:
        rows, steps = table_of(numbers.operands[1]), table_of(unshaped(numbers.operands[0]))
        kinds = [each.kind for each in (rows, steps) if each is not None and rows is not None and each.dim == rows.dim]
        is_number = kinds == [TableKind.PADDED, TableKind.STEP]
    else:
        is_number = numbers.role is Role.RANGE
    axes = _varying(value, rank)
    return axes[0] if is_number and len(axes) == 1 else None
