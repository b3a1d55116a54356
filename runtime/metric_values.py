"""The losses of training steps, and the losses and metrics of a split, by name.

The value of a metric is a number, or a matrix as nested lists.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array

if TYPE_CHECKING:
    from netc.compiler.model import Model

BINS = 24  # of a histogram
MetricValue = float | list[Any]
MetricValues = dict[str, MetricValue]
Interval = tuple[float, float]
Intervals = dict[str, Interval]  # of the metrics that are numbers
Row = dict[str, MetricValue]  # of an epoch, as in metrics.jsonl: train.loss, valid.accuracy, ...


class Losses(Struct, frozen=True):
    """Every loss by name and `loss`, their sum, for each step; `counts` are what each is a mean over."""

    values: dict[str, Array]
    counts: dict[str, Array]

    @classmethod
    def of_one_step(cls, parts: Sequence["Losses"]) -> "Losses":
        """The losses of one step of the optimizer from those of its batches."""
        batches = cls.joined(parts)
        counts = {name: count.sum(keepdims=True) for name, count in batches.counts.items()}
        values = {
            name: (batches.values[name] * batches.counts[name]).sum(keepdims=True) / np.where(count == 0, np.inf, count)
            for name, count in counts.items()
        }
        values["loss"] = np.sum([value for name, value in values.items() if name != "loss"], axis=0)
        return cls(values, counts)

    @classmethod
    def joined(cls, parts: Sequence["Losses"]) -> "Losses":
        """The losses of consecutive steps."""
        names = parts[0].values
        return cls(
            {name: np.concatenate([part.values[name] for part in parts]) for name in names},
            {name: np.concatenate([part.counts[name] for part in parts]) for name in names},
        )


def loss_metrics(model: "Model", losses: Mapping[str, MetricValue]) -> MetricValues:
    """`loss`, the sum of the losses that depend on data, and `penalty`, the sum of the others.

    If there are several losses, each is there by its name too.
    """
    penalties = model.graph.penalties()
    others = {name: value for name, value in losses.items() if name in penalties}
    of_data = {name: value for name, value in losses.items() if name not in penalties}
    total: MetricValues = {"loss": _sum_of(of_data)} if of_data else {}
    return {**(losses if len(losses) > 1 else {}), **total, **({"penalty": _sum_of(others)} if others else {})}


def _sum_of(values: Mapping[str, MetricValue]) -> float:
    return sum(value for value in values.values() if isinstance(value, float))


def metric_value(value: Array, is_batched: bool) -> MetricValue:
    """The value of a metric: the mean over the samples, or a matrix of all of them as nested lists."""
    if is_batched or not value.ndim:
        return float(np.mean(value, dtype=np.float64))
    rows: list[Any] = value.tolist()
    return rows


def number_of(metric: MetricValue | None) -> float:
    """A metric as the point of a curve; NaN if it is missing or a matrix."""
    return float(metric) if isinstance(metric, int | float) else math.nan


def epoch_of(row: Row) -> int:
    """The number of the epoch of a row, from 1 on."""
    number = row["epoch"]
    assert isinstance(number, int | float), "the number of an epoch is a number"
    return int(number)


def histogram(value: Array) -> list[list[float]]:
    """The lower ends of BINS bins of equal width, and how many elements are in each; of what is finite."""
    finite = value[np.isfinite(value)].astype(np.float64)
    counts, edges = np.histogram(finite, BINS)
    return [edges[:-1].tolist(), counts.astype(np.float64).tolist()]
