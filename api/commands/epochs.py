"""The progress of a training: its epochs so far, their losses and times, the best epoch, and the time that is left."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.commands.quantities import significant
from netc.commands.status import Status

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.metric_values import Row
    from netc.runtime.trainer import Report
    from netc.runtime.training.decisions import Best

_RECENT = 5  # epochs whose time is that of those to come
_MOST_LOSSES = 4096  # points of the curve of losses
_LITTLE = 0.05  # of the first epoch, too little to tell its time from


def status_of(report: "Report", prefix: str = "", curve: Sequence[float] = (), left: float | None = None) -> Status:
    """The status of a training that has sent a report; `curve` are its losses, `left` the seconds until its end."""
    done = (report.epoch - 1 + report.done / report.samples) / report.epochs
    facts = (f"loss {significant(report.loss)}", f"{report.samples_per_second:,.0f} samples/s")
    return Status(f"{prefix}epoch {report.epoch}/{report.epochs}", done, facts, curve, left)


class Epochs:
    """The epochs of a training so far: their losses and times, and the best of them."""

    def __init__(self, model: "Model", rows: Sequence["Row"]) -> None:
        from netc.runtime.training.decisions import Stopping

        self._train, self._source = model.train, model.source
        self._epoch, self._started = 0, time.monotonic()
        self._losses, self._seconds = list[float](), list[float]()
        self.best: Best | None = None
        early = model.train.early_stop
        self._stopping: Stopping | None = None if early is None else Stopping(early)
        for row in rows:
            self.take(row)
        self._seconds.clear()

    @property
    def metric(self) -> str:
        """The metric by which an epoch is the best one."""
        return self.best.better.metric if self.best is not None else ""

    def status(self, report: "Report", prefix: str = "") -> Status:
        """The progress after a report, as a line of text behind the prefix."""
        curve, left = self._report(report)
        return status_of(report, prefix, curve, left)

    def begins(self, done: int) -> Status:
        """The progress after a number of epochs, before the first report of the next one."""
        epochs, recent = self._train.epochs, self._seconds[-_RECENT:]
        left = sum(recent) / len(recent) * (epochs - done) if recent else None
        facts = (f"loss {significant(self._losses[-1])}",) if self._losses else ()
        return Status(f"epoch {min(done + 1, epochs)}/{epochs}", done / epochs, facts, [*self._losses], left)

    def _report(self, report: "Report") -> tuple[list[float], float | None]:
        """The curve of losses and the seconds left, after a report."""
        self._begin(report.epoch)
        self._add(report.loss)
        curve = [*self._losses]
        done, elapsed = report.done / report.samples, time.monotonic() - self._started
        recent = self._seconds[-_RECENT:]
        if not recent and done < _LITTLE:
            return curve, None
        seconds = sum(recent) / len(recent) if recent else elapsed / done
        return curve, max(seconds * (report.epochs - report.epoch + 1) - elapsed, 0.0)

    def take(self, row: "Row") -> bool:
        """Takes the row of an epoch. Returns whether it is the best one so far."""
        from netc.runtime.metric_values import epoch_of

        epoch = epoch_of(row)
        self._begin(epoch + 1)
        loss = row.get("train.loss", math.nan)
        self._add(loss if isinstance(loss, float) else math.nan)
        if self.best is None:
            self.best = self._new_best(row)
        if self._stopping is not None:
            self._stopping.best.take(row, epoch)
        return self.best.take(row, epoch)

    def _add(self, loss: float) -> None:
        """Adds a point to the curve. A long curve loses every other one."""
        if len(self._losses) >= _MOST_LOSSES:
            del self._losses[::2]
        self._losses.append(loss)

    def _begin(self, epoch: int) -> None:
        """Notes the time of the epoch before, if this one has just begun."""
        if epoch == self._epoch:
            return
        now = time.monotonic()
        if self._epoch:
            self._seconds.append(now - self._started)
        self._epoch, self._started = epoch, now

    def _new_best(self, row: "Row") -> "Best":
        """The metric by which epochs are compared: that of `keep`, of `early_stop`, or else the loss."""
        from netc.compiler.model import Better
        from netc.dsl.source import Span
        from netc.runtime.training.decisions import Best

        early = self._train.early_stop
        named = self._train.keep or (early.better if early is not None else None)
        loss = "valid.loss" if "valid.loss" in row else "train.loss"
        return Best(named or Better(loss, False, Span(self._source, 0, 0)))

    def standing(self) -> str:
        """The best epoch, and when `early_stop` would end the training."""
        if self.best is None or not self.best.epoch:
            return ""
        text = f"* best by {self.metric}: {significant(self.best.value)} in epoch {self.best.epoch}"
        if self._stopping is None:
            return text
        left = self._stopping.setting.patience - self._stopping.best.epochs_ago
        return f"{text}; early_stop after {left} more without a better one"
