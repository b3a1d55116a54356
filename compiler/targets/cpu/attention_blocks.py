"""Products of blocks for the attention kernels, and the copies between the operands and blocks.

Blocks lie in a kernel's scratch memory with rows and columns up to whole vectors and whole tiles, so that a product
takes two heights of the register tile instead of all. Addresses are in bytes, strides in elements.
"""

from typing import Any, NamedTuple

from netc.compiler.targets.cpu import attention_vectors as vectors
from netc.compiler.targets.cpu.jit import jit_for
from netc.compiler.targets.cpu.memory import load, store
from netc.compiler.targets.cpu.tile import TileWords, tile, transpose
from netc.compiler.targets.machine import VECTORS, Machine

OPTIONS = {"nogil": True, "error_model": "numpy"}
EVERYTHING = 1 << 40  # a diagonal that leaves out nothing


class BlockWords(NamedTuple):
    """A product of blocks: c (+)= a b, added to c if `adds` is 1.

    Below a diagonal some elements are known to be zero, or are not needed. Columns from j on need only the rows before
    j + `rows_to` + the width of a tile; rows from i on have products only up to the depth i + `depth_to` + the height
    of a tile, and from the depth i - `depth_from`.
    """

    a: Any
    a_row: Any
    a_step: Any
    b: Any
    b_row: Any
    c: Any
    c_row: Any
    adds: Any
    rows: Any
    columns: Any
    depth: Any
    rows_to: Any
    depth_to: Any
    depth_from: Any


class ArrayWords(NamedTuple):
    """Some rows of an operand of a kernel: its address and strides, and how many rows and columns there are."""

    address: Any
    row: Any
    column: Any
    rows: Any
    columns: Any


def multiply(dtype: str, machine: Machine) -> Any:
    """multiply(BlockWords(...)), ready for Numba. The last tile of a column may go beyond the rows."""
    size, lanes, width = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.panel(dtype)
    tall, low = machine.tile_rows, max(machine.tile_rows // 3, 1)
    wide_tall, wide_low = (tile(rows, VECTORS, dtype, machine) for rows in (tall, low))
    narrow_tall, narrow_low = (tile(rows, 1, dtype, machine) for rows in (tall, low))

    def words_of(n, i, j, height):
        begin = min(max(0, i - n.depth_from), n.depth)
        end = max(begin, min(n.depth, i + n.depth_to + height))
        a = n.a + (i * n.a_row + begin * n.a_step) * size
        b = n.b + (begin * n.b_row + j) * size
        c = n.c + (i * n.c_row + j) * size
        return TileWords(a, n.a_row, n.a_step, 0, b, n.b_row, 0, c, n.c_row, c, n.c_row, n.adds, 1, end - begin, width)

    words_of = jit_for(machine)(words_of, **OPTIONS, inline="always")

    def product(n):
        j = 0
        while j < n.columns:
            end = min(n.rows, j + n.rows_to + width)
            is_wide = n.columns - j > lanes
            i = 0
            while i < end:
                if end - i > tall - low:
                    if is_wide:
                        wide_tall(words_of(n, i, j, tall))
                    else:
                        narrow_tall(words_of(n, i, j, tall))
                    i += tall
                else:
                    if is_wide:
                        wide_low(words_of(n, i, j, low))
                    else:
                        narrow_low(words_of(n, i, j, low))
                    i += low
            j += width

    return jit_for(machine)(product, **OPTIONS)


def pack(dtype: str, machine: Machine) -> Any:
    """pack(ArrayWords(...), to, width, rows, factor), ready for Numba.

    Copies an array, times a factor, to rows that are `width` apart, with zeros behind its columns, and up to `rows`
    rows of zeros below it.
    """
    size, lanes = (4 if dtype == "f32" else 8), machine.lanes(dtype)
    scale, element, put = vectors.scale(dtype, machine), load(dtype, 0), store(dtype, 1)

    def copy(array, to, width, rows, factor):
        zero = factor * 0
        in_vectors = array.columns // lanes * lanes if array.column == 1 else 0
        for i in range(array.rows):
            row = array.address + i * array.row * size
            for j in range(0, in_vectors, lanes):
                scale(row + j * size, to + (i * width + j) * size, factor)
            for j in range(in_vectors, array.columns):
                put(to, i * width + j, element(row, j * array.column) * factor)
            for j in range(array.columns, width):
                put(to, i * width + j, zero)
        for k in range(array.rows * width, rows * width):
            put(to, k, zero)

    return jit_for(machine)(copy, **OPTIONS)


def unpack(dtype: str, machine: Machine) -> Any:
    """unpack(block, width, ArrayWords(...), factor), ready for Numba: copies a block to an array, times a factor."""
    size, lanes = (4 if dtype == "f32" else 8), machine.lanes(dtype)
    scale, element, put = vectors.scale(dtype, machine), load(dtype, 1), store(dtype, 0)

    def copy(block, width, array, factor):
        in_vectors = array.columns // lanes * lanes if array.column == 1 else 0
        for i in range(array.rows):
            row = array.address + i * array.row * size
            for j in range(0, in_vectors, lanes):
                scale(block + (i * width + j) * size, row + j * size, factor)
            for j in range(in_vectors, array.columns):
                put(row, j * array.column, element(block, i * width + j) * factor)

    return jit_for(machine)(copy, **OPTIONS)


def turn(dtype: str, machine: Machine) -> Any:
    """turn(block, width, rows, to, to_row), ready for Numba: transposes a block of whole squares of vectors."""
    size, lanes = (4 if dtype == "f32" else 8), machine.lanes(dtype)
    square = transpose(dtype, machine)

    def transposed(block, width, rows, to, to_row):
        for i in range(0, rows, lanes):
            for j in range(0, width, lanes):
                square(block + (i * width + j) * size, width, to + (j * to_row + i) * size, to_row)

    return jit_for(machine)(transposed, **OPTIONS)
