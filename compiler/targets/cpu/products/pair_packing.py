"""Copies of a product's operands as pairs of bf16 numbers (llvm/bf16_pairs.py), two neighbours along the depth in each.

An operand x has `count` lines (rows of a, columns of b) of `depth` numbers of 16 bits each. "along" means that the
numbers of a line are contiguous, "across" that the lines are side by side:

    function               x         copy
    pack_along             along     along
    pack_across            across    across
    pack_transposed        along     across
    pack_transposed_back   across    along
    pack_any               any strides

The last pair of an odd depth has 0 as its second number. Strides of x count numbers, those of the copy count pairs.
Vectors are read past the last number and the last line: the planner leaves room behind every buffer.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.ir.types import DTYPES
from netc.compiler.targets.cpu.llvm.function import I32, Function, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors, repeated

_SIZE = DTYPES["bf16"].bytes
_I16 = ir.IntType(8 * _SIZE)
# Rows between those that are copied across and those that are prefetched. The operands of a weight's gradient were
# computed long before; with 8 or 32 rows, gradients take as long.
_AHEAD = 32
_LOWER = (1 << 16) - 1  # the bits of a pair's first number


def pack_along(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_line, x, x_line, count, depth)` along, in x and in the copy.

    Whole vectors are written: up to a vector behind each line.
    """
    function = Function(module, "pack_along", 6)
    to, to_line, x, x_line, count, depth = function.parameters
    vectors, builder = Vectors(function, lanes), function.builder
    with function.loop(0, (depth + 1) // 2, lanes.count) as k, function.loop(0, count) as i:
        row = _loaded(vectors, x + (i.index * x_line + k.index * 2) * _SIZE)
        vectors.store(row, to + (i.index * to_line + k.index) * lanes.size)
    with function.when(~(depth // 2 * 2).equals(depth)), function.loop(0, count) as i:
        address = x + (i.index * x_line + depth - 1) * _SIZE
        number = builder.load(builder.inttoptr(address.value, _I16.as_pointer()))
        at = to + (i.index * to_line + depth // 2) * lanes.size
        builder.store(builder.zext(number, I32), builder.inttoptr(at.value, I32.as_pointer()))
    function.end()
    return function


def pack_across(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_pair, x, x_depth, count, depth)` across, in x and in the copy.

    Whole vectors are written: `to_pair` is `count`, rounded up to a vector, or more.
    """
    function = Function(module, "pack_across", 6)
    to, to_pair, x, x_depth, count, depth = function.parameters
    vectors, builder = Vectors(function, lanes), function.builder
    wide = ir.VectorType(I32, lanes.count)
    with function.loop(0, depth // 2) as k, function.loop(0, count, lanes.count) as i:
        source = x + (k.index * 2 * x_depth + i.index) * _SIZE
        for row in range(2):
            vectors.fetch(source + x_depth * (_SIZE * (_AHEAD + row)), 1, is_written=False)
        upper = builder.shl(_numbers(vectors, source + x_depth * _SIZE), ir.Constant(wide, [16] * lanes.count))
        pair = builder.or_(_numbers(vectors, source), upper)
        vectors.store(pair, to + (k.index * to_pair + i.index) * lanes.size)
    with function.when(~(depth // 2 * 2).equals(depth)), function.loop(0, count, lanes.count) as i:
        source = x + ((depth - 1) * x_depth + i.index) * _SIZE
        vectors.store(_numbers(vectors, source), to + (depth // 2 * to_pair + i.index) * lanes.size)
    function.end()
    return function


def pack_transposed_back(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_line, x, x_depth, count, depth)` across in x and along in the copy.

    Whole squares of vectors are written, as by `pack_transposed`.
    """
    function = Function(module, "pack_transposed_back", 6)
    to, to_line, x, x_depth, count, depth = function.parameters
    vectors = Vectors(function, lanes)
    with function.loop(0, count, lanes.count) as i, function.loop(0, depth, 2 * lanes.count) as k:
        numbers = [at_most(k.index + 2 * pair, depth - 1) for pair in range(lanes.count)]
        columns = [_pairs_across(vectors, x + i.index * _SIZE, x_depth, number, depth) for number in numbers]
        for line, row in enumerate(vectors.transposed(columns)):
            vectors.store(row, to + ((i.index + line) * to_line + k.index // 2) * lanes.size)
    function.end()
    return function


def pack_transposed(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_pair, x, x_line, count, depth)` along in x and across in the copy.

    Whole squares of vectors are written: up to a vector of lines, and of pairs, behind the last ones.
    """
    function = Function(module, "pack_transposed", 6)
    to, to_pair, x, x_line, count, depth = function.parameters
    vectors = Vectors(function, lanes)
    with function.loop(0, count, lanes.count) as i, function.loop(0, depth, 2 * lanes.count) as k:
        lines = [at_most(i.index + line, count - 1) for line in range(lanes.count)]
        rows = [_pairs(vectors, x + (line * x_line + k.index) * _SIZE, depth - k.index) for line in lines]
        for pair, row in enumerate(vectors.transposed(rows)):
            vectors.store(row, to + ((k.index // 2 + pair) * to_pair + i.index) * lanes.size)
    function.end()
    return function


def pack_any(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_line, to_pair, x, x_line, x_depth, count, depth)` for any strides, pair by pair."""
    function = Function(module, "pack_any", 8)
    to, to_line, to_pair, x, x_line, x_depth, count, depth = function.parameters
    builder = function.builder

    def number_at(address: Word) -> Any:
        return builder.zext(builder.load(builder.inttoptr(address.value, _I16.as_pointer())), I32)

    with function.loop(0, count) as i, function.loop(0, depth, 2) as k:
        second = at_most(k.index + 1, depth - 1)
        lower, upper = (number_at(x + (i.index * x_line + at * x_depth) * _SIZE) for at in (k.index, second))
        has_second = k.index + 1 < depth
        upper = builder.select(has_second.value, builder.shl(upper, ir.Constant(I32, 16)), ir.Constant(I32, 0))
        at = to + (i.index * to_line + k.index // 2 * to_pair) * lanes.size
        builder.store(builder.or_(lower, upper), builder.inttoptr(at.value, I32.as_pointer()))
    function.end()
    return function


def _pairs(vectors: Vectors, address: Word, left: Word) -> Any:
    """A vector of pairs of neighbours in memory. With fewer numbers left than it has, those behind them are not
    needed, but the second one of the last pair is 0."""
    builder, lanes = vectors.function.builder, vectors.lanes
    wide = ir.VectorType(I32, lanes.count)
    bits = builder.bitcast(_loaded(vectors, address), wide)
    has_both = vectors.columns_mask(left // 2, 0)
    first = builder.and_(bits, ir.Constant(wide, [_LOWER] * lanes.count))
    return builder.bitcast(builder.select(has_both, bits, first), lanes.vector)


def _pairs_across(vectors: Vectors, x: Word, x_depth: Word, number: Word, depth: Word) -> Any:
    """The pairs that begin with a number of each of the lines side by side from an address on, as a vector."""
    builder, lanes = vectors.function.builder, vectors.lanes
    wide = ir.VectorType(I32, lanes.count)
    has_second = number + 1 < depth
    mask = repeated(builder, builder.sext(has_second.value, I32), wide)
    first, second = (_numbers(vectors, x + row * x_depth * _SIZE) for row in (number, number + has_second.choose(1, 0)))
    upper = builder.shl(builder.and_(second, mask), ir.Constant(wide, [16] * lanes.count))
    return builder.bitcast(builder.or_(first, upper), lanes.vector)


def _numbers(vectors: Vectors, address: Word) -> Any:
    """The numbers from an address on, in the lower halves of a vector of integers."""
    builder, count = vectors.function.builder, vectors.lanes.count
    loaded = builder.load(builder.inttoptr(address.value, ir.VectorType(_I16, count).as_pointer()))
    loaded.align = _SIZE
    return builder.zext(loaded, ir.VectorType(I32, count))


def _loaded(vectors: Vectors, address: Word) -> Any:
    """The vector that begins at the address of a number."""
    builder = vectors.function.builder
    loaded = builder.load(builder.inttoptr(address.value, vectors.lanes.vector.as_pointer()))
    loaded.align = _SIZE
    return loaded
