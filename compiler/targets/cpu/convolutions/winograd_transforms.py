"""The transforms of Winograd's convolution, as functions in LLVM vector IR: program/winograd.py has the formula.

A vector holds one element of a tile for as many channels as it has lanes. The transform of a tile, such as B' d B, is a
product with a matrix of zeros, ones and halves along both of its sides: functions here apply it to a line, and
`transformed` to all columns, then to all rows. Vectors are read past the last channel, where the planner leaves room;
results and gradients are stored only up to the last column.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from netc.compiler.program.winograd import SIDE
from netc.compiler.targets.cpu.llvm.function import Number, Word, pinned
from netc.compiler.targets.cpu.llvm.vectors import Vectors

VectorLine = Sequence[Any]
Sides = tuple[Sequence[int], Sequence[int]]  # the rows and the columns of a square
ALL = (range(SIDE), range(SIDE))
VectorTransform = Callable[[Any, VectorLine], VectorLine]  # of a builder and the vectors of a line


def of_tile(builder: Any, d: VectorLine) -> VectorLine:
    """B' d for a piece of a window of one element less than `d` has, in the positions of the piece."""
    if len(d) == 2:
        return d
    if len(d) == 3:
        return builder.fsub(d[0], d[1]), d[1], builder.fsub(d[2], d[1])
    return (
        builder.fsub(d[0], d[2]),
        builder.fadd(d[1], d[2]),
        builder.fsub(d[2], d[1]),
        builder.fsub(d[3], d[1]),
    )


def of_products(builder: Any, m: VectorLine) -> VectorLine:
    """A' m"""
    return builder.fadd(builder.fadd(m[0], m[1]), m[2]), builder.fadd(builder.fsub(m[1], m[2]), m[3])


def of_slopes(builder: Any, y: VectorLine) -> VectorLine:
    """A y"""
    return y[0], builder.fadd(y[0], y[1]), builder.fsub(y[0], y[1]), y[1]


def of_weights(builder: Any, g: VectorLine) -> VectorLine:
    """G g for a piece of a window, in its positions."""
    if len(g) == 1:
        return g[0], g[0]
    if len(g) == 2:
        return g[0], builder.fadd(g[0], g[1]), g[1]
    half, ends = _half(g[0]), builder.fadd(g[0], g[2])
    sum_, difference = builder.fadd(ends, g[1]), builder.fsub(ends, g[1])
    return g[0], builder.fmul(sum_, half), builder.fmul(difference, half), g[2]


def of_sums(builder: Any, m: VectorLine) -> VectorLine:
    """G' m for a piece of a window, of its positions."""
    if len(m) == 2:
        return (builder.fadd(m[0], m[1]),)
    if len(m) == 3:
        return builder.fadd(m[0], m[1]), builder.fadd(m[1], m[2])
    half = _half(m[0])
    sum_, difference = builder.fadd(m[1], m[2]), builder.fsub(m[1], m[2])
    halved = builder.fmul(sum_, half)
    return builder.fadd(m[0], halved), builder.fmul(difference, half), builder.fadd(halved, m[3])


def _half(vector: Any) -> Any:
    return ir.Constant(vector.type, [0.5] * vector.type.count)


class Square:
    """The elements at some lines and columns of a square in memory: the address of element (0, 0), and the distances of
    rows and columns in bytes.

    With `cut`, the last row and the last column lie so many bytes before their places: where a tile sticks out of its
    image, on the line before.
    """

    def __init__(self, at: Word, row: Word, column: Word, sides: Sides, cut: tuple[Number, Number] = (0, 0)) -> None:
        of_rows, of_columns = ([step * i for i in side] for step, side in zip((row, column), sides, strict=True))
        of_rows[-1], of_columns[-1] = of_rows[-1] - cut[0], of_columns[-1] - cut[1]
        rows = [pinned(at + of_row) for of_row in of_rows]  # so that an address is one of a few registers and another
        self.addresses = [[of_row + of_column for of_column in of_columns] for of_row in rows]

    @classmethod
    def of_positions(cls, at: Word, position: Word, positions: Sides = ALL) -> "Square":
        """The square of some positions of a tile, which are `position` bytes apart, row after row."""
        return cls(at, position * SIDE, position, positions)

    def load(self, vectors: Vectors) -> list[list[Any]]:
        return [[vectors.load(address) for address in row] for row in self.addresses]


def transformed(builder: Any, square: Sequence[VectorLine], transform: VectorTransform) -> list[VectorLine]:
    """Returns the transform of a square along both of its sides."""
    columns = [transform(builder, column) for column in zip(*square, strict=True)]
    return [transform(builder, row) for row in zip(*columns, strict=True)]


def added(builder: Any, square: Sequence[VectorLine], other: Sequence[VectorLine]) -> list[VectorLine]:
    """Returns the sums of the vectors of two squares."""
    return [[builder.fadd(*pair) for pair in zip(*rows, strict=True)] for rows in zip(square, other, strict=True)]


def store(vectors: Vectors, square: Sequence[VectorLine], to: Square, columns: Word | None = None) -> None:
    """Stores the vectors of a square. With `columns`, the number that remains, lanes past the last one are not
    stored.

    The last vector comes first: where a square sticks out of an image, the line before overwrites its last line.
    """
    addresses = [address for row in to.addresses for address in row]
    cells = list(zip((vector for row in square for vector in row), addresses, strict=True))[::-1]
    if columns is not None:
        vectors.store_up_to(cells, columns)
        return
    for vector, address in cells:
        vectors.store(vector, address)
