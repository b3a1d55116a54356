"""A training in memory, without the folder of a run. Its state is bytes, from which it goes on to the same bits."""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from msgspec import Struct, field

from netc.compiler.model import Model
from netc.runtime.data.dataset import Dataset
from netc.runtime.data.stored import Array
from netc.runtime.metric_values import MetricValues, Row
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import Progress
from netc.runtime.runs.metrics import Metrics

_TIMES = ("seconds", "samples_per_second")  # of a row: they differ from time to time


def without_times(row: Row) -> Row:
    """The metrics of an epoch that are the same whenever it is trained."""
    return {name: value for name, value in row.items() if name not in _TIMES}


class _Kept(msgspec.Struct, frozen=True):
    """The arrays of a moment, one behind the other in the order of their names, and the epochs that were done."""

    epoch: int
    arrays: bytes


class _State(msgspec.Struct, frozen=True):
    """The state of a trial: its arrays, those that `keep` has kept, and the rows of all epochs."""

    now: _Kept
    best: _Kept | None
    rows: list[Row]


class Trial(Struct):
    """A model in training. `undone` brings targets back to the units of the data, as Run.undone does."""

    model: Model
    program: Program
    dataset: Dataset | None
    undone: Mapping[str, Callable[[Array], Array]]
    metrics: Metrics = field(default_factory=Metrics)
    progress: Progress = field(default_factory=Progress)
    best: _Kept | None = None

    def evaluate(self, part: str) -> MetricValues:
        """See Run.evaluate."""
        assert self.dataset is not None
        return self.program.evaluator.evaluate(self.dataset.parts[part], self.undone)

    def save(self) -> None:
        """Does nothing: whoever trains a trial asks for its state at the end."""

    def save_best(self) -> None:
        """Keeps the current parameters."""
        self.best = self._kept()

    def load_best(self) -> None:
        """Does nothing: the trial may go on, from its last parameters."""

    def kept_epoch(self) -> int | None:
        """The epoch whose parameters are kept."""
        return None if self.best is None else self.best.epoch

    @property
    def chosen_row(self) -> Row:
        """The metrics of the parameters that a run with these epochs would be used with."""
        epoch = self.kept_epoch() if self.model.train.keep is not None else None
        return without_times(self.metrics[-1 if epoch is None else epoch - 1])

    def state(self) -> bytes:
        """All that `resume` needs."""
        return msgspec.msgpack.encode(_State(self._kept(), self.best, [*map(without_times, self.metrics)]))

    def resume(self, state: bytes) -> None:
        """Goes on from the state of a trial with the same settings."""
        stored = msgspec.msgpack.decode(state, type=_State)
        self._load(stored.now)
        self.best, self.progress = stored.best, Progress(epoch=stored.now.epoch)
        for number, row in enumerate(stored.rows, 1):
            self.metrics.append({**row, "epoch": number})  # a whole number, as before

    def use_best(self) -> None:
        """Loads the parameters that `keep` has kept, if it has any: the trial is over."""
        if self.best is not None:
            self._load(self.best)

    def _load(self, kept: _Kept) -> None:
        arrays, start = self.program.persistent, 0
        for name in sorted(arrays):
            array = arrays[name]
            array[...] = np.frombuffer(kept.arrays, array.dtype, array.size, start).reshape(array.shape)
            start += array.nbytes

    def _kept(self) -> _Kept:
        arrays = self.program.persistent
        return _Kept(self.progress.epoch, b"".join(arrays[name].tobytes() for name in sorted(arrays)))
