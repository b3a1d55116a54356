"""Schedules: the learning rate, and factors of losses, for each step.

They are a function of the position in training, so a resumed run goes on as if it had never stopped.
"""

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.model import TrainSettings
from netc.compiler.reference import evaluate
from netc.runtime.data.stored import Array
from netc.runtime.execution.compiled_model import Scheduled


def steps_of_epoch(train: TrainSettings, samples: int) -> int:
    """The steps of the optimizer in an epoch of this many samples."""
    return -(-samples // train.samples_per_step)


def scheduled(train: TrainSettings, steps: Array, steps_an_epoch: int, plateau: float = 1.0) -> Scheduled:
    """The rate and the factor of each loss of `loss_scale` in these steps, counted from 0 over the whole training.

    `plateau` is a factor of the rate besides that of the schedule, from the metrics of past epochs (Decisions).
    """
    step, count = steps.astype(np.float64), len(steps)
    epoch = step / steps_an_epoch
    leaves = {
        "step": step,
        "epoch": epoch,
        "progress": epoch / train.epochs,
        "epochs": np.full(count, float(train.epochs)),
    }

    def along(schedule: Graph | None) -> Array:
        return np.ones(count) if schedule is None else evaluate(schedule, leaves, count)[str(ResultKind.FACTOR.named())]

    rate = along(train.schedule) * plateau * train.number("lr")
    scales = {str(SuppliedKind.LOSS_FACTOR.named(name)): along(scale) for name, scale in train.loss_scale}
    return {str(SuppliedKind.RATE.named()): rate, **scales}
