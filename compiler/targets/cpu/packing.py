"""Copies of a product's operands in the order in which tiles read them, as functions in LLVM vector IR."""

from typing import Any

from netc.compiler.targets.cpu.function import Function
from netc.compiler.targets.cpu.tile import rows_of_next
from netc.compiler.targets.cpu.vectors import Lanes, Vectors
from netc.compiler.targets.machine import VECTORS


def pack_panel(module: Any, lanes: Lanes) -> Function:
    """Returns the function `pack(to, b, b_row, b_column, depth, columns)`.

    It copies a panel of b so that its columns are neighbours, and its rows follow one another.
    """
    function = Function(module, "pack_panel", 6)
    to, b, b_row, b_column, depth, columns = function.parameters
    vectors, size, width = Vectors(function, lanes), lanes.size, VECTORS * lanes.count
    is_along, count = b_column.equals(1), lanes.count
    for number in range(1, VECTORS + 1):  # as tiles do, this reads past the last column
        is_wide = (columns > (number - 1) * count) & (columns <= number * count)
        with function.when(is_along & is_wide), function.loop(0, depth) as k:
            for i in range(number):
                at = i * lanes.machine.vector_bytes
                row = vectors.load(b + k.index * b_row * size + at)
                vectors.store(row, to + k.index * (width * size) + at)
    with function.when(~is_along):
        in_squares = b_row.equals(1).choose(columns // count * count, 0)
        with function.loop(0, in_squares, count) as j, function.loop(0, depth, count) as k:
            source = b + (k.index + j.index * b_column) * size
            rows = [vectors.load(source + b_column * (i * size)) for i in range(count)]
            for i, row in enumerate(vectors.transposed(rows)):  # those past the depth are never read
                vectors.store(row, to + ((k.index + i) * width + j.index) * size)
        with function.loop(in_squares, columns) as j, function.loop(0, depth) as k:
            source = b + (k.index * b_row + j.index * b_column) * size
            vectors.copy_element(source, to + (k.index * width + j.index) * size)
    function.end()
    return function


def pack_rows(module: Any, lanes: Lanes) -> Function:
    """Returns the function `pack(to, a, a_step, rows, depth)` of rows that are neighbours.

    It copies them in the order in which tiles read them: tile upon tile, and in each, one column of rows upon another.
    Up to ROOM elements behind the copy are overwritten.
    """
    function = Function(module, "pack_rows", 5)
    to, a, a_step, rows, depth = function.parameters
    vectors, tall, size = Vectors(function, lanes), lanes.machine.tile_rows, lanes.size
    with function.loop(0, rows) as i:
        i.step = height = rows_of_next(rows - i.index, tall)
        source, target = a + i.index * size, to + i.index * depth * size
        with function.loop(0, depth) as k:  # each column covers what the one before wrote too much
            for first in range(0, tall, lanes.count):
                column = vectors.load(source + (k.index * a_step + first) * size)
                vectors.store(column, target + (k.index * height + first) * size)
    function.end()
    return function
