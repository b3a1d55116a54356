"""The numbers of a nest's shape that its machine code takes as arguments, so that models of other widths share it.

These are extents, and strides along all axes but the last. Nests of short rows keep their numbers, because code for
rows of a known length is faster there. So do those whose body depends on the shape: it computes several rows
(short_rows.py), sums that lie in memory (jam.py), sums in lanes (sums_in_lanes.py), or short rows that are read across
(short_rows.py).
"""

from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.short_rows import reads_short_rows_across, rows_side_by_side

_LONG = 128  # elements of a row from which on a loop costs the same whether LLVM knows their number or not
_WRITTEN_OUT = 16  # turns: LLVM may write out a loop of fewer, if it knows their number


class ShapeNumbers:
    """The numbers of a nest that its generic form takes as arguments, by the names of these."""

    def __init__(self, nest: Nest) -> None:
        self.nest, self.last, self.numbers = nest, len(nest.extents) - 1, dict[str, int]()
        has_long_rows = self.last >= 0 and (nest.extents[-1] is None or nest.extents[-1] >= _LONG)
        is_one_row = rows_side_by_side(nest).along is None
        self.is_generic = has_long_rows and is_one_row and not nest.argmax and not nest.folds_rows
        self.is_generic &= not nest.is_running and nest.sums != "in lanes" and not reads_short_rows_across(nest)

    def extent(self, axis: int, extent: int) -> str:
        """An extent as it stands in the text. A short loop over folded axes is written out."""
        if self.nest.folded[axis] and extent < _WRITTEN_OUT:
            return str(extent)
        return self._argument(f"e{axis}", extent)

    def stride(self, axis: int | None, stride: int) -> str:
        """The stride of an axis, or of rows that an index names, as it stands in the text.

        That of the last axis stays a number, because it decides whether vectors are loaded at once. Equal strides of
        an axis are one argument.
        """
        if axis == self.last:
            return str(stride)
        start = "row_" if axis is None else f"s{axis}_"
        names = (name for name, number in self.numbers.items() if name.startswith(start) and number == stride)
        return next(names, "") or self._argument(f"{start}{len(self.numbers)}", stride)

    def _argument(self, name: str, number: int) -> str:
        self.numbers[name] = number
        return name
