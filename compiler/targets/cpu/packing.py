"""Copies of a product's operands in the order in which tiles read them, as functions in LLVM vector IR."""

from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.function import Function, Number, Word, at_most
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
    """Returns the function `pack(to, a, a_row, a_step, rows, depth)`; one of the strides is 1.

    It copies rows of a so that the rows of a tile are neighbours. Tile follows upon tile, in each one column upon
    another. Up to two vectors behind the end of the copy are overwritten, and columns up to a whole vector.
    """
    function = Function(module, "pack_rows", 6)
    to, a, a_row, a_step, rows, depth = function.parameters
    tall, size = lanes.machine.tile_rows, lanes.size
    with function.loop(0, rows) as i:
        i.step = height = rows_of_next(rows - i.index, tall)
        source, target = a + i.index * a_row * size, to + i.index * depth * size
        with function.when(a_row.equals(1)):
            _copy_columns(function, lanes, (source, a_step, target), height, depth)
        with function.when(~a_row.equals(1)):
            _copy_rows(function, lanes, (source, a_row, target), height, depth)
    function.end()
    return function


def _copy_columns(function: Function, lanes: Lanes, view: tuple[Word, Word, Word], height: Word, depth: Word) -> None:
    """Copies a tile's rows, which are neighbours: one vector behind the other, each over the end of the one before."""
    source, step, target = view
    vectors = Vectors(function, lanes)
    with function.loop(0, depth) as k:
        for first in range(0, lanes.machine.tile_rows, lanes.count):
            column = vectors.load(source + (k.index * step + first) * lanes.size)
            vectors.store(column, target + (k.index * height + first) * lanes.size)


def _copy_rows(function: Function, lanes: Lanes, view: tuple[Word, Word, Word], height: Word, depth: Word) -> None:
    """Copies a tile's rows, in which the depth lies along, by transposing squares."""
    source, row, target = view
    vectors, tall, count = Vectors(function, lanes), lanes.machine.tile_rows, lanes.count
    starts = [source + at_most(function.number(i), height - 1) * row * lanes.size for i in range(tall)]
    with function.loop(0, depth, count) as k:
        squares = []
        for first in range(0, tall, count):
            rows = [vectors.load(start + k.index * lanes.size) for start in starts[first : first + count]]
            rows += [ir.Constant(lanes.vector, ir.Undefined)] * (count - len(rows))
            squares.append(vectors.transposed(rows))
        for i in range(count):  # in the order of addresses: each vector covers what the one before wrote too much
            for j, square in enumerate(squares):
                at: Number = (k.index + i) * height + j * count
                vectors.store(square[i], target + at * lanes.size)
