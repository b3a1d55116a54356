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
from netc.compiler.targets.cpu.llvm.function import I32, I64, Function, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors, repeated

_SIZE = DTYPES["bf16"].bytes
_I16 = ir.IntType(8 * _SIZE)
ENTRY = 16  # bytes of a pair in the table of `pack_transposed_back`
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


def put_pair(function: Function, table: Word, number: Word, first: Word, has_second: Word) -> None:
    """Writes the entry of a pair into the table of `pack_transposed_back`: how many bytes its first number lies behind
    those of the first pair, and whether there is a second number."""
    entry = function.builder.inttoptr((table + number * ENTRY).value, I64.as_pointer())
    function.builder.store(first.value, entry)
    mask = has_second.choose(-1, 0)
    function.builder.store(mask.value, function.builder.gep(entry, [ir.Constant(I64, 1)]))


def pack_transposed_back(module: Any, lanes: Lanes) -> Function:
    """Returns `pack(to, to_line, x, x_depth, count, table, pairs)` across in x and along in the copy.

    `table` has an entry for each pair (`put_pair`), and for some behind the last one, up to a whole vector: so squares
    are full where a run of the depth, such as a row of an image, has fewer pairs. Whole squares of vectors are written,
    as by `pack_transposed`. Squares of the same pairs follow one another, because their rows are in the same pages. A
    cache line of a row has the lines of two squares, the first of which prefetches those of the next pairs.
    """
    function = Function(module, "pack_transposed_back", 7)
    to, to_line, x, x_depth, count, table, pairs = function.parameters
    vectors, second = Vectors(function, lanes), x_depth * _SIZE
    with function.loop(0, pairs, lanes.count) as k, function.loop(0, count, lanes.count) as i:
        source = x + i.index * _SIZE
        with function.when((i.index // (2 * lanes.count) * (2 * lanes.count)).equals(i.index)):
            for pair in range(lanes.count):
                address = source + _entry(function, table, at_most(k.index + (pair + lanes.count), pairs - 1), 0)
                vectors.fetch(address, 1, is_written=False)
                vectors.fetch(address + second, 1, is_written=False)
        columns = [_pairs_across(vectors, source, second, table, k.index + pair) for pair in range(lanes.count)]
        for line, row in enumerate(vectors.transposed(columns)):
            vectors.store(row, to + ((i.index + line) * to_line + k.index) * lanes.size)
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


def _pairs_across(vectors: Vectors, x: Word, second: Word, table: Word, number: Word) -> Any:
    """A pair of a table, of each of the lines side by side from an address on, as a vector."""
    function, lanes = vectors.function, vectors.lanes
    builder, wide = function.builder, ir.VectorType(I32, lanes.count)
    first, has_second = (_entry(function, table, number, word) for word in (0, 1))
    lower, upper = (_numbers(vectors, x + first + moved) for moved in (0, second & has_second))
    mask = repeated(builder, builder.trunc(has_second.value, I32), wide)
    upper = builder.shl(builder.and_(upper, mask), ir.Constant(wide, [16] * lanes.count))
    return builder.bitcast(builder.or_(lower, upper), lanes.vector)


def _entry(function: Function, table: Word, number: Word, word: int) -> Word:
    """One of the two words of a table's entry."""
    address = table + (number * ENTRY + word * (ENTRY // 2))
    return Word(function.builder, function.builder.load(function.builder.inttoptr(address.value, I64.as_pointer())))


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
