"""Decisions from the metrics of past epochs: whether to keep the last one, whether to stop, and the rate of a plateau.

They are a function of the rows that a run keeps, so a resumed run decides as if it had never stopped. An epoch costs
the same, however many there were before.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cached_property

from msgspec import Struct

from netc.compiler.model import Better, EarlyStop, Plateau, TrainSettings
from netc.dsl.plural import counted
from netc.runtime.metric_values import MetricValue

Row = Mapping[str, MetricValue]


def metric_of(better: Better, row: Row) -> float:
    """The metric of an epoch that decides which is better; NaN if it has no value in this epoch."""
    value = row.get(better.metric)
    return value if isinstance(value, float) else math.nan


class Best(Struct):
    """The best value of a metric so far, its epoch, and for how many epochs there was no better one.

    Epochs before the first value do not count. After it, an epoch without a value is not an improvement.
    """

    better: Better
    margin: float = 0.0
    value: float = math.nan
    epoch: int = 0
    epochs_ago: int = 0

    def take(self, row: Row, epoch: int) -> bool:
        """Takes the next epoch; returns whether it is better than all before, as the first value is."""
        value = metric_of(self.better, row)
        if self.better.improves(value, self.value, self.margin):
            self.value, self.epoch, self.epochs_ago = value, epoch, 0
            return True
        self.epochs_ago += not math.isnan(self.value)
        return False


class Stopping(Struct, dict=True):
    """`early_stop`: over once the metric has not improved for `patience` epochs."""

    setting: EarlyStop

    @cached_property
    def best(self) -> Best:
        """The best epoch so far."""
        return Best(self.setting.better, self.setting.margin)

    @property
    def is_over(self) -> bool:
        return self.best.epochs_ago >= self.setting.patience

    def describe(self) -> str:
        count = self.setting.patience
        margin = f" by the margin of {self.setting.margin:g}" if self.setting.margin else ""
        return (
            f"early_stop: {self.best.better.metric} has not improved{margin} for {counted(count, 'epoch')}; "
            f"the best was {self.best.value:.4g}, in epoch {self.best.epoch}"
        )


class PlateauRate(Struct, dict=True):
    """The factor of the rate, which falls after more than `patience` epochs without an improvement.

    It is ReduceLROnPlateau of PyTorch, except that a negative metric also has to improve by the margin.
    """

    setting: Plateau
    factor: float = 1.0

    @cached_property
    def best(self) -> Best:
        """The best epoch so far."""
        return Best(self.setting.better, self.setting.margin)

    def take(self, row: Row, epoch: int) -> None:
        self.best.take(row, epoch)
        if self.best.epochs_ago > self.setting.patience:
            self.factor, self.best.epochs_ago = self.factor * self.setting.factor, 0


class Decisions:
    """The decisions after the epochs of `rows`.

    `kept` is the epoch whose parameters `keep` has kept, or None if there are none: a later epoch is compared with
    that one, whatever epochs a changed setting would have kept before.
    """

    def __init__(self, train: TrainSettings, rows: Iterable[Row], kept: int | None = None) -> None:
        self._keep = None if train.keep is None else Best(train.keep)
        self.stopping = None if train.early_stop is None else Stopping(train.early_stop)
        self._plateau = None if train.plateau is None else PlateauRate(train.plateau)
        self._epochs = 0
        for row in rows:
            self._epochs += 1
            self._take_rate_and_stop(row)
            if self._keep is not None and self._epochs == kept:
                self._keep.take(row, kept)

    def take(self, row: Row) -> bool:
        """Takes the row of one more epoch. Returns whether `keep` asks to keep its parameters."""
        self._epochs += 1
        self._take_rate_and_stop(row)
        return self._keep is not None and self._keep.take(row, self._epochs)

    def _take_rate_and_stop(self, row: Row) -> None:
        if self.stopping is not None:
            self.stopping.best.take(row, self._epochs)
        if self._plateau is not None:
            self._plateau.take(row, self._epochs)

    @property
    def is_over(self) -> bool:
        """Whether the metric of `early_stop` has not improved for `patience` epochs."""
        return self.stopping is not None and self.stopping.is_over

    @property
    def rate(self) -> float:
        """The factor of the rate from a plateau."""
        return 1.0 if self._plateau is None else self._plateau.factor

    @property
    def describe_kept(self) -> str | None:
        """The epoch whose parameters `keep` leaves, as text; None without `keep`."""
        if self._keep is None:
            return None
        metric = self._keep.better.metric
        if not self._keep.epoch:
            return f"keep: no epoch has a value of {metric}; the last epoch's parameters stay"
        return f"kept epoch {self._keep.epoch}: {metric} {self._keep.value:.4g}"
