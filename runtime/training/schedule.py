"""Schedules: factors of the learning rate and of losses for each step, and decisions from the metrics of past epochs.

All of it is a function of the place in training and of the rows that a run keeps, so a resumed run goes on as if it
had never stopped.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.model import Better, Plateau, TrainSettings
from netc.compiler.reference import evaluate
from netc.dsl.diagnostics import fault, nearest
from netc.runtime.data.stored import Array
from netc.runtime.execution.compiled_model import Factors
from netc.runtime.figures import Figure

_THRESHOLD = 1e-4  # the relative improvement that ends a plateau, as in PyTorch's ReduceLROnPlateau
Row = Mapping[str, Figure]


def factors(train: TrainSettings, first: int, count: int, steps_an_epoch: int, plateau: float = 1.0) -> Factors:
    """The factors of the rate and of each loss of `loss_scale`, in `count` steps from step `first` of the training on.

    `plateau` is another factor of the rate, from the metrics of past epochs (Decisions).
    """
    step = np.arange(first, first + count, dtype=np.float64)
    epoch = step / steps_an_epoch
    leaves = {
        "step": step,
        "epoch": epoch,
        "progress": epoch / train.epochs,
        "epochs": np.full(count, float(train.epochs)),
    }

    def along(schedule: Graph | None) -> Array:
        return np.ones(count) if schedule is None else evaluate(schedule, leaves, count)[str(ResultKind.FACTOR.named())]

    rate = along(train.schedule) * plateau
    scales = {str(SuppliedKind.LOSS_FACTOR.named(name)): along(scale) for name, scale in train.loss_scale}
    return {str(SuppliedKind.RATE_FACTOR.named()): rate, **scales}


def figure(better: Better, row: Row) -> float:
    """The figure of an epoch that decides which is better. Faults E0602 if the epoch has none of this name."""
    if better.figure not in row:
        names = [name for name in row if "." in name]
        fault(
            "E0602",
            f"no epoch has a figure `{better.figure}`",
            better.span,
            f"there are {', '.join(names)}",
            hint=nearest(better.figure, names),
        )
    value = row[better.figure]
    if not isinstance(value, float):
        fault("E0602", f"`{better.figure}` is a matrix: none is better", better.span)
    return value


@dataclass(slots=True)
class Best:
    """The best value of a figure so far, and how many epochs ago it was. NaN is worse than any number."""

    better: Better
    value: float | None = None
    epochs_ago: int = 0

    def take(self, row: Row) -> bool:
        """Take the next epoch; returns whether it is better than all before, as the first is."""
        value = figure(self.better, row)
        is_first = self.value is None
        is_better = (
            self.value is not None
            and not math.isnan(value)
            and (math.isnan(self.value) or self.better.than(value, self.value))
        )
        if is_first or is_better:
            self.value, self.epochs_ago = value, 0
            return True
        self.epochs_ago += 1
        return False


@dataclass(slots=True)
class PlateauRate:
    """ReduceLROnPlateau of PyTorch: the rate falls after more than `patience` epochs without an improvement.

    An improvement is a ten-thousandth; NaN is none.
    """

    plateau: Plateau
    factor: float = 1.0
    best: float = math.nan
    bad_epochs: int = 0

    def take(self, row: Row) -> None:
        value = figure(self.plateau.better, row)
        margin = 1 + _THRESHOLD if self.plateau.better.is_higher else 1 - _THRESHOLD
        if not math.isnan(value) and (math.isnan(self.best) or self.plateau.better.than(value, self.best * margin)):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.plateau.patience:
            self.factor, self.bad_epochs = self.factor * self.plateau.factor, 0


class Decisions:
    """Decisions from the epochs so far: whether to keep the last, whether training is over, the factor of the rate.

    An epoch costs the same, however many there were before.
    """

    def __init__(self, train: TrainSettings, rows: Iterable[Row]) -> None:
        self._keep = None if train.keep is None else Best(train.keep)
        self._stop = train.early_stop
        self._stopping = None if train.early_stop is None else Best(train.early_stop.better)
        self._plateau = None if train.plateau is None else PlateauRate(train.plateau)
        self.keeps_last = False
        for row in rows:
            self.take(row)

    def take(self, row: Row) -> None:
        """Take the row of one more epoch. Faults E0602 if it lacks a figure that decides."""
        self.keeps_last = self._keep is not None and self._keep.take(row)
        if self._stopping is not None:
            self._stopping.take(row)
        if self._plateau is not None:
            self._plateau.take(row)

    @property
    def is_over(self) -> bool:
        """Whether the figure of `early_stop` has not improved for `patience` epochs."""
        return (
            self._stop is not None and self._stopping is not None and self._stopping.epochs_ago >= self._stop.patience
        )

    @property
    def rate(self) -> float:
        """The factor of the rate from a plateau."""
        return 1.0 if self._plateau is None else self._plateau.factor
