"""The numbers of a nest's shape that its machine code takes as arguments, so that models of other widths share it.

These are extents, strides along all axes but the last, and how many rows ahead a prefetch is. A nest keeps its numbers
in the text if code for known numbers is faster: if its rows are short, or if the shape decides the body, because it
computes several rows (short_rows.py), has sums in memory (jam.py) or in lanes (sums_in_lanes.py), or reads short rows
across (short_rows.py). Three kinds of nests of short rows take arguments nevertheless, because their text names vectors
or computes squares:

- operands that are read across their rows, square by square (transposes.py)
- rows of numbers, such as the border of an image (number_rows.py)
- sums over rows whose length is an argument (sums_in_memory.py); extents of folded axes decide their body
"""

from netc.compiler.program.nests import Nest
from netc.compiler.program.scalars import Number
from netc.compiler.targets.cpu.nests.short_rows import reads_short_rows_across, rows_side_by_side
from netc.compiler.targets.cpu.nests.transposed_loads import transposed_loads
from netc.compiler.targets.cpu.nests.vector_rows import may_fit_vectors

_LONG = 128  # elements of a row, from which on a loop takes as long whether LLVM knows their number or not
_UNROLLED = 16  # iterations: LLVM may unroll a shorter loop, if it knows their number


def stores_numbers(nest: Nest) -> bool:
    """Whether a nest loads nothing, and stores numbers."""
    return (
        all(isinstance(line.value, Number) for line in nest.lines)
        and not any(nest.folded)
        and nest.combine is None
        and all(output.target.indirect is None for output in nest.outputs)
    )


def _sums_rows(nest: Nest) -> bool:
    return may_fit_vectors(nest) and not any(output.fold and output.fold.keyed for output in nest.outputs)


class ShapeNumbers:
    """The numbers of a nest that its generic form takes as arguments: `numbers`, by the names of the arguments.

    They are collected while the text is written. There are none unless `is_generic`.
    """

    def __init__(self, nest: Nest) -> None:
        self.nest, self.last, self.numbers = nest, len(nest.extents) - 1, dict[str, int]()
        has_long_rows = self.last >= 0 and (nest.extents[-1] is None or nest.extents[-1] >= _LONG)
        is_one_row = rows_side_by_side(nest).along is None
        is_long = has_long_rows and is_one_row and not nest.argmax and not nest.folds_rows
        is_long &= not nest.is_running and nest.sums != "in lanes" and not reads_short_rows_across(nest)
        self.has_squares = bool(transposed_loads(nest))
        self.is_generic = is_long or self.has_squares or stores_numbers(nest) or _sums_rows(nest)

    def extent(self, axis: int, extent: int) -> str:
        """The text of an extent: the name of an argument, or the number for a short loop over folded axes and for sums
        of rows, whose body is for that number."""
        if self.nest.folded[axis] and (extent < _UNROLLED or self.nest.folds_rows):
            return str(extent)
        return self._argument(f"e{axis}", extent)

    def stride(self, axis: int | None, stride: int) -> str:
        """The text of a stride of an axis, or (None) of the stride between rows that an index selects.

        That of the last axis stays a number, because it decides whether whole vectors can be loaded, unless rows are
        read across. Equal strides of an axis share an argument.
        """
        if axis == self.last and not (self.has_squares and abs(stride) > 1):
            return str(stride)
        start = "row_" if axis is None else f"s{axis}_"
        names = (name for name, number in self.numbers.items() if name.startswith(start) and number == stride)
        return next(names, "") or self._argument(f"{start}{len(self.numbers)}", stride)

    def ahead(self, rows: int) -> str:
        """The argument for the number of rows that a prefetch is ahead."""
        return self._argument(f"ahead_{len(self.numbers)}", rows)

    def _argument(self, name: str, number: int) -> str:
        self.numbers[name] = number
        return name
