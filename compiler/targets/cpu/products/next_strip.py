"""The part of the product kernel that chooses what is prefetched for later strips and panels.

A weight's gradient reads operands that were computed long before, so the next strip is prefetched while one is
multiplied. panel_kernel.py spreads these prefetches over tiles, and float_product.py says why tiles prefetch line by
line.
"""

from netc.compiler.targets.cpu.llvm.function import Word, at_least
from netc.compiler.targets.cpu.products.few_tiles import FewTilesKernel
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS
from netc.compiler.targets.machine import LINE

_NEXT = 768 << 10  # bytes of a strip that may be prefetched while another one is multiplied


class NextStripKernel(FewTilesKernel):
    """Writes the choice of prefetches. The record has the variables of panel_kernel.py."""

    def find_next_strip(self, a: Word, b: Word, turn: Word, k: Word) -> None:
        """Sets the addresses of the next strip of a weight's gradient, which is prefetched.

        It begins at row k of this turn's depth, or with the next turn. The addresses are 0 if there is none, if it is
        too large, or if it has runs, the rows of windows.
        """
        words, size = self.words, self.size
        is_inside = k < words["depth_count"]
        is_last = ~is_inside & (turn + 1 >= words["turns_count"])
        of_a = words["rows_count"] * size // LINE
        words["is_near"] = (~words["next_a"].equals(0) & (words["lines"] > of_a)).choose(1, 0)
        words["next_a"], words["touching"], words["lines"] = 0, is_last.choose(words["touches"], 0), 0
        is_whole = words["rows_c"].equals(words["columns_count"])  # so that c's rows follow one another
        with self.run.when(is_last & is_whole & (words["touches"] > 0)):
            nbytes, each = words["rows_count"] * words["rows_c"] * size, words["most"] * LINE
            words["touching_tiles"] = (nbytes + each - 1) // each
        nbytes = words["most"] * (words["rows_count"] + words["columns_count"]) * size
        is_gradient = words["rows_a"].equals(1) & words["columns_b"].equals(1) & (words["rows_count"] > FEW_ROWS)
        if not self.gathered:
            with self.run.when(~is_last & words["runs_count"].equals(1) & is_gradient & (nbytes <= _NEXT)):
                steps = {"turns": is_inside.choose(turn, turn + 1), "depth": is_inside.choose(k, 0)}
                words["next_a"], words["next_b"] = a + self.moved("a", steps), b + self.moved("b", steps)

    def find_next_columns(self, panel: Word, j: Word, has_next: Word) -> None:
        """Sets the address of the next columns of b to prefetch, if panels are copied from columns that are contiguous
        in memory (a transposed weight), else 0.

        A tile prefetches a line of as many columns as it has steps of depth: those of the next panels.
        """
        words, width = self.words, self.width
        words["next_rows"] = has_next.choose(panel + words["columns_b"] * (width * self.size), 0)
        panels = at_least(words["depth"] // width, 1)
        with self.run.when(has_next & (j // width // panels * panels * width).equals(j)):
            words["lines"] = 0
