"""The predictions of a run for raw data, for Python programs: arrays by name, with a place for each sample of the data.

Knows nothing of files and graphs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from netc.dsl.displayed import Displayed
from netc.dsl.plural import counted
from netc.runtime.columns import Labels, OutputFacts, blanked, columns_of, labels_predicted
from netc.runtime.data.new_data import NewData
from netc.runtime.data.steps.remarks import Remarks
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import RowProblem

_FEW, _WIDEST = 3, 40  # labels in a summary, and the characters of one


class Predictions(Displayed, Mapping[str, Any]):
    """The predicted label of each target, then the outputs, by name; each has an entry for every sample of the data.

    An output is an array with the samples first, or a list of arrays if samples have lengths of their own. Labels are
    an array of texts. A sample that cannot be predicted has NaN, or None where there are no numbers. `problems` name
    the rows that cannot be used, and `remarks` count cells with categories that training did not see.
    """

    def __init__(self, data: NewData, facts: OutputFacts, labels_of: Labels, outputs: Mapping[str, Any]) -> None:
        self._data, self._facts, self._labels_of, self._outputs = data, facts, labels_of, outputs
        labels = {name: _texts(cells) for name, cells in labels_predicted(facts, labels_of, outputs).items()}
        self._values = {name: self._placed(value) for name, value in {**labels, **outputs}.items()}

    @property
    def problems(self) -> tuple[RowProblem, ...]:
        """The rows that cannot be used, each with its number, the column and the reason."""
        return self._data.problems

    @property
    def remarks(self) -> Remarks:
        """Remarks about cells that are used all the same."""
        return self._data.remarks

    def columns(self) -> dict[str, list[Any]]:
        """The columns of the table that `netc predict` writes: a column for each number of a sample."""
        columns = columns_of(self._facts, self._labels_of, self._outputs)
        return blanked(columns, self._data.used, self._data.count)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        values = "; ".join(f"{name} {_summary(value)}" for name, value in self._values.items())
        return f"<Predictions of {counted(self._data.count, 'sample')}: {values}>"

    def _placed(self, value: Any) -> Any:
        """Values of the samples that were predicted, each at the place of its sample among all."""
        used, count = self._data.used, self._data.count
        if len(used) == count:
            return value
        if isinstance(value, list):
            result: list[Any] = [None] * count
            for sample, entry in zip(used.tolist(), value, strict=True):
                result[sample] = entry
            return result
        is_float = value.dtype.kind == "f"
        array = np.full((count, *value.shape[1:]), np.nan if is_float else None, value.dtype if is_float else object)
        array[used] = value
        return array


def _texts(cells: list[Any]) -> Array:
    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def _summary(value: Any) -> str:
    """An output in a few words: the first of its labels, or the type and shape of its numbers."""
    if isinstance(value, list):
        return f"{len(value)} sequences"
    if value.dtype != object:
        return f"{value.dtype}{list(value.shape)}"
    shown = [repr(cell) if len(repr(cell)) <= _WIDEST else f"{repr(cell)[:_WIDEST]}..." for cell in value[:_FEW]]
    return ", ".join([*shown, *["..."] * (len(value) > _FEW)])
