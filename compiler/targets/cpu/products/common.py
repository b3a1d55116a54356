"""The common part of all product kernels: functions and record, loops over batches, and the choice of a tile.

float_product.py and pair_product.py write the loops between: what a strip is, and which operands are copied.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from netc.compiler.program.kernels import Gathered
from netc.compiler.program.product import BATCHES, WALKS
from netc.compiler.targets.cpu.llvm.function import Fields, Function, Word
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products.tile import Kind, tile
from netc.compiler.targets.cpu.products.tile_sizes import Size, sizes
from netc.compiler.targets.machine import VECTORS

Tiles = Mapping[tuple[int, int], Function]  # by the largest numbers of rows and columns that they multiply


class ProductKernel(ABC):
    """Writes the functions of a product kernel into a module.

    The kernel's function takes the address of its arguments (program/product.py), an int64 each, in memory of its
    caller. Its functions share a record with these arguments and with variables: the fields of a tile, `panel_c` and
    `panel_start`, the addresses of c and start at a panel, and others. `gathered` says which rows of a are
    gathered, if any. Those of a "copied depth" are copied in order, and tiles read the copy.
    """

    def __init__(self, module: Any, symbol: str, lanes: Lanes, fields: Fields, gathered: Gathered = "") -> None:
        self.gathered: Gathered = gathered
        self.copies_gathered = gathered == "copied depth"
        self.module, self.lanes, self.size, self.width = module, lanes, lanes.size, VECTORS * lanes.count
        self.fields = fields
        self.multiply_panel = Function(module, "multiply_panel", 1)
        self.run = Function(module, symbol, 1, is_internal=False)
        self.words, self.address = self.run.new_record(fields)

    @abstractmethod
    def write_strips(self) -> None:
        """Writes the loops around strips."""

    @abstractmethod
    def write_tiles(self) -> None:
        """Writes the function multiply_panel(record): multiplies the rows of a block by a panel, tile after tile."""

    def write(self) -> None:
        """Writes all functions."""
        self.tiles = self.add_tiles()
        self.write_tiles()
        self.write_strips()
        self.run.end()

    def counts(self) -> tuple[Word, Word, Word]:
        """Returns the counts of turns, runs and depth.

        Without products, as in a shard of no samples, they are 1, 1 and 0, so that c is written all the same.
        """
        turns, runs, depth = (self.words[f"{loop}_count"] for loop in ("turns", "runs", "depth"))
        is_empty = turns.equals(0) | runs.equals(0) | depth.equals(0)
        return is_empty.choose(1, turns), is_empty.choose(1, runs), is_empty.choose(0, depth)

    @contextmanager
    def batches(self, loops: Sequence[str] = BATCHES) -> Iterator[list[Word]]:
        """Loops over batches. Yields the addresses of a, b, c and start."""
        with ExitStack() as stack:
            addresses = [self.words[name] for name in WALKS]
            for loop in loops:
                steps = [self.words[f"{loop}_{name}"] * self.size for name in WALKS]
                addresses = stack.enter_context(self.run.walk(self.words[f"{loop}_count"], addresses, steps))
            yield addresses

    def moved(self, operand: str, indices: Mapping[str, Word]) -> Word:
        """The distance of an operand at some indices of loops from its start, in bytes."""
        steps = [index * self.words[f"{loop}_{operand}"] for loop, index in indices.items()]
        return sum(steps, self.run.number(0)) * self.size

    def sizes(self) -> Sequence[Size]:
        """The sizes of tiles, the tallest first."""
        return sizes(self.lanes.machine)

    def add_tiles(self) -> Tiles:
        """Adds the functions of tiles of all sizes to the module."""
        return self.tiles_of(self.sizes())

    def tiles_of(self, sizes: Sequence[Size], kind: Kind = "") -> Tiles:
        """Adds the functions of tiles of some sizes and a kind to the module."""
        gathered: Gathered = "" if self.copies_gathered else self.gathered
        return {
            (size.height, size.columns(self.lanes)): tile(self.module, size, self.lanes, self.fields, gathered, kind)
            for size in sizes
        }


def multiply_tile(
    function: Function, record: Word, tiles: Tiles, columns: Word, rows: Word, at: tuple[Word, Word, Word, Word]
) -> None:
    """Writes calls of tiles for `rows` rows and a panel of `columns` columns, of which the smallest that fits is run.

    The tile reads the record. `at` has the address of the rows of a, the stride along a row, in elements, and the
    addresses of c and start.
    """
    for height in dict.fromkeys(height for height, _ in tiles):
        lower = max((other for other, _ in tiles if other < height), default=0)
        widths = [width for other, width in tiles if other == height]
        with function.when((rows > lower) & (rows <= height)):
            for width in widths:
                narrower = max((other for other in widths if other < width), default=0)
                with function.when((columns > narrower) & (columns <= width)):
                    tiles[height, width](function, record, *at, rows)
