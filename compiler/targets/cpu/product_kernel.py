"""The loops that all product kernels have: over batches around their strips, and over tiles inside of a panel.

tiles.py and pair_product.py say what a strip copies, and write the loops between these.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from netc.compiler.program.kernels import Gathered
from netc.compiler.program.product import WORDS
from netc.compiler.targets.cpu.function import Function, Record, Word
from netc.compiler.targets.cpu.tile import tile
from netc.compiler.targets.cpu.tile_sizes import Size, sizes
from netc.compiler.targets.cpu.vectors import Lanes
from netc.compiler.targets.machine import VECTORS

Tiles = Mapping[tuple[int, int], Function]  # by the most rows and columns that they take


class ProductKernel(ABC):
    """Writes the functions of a product kernel into a module.

    The record of the kernel's functions has the variables `names`: the words of product.py, the fields of a tile, and
    `panel_c` and `panel_start`, the addresses under a panel. `gathered` is the loop in which rows of a are gathered.
    """

    def __init__(self, module: Any, symbol: str, lanes: Lanes, names: tuple[str, ...], gathered: Gathered = "") -> None:
        self.gathered: Gathered = gathered
        self.module, self.lanes, self.size, self.width = module, lanes, lanes.size, VECTORS * lanes.count
        self.names = names
        self.multiply_panel = Function(module, "multiply_panel", 1)
        self.run = Function(module, symbol, len(WORDS), is_internal=False)
        self.words, self.address = self.run.new_record(names)

    @abstractmethod
    def write_strips(self) -> None:
        """Writes the loops around strips."""

    @abstractmethod
    def write_tiles(self) -> None:
        """Writes the function multiply_panel(record): tiles take the rows of a block, one after another."""

    def write(self) -> None:
        """Writes all functions."""
        self.write_tiles()
        for name, argument in zip(WORDS, self.run.parameters, strict=True):
            self.words[name] = argument
        self.write_strips()
        self.run.end()

    def counts(self) -> tuple[Word, Word, Word]:
        """Returns the counts of turns, runs and depth. With no products, as in a shard of no samples, there is one turn
        of one run without depth: c is written all the same."""
        turns, runs, depth = (self.words[f"{loop}_count"] for loop in ("turns", "runs", "depth"))
        is_empty = turns.equals(0) | runs.equals(0) | depth.equals(0)
        return is_empty.choose(1, turns), is_empty.choose(1, runs), is_empty.choose(0, depth)

    @contextmanager
    def batches(self) -> Iterator[tuple[Word, Word, Word, Word]]:
        """The loops over batches; inside of them, the addresses of a, b, c and start."""
        words, run = self.words, self.run
        with (
            run.loop(0, words["outer_count"]) as p,
            run.loop(0, words["middle_count"]) as q,
            run.loop(0, words["inner_count"]) as i,
        ):
            batch = {"outer": p.index, "middle": q.index, "inner": i.index}
            a, b, c, start = (words[name] + self.moved(name, batch) for name in ("a", "b", "c", "start"))
            yield a, b, c, start

    def moved(self, operand: str, indices: Mapping[str, Word]) -> Word:
        """The distance that an operand moves in some loops, in bytes."""
        steps = [index * self.words[f"{loop}_{operand}"] for loop, index in indices.items()]
        return sum(steps, self.run.number(0)) * self.size

    def sizes(self) -> Sequence[Size]:
        """The sizes of tiles, the tallest first."""
        return sizes(self.lanes.machine)

    def tiles(self) -> Tiles:
        """Adds the functions of tiles of all sizes to the module."""
        return {
            (size.height, size.columns(self.lanes)): tile(self.module, size, self.lanes, self.names, self.gathered)
            for size in self.sizes()
        }

    def multiply_tile(self, tiles: Tiles, words: Record, i: Word, a: Word, step: Word, rows: Word) -> None:
        """Multiplies rows from row i on by a panel, with the tile that they fill.

        `words` is the record in multiply_panel, `a` the address of these rows, and `step` how far apart the numbers of
        a row are.
        """
        panel = self.multiply_panel
        c = words["panel_c"] + i * words["rows_c"] * self.size
        start = words["panel_start"] + i * words["start_row"] * self.size
        for height in dict.fromkeys(height for height, _ in tiles):
            lower = max((other for other, _ in tiles if other < height), default=0)
            widths = [width for other, width in tiles if other == height]
            with panel.when((rows > lower) & (rows <= height)):
                for width in widths:
                    narrower = max((other for other in widths if other < width), default=0)
                    with panel.when((words["columns"] > narrower) & (words["columns"] <= width)):
                        tiles[height, width](panel, panel.parameters[0], a, step, c, start, rows)
