"""The cells of a data file, as messages name them."""

from collections.abc import Sequence
from dataclasses import dataclass

from netc.dsl.quoting import cell as shown_cell
from netc.dsl.source import Span
from netc.runtime.data.stored import Array


@dataclass(frozen=True, slots=True)
class Location:
    """What a message about a field's data names: the file, the columns, the number of each row, the step's location in the `.net` file."""

    file: str
    columns: tuple[str, ...]
    rows: Array
    span: Span

    def cell(self, index: Sequence[int]) -> str:
        """How messages call an element of an array."""
        column = self.columns[index[1] if len(index) > 1 and len(self.columns) > 1 else 0]
        return f"`{self.file}`, row {self.rows[index[0]]}, column `{shown_cell(column)}`"
