"""Training: epochs over shuffled batches, with metrics after each and a checkpoint that resumes to the same bits.

Reports through callbacks; knows no terminal.
"""

import inspect
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

from netc.compiler.ir.results import ResultKind
from netc.compiler.model import Model
from netc.compiler.targets.target import Ranks
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span
from netc.runtime.data.dataset import Dataset
from netc.runtime.data.stored import Array, Field
from netc.runtime.insight.nan_origin import find
from netc.runtime.metric_names import watched
from netc.runtime.metric_values import Losses, MetricValues, Row, loss_metrics
from netc.runtime.program import Program
from netc.runtime.random import permutation
from netc.runtime.runs.checkpoint import Progress
from netc.runtime.runs.claim import claimed
from netc.runtime.runs.metrics import Metrics
from netc.runtime.runs.run import Run
from netc.runtime.training.decisions import Decisions
from netc.runtime.training.schedule import scheduled, steps_of_epoch

_SMALLER = "a smaller rate; inputs of very different scale want `-> standardize`"
_BOUNDED = f"{_SMALLER}; `clip_norm` bounds a gradient"
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclass(frozen=True, slots=True)
class Report:
    """Progress in an epoch: `done` of `samples`, the mean loss so far, and samples per second."""

    epoch: int
    epochs: int
    done: int
    samples: int
    loss: float
    samples_per_second: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How training ended: the epochs of this call, why it stopped before the last one, and what `keep` kept.

    `is_over` says whether no epoch of the model's settings is left, or training has stopped by itself.
    """

    epochs: int
    stopped: str | None
    kept: str | None
    is_over: bool


class Trainee(Protocol):
    """A model in training: a run, which saves files in its folder, or a trial of a study, which has none.

    `metrics` has a row for each epoch that is done.
    """

    model: Model
    program: Program
    dataset: Dataset | None
    metrics: Metrics
    progress: Progress

    def evaluate(self, part: str) -> MetricValues:
        """Losses and metrics over a part of the data, in the data's units."""

    def save(self) -> None:
        """Saves the place in training, to go on from there."""

    def save_best(self) -> None:
        """Keeps the current parameters as those to use."""

    def load_best(self) -> None:
        """Loads the parameters that `save_best` kept, if the model's settings keep any."""

    def kept_epoch(self) -> int | None:
        """The epoch whose parameters are kept, None if there are none."""


def train(run: Run, epochs: int, on_progress: Callable[[Report], None], on_epoch: Callable[[Row], None]) -> Ending:
    """Train until `epochs` are done. An interruption (KeyboardInterrupt) leaves a checkpoint and goes on to the caller.

    In the main thread SIGINT, SIGTERM and SIGHUP wait until a step is complete and its checkpoint written. Then the
    handler that was there before gets the signal: by default SIGINT raises KeyboardInterrupt, and the other two end the
    process. Faults E1001 if another process trains in the folder.
    """
    with claimed(run.folder):
        return train_claimed(run, epochs, on_progress, on_epoch)


def train_claimed(
    run: Trainee, epochs: int, on_progress: Callable[[Report], None], on_epoch: Callable[[Row], None]
) -> Ending:
    """Does the same as `train`, for a trial, or for a caller that has claimed the run's folder."""
    decisions, before = Decisions(run.model.train, run.metrics, run.kept_epoch()), run.progress.epoch
    if run.dataset is not None and before < epochs:
        run.program.training(run.dataset.parts["train"])  # compiled while a signal still ends the process at once
    with _signals_between_steps(run.program.workers.ranks) as pause:
        while run.progress.epoch < epochs and not decisions.is_over and not run.program.is_trained:
            try:
                _epoch(run, epochs, decisions.rate, on_progress, pause)
            except KeyboardInterrupt:
                run.save()
                raise
            _refuse_lost_numbers(run)
            row = _end_epoch(run, decisions)
            run.save()
            on_epoch(row)
    run.load_best()
    stopped = _why_stopped(run, decisions) if run.progress.epoch < epochs else None
    averages = run.program.averages
    kept = decisions.describe_kept if averages is None else averages.describe(run.progress.epoch)
    is_over = run.progress.epoch >= run.model.train.epochs or decisions.is_over or run.program.is_trained
    return Ending(run.progress.epoch - before, stopped, kept, is_over)


def _end_epoch(run: Trainee, decisions: Decisions) -> Row:
    """Evaluates the epoch that is done, by the averages of the parameters if the run keeps these, and saves what it
    keeps. Returns the row of the epoch."""
    averages = run.program.averages
    has_average = averages is not None and averages.end_epoch(run.progress.epoch + 1)
    with averages.in_use() if averages is not None and has_average else nullcontext():
        assert run.dataset is not None
        parts = run.dataset.parts
        run.program.refit(parts["train"], parts.get("valid"), parts.get("calibration"))
        row = _row(run)
        run.metrics.append(row)
        run.progress = Progress(epoch=run.progress.epoch + 1)
        if decisions.take(row) or has_average:
            run.save_best()
    return row


def _why_stopped(run: Trainee, decisions: Decisions) -> str | None:
    """Why training ended before its last epoch."""
    if run.program.is_trained:
        return f"stopped after epoch {run.progress.epoch}: no step along the gradient lowers the loss"
    return None if decisions.stopping is None else decisions.stopping.describe()


@contextmanager
def _signals_between_steps(ranks: Ranks | None) -> Iterator[Callable[[int], int]]:
    """Hold back the signals that ask to end, so that a checkpoint is always of a complete step.

    The function that is yielded takes the number of steps that are due, and returns how many all ranks take: rank 0
    has measured how long they last. It raises KeyboardInterrupt if a signal has come to one of them; at the end the
    signal is handled as it would have been. A signal that is ignored, such as SIGHUP under `nohup`, stays ignored.
    """
    received: list[int] = []
    before: dict[int, Any] = {}

    def pause(steps: int) -> int:
        asking = len(received)
        if ranks is not None:
            asking, steps = ranks.largest([asking, steps if ranks.rank == 0 else 0])
        if asking:
            raise KeyboardInterrupt
        return steps

    if threading.current_thread() is not threading.main_thread():
        yield pause
        return
    try:
        for number in _ENDING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: its handler is not Python's
                before[number] = signal.signal(number, lambda number, frame: received.append(number))
        yield pause
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            _handle(received[0])


def _handle(number: int) -> None:
    """Handle a signal with its current handler."""
    handler = signal.getsignal(number)
    if callable(handler):
        handler(number, inspect.currentframe())
    else:
        signal.raise_signal(number)


def _epoch(
    run: Trainee, epochs: int, plateau: float, on_progress: Callable[[Report], None], pause: Callable[[int], int]
) -> None:
    """The remaining steps of the current epoch; `plateau` is a factor of the rate.

    The order of samples depends only on the seed and the epoch.
    """
    assert run.dataset is not None
    settings, progress = run.model.train, run.progress
    fields = run.dataset.training(run.program.seed, progress.epoch)
    count = len(next(iter(fields.values())))
    order = permutation(count, run.program.seed, progress.epoch) if settings.shuffle else np.arange(count)
    run.program.training(fields)  # compiled before the clock starts
    pace = run.program.pace
    started, done_before = time.perf_counter(), progress.samples
    size = settings.samples_per_step
    assert progress.step * size < count or progress.samples == count, "an epoch without steps: the data changed"
    reported, steps_an_epoch = started, steps_of_epoch(settings, count)
    while progress.step * size < count:
        due = pause(pace.steps)
        begin = time.perf_counter()
        chosen = order[progress.step * size : (progress.step + due) * size]
        steps = -(-len(chosen) // size)
        first = progress.epoch * steps_an_epoch + progress.step
        moving = scheduled(settings, first + np.arange(steps), steps_an_epoch, plateau)
        _count(run, run.program.steps(fields, chosen, progress.epoch, moving), fields, order)
        progress.samples += len(chosen)
        now = time.perf_counter()
        pace.took(steps, now - begin)
        if now - reported > 0.1:
            reported = now
            on_progress(
                Report(
                    progress.epoch + 1,
                    epochs,
                    progress.samples,
                    count,
                    progress.sums["loss"] / progress.counts["loss"],
                    (progress.samples - done_before) / (now - started),
                )
            )
    progress.seconds += time.perf_counter() - started


def _count(run: Trainee, losses: Losses, fields: Mapping[str, Field], order: Array) -> None:
    """Add the losses of some steps to the progress. Faults E1002 if one is not finite."""
    progress = run.progress
    is_finite = np.isfinite(losses.values["loss"])
    done = len(is_finite) if is_finite.all() else int(np.argmin(is_finite))
    for name, values in losses.values.items():
        counts = losses.counts[name][:done]
        sums = values[:done].astype(np.float64) * counts
        progress.sums[name] = _total(progress.sums.get(name, 0.0), sums)
        progress.counts[name] = _total(progress.counts.get(name, 0.0), counts)
    progress.step += done
    if done < len(is_finite):
        _not_a_number(run, fields, order)


def _total(start: float, numbers: Array) -> float:
    """A number with others added one after the other, so that it does not matter how many come at a time."""
    return float(np.add.accumulate(np.concatenate(([start], numbers)))[-1])


def _row(run: Trainee) -> Row:
    """The row of the epoch that is done: its losses, and those and the metrics of the validation part."""
    progress = run.progress
    for name, count in progress.counts.items():
        if count == 0:
            _refuse_weights(run, name)
    losses = {name: value / progress.counts[name] for name, value in progress.sums.items() if name != "loss"}
    row: Row = {"epoch": progress.epoch + 1}
    row |= {f"train.{name}": value for name, value in loss_metrics(run.model, losses).items()}
    assert run.dataset is not None
    part = "valid" if "valid" in run.dataset.parts else "train"
    if part == "valid" or run.model.graph.has(ResultKind.WATCH):
        metrics = run.evaluate(part)
        refuse_lost_loss(run, part, metrics)
        row |= {
            f"{part}.{name}": value for name, value in metrics.items() if part == "valid" or watched(name) is not None
        }
    return row | {"seconds": progress.seconds, "samples_per_second": progress.samples / max(progress.seconds, 1e-9)}


def _refuse_weights(run: Trainee, name: str) -> NoReturn:
    """Fault E1002 at a loss whose weights add up to 0 over the training part: there is nothing to learn from."""
    place = run.model.graph.results[ResultKind.LOSS.named(name)].span
    fault("E1002", f"the weights of the loss `{name}` add up to 0 over the part `train`", place, "it has no value")


def _refuse_lost_numbers(run: Trainee) -> None:
    """Fault E1002 if a parameter is not finite after an epoch, or a state is NaN.

    The loss of the last step was computed before its update, and does not show it. The last checkpoint stays as it is.
    """
    for name, info in {**run.model.trainables, **run.model.states}.items():
        array = run.program.persistent[name]
        lost = np.isnan(array) if name in run.model.states else ~np.isfinite(array)
        if lost.any():
            kind = "made of numbers" if array.shape else "a number"
            title = f"`{name}` is no longer {kind}, after epoch {run.progress.epoch + 1}"
            label = f"{int(lost.sum()):,} of {array.size:,} elements overflowed in its last step"
            fault("E1002", title, info.span, label, hint=_BOUNDED)


def refuse_lost_loss(run: Trainee, part: str, metrics: MetricValues) -> None:
    """Fault E1002 if the loss on a part of the data is NaN: predictions overflow, though the parameters are finite."""
    loss = metrics["loss"]
    if isinstance(loss, float) and math.isnan(loss):
        _lost_loss(run, f"the loss of the part `{part}` is not a number")


def _lost_loss(run: Trainee, title: str) -> NoReturn:
    """Fault E1002 at the losses, if no single operation is known to be the cause."""
    first, *others = _places_of_losses(run)
    is_weighted = run.model.graph.has(ResultKind.LOSS_WEIGHT)
    hint = f"{_SMALLER}; a weighted loss has no value where its weights add up to 0" if is_weighted else _SMALLER
    fault("E1002", title, first, others=[Label(span, "or this one") for span in others], hint=hint)


def _places_of_losses(run: Trainee) -> list[Span]:
    return [value.span for value in run.model.graph.results_of(ResultKind.LOSS).values()]


def _not_a_number(run: Trainee, fields: Mapping[str, Field], order: Array) -> None:
    """Fault E1002 at the operation that computed the first NaN; the last checkpoint stays as it is."""
    origin = find(run, fields, order, run.progress.step) if isinstance(run, Run) else None
    title = f"the loss is no longer a number, in epoch {run.progress.epoch + 1}, step {run.progress.step + 1}"
    if origin is not None and origin.value.span.source is run.model.source:
        place = origin.value.span
        losses = [Label(span, "the loss") for span in _places_of_losses(run) if span != place]
        fault("E1002", title, place, origin.sentence(), others=losses, hint=_BOUNDED)
    _lost_loss(run, title)
