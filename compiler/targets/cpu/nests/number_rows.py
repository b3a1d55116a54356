"""Writes rows of numbers, such as the border of an image, whose length is an argument.

The elements behind the last whole vector are stored by a vector that ends with the row: some are stored twice, which is
faster than a mask. A row of less than two vectors has loops for the largest power of two that it reaches, so that none
of its stores needs a loop. Rows of f32, `e1` elements long:

    if e1 >= 32:
        for i0 in range(n0):
            for i1 in single(0, e1 // 16 * 16, 16):
                store_f32c16_0(p0, i0 * s0_1 + i1, F32(0.0))
            if e1 % 16:
                i1 = e1 - 16
                store_f32c16_0(p0, i0 * s0_1 + i1, F32(0.0))
    if e1 // 16 == 1: ...
    if e1 // 8 == 1:
        for i0 in range(n0):
            i1 = 0
            store_f32c8_0(p0, i0 * s0_1 + i1, F32(0.0))
            if e1 % 8:
                i1 = e1 - 8
                store_f32c8_0(p0, i0 * s0_1 + i1, F32(0.0))

Vectors are those of the widest machine: LLVM writes two narrower ones where there are no such vectors.
"""

from collections.abc import Callable

from msgspec import Struct

from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.nests.vector_rows import MOST_LANES


class Piece(Struct, frozen=True):
    """Neighbouring elements of a row, by the texts of the first one's number and of their number."""

    first: str
    length: str


def rows_of_numbers(writer: NestWriter, around: Callable[[list[str], list[Piece]], list[str]]) -> list[str]:
    """The rows of a nest that stores numbers. `around(row, pieces)` writes the loops around the statements for a row,
    with prefetches of pieces of later rows: a row shorter than a vector has none."""
    axis, lanes = writer.kept[-1], MOST_LANES[writer.nest.outputs[0].target.dtype]
    length = writer.ranges[axis]
    vectors = [
        f"for i{axis} in single(0, {length} // {lanes} * {lanes}, {lanes}):",
        *indented(_stores(writer, lanes)),
        f"if {length} % {lanes}:",
        *indented(_stores(writer, lanes, f"{length} - {lanes}")),
    ]
    lines = [f"if {length} >= {2 * lanes}:", *indented(around(vectors, [Piece("0", length)]))]
    for size in (lanes >> i for i in range(lanes.bit_length())):
        last = [f"if {length} % {size}:", *indented(_stores(writer, size, f"{length} - {size}"))] if size > 1 else []
        pieces = [Piece("0", str(size)), Piece(f"{length} - 1", "1")] if size == lanes else []
        lines += [f"if {length} // {size} == 1:", *indented(around([*_stores(writer, size, "0"), *last], pieces))]
    return lines


def _stores(writer: NestWriter, size: int, start: str = "") -> list[str]:
    """The statements that store so many neighbouring elements, from an element of the row on."""
    writer.part = f"c{size}" if size > 1 else ""
    lines = [*writer.lines(), *writer.stores()]
    writer.part = ""
    return [*([f"i{writer.kept[-1]} = {start}"] if start else []), *lines]
