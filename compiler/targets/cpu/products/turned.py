"""Products of a few rows and a transposed weight, such as the gradient of a layer's input in a small batch.

    c[row, column] = sum over k of a[row, k] * b[column, k]

A row of b is contiguous, so elsewhere its panels are copied and transposed, which takes half as long as to multiply
them by 8 rows, and reads b in pieces. Here a and b change places: rows of b are the rows of a tile, and the few rows of
a are its columns, copied and transposed once:

    for block in columns of c:
        for tile in block:                               # prefetches the next tile's rows of b, which are one stretch
            turned[tile, :] = sum over k of b[tile, k] * a[:, k]
        c[:, block] = turned[block, :]

Rows of b that lie whole pages apart share a set of the first cache: of these, a block is as many as a set has lines.
An element's sum runs over the depth in order, as it does elsewhere. On Zen 4, products of 16 rows by 1,000 to 3,000
columns were measured to take 0.6 to 0.7 of the time, those of 8 rows 0.65 to 0.75.
"""

from netc.compiler.targets.cpu.llvm.function import Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Vectors
from netc.compiler.targets.cpu.products import later
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS
from netc.compiler.targets.cpu.products.weight_panels import WeightPanelsKernel
from netc.compiler.targets.machine import BLOCK, PACKED, PAGE, PANELS, WAYS

_FEWEST = 4  # panels of b: fewer are copied soon


class TurnedKernel(WeightPanelsKernel):
    """Writes the loops of such a product. The record has the variables of panel_kernel.py."""

    def is_turned(self, turns: Word, runs: Word, depth: Word) -> Word:
        """Whether a product changes its operands' places: its rows are the columns of one panel, and the copies of a
        and of a block of results fit the memory for panels of b."""
        words, columns = self.words, self.words["columns_count"]
        is_single = turns.equals(1) & runs.equals(1) & self.is_one_batch() & words["inner_count"].equals(1)
        is_transposed = words["depth_b"].equals(1) & ~words["columns_b"].equals(1) & words["depth_a"].equals(1)
        fits = at_most(columns // self.width, PANELS) * PACKED >= depth + BLOCK
        is_few = (words["rows_count"] >= FEW_ROWS) & (words["rows_count"] <= self.width)
        is_plain = words["has_start"].equals(0) & (columns >= _FEWEST * self.width)
        return is_single & is_transposed & fits & is_few & is_plain

    def multiply_turned(self, depth: Word) -> None:
        """The loop over blocks of c's columns."""
        words, run, size, pitch = self.words, self.run, self.size, self.width * self.size
        rows, columns, tall = words["rows_count"], words["columns_count"], self.lanes.machine.tile_rows
        c, row_c, row_b = words["c"], words["rows_c"] * size, words["columns_b"] * size
        copy, turned = words["pack"], words["pack"] + depth * pitch
        later.begin(words, (columns + tall - 1) // tall * depth)
        self.pack_panel(run, copy, words["a"], words["depth_a"], words["rows_a"], depth, rows)
        for name in ("packs_a", "copy", "touching", "next_a", "lines", "ahead", "next_rows", "is_cold", "in_blocks"):
            words[name] = 0
        for name in ("next_pieces", "piece", "reads_start", "start_row", "tile", "panel_run"):
            words[name] = 0
        words["turns_in_tile"] = words["runs"] = 1
        words["panel"], words["panel_row"], words["depth"] = copy, self.width, depth
        words["columns"], words["rows_c"], words["a_row"] = rows, self.width, words["columns_b"]
        words["panel_c"] = words["panel_start"] = turned
        shares_sets = self.lie_pages_apart("columns_b")
        together = shares_sets.choose(WAYS, BLOCK) if tall > WAYS else run.number(BLOCK)
        words["next_row"], words["row_step"] = row_b, row_b * at_most(together, tall) // at_least(depth, 1)
        with run.loop(0, columns, together) as top:
            words["rows"] = at_most(columns - top.index, together)
            words["block_a"] = block = words["b"] + top.index * row_b
            words["next_tile"] = block + row_b * at_most(together, tall)
            self.multiply_panel(run, self.address)
            with run.loop(0, rows) as i, run.loop(0, words["rows"]) as j:
                at = c + i.index * row_c + (top.index + j.index) * size
                Vectors(run, self.lanes).copy_element(turned + j.index * pitch + i.index * size, at)

    def lie_pages_apart(self, stride: str) -> Word:
        """Whether a stride is a multiple of a page, and not zero."""
        nbytes = self.words[stride] * self.size
        return (nbytes > 0) & nbytes.equals(nbytes // PAGE * PAGE)
