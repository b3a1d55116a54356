"""The product kernel for operands that are rounded to bf16: it copies both as pairs and multiplies these.

Its arguments are those of tiles.py, and operands and result are in f32: packing takes the upper halves of rounded
numbers. Every element of c is written, whatever the counts. An element's sum runs over the depth in order, pair by
pair, wherever rows and columns are cut.

A panel of b and a block of rows of a are copied for a strip of the depth: several runs if they are short, or a part of
a long one. Between strips, sums lie in c.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.program.product import WORDS
from netc.compiler.targets.cpu import pair_packing, tile
from netc.compiler.targets.cpu.function import Word, at_least, at_most
from netc.compiler.targets.cpu.product_kernel import ProductKernel
from netc.compiler.targets.cpu.tile import rows_of_next
from netc.compiler.targets.cpu.vectors import Lanes
from netc.compiler.targets.machine import BLOCK, PACKED, ROOM, Machine

_DEPTH = 2 * PACKED  # numbers of a strip: their pairs take the memory of so many rows of a panel

# The variables beside the arguments and those that a tile reads.
_VARIABLES = (
    # of a strip: pairs of a run, addresses
    *("pairs", "strip_a", "strip_b", "strip_c", "strip_start", "numbers"),
    # of a block of rows and a panel: addresses, the number of rows, how far apart pairs of a are
    *("packed_a", "panel_c", "panel_start", "rows", "a_step"),
)
NAMES = tuple(dict.fromkeys((*WORDS, *tile.FIELDS, *_VARIABLES)))


def pair_product(symbol: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel: the function `symbol` of the words of product.py."""
    module = ir.Module(symbol)
    PairKernel(module, symbol, Lanes("f32", machine, has_pairs=True), NAMES).write()
    return module


class PairKernel(ProductKernel):
    """Writes the kernel's functions into a module. amx_product.py has other tiles, which read the same copies."""

    most_rows = BLOCK // 48 * 48  # of a block: in whole tiles, and in whole vectors

    def __init__(self, module: Any, symbol: str, lanes: Lanes, names: tuple[str, ...]) -> None:
        self.along, self.across, self.turned, self.any = (
            pack(module, lanes)
            for pack in (
                *(pair_packing.pack_along, pair_packing.pack_across),
                *(pair_packing.pack_turned, pair_packing.pack_any),
            )
        )
        super().__init__(module, symbol, lanes, names)

    def write_strips(self) -> None:
        """The loops around strips."""
        words, run = self.words, self.run
        turns, runs, depth = self.counts()
        most = at_least(at_most(depth, _DEPTH), 1)
        together = (depth > _DEPTH).choose(1, at_least(run.number(PACKED) // ((most + 1) // 2), 1))
        with self.batches() as (a, b, c, start):
            words["start_row"], words["reads_start"] = words["rows_start"], words["has_start"]
            words["strip_c"], words["strip_start"] = c, start
            with (
                run.loop(0, turns) as turn,
                run.loop(0, runs, together) as r,
                run.loop(0, at_least(depth, 1), most) as k,
            ):
                strip = {"turns": turn.index, "runs": r.index, "depth": k.index}
                words["strip_a"], words["strip_b"] = a + self.moved("a", strip), b + self.moved("b", strip)
                self.write_strip(at_most(together, runs - r.index), at_most(most, depth - k.index))
                words["start_row"], words["reads_start"], words["strip_start"] = words["rows_c"], 1, c

    def write_strip(self, runs: Word, depth: Word) -> None:
        """The loops over blocks of rows and panels of b."""
        words, run, size = self.words, self.run, self.size
        words["numbers"], words["pairs"], words["runs"] = depth, (depth + 1) // 2, 1
        words["packed_a"] = words["pack"]
        words["panel"], words["panel_row"] = words["pack"] + (BLOCK * PACKED + ROOM) * size, self.width
        self.lay_out(words["pairs"] * runs)
        with run.loop(0, words["rows_count"], self.most_rows) as top:
            words["rows"] = at_most(words["rows_count"] - top.index, self.most_rows)
            self.copy_rows(top.index, runs)
            with run.loop(0, words["columns_count"], self.width) as j:
                words["columns"] = at_most(words["columns_count"] - j.index, self.width)
                self.copy_panel(j.index, runs)
                below = top.index * size
                words["panel_c"] = words["strip_c"] + below * words["rows_c"] + j.index * size
                words["panel_start"] = words["strip_start"] + below * words["start_row"] + j.index * size
                self.multiply_panel(run, self.address)

    def lay_out(self, pairs: Word) -> None:
        """Sets how the copies of a strip of so many pairs lie."""
        words = self.words
        is_across = words["rows_a"].equals(1) & ~words["depth_a"].equals(1)
        words["depth"] = pairs
        words["a_row"], words["a_step"] = is_across.choose(1, pairs), is_across.choose(self.most_rows, 1)

    def copy_rows(self, top: Word, runs: Word) -> None:
        """Copies a block of rows of a."""
        words, run, size = self.words, self.run, self.size
        row, step, rows, numbers = words["rows_a"], words["depth_a"], words["rows"], words["numbers"]
        is_along, is_across = step.equals(1), row.equals(1) & ~step.equals(1)
        with run.loop(0, runs) as r:
            source = words["strip_a"] + (top * row + r.index * words["runs_a"]) * size
            to = words["packed_a"] + r.index * words["pairs"] * words["a_step"] * size
            with run.when(is_along):
                self.along(run, to, words["a_row"], source, row, rows, numbers)
            with run.when(is_across):
                self.copy_rows_across(to, source)
            with run.when(~(is_along | is_across)):
                self.any(run, to, words["a_row"], words["a_step"], source, row, step, rows, numbers)

    def copy_rows_across(self, to: Word, source: Word) -> None:
        """Copies a block of rows that lie side by side, of a run."""
        words = self.words
        self.across(self.run, to, words["a_step"], source, words["depth_a"], words["rows"], words["numbers"])

    def copy_panel(self, j: Word, runs: Word) -> None:
        """Copies a panel of b from column j on."""
        words, run, size = self.words, self.run, self.size
        step, column, columns, numbers = words["depth_b"], words["columns_b"], words["columns"], words["numbers"]
        is_across, is_along = column.equals(1), step.equals(1) & ~column.equals(1)
        with run.loop(0, runs) as r:
            source = words["strip_b"] + (j * column + r.index * words["runs_b"]) * size
            to = words["panel"] + r.index * words["pairs"] * (self.width * size)
            with run.when(is_across):
                self.across(run, to, self.width, source, step, columns, numbers)
            with run.when(is_along):
                self.turned(run, to, self.width, source, column, columns, numbers)
            with run.when(~(is_along | is_across)):
                self.any(run, to, 1, self.width, source, column, step, columns, numbers)

    def rows_of_next(self, left: Word) -> Word:
        """The rows that the next tile takes of those that are left."""
        return rows_of_next(left, self.lanes.machine.tile_rows)

    def write_tiles(self) -> None:
        """The function multiply_panel(record): tiles take the rows of a block, one after another."""
        size, panel = self.size, self.multiply_panel
        words = panel.record(panel.parameters[0], self.names)
        tiles = self.tiles()
        with panel.loop(0, words["rows"]) as i:
            i.step = rows = self.rows_of_next(words["rows"] - i.index)
            a = words["packed_a"] + i.index * words["a_row"] * size
            self.multiply_tile(tiles, words, i.index, a, words["a_step"], rows)
        panel.end()
