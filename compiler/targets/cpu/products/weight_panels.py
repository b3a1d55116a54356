"""The part of the product kernel for the panels of a weight (passes/panels.py), which lie one behind another:

    c[row, panel, column] = start[row, panel, column] + sum over k of a[row, k] * b[panel, k, column]

They are batches that share a and give columns side by side. Here they become the columns of one product, so that a is
copied once for all panels, and each panel prefetches the next one.
"""

from netc.compiler.targets.cpu.llvm.function import Word, at_least
from netc.compiler.targets.cpu.products.next_strip import NextStripKernel
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS


class WeightPanelsKernel(NextStripKernel):
    """Writes the choice whether batches are joined. The record has the fields of panel_kernel.py."""

    def join_panels(self) -> None:
        """Changes the counts of columns and of inner batches, if these are the panels of a weight."""
        words, columns = self.words, self.words["columns_count"]
        words["panel_count"], words["panel_b"] = at_least(columns, 1), 0
        if self.gathered:
            return
        is_start_wide = words["has_start"].equals(0) | words["inner_start"].equals(columns)
        is_side_by_side = words["inner_c"].equals(columns) & is_start_wide
        is_shared = words["inner_a"].equals(0) & ~words["rows_a"].equals(1) & words["columns_b"].equals(1)
        is_whole = (columns // self.width * self.width).equals(columns) & (words["rows_count"] > FEW_ROWS)
        with self.run.when(is_side_by_side & is_shared & is_whole & (words["inner_count"] > 1)):
            words["panel_b"] = words["inner_b"]
            words["columns_count"], words["inner_count"] = columns * words["inner_count"], 1

    def column_of_b(self, j: Word) -> Word:
        """The distance of column j of b from column 0, in bytes."""
        words, panel = self.words, j // self.words["panel_count"]
        inside = (j - panel * words["panel_count"]) * words["columns_b"]
        return (panel * words["panel_b"] + inside) * self.size

    def prefetches_next_panel(self) -> Word:
        """Whether a panel prefetches the one behind it. Panels of a weight are contiguous, so that the CPU fetches them
        in time for one tile or two. On a loaded Zen 4, products of 16 rows by 12 MiB took up to 1.2 times the time with
        prefetches by two tiles, and those of 64 rows 0.9."""
        is_tall = self.words["rows_count"] > 2 * self.lanes.machine.tile_rows
        return self.words["panel_b"].equals(0) | (is_tall & self.fetches_panel_by_line(self.words))
