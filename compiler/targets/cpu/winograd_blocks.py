"""What the kernels of Winograd's convolution have in common: their record, loops over tiles, and the products of a
block, one for each position in a tile (program/winograd.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from netc.compiler.program import winograd as program
from netc.compiler.program.winograd import POSITIONS, STEP, Part
from netc.compiler.targets.cpu import tile
from netc.compiler.targets.cpu.function import Function, Record, Word, at_least, at_most
from netc.compiler.targets.cpu.tile import heights, rows_of_next
from netc.compiler.targets.cpu.vectors import Lanes, Vectors

# Variables of the kernels: the first tile of a block and their number; of the products, the rows of a, where operands
# and result of the first position lie, and how far positions, and panels of b, are apart.
_VARIABLES = (
    "first",
    "count",
    "rows_a",
    "a",
    "a_step",
    "a_position",
    "b",
    "b_position",
    "b_panel",
    "c",
    "c_position",
    "width",
)
_ROOM = tuple(f"room_{part}" for part in program.Room._fields)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile lies: its number in the block, its sample, and its row and column among the tiles of the image."""

    number: Word
    sample: Word
    row: Word
    column: Word


class Body:
    """The body of a loop over tiles in a function under construction, which has the kernel's record."""

    def __init__(self, function: Function, words: Record, lanes: Lanes, place: Place) -> None:
        self.function, self.words, self.lanes, self.place = function, words, lanes, place
        self.vectors, self.builder = Vectors(function, lanes), function.builder

    def in_image(self, name: str) -> tuple[Word, Word, Word]:
        """The address of the tile's first element in an image, and how far its rows and columns are apart, in bytes."""
        words, place, size = self.words, self.place, self.lanes.size
        row, column = words[f"{name}_row"] * size, words[f"{name}_column"] * size
        sample = words[name] + place.sample * words[f"{name}_sample"] * size
        return sample + row * place.row * STEP + column * place.column * STEP, row, column

    def in_room(self, at: str, row: str) -> Word:
        """The address of the tile's row in a part of the kernel's memory, at its first position."""
        words = self.words
        return words["scratch"] + (words[f"room_{at}"] + self.place.number * words[f"room_{row}"]) * self.lanes.size

    @contextmanager
    def each_vector(self, count: str) -> Iterator[Word]:
        """Loops over vectors of channels or outputs. Yields the first element of each."""
        with self.function.loop(0, self.words[count], self.lanes.count) as first:
            yield first.index


class WinogradWriter:
    """Begins the function of a kernel. Its record has the arguments, the variables above, and the fields of a tile."""

    def __init__(self, module: Any, symbol: str, part: Part, lanes: Lanes) -> None:
        self.module, self.lanes, self.size = module, lanes, lanes.size
        arguments = (*program.pointers(part), *program.numbers(part))
        self.names = tuple(dict.fromkeys((*arguments, *_VARIABLES, *_ROOM, *tile.FIELDS)))
        self.run = Function(module, symbol, len(arguments), is_internal=False)
        self.words, self.address = self.run.new_record(self.names)
        for name, argument in zip(arguments, self.run.parameters, strict=True):
            self.words[name] = argument

    def begin(self, is_gradient: bool) -> None:
        """Sets where the parts of the kernel's memory lie, and what all products have in common."""
        words = self.words
        counts = words["channels"], words["outputs"], words["block"]
        room = program.room(self.lanes.count, *counts, int(is_gradient))
        for name, place in zip(_ROOM, room, strict=True):
            words[name] = place
        words["a"], words["a_position"] = words["scratch"], room.channel_position
        words["c_position"], words["reads_start"] = room.output_position, 0
        words["runs"], words["runs_a"], words["panel_run"] = 1, 0, 0

    def at(self, part: str) -> Word:
        """The address of a part of the kernel's memory."""
        return self.words["scratch"] + self.words[f"room_{part}"] * self.size

    @contextmanager
    def blocks(self) -> Iterator[Word]:
        """Loops over blocks of tiles, and yields how many a block has. Without tiles, there is one block of none."""
        words, run = self.words, self.run
        total = words["samples"] * words["tiles_down"] * words["tiles_across"]
        with run.loop(0, at_least(total, 1), words["block"]) as first:
            words["first"] = first.index
            words["count"] = at_most(total - first.index, words["block"])
            yield words["count"]

    def over_tiles(self, name: str, write: Callable[[Body], None]) -> Function:
        """Returns a function `name(record)` which does for each tile of a block what `write` writes."""
        function = Function(self.module, name, 1)
        words = function.record(function.parameters[0], self.names)
        count, across = words["count"], words["tiles_across"]
        with function.loop(0, count) as begin:  # of a row of tiles, as far as it is in the block
            row = (words["first"] + begin.index) // across
            column = words["first"] + begin.index - row * across
            sample = row // words["tiles_down"]
            begin.step = at_most(across - column, count - begin.index)
            with function.loop(0, begin.step) as k:
                row_of_sample = row - sample * words["tiles_down"]
                place = Place(begin.index + k.index, sample, row_of_sample, column + k.index)
                write(Body(function, words, self.lanes, place))
        function.end()
        return function

    def product(self) -> Function:
        """Returns the function `product(record)`: c = a b at each position, or c + a b if `reads_start` is 1."""
        function, size, tall = Function(self.module, "product", 1), self.size, self.lanes.machine.tile_rows
        address = function.parameters[0]
        words = function.record(address, self.names)
        tiles = {
            (size.height, size.columns(self.lanes)): tile.tile(self.module, size, self.lanes, self.names)
            for size in tile.sizes(self.lanes.machine)
        }
        rows, width = words["rows_a"], words["width"]
        with function.loop(0, POSITIONS) as position, function.loop(0, words["outputs"], width) as column:
            a, b, c = (words[name] + position.index * words[f"{name}_position"] * size for name in "abc")
            words["panel"] = b + column.index // width * words["b_panel"] * size
            words["columns"] = at_most(words["outputs"] - column.index, width)
            with function.loop(0, rows) as i:
                i.step = taken = rows_of_next(rows - i.index, tall)
                from_a = a + i.index * words["a_row"] * size
                to = c + (i.index * words["rows_c"] + column.index) * size
                for (height, most), called in tiles.items():
                    lower = max((other for other in heights(tall) if other < height), default=0)
                    is_wide = (words["columns"] > most - self.lanes.count) & (words["columns"] <= most)
                    with function.when((taken > lower) & (taken <= height) & is_wide):
                        called(function, address, from_a, words["a_step"], to, to, taken)
        function.end()
        return function
