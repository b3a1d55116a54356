"""The numbers that the rows of a table have in their file, where blank lines and comments may stand between them."""

from collections.abc import Iterable

import numpy as np
from msgspec import Struct, field

from netc.runtime.data.stored import Array


def _none() -> Array:
    return np.empty(0, np.int64)


class RowNumbers(Struct, frozen=True):
    """The number of a table's first row in the file, and the gaps between the numbers of its rows.

    `gaps` has the position of each row that something was skipped before, ascending, and once for each skipped line.
    """

    first: int = 1
    gaps: Array = field(default_factory=_none)

    def of(self, rows: Array) -> Array:
        """The numbers of the rows at these positions in the table."""
        numbers: Array = np.asarray(rows) + self.first
        return numbers + np.searchsorted(self.gaps, rows, "right") if len(self.gaps) else numbers

    @classmethod
    def from_gaps(cls, first: int, gaps: Iterable[int]) -> "RowNumbers":
        return cls(first, np.fromiter(gaps, np.int64))

    @classmethod
    def of_numbers(cls, numbers: Array) -> "RowNumbers":
        """The numbers of rows that have these numbers, which ascend."""
        skipped = np.diff(numbers) - 1
        return cls(int(numbers[0]), np.repeat(np.arange(1, len(numbers)), skipped))


FROM_ONE = RowNumbers()
