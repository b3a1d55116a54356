"""What moves the rate and the losses, and ends a training: factors for each step, and decisions from the figures of past epochs.

All of it is a function of where training stands and of the rows that a run keeps, so a resumed run goes on as if it had never stopped.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from netc.compiler.graph import Graph
from netc.compiler.model import Better, EarlyStop, Plateau, TrainSettings
from netc.compiler.passes.objective import LOSS_FACTOR
from netc.compiler.passes.update import FACTOR
from netc.compiler.reference import evaluate
from netc.dsl.diagnostics import fault, nearest
from netc.runtime.data.stored import Array
from netc.runtime.figures import Figure

_THRESHOLD = 1e-4  # of a plateau, relative, as PyTorch's ReduceLROnPlateau has it
Rows = Sequence[Mapping[str, Figure]]
Factors = Mapping[str, Array]  # a number a step, by what it multiplies


def factors(train: TrainSettings, first: int, count: int, steps_an_epoch: int, rows: Rows) -> Factors:
    """What the rate is multiplied by, and each loss of `loss_scale`, in `count` steps from step `first` of the training on."""
    step = np.arange(first, first + count, dtype=np.float64)
    epoch = step / steps_an_epoch
    standing = {
        "step": step,
        "epoch": epoch,
        "progress": epoch / train.epochs,
        "epochs": np.full(count, float(train.epochs)),
    }

    def along(schedule: Graph | None) -> Array:
        return np.ones(count) if schedule is None else evaluate(schedule, standing, count)["factor"]

    rate = along(train.schedule) * plateau_factor(train.plateau, rows)
    return {FACTOR: rate, **{f"{LOSS_FACTOR}{name}": along(one) for name, one in train.loss_scale}}


def plateau_factor(plateau: Plateau | None, rows: Rows) -> float:
    """ReduceLROnPlateau of PyTorch: more than `patience` epochs without a figure that is better by a ten-thousandth."""
    factor, best, bad = 1.0, math.nan, 0
    for row in rows if plateau is not None else ():
        assert plateau is not None
        value = figure(plateau.better, row)
        margin = 1 + _THRESHOLD if plateau.better.is_higher else 1 - _THRESHOLD
        if math.isnan(best) or plateau.better.than(value, best * margin):
            best, bad = value, 0
        else:
            bad += 1
        if bad > plateau.patience:
            factor, bad = factor * plateau.factor, 0
    return factor


def figure(better: Better, row: Mapping[str, Figure]) -> float:
    """A figure of an epoch. Faults E0602 if there is none of this name."""
    if better.figure not in row:
        known = [name for name in row if "." in name]
        fault(
            "E0602",
            f"no epoch has a figure `{better.figure}`",
            better.span,
            f"there are {', '.join(known)}",
            hint=nearest(better.figure, known),
        )
    value = row[better.figure]
    if not isinstance(value, float):
        fault("E0602", f"`{better.figure}` is a matrix: none is better", better.span)
    return value


def is_best(better: Better, rows: Rows) -> bool:
    """Whether the last row is better than all before."""
    values = [figure(better, row) for row in rows]
    return all(better.than(values[-1], one) for one in values[:-1])


def is_over(stop: EarlyStop | None, rows: Rows) -> bool:
    """Whether the figure has not become better for `patience` epochs."""
    if stop is None or not rows:
        return False
    last_best = max(i for i in range(len(rows)) if is_best(stop.better, rows[: i + 1]))
    return len(rows) - 1 - last_best >= stop.patience
