"""The metrics of epochs or folds as a table that grows line by line, within the width of a terminal.

The columns are chosen from the first row. Those that matter least are left out until a line fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from msgspec import Struct

from netc.commands.quantities import lasting, significant

_GAP = 2
_NUMBER = 9  # columns of a number: 1.234e-05
_TIME = 9
BEST = "*"  # marks a row


class Column(Struct, frozen=True):
    """A column of a metric: its name as in `metrics.jsonl`, and its width."""

    name: str
    width: int

    @property
    def heads(self) -> tuple[str, str]:
        """The part of the data, and the metric."""
        part, dot, metric = self.name.partition(".")
        return (part, metric) if dot else ("", part)


class MetricTable:
    """A table whose first column has the width `first` and the head `name`.

    `metrics` are the names of the metrics in their order, of which the first `important` ones come before all others if
    not all fit into `width`. With `has_time` the last column is the time of a row.
    """

    def __init__(
        self, name: str, first: int, metrics: Sequence[str], important: Sequence[str], width: int, has_time: bool = True
    ) -> None:
        self.width, self._name, self._first, self._has_time = width, name, max(first, len(name)), has_time
        width_left = width - 1 - self._first - len(f" {BEST}") - (_GAP + _TIME) * has_time
        chosen = set[str]()
        for metric in dict.fromkeys([*(each for each in important if each in metrics), *metrics]):
            needed = _GAP + _width(metric)
            if needed <= width_left:
                chosen.add(metric)
                width_left -= needed
        self.columns = [Column(metric, _width(metric)) for metric in metrics if metric in chosen]
        self.left_out = [metric for metric in metrics if metric not in chosen]
        self.has_rate = has_time and not self.left_out and width_left >= _GAP + _NUMBER

    def heads(self) -> list[str]:
        """The two lines above the rows."""
        parts, names = [" " * self._first], [self._name.rjust(self._first)]
        for part, columns in groupby(self.columns, lambda column: column.heads[0]):
            group = list(columns)
            wide = sum(column.width for column in group) + _GAP * (len(group) - 1)
            parts.append(f" {part} ".center(wide, "─") if len(group) > 1 and part else part.rjust(wide))
            names += [column.heads[1].rjust(column.width) for column in group]
        names += ["time".rjust(_TIME)] * self._has_time + ["samples/s".rjust(_NUMBER)] * self.has_rate
        gap = " " * _GAP
        return [gap.join(parts).rstrip(), gap.join(names).rstrip()]

    def line(self, label: str, row: Mapping[str, Any]) -> str:
        """The line of a row, behind which there is room for BEST. Its first cell is the label."""
        return (" " * _GAP).join(self._cells(label, row))

    def _cells(self, label: str, row: Mapping[str, Any]) -> Iterator[str]:
        yield label.rjust(self._first)
        for column in self.columns:
            value = row.get(column.name)
            yield ("" if value is None else _text(value)).rjust(column.width)
        if self._has_time:
            yield lasting(row["seconds"]).rjust(_TIME)
        if self.has_rate:
            yield f"{row['samples_per_second']:,.0f}".rjust(_NUMBER)


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else significant(value)


def _width(metric: str) -> int:
    return max(_NUMBER, len(metric.partition(".")[2] or metric))
