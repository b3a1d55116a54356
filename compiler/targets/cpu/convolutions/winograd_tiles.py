"""A loop over tiles of Winograd's convolution (program/winograd.py): the piece of the window that they are transformed
for, and where their elements lie, in an image and in the kernel's memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from netc.compiler.program.winograd import LONGEST, PIECES
from netc.compiler.targets.cpu.convolutions.winograd_transforms import ALL, Sides, Square
from netc.compiler.targets.cpu.llvm.function import Function, Record, Word
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors

SIDES = ("down", "across")
Pair = tuple[int, int]
SIZES: tuple[Pair, ...] = tuple((down, across) for down in PIECES for across in PIECES)  # of pieces
LARGEST: Pair = (LONGEST, LONGEST)


class Elements(Struct, frozen=True):
    """The numbers of elements of a piece, down and across."""

    down: Word
    across: Word

    @classmethod
    def of(cls, words: Record) -> "Elements":
        return cls(*(words[f"elements_{side}"] for side in SIDES))

    def cases(self, function: Function, sizes: Sequence[Pair] = SIZES) -> Iterator[Pair]:
        """Yields numbers that a piece may have: what is emitted then runs if it has these. One alone is not tested."""
        if len(sizes) == 1:
            yield sizes[0]
            return
        for size in sizes:
            with function.when(self.are(size)):
                yield size

    def are(self, size: Pair) -> Word:
        """Whether the piece has so many elements."""
        return self.down.equals(size[0]) & self.across.equals(size[1])


class TileRow(Struct, frozen=True):
    """Tiles that follow one another: the address of the first, and the distances between tiles, and between rows and
    columns of their elements, in bytes. Tiles of an image may stick out of it."""

    at: Word
    apart: Word
    row: Word
    column: Word
    is_image: bool = False

    def square(self, number: Word, moved: Word, sides: Sides, beyond: tuple[Word, Word]) -> Square:
        """The elements of tile `number` in some rows and columns, each `moved` bytes behind the tile's own.

        `beyond` says, down and across, whether the tile sticks out of its image: 0 or 1.
        """
        at = self.at + number * self.apart + moved
        if not self.is_image:
            return Square(at, self.row, self.column, sides)
        return Square(at, self.row, self.column, sides, (beyond[0] * self.row, beyond[1] * self.column))


class TileBody:
    """The body of a loop over tiles of a row in a function under construction, which has the kernel's record.

    `elements` are those of the piece, `lines` the tiles in images, by name, and in the kernel's memory, by axis;
    `number` is that of the tile, and `beyond` says whether it sticks out of its image, down and across: 0 or 1. All
    that the loop needs of the record is read before it, because LLVM cannot know that stores do not change the record.
    """

    def __init__(
        self,
        function: Function,
        counts: Mapping[str, Word],
        elements: Pair,
        lanes: Lanes,
        lines: Mapping[str, TileRow],
        number: Word,
        beyond: tuple[Word, Word],
    ) -> None:
        self.function, self.counts, self.elements = function, counts, elements
        self.lanes, self.lines, self.builder = lanes, lines, function.builder
        self.number, self.beyond = number, beyond

    def square(self, line: str, first: Word, sides: Sides = ALL) -> Square:
        """The elements of this tile in an image or in the kernel's memory, from a channel or output on."""
        return self.lines[line].square(self.number, first * self.lanes.size, sides, self.beyond)

    def each_vector(self, axis: str, write: Callable[[Vectors, Word], None], halves: bool = True) -> None:
        """Writes a loop over vectors of channels or outputs, and for what remains, half a vector if that is enough.

        `write` gets the vectors, and the first element of each. Without `halves`, all are whole: in the kernel's memory
        rows are.
        """
        count, lanes = self.counts[axis], self.lanes
        if not halves or not lanes.machine.has_halves:
            with self.function.loop(0, count, lanes.count) as first:
                write(Vectors(self.function, lanes), first.index)
            return
        all_halves = (count + lanes.half.count - 1) // lanes.half.count
        whole = all_halves // 2 * lanes.count
        with self.function.loop(0, whole, lanes.count) as first:
            write(Vectors(self.function, lanes), first.index)
        with self.function.when(whole < all_halves * lanes.half.count):
            write(Vectors(self.function, lanes.half), whole)
