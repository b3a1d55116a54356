"""The order of tiles in a weight's gradient: all panels of b for the rows of one tile, then the next rows.

    for i in rows:
        for panels in columns:                           # one call of a tile
            tile(record, a + i, ..., panels, ..., c + i, ...)

A stored sum of a gradient takes as many multiply-adds as the batch has samples: if there are few, stores take long.
In this order c is stored along its rows, and one call multiplies all panels, while elsewhere a call multiplies the
tiles of one panel: two if a block has 24 rows. On Zen 4, weight gradients of 8 to 32 samples were measured to take 8
to 20% less time, those of 64 to 256 samples 1 to 5%. The rows of b must stay in the second cache. They are read as
they lie, because a copy of a panel would be used once. With vectors of 32 bytes, where the loads of a row of b are
shared by half as many rows of a, gradients of more than 16 tiles of rows take up to 12% less time with copies of
panels.

Nothing of b is prefetched, so more tiles prefetch what the optimizer's update will read (panel_kernel.py).
"""

from netc.compiler.targets.cpu.llvm.function import Function, Word
from netc.compiler.targets.cpu.products import later
from netc.compiler.targets.cpu.products.common import multiply_tile
from netc.compiler.targets.cpu.products.panel_kernel import FIELDS, PanelKernel
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS, rows_of_next
from netc.compiler.targets.machine import WIDE

# Bytes of a strip of b that stays in the second cache, beside rows of c and what is prefetched: with 512 KiB,
# steps of 128 samples and layers of 1,000 units were measured to take 3 to 5% longer.
_NEAR = 320 << 10
_MANY_TILES = 16  # of rows, which share a copy of a panel
_FEW_PANELS = 8  # fewer are taken at once: to prefetch rows of a by the first of them would take one more call


class AcrossKernel(PanelKernel):
    """Writes the function multiply_across(record), whose record has the fields FIELDS."""

    def write_tiles(self) -> None:
        super().write_tiles()
        if self.goes_across:
            self.multiply_across = Function(self.module, "multiply_across", 1)
            self.write_across()

    @property
    def goes_across(self) -> bool:
        """Whether a product may be a weight's gradient: not if rows are gathered, which those of a batch are."""
        return self.gathered != "rows"

    def choose_across(self, runs: Word) -> None:
        """Sets whether a product takes its tiles in this order, after strips and copies are chosen."""
        words, columns = self.words, self.words["columns_count"]
        is_gradient = words["rows_a"].equals(1) & words["columns_b"].equals(1) & (words["rows_count"] > FEW_ROWS)
        is_near = words["most"] * columns <= _NEAR // self.size
        is_across = is_gradient & is_near & runs.equals(1) & (columns > self.width) & words["in_blocks"].equals(0)
        if self.lanes.machine.vector_bytes < WIDE:
            is_reused = words["rows_count"] > _MANY_TILES * self.lanes.machine.tile_rows
            is_across = is_across & ~(is_reused & words["packs_b"].equals(1))
        words["goes_across"] = is_across.choose(1, 0)
        with self.run.when(is_across):
            words["packs_b"], words["block_columns"] = 0, columns

    def multiply_panels(self, panels: Word) -> None:
        """Multiplies all rows of a block by some panels, which begin with column 0."""
        words = self.words
        words["columns"], words["panels_left"] = self.width, panels
        words["panel"], words["panel_row"], words["panel_run"] = words["strip_b"], words["depth_b"], words["runs_b"]
        words["panel_c"], words["panel_start"] = words["block_c"], words["block_start"]
        is_cold = words["packs_a"].equals(0) & words["is_near"].equals(0) & (panels > _FEW_PANELS)
        words["is_cold"] = is_cold.choose(1, 0) if not self.gathered else 0
        self.multiply_across(self.run, self.address)

    def write_across(self) -> None:
        """The function multiply_across(record): all panels for the rows of a tile, then the next rows."""
        function, size, whole = self.multiply_across, self.size, self.width * self.size
        words, tall = function.record(function.parameters[0], FIELDS), self.lanes.machine.tile_rows
        tiles = {at: tile for at, tile in self.tiles.items() if at[1] == self.width}
        first, panels, is_packed = words["panel"], words["panels_left"], words["packs_a"].equals(1)
        words["a_next"] = 0
        words["panel_next"] = words["c_next"] = words["start_next"] = whole
        with function.loop(0, words["rows"]) as i:
            i.step = rows = rows_of_next(words["rows"] - i.index, tall)
            a = words["block_a"] + i.index * is_packed.choose(words["depth"], words["a_row"]) * size
            step = (is_packed & words["a_row"].equals(1)).choose(rows, words["depth_a"])
            c = words["panel_c"] + i.index * words["rows_c"] * size
            start = words["panel_start"] + i.index * words["start_row"] * size
            with function.loop(0, panels) as panel:
                moved = panel.index * whole
                words["panel"], words["tiles"], words["lined"] = first + moved, panels - panel.index, 0
                self.fetch(words, first, 0, 0)
                is_cold = words["is_cold"].equals(1) & panel.index.equals(0)
                self.choose_later_lines(function, words, ~is_cold)
                with function.when(is_cold):
                    self.fetch(words, words["block_a"] + (i.index + 2 * tall) * size, words["depth_a"] * size, 0, 1)
                    words["lined"] = 0
                later.choose(function, words, first)
                later.limit_tiles(words)
                self.count_tiles(words)
                panel.step = words["tiles"]
                at = (a, step, c + moved, start + moved)
                multiply_tile(function, function.parameters[0], tiles, words["columns"], rows, at)
                later.move(words, words["tiles"])
        function.end()
