"""A table that appears row by row, so that a run that ends early loses none of its rows; and geometric means."""

import math
from collections.abc import Sequence


class Rows:
    """Prints the heads, and then each row. The first column is as wide as `widest`, the others as their heads.

    Numbers of the others are aligned to the right; a cell that is wider moves those behind it.
    """

    def __init__(self, heads: Sequence[str], widest: int, narrowest: int = 8) -> None:
        self._widths = [max(widest, len(heads[0])), *(max(narrowest, len(head)) for head in heads[1:])]
        self.add(heads)

    def add(self, cells: Sequence[str]) -> None:
        first, *others = (cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True))
        aligned = (cell.strip().rjust(width) for cell, width in zip(others, self._widths[1:], strict=True))
        print("  ".join((first, *aligned)).rstrip(), flush=True)


def geometric_mean(ratios: Sequence[float]) -> float:
    """The geometric mean of positive numbers, of which there is at least one."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def print_means(ratios: dict[int, list[float]]) -> None:
    """Prints the geometric mean of the ratios of best peer to netc, by number of threads."""
    for threads, values in ratios.items():
        if values:
            on = "1 thread" if threads == 1 else f"{threads} threads"
            rows = "1 row" if len(values) == 1 else f"{len(values)} rows"
            print(f"geometric mean of best peer / netc on {on}, {rows}: {geometric_mean(values):.2f}", flush=True)
