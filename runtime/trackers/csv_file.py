"""metrics.csv in a run's folder: a line for each epoch, with the numbers of metrics.jsonl."""

import csv
import io
import os
from collections.abc import Iterable, Sequence

from netc.dsl.diagnostics import fault
from netc.dsl.storage.files import reason, write_all
from netc.runtime.metric_values import Row, epoch_of
from netc.runtime.runs.checkpoint import path_span, write_whole
from netc.runtime.runs.run import Run
from netc.runtime.trackers.epochs import scalars

FILE = "metrics.csv"


class CsvTracker:
    """Writes the file whole when it is opened and where an epoch has other metrics than before; else appends."""

    def __init__(self, run: Run) -> None:
        self._path, self._rows = run.folder / FILE, run.metrics
        self._names: list[str] = []
        self._write()

    def log(self, row: Row) -> None:
        if not set(scalars(row)) <= set(self._names):
            self._write()
            return
        try:
            with open(self._path, "ab", buffering=0) as file:
                write_all(file.fileno(), self._lines([row]))
                os.fsync(file.fileno())
        except OSError as error:
            fault("E1001", f"cannot write `{self._path}`", path_span(self._path), reason(error))

    def close(self, is_over: bool) -> None:
        pass

    def _write(self) -> None:
        self._names = [*dict.fromkeys(name for row in self._rows for name in scalars(row))]
        head = self._text([["epoch", *self._names]]) if self._names else b""
        write_whole(self._path, head + self._lines(self._rows))

    def _lines(self, rows: Iterable[Row]) -> bytes:
        """The lines of some epochs: floats as they are read back, empty where an epoch has no such metric."""
        numbers = ((epoch_of(row), scalars(row)) for row in rows)
        return self._text([[epoch, *(values.get(name, "") for name in self._names)] for epoch, values in numbers])

    def _text(self, cells: Sequence[Sequence[object]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(cells)
        return text.getvalue().encode()
