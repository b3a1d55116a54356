"""Copies of a product's operands in the order in which tiles read them, as functions in LLVM vector IR."""

from typing import Any

from netc.compiler.targets.cpu.function import Function, at_most
from netc.compiler.targets.cpu.tile_sizes import rows_of_next
from netc.compiler.targets.cpu.vectors import Lanes, Vectors, transposed
from netc.compiler.targets.machine import LINE, VECTORS

_COLUMNS = 4  # that pack_rows takes at a time
_SMALL = 4  # rows, at most, of the squares in which columns are turned that fill no vector
_AHEAD = 16  # rows of b, or columns of a, between one that is copied and one that is prefetched


def pack_panel(module: Any, lanes: Lanes) -> Function:
    """Returns the function `pack(to, b, b_row, b_column, depth, columns)`.

    It copies a panel of b so that its columns are neighbours, and its rows follow one another. The operands of a
    weight's gradient were computed long before, so rows are prefetched.
    """
    function = Function(module, "pack_panel", 6)
    to, b, b_row, b_column, depth, columns = function.parameters
    vectors, size, width = Vectors(function, lanes), lanes.size, VECTORS * lanes.count
    is_along, count = b_column.equals(1), lanes.count
    for number in range(1, VECTORS + 1):  # as tiles do, this reads past the last column
        is_wide = (columns > (number - 1) * count) & (columns <= number * count)
        with function.when(is_along & is_wide), function.loop(0, depth) as k:
            vectors.fetch(b + (k.index + _AHEAD) * b_row * size, number, is_written=False)
            for i in range(number):
                at = i * lanes.machine.vector_bytes
                row = vectors.load(b + k.index * b_row * size + at)
                vectors.store(row, to + k.index * (width * size) + at)
    with function.when(~is_along):
        in_squares = b_row.equals(1).choose(columns // count * count, 0)
        with function.loop(0, in_squares, count) as j, function.loop(0, depth, count) as k:
            source = b + (k.index + j.index * b_column) * size
            # rows past the depth are never read
            for i, row in enumerate(vectors.load_transposed(source, b_column * size)):
                vectors.store(row, to + ((k.index + i) * width + j.index) * size)
        in_pieces = b_row.equals(1).choose(columns, in_squares)
        few = min(_SMALL, count)
        with function.loop(in_squares, in_pieces, few) as j, function.loop(0, depth, few) as k:
            # a column that does not exist is the last one that does, and past the panel's width nothing is written
            offsets = [at_most(j.index + i, columns - 1) * b_column + k.index for i in range(few)]
            small = transposed(function.builder, [vectors.load_piece(b + at * size, few) for at in offsets], size)
            for i, row in enumerate(small):
                vectors.store(row, to + ((k.index + i) * width + j.index) * size)
        with function.loop(in_pieces, columns) as j, function.loop(0, depth) as k:
            source = b + (k.index * b_row + j.index * b_column) * size
            vectors.copy_element(source, to + (k.index * width + j.index) * size)
    function.end()
    return function


def pack_rows(module: Any, lanes: Lanes) -> Function:
    """Returns the function `pack(to, a, a_step, rows, depth)` of rows that are neighbours.

    It copies them in the order in which tiles read them: tile upon tile, and in each, one column of rows upon another.
    A few columns are copied for all tiles before the next ones, so that a is read as it lies in memory. Up to ROOM
    elements behind the copy are overwritten.
    """
    function = Function(module, "pack_rows", 5)
    to, a, a_step, rows, depth = function.parameters
    vectors, tall, size, count = Vectors(function, lanes), lanes.machine.tile_rows, lanes.size, lanes.count
    with function.loop(0, depth, _COLUMNS) as begin:
        soon, end = begin.index + _AHEAD, at_most(begin.index + _COLUMNS, depth)
        with function.loop(soon, at_most(soon + _COLUMNS, depth)) as k, function.loop(0, rows, LINE // size) as i:
            vectors.fetch(a + (k.index * a_step + i.index) * size, 1, is_written=False)
        with function.loop(0, rows) as i:
            i.step = height = rows_of_next(rows - i.index, tall)
            source, target = a + i.index * size, to + i.index * depth * size
            is_last = end.equals(depth)
            # a column covers what the one before wrote too much, but behind the last one lies the next tile
            with function.loop(begin.index, is_last.choose(end - 1, end)) as k:
                for first in range(0, tall, count):
                    column = vectors.load(source + (k.index * a_step + first) * size)
                    vectors.store(column, target + (k.index * height + first) * size)
            with function.when(is_last):
                k_last = end - 1
                for first in range(0, tall, count):
                    column = vectors.load(source + (k_last * a_step + first) * size)
                    at = target + (k_last * height + first) * size
                    vectors.store_masked(column, at, vectors.columns_mask(height, first))
    function.end()
    return function
