"""Training: epochs over shuffled batches, with metrics after each and a checkpoint that resumes to the same bits.

Reports through callbacks; knows no terminal.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np
from msgspec import Struct

from netc.compiler.ir.results import ResultKind
from netc.runtime.data.stored import Array, Field
from netc.runtime.lost_numbers import not_a_number, refuse_lost_loss, refuse_lost_numbers, refuse_weights
from netc.runtime.metric_names import watched
from netc.runtime.metric_values import Losses, Row, loss_metrics
from netc.runtime.random import permutation
from netc.runtime.runs.checkpoint import Progress
from netc.runtime.runs.claim import claimed
from netc.runtime.runs.run import Run
from netc.runtime.signals import signals_between_steps
from netc.runtime.trainee import Trainee
from netc.runtime.training.decisions import Decisions
from netc.runtime.training.schedule import scheduled, steps_of_epoch


class Report(Struct, frozen=True):
    """Progress in an epoch: `done` of `samples`, the mean loss so far, and samples per second."""

    epoch: int
    epochs: int
    done: int
    samples: int
    loss: float
    samples_per_second: float


class Ending(Struct, frozen=True):
    """The outcome of a training: the epochs of this call, why it stopped before the last one, and what `keep` kept.

    `is_over` says whether no epoch of the model's settings is left, or training has stopped by itself.
    """

    epochs: int
    stopped: str | None
    kept: str | None
    is_over: bool


def train(run: Run, epochs: int, on_progress: Callable[[Report], None], on_epoch: Callable[[Row], None]) -> Ending:
    """Trains until `epochs` are done. An interruption (KeyboardInterrupt) leaves a checkpoint and reaches the caller.

    In the main thread SIGINT, SIGTERM and SIGHUP wait until a step is complete and its checkpoint written. Then the
    handler that was there before gets the signal: by default SIGINT raises KeyboardInterrupt, and the other two end the
    process. Raises E1001 if another process trains in the folder.
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
    with signals_between_steps(run.program.workers.ranks) as pause:
        while run.progress.epoch < epochs and not decisions.is_over and not run.program.is_trained:
            try:
                _epoch(run, epochs, decisions.rate, on_progress, pause)
            except KeyboardInterrupt:
                run.save()
                raise
            refuse_lost_numbers(run)
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
    pause(0)  # an evaluation follows


def _count(run: Trainee, losses: Losses, fields: Mapping[str, Field], order: Array) -> None:
    """Adds the losses of some steps to the progress. Raises E1002 if one is not finite."""
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
        not_a_number(run, fields, order)


def _total(start: float, numbers: Array) -> float:
    """A number with others added one after the other, so that it does not matter how many come at a time."""
    return float(np.add.accumulate(np.concatenate(([start], numbers)))[-1])


def _row(run: Trainee) -> Row:
    """The row of the epoch that is done: its losses, and those and the metrics of the validation part."""
    progress = run.progress
    for name, count in progress.counts.items():
        if count == 0:
            refuse_weights(run, name)
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
