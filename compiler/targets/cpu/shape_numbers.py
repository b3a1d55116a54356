"""The numbers of a nest's shape that its machine code takes as arguments, so that models of other widths share it.

These are extents, and strides along all axes but the last. A nest keeps its numbers in the text if code for known
numbers is faster: if its rows are short, or if the shape decides the body, because it computes several rows
(short_rows.py), has sums in memory (jam.py) or in lanes (sums_in_lanes.py), or reads short rows across (short_rows.py).
"""

from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.short_rows import reads_short_rows_across, rows_side_by_side

_LONG = 128  # elements of a row, from which on a loop takes as long whether LLVM knows their number or not
_UNROLLED = 16  # iterations: LLVM may unroll a shorter loop, if it knows their number


class ShapeNumbers:
    """The numbers of a nest that its generic form takes as arguments: `numbers`, by the names of the arguments.

    They are collected while the text is written. There are none unless `is_generic`.
    """

    def __init__(self, nest: Nest) -> None:
        self.nest, self.last, self.numbers = nest, len(nest.extents) - 1, dict[str, int]()
        has_long_rows = self.last >= 0 and (nest.extents[-1] is None or nest.extents[-1] >= _LONG)
        is_one_row = rows_side_by_side(nest).along is None
        self.is_generic = has_long_rows and is_one_row and not nest.argmax and not nest.folds_rows
        self.is_generic &= not nest.is_running and nest.sums != "in lanes" and not reads_short_rows_across(nest)

    def extent(self, axis: int, extent: int) -> str:
        """The text of an extent: the name of an argument, or the number for a short loop over folded axes."""
        if self.nest.folded[axis] and extent < _UNROLLED:
            return str(extent)
        return self._argument(f"e{axis}", extent)

    def stride(self, axis: int | None, stride: int) -> str:
        """The text of a stride of an axis, or (None) of the stride between rows that an index selects.

        That of the last axis stays a number, because it decides whether whole vectors can be loaded. Equal strides of
        an axis share an argument.
        """
        if axis == self.last:
            return str(stride)
        start = "row_" if axis is None else f"s{axis}_"
        names = (name for name, number in self.numbers.items() if name.startswith(start) and number == stride)
        return next(names, "") or self._argument(f"{start}{len(self.numbers)}", stride)

    def _argument(self, name: str, number: int) -> str:
        self.numbers[name] = number
        return name
