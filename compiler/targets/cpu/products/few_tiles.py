"""The part of the product kernel for small products, such as those of heads of attention and of narrow layers.

If the product of a batch has a few tiles, deciding how to cut it and what to prefetch takes longer than its
multiply-adds. Here one call of a tile multiplies the same rows of several batches, and nothing is prefetched:

    for outer, middle:
        for some batches of inner:                       # all, or 4 if their panels are copied
            for panel in columns:
                for rows of a tile:
                    tile(record, ...)                    # of each of these batches

float_product.py has the loops for all other products.
"""

from collections.abc import Mapping
from typing import Any

from netc.compiler.program.kernels import Gathered
from netc.compiler.program.product import WALKS
from netc.compiler.targets.cpu.llvm.function import Function, Record, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products import later
from netc.compiler.targets.cpu.products.across import AcrossKernel
from netc.compiler.targets.cpu.products.common import multiply_tile
from netc.compiler.targets.cpu.products.packing import pack_panel
from netc.compiler.targets.cpu.products.panel_kernel import FIELDS
from netc.compiler.targets.cpu.products.tile_operand import NUMBER
from netc.compiler.targets.cpu.products.tile_sizes import panel_columns, rows_of_next, tiles_of_next
from netc.compiler.targets.machine import NEAR, PACKED

_FEW, _PANELS = 4, 4  # the most tiles of rows, and panels, of a batch
_TOGETHER = 4  # batches whose panels are copied before they are multiplied, so that they stay in the first cache


class FewTilesKernel(AcrossKernel):
    """Writes the loops of a product whose batches have a few tiles each."""

    def __init__(self, module: Any, symbol: str, lanes: Lanes, gathered: Gathered) -> None:
        self.pack_panel = pack_panel(module, lanes)
        super().__init__(module, symbol, lanes, FIELDS, gathered)

    def write_tiles(self) -> None:
        super().write_tiles()
        if not self.copies_gathered:
            self.multiply_batches = Function(self.module, "multiply_batches", 6)
            self.write_batches()

    def has_few_tiles(self, turns: Word, runs: Word, depth: Word) -> Word:
        """Whether a batch is a few tiles of one strip, or of turns without copies, that narrow tiles do not multiply, b
        stays in the first cache as it lies, and nothing is prefetched. Not if many batches share a panel: the other
        loops copy it once."""
        words, columns, rows_of_b = self.words, self.words["columns_count"], turns * runs * depth
        is_few = (words["rows_count"] <= _FEW * self.lanes.machine.tile_rows) & (columns <= _PANELS * self.width)
        is_near = (rows_of_b <= PACKED) & (rows_of_b * columns <= NEAR // self.size)
        is_strip = turns.equals(1) if self.gathered else turns.equals(1) | ~self.is_copied()
        fits = is_strip & is_few & is_near & later.total(words).equals(0)
        if self.gathered:  # a is found by the numbers of its rows, which are those of one batch
            return fits & self.is_one_batch() & words["inner_count"].equals(1)
        is_shared = self.is_copied() & words["inner_b"].equals(0) & ~self.is_one_batch() & (columns <= self.width)
        return fits & ~is_shared & ~self.is_narrow(columns)

    def is_copied(self) -> Word:
        """Whether panels are copied: the columns of b are not neighbours."""
        return ~self.words["columns_b"].equals(1)

    def is_one_batch(self) -> Word:
        """Whether the innermost loop over batches is the only one."""
        return self.words["outer_count"].equals(1) & self.words["middle_count"].equals(1)

    def multiply_few_tiles(self, turns: Word, runs: Word, depth: Word) -> None:
        """The loops over batches."""
        words, run, size = self.words, self.run, self.size
        is_copied, count = self.is_copied(), words["inner_count"]
        words["turns_in_tile"], words["runs"], words["depth"], words["a_row"] = turns, runs, depth, words["rows_a"]
        words["reads_start"], words["start_row"] = words["has_start"], words["rows_start"]
        words["panel_row"], words["panel_run"] = is_copied.choose(self.width, words["depth_b"]), words["runs_b"]
        if self.gathered:
            words["strip_a"], words["strip_order"] = words["a"], words["order"]
        self.fetch(words, words["a"], 0, 0)
        later.fetch_nothing(words, words["a"])
        is_same = words["inner_b"].equals(0) | count.equals(1)
        apart = is_copied.choose(depth * self.width, words["inner_b"])
        words["panel_next"] = is_same.choose(0, apart * size)
        self.choose_repeated(count.equals(1))
        together = (is_copied & ~is_same).choose((depth * _TOGETHER <= PACKED).choose(_TOGETHER, 1), count)
        is_alone = self.is_one_batch() & together.equals(count) & (count > 0)
        with run.builder.if_else(is_alone.value) as (alone, many):
            with alone:
                self.multiply_batches(run, self.address, *(words[name] for name in WALKS), count)
            with many, self.batches(("outer", "middle")) as addresses, run.loop(0, count, together) as i:
                moved = [i.index * words[f"inner_{name}"] * size for name in WALKS]
                first = (address + by for address, by in zip(addresses, moved, strict=True))
                self.multiply_batches(run, self.address, *first, at_most(count - i.index, together))

    def choose_repeated(self, is_alone: Word) -> None:
        """Sets the distances between the tiles of a call: the same rows of several batches, or, with one batch, rows
        that follow one another."""
        words, tall = self.words, self.lanes.machine.tile_rows
        for name in ("a", "c", "start"):
            apart = is_alone.choose(words[f"rows_{name}"] * tall, words[f"inner_{name}"])
            words[f"{name}_next"] = apart * self.size
        if self.gathered == "rows":
            words["a_next"] = tall * NUMBER

    def write_batches(self) -> None:
        """The function multiply_batches(record, a, b, c, start, batches): a panel of all batches, then the next one."""
        function, size = self.multiply_batches, self.size
        record, a, b, c, start, batches = function.parameters
        words = function.record(record, FIELDS)
        columns, column_b = words["columns_count"], words["columns_b"]
        with function.loop(0, columns) as j:
            left = columns - j.index
            panel, words["columns"] = b + j.index * column_b * size, at_most(left, self.width)
            with function.builder.if_else(column_b.equals(1).value) as (direct, copied):
                with direct:
                    words["panel"] = panel
                    with function.when(left > self.width):
                        words["columns"] = at_most(left, panel_columns(words["rows_count"], left, self.lanes))
                with copied:
                    words["panel"] = words["pack"]
                    self.copy_panels(words, panel, batches)
            j.step = words["columns"]
            moved = j.index * size
            self.multiply_rows(words, batches, {"a": a, "c": c + moved, "start": start + moved})
        function.end()

    def copy_panels(self, words: Record, panel: Word, batches: Word) -> None:
        """Copies the panel of each batch, or the one that all share."""
        function, apart = self.multiply_batches, words["panel_next"]
        depth, columns, step, column = (words[name] for name in ("depth", "columns", "depth_b", "columns_b"))
        to, move = words["pack"], words["inner_b"] * self.size
        with function.loop(0, apart.equals(0).choose(1, batches)) as n:
            source = panel + n.index * move
            self.pack_panel(function, to + n.index * apart, source, step, column, depth, columns)

    def multiply_rows(self, words: Record, batches: Word, addresses: Mapping[str, Word]) -> None:
        """Multiplies all rows of some batches by a panel of each.

        One call of a tile has the same rows of all batches, or, if the product has one batch, several tiles of rows.
        """
        function, size, tall = self.multiply_batches, self.size, self.lanes.machine.tile_rows
        count, column_a = words["rows_count"], words["depth_a"]
        with function.loop(0, count) as i:
            left = count - i.index
            rows = rows_of_next(left, tall)
            words["tiles"], words["taken"] = batches, rows
            with function.when((left > tall) & words["inner_count"].equals(1)):
                words["tiles"] = tiles = tiles_of_next(left, tall)
                words["taken"] = rows * tiles
            i.step = words["taken"]
            a, c, start = (address + i.index * words[f"rows_{name}"] * size for name, address in addresses.items())
            if self.gathered == "rows":
                a = words["order"] + i.index * NUMBER
            multiply_tile(function, function.parameters[0], self.tiles, words["columns"], rows, (a, column_a, c, start))
