"""Bootstrap intervals of metrics: how much they would differ for other samples of the same kind (Efron 1979).

Samples are drawn with replacement, a sequence as a whole, and each metric is computed for them again. Takes and gives
plain numbers; evaluation.py computes the metrics.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.metric_values import Interval

LEVEL = 0.95
_MOST_RESAMPLES, _LEAST_RESAMPLES = 1000, 100
_MOST_SAMPLES = 10_000  # of a resample
_MOST_ELEMENTS = 40_000_000  # that all resamples read, while they are more than _LEAST_RESAMPLES


class Resampling(Struct, frozen=True):
    """The number of resamples, and how many of `count` samples each draws.

    Of many samples only `size` are drawn at a time, and deviations are scaled by sqrt(size / count) (Bickel, Götze and
    van Zwet 1997): so the time does not grow with the data.
    """

    count: int
    size: int
    resamples: int

    @classmethod
    def of(cls, count: int, fields: Mapping[str, Field]) -> "Resampling":
        """The resampling of these fields, of which each resample reads a share."""
        size = min(count, _MOST_SAMPLES)
        elements = sum(
            (field.rows if isinstance(field, Ragged) else np.asarray(field)).size for field in fields.values()
        )
        affordable = _MOST_ELEMENTS * count // max(elements * size, 1)
        return cls(count, size, min(max(affordable, _LEAST_RESAMPLES), _MOST_RESAMPLES))

    def orders(self, random: np.random.Generator) -> Iterator[Array]:
        """Yields the numbers of the samples of each resample."""
        for _ in range(self.resamples):
            yield random.integers(0, self.count, self.size)

    def interval(self, value: float, resampled: Sequence[float]) -> Interval | None:
        """The interval of a metric: percentiles of its values for the resamples that have one.

        None if the metric itself or all of these have no value.
        """
        values = np.asarray(resampled)
        values = values[np.isfinite(values)]
        if not math.isfinite(value) or not len(values):
            return None
        low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        if self.size < self.count:
            scale = math.sqrt(self.size / self.count)
            low, high = value + (low - value) * scale, value + (high - value) * scale
        return float(low), float(high)
