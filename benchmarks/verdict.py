"""Says whether a model became slower or faster, or whether the rounds of measuring do not show a change.

The rule, over the seconds per step of each round:

- The time of a set of rounds is its lower quartile. Disturbances make rounds slower and never faster, so the lower
  quartile stays where it is until they reach three quarters of the rounds; the minimum would depend on one round.
- The noise is the interval that contains 99% of the ratios (now / before) of two sets drawn from the rounds with
  replacement (the bootstrap), widened by `FLOOR` to both sides: by so much runs of the same program differ.
- The rounds of now come in sweeps over all models, some minutes apart. A model is slower only if the interval of every
  sweep lies above 1, and faster only if that of every sweep lies below 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

FLOOR = 0.02
_DRAWN = 2000
_SHARE = 0.99


class Verdict(Enum):
    """The change between two measurements."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "no change beyond the noise"


@dataclass(frozen=True)
class Change:
    """The ratio of the time now to the time before, and the interval of the noise around it."""

    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        if self.low > 1:
            return Verdict.SLOWER
        return Verdict.FASTER if self.high < 1 else Verdict.SAME


def time_of(rounds: Sequence[float]) -> float:
    """The lower quartile of the rounds, in their unit."""
    return float(np.quantile(rounds, 0.25))


def change(before: Sequence[float], now: Sequence[float]) -> Change:
    """The change between two sets of rounds. The same rounds always give the same result."""
    rng = np.random.default_rng(0)

    def drawn(rounds: Sequence[float]) -> np.ndarray:
        samples = rng.choice(np.asarray(rounds), (_DRAWN, len(rounds)))
        return np.quantile(samples, 0.25, axis=1)

    ratios = drawn(now) / drawn(before)
    low, high = np.quantile(ratios, [(1 - _SHARE) / 2, (1 + _SHARE) / 2])
    return Change(time_of(now) / time_of(before), float(low) / (1 + FLOOR), float(high) * (1 + FLOOR))


def verdict(before: Sequence[float], sweeps: Sequence[Sequence[float]]) -> Verdict:
    """The verdict that all sweeps agree on; `Verdict.SAME` if they differ."""
    verdicts = {change(before, sweep).verdict for sweep in sweeps}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.SAME
