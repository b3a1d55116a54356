"""The standing of a run's training, and its learning rate after its settings changed: for `--resume`."""

import numpy as np

from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.model import TrainSettings
from netc.dsl.plural import counted
from netc.runtime.runs.run import Run
from netc.runtime.training.decisions import Decisions
from netc.runtime.training.schedule import scheduled, steps_of_epoch

_SAME = 1e-6  # the relative difference of two rates from which a user is told


def standing(run: Run, train: TrainSettings) -> str:
    """The progress of a run's training, by the settings that it had, and why it ended there."""
    progress, decisions = run.progress, Decisions(train, run.metrics)
    done = f"{progress.epoch} of {run.model.train.epochs} epochs done"
    if progress.step:
        return f"{done}; it was interrupted in epoch {progress.epoch + 1}, after {counted(progress.samples, 'sample')}"
    if decisions.stopping is not None and decisions.is_over:
        return f"{done}; {decisions.stopping.describe()}"
    if progress.epoch >= train.epochs:
        return f"{done}; it had ended after epoch {progress.epoch}"
    return f"{done}; it was interrupted before epoch {progress.epoch + 1}"


def moved_rate(run: Run, before: TrainSettings) -> str | None:
    """The change of the learning rate at the next step that is due to changed settings; None if there is none."""
    assert run.dataset is not None
    after = run.model.train
    steps = steps_of_epoch(after, len(next(iter(run.dataset.parts["train"].values()))))
    upcoming = run.progress.epoch * steps + run.progress.step
    if upcoming == 0 or upcoming >= after.epochs * steps:
        return None
    unchanged, expected = (_rate(run, train, steps, upcoming) for train in (before, after))
    if abs(unchanged - expected) <= _SAME * max(abs(unchanged), abs(expected)):
        return None
    last, end = _rate(run, before, steps, upcoming - 1), _rate(run, after, steps, after.epochs * steps - 1)
    full = after.optimizer.numbers["lr"]
    return (
        f"the learning rate goes from {last:.3g} to {expected:.3g} ({expected / full:.3g} of lr = {full:g}) "
        f"at the next step, and to {end:.3g} at the end of {counted(after.epochs, 'epoch')}"
    )


def _rate(run: Run, train: TrainSettings, steps_an_epoch: int, step: int) -> float:
    """The learning rate of a step by some settings."""
    plateau = Decisions(train, run.metrics).rate
    moving = scheduled(train, np.array([step]), steps_an_epoch, plateau)
    return float(moving[str(SuppliedKind.RATE.named())][0])
