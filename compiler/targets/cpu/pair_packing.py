"""Copies of a product's operands as pairs of bf16 numbers (pairs.py), two neighbours along the depth in each.

An operand x has `count` lines (rows of a, columns of b) of `depth` numbers each. The last pair of an odd depth has 0
as its second number. Strides are in elements, and pairs are counted as elements of f32.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu import pairs
from netc.compiler.targets.cpu.function import I32, Function, Word, at_most
from netc.compiler.targets.cpu.vectors import Lanes, Vectors


def pack_along(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_line, x, x_line, count, depth)` for lines whose numbers are neighbours, in x and in `to`."""
    function = Function(module, "pack_along", 6)
    to, to_line, x, x_line, count, depth = function.parameters
    vectors = Vectors(function, lanes)
    with function.loop(0, count) as i, function.loop(0, depth, 2 * lanes.count) as k:
        left = depth - k.index
        packed = _pairs_along(function, lanes, x + (i.index * x_line + k.index) * lanes.size, left)
        at = to + (i.index * to_line + k.index // 2) * lanes.size
        vectors.store_masked(packed, at, vectors.columns_mask((left + 1) // 2, 0))
    function.end()
    return function


def pack_across(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_pair, x, x_depth, count, depth)` for lines side by side, in x and in `to`.

    Whole vectors are written: `to_pair` is `count`, rounded up to a vector, or more.
    """
    function = Function(module, "pack_across", 6)
    to, to_pair, x, x_depth, count, depth = function.parameters
    vectors = Vectors(function, lanes)
    with function.loop(0, depth, 2) as k, function.loop(0, count, lanes.count) as i:
        source = x + (k.index * x_depth + i.index) * lanes.size
        packed = _pairs_across(function, lanes, source, x_depth, count - i.index, depth - k.index)
        vectors.store(packed, to + (k.index // 2 * to_pair + i.index) * lanes.size)
    function.end()
    return function


def pack_turned_back(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_line, x, x_depth, count, depth)` for lines side by side in x.

    In `to`, the pairs of a line are neighbours. Whole squares are written, as by `pack_turned`.
    """
    function = Function(module, "pack_turned_back", 6)
    to, to_line, x, x_depth, count, depth = function.parameters
    vectors = Vectors(function, lanes)
    with function.loop(0, count, lanes.count) as i, function.loop(0, depth, 2 * lanes.count) as k:
        columns = []
        for pair in range(lanes.count):
            number = k.index + 2 * pair
            source = x + (number * x_depth + i.index) * lanes.size
            columns.append(_pairs_across(function, lanes, source, x_depth, count - i.index, depth - number))
        for line, row in enumerate(vectors.transposed(columns)):
            vectors.store(row, to + ((i.index + line) * to_line + k.index // 2) * lanes.size)
    function.end()
    return function


def pack_turned(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_pair, x, x_line, count, depth)` for lines whose numbers are neighbours in x.

    In `to`, lines lie side by side. Whole squares are written: up to a vector of lines, and of pairs.
    """
    function = Function(module, "pack_turned", 6)
    to, to_pair, x, x_line, count, depth = function.parameters
    vectors = Vectors(function, lanes)
    with function.loop(0, count, lanes.count) as i, function.loop(0, depth, 2 * lanes.count) as k:
        rows = []
        for line in range(lanes.count):
            number = i.index + line
            left = (number < count).choose(depth - k.index, 0)
            rows.append(_pairs_along(function, lanes, x + (number * x_line + k.index) * lanes.size, left))
        for pair, row in enumerate(vectors.transposed(rows)):
            vectors.store(row, to + ((k.index // 2 + pair) * to_pair + i.index) * lanes.size)
    function.end()
    return function


def pack_any(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_line, to_pair, x, x_line, x_depth, count, depth)` for any strides, pair by pair."""
    function = Function(module, "pack_any", 8)
    to, to_line, to_pair, x, x_line, x_depth, count, depth = function.parameters
    builder, pointer = function.builder, I32.as_pointer()

    def number_at(address: Word) -> Any:
        return builder.load(builder.inttoptr(address.value, pointer))

    with function.loop(0, count) as i, function.loop(0, depth, 2) as k:
        second = at_most(k.index + 1, depth - 1)
        lower, upper = (number_at(x + (i.index * x_line + place * x_depth) * lanes.size) for place in (k.index, second))
        has_second = k.index + 1 < depth
        upper = builder.select(has_second.value, builder.and_(upper, ir.Constant(I32, -(1 << 16))), ir.Constant(I32, 0))
        pair = builder.or_(builder.lshr(lower, ir.Constant(I32, 16)), upper)
        at = to + (i.index * to_line + k.index // 2 * to_pair) * lanes.size
        builder.store(pair, builder.inttoptr(at.value, pointer))
    function.end()
    return function


def _pairs_along(function: Function, lanes: Lanes, address: Word, left: Word) -> Any:
    """The pairs of neighbours in memory, `left` numbers at most, as a vector."""
    vectors, builder, count = Vectors(function, lanes), function.builder, lanes.count
    low, high = (
        vectors.load_masked(address + first * lanes.size, vectors.columns_mask(left, first)) for first in (0, count)
    )
    first, second = (
        builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, count), [2 * i + odd for i in range(count)]))
        for odd in (0, 1)
    )
    return pairs.joined(builder, first, second)


def _pairs_across(function: Function, lanes: Lanes, address: Word, x_depth: Word, lines: Word, depth: Word) -> Any:
    """A pair of each of the lines side by side from an address on, `lines` at most, as a vector.

    `depth` numbers of each line are left.
    """
    vectors = Vectors(function, lanes)
    first, second = (
        vectors.load_masked(
            address + place * x_depth * lanes.size, vectors.columns_mask((depth > place).choose(lines, 0), 0)
        )
        for place in (function.number(0), function.number(1))
    )
    return pairs.joined(function.builder, first, second)
