"""The learning-rate range test: a short training in which the rate rises from step to step (Smith 2017,
arXiv:1506.01186). A good rate lies where the loss falls fastest, well below the one at which it rises again.
"""

import math

import numpy as np
from msgspec import Struct

from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.model import Model
from netc.compiler.targets.target import Ranks
from netc.runtime.data.dataset import Dataset
from netc.runtime.data.stored import Array
from netc.runtime.program import Program
from netc.runtime.random import permutation

LOWEST, HIGHEST = 1e-7, 10.0  # rates
_STEPS = 200
_MEMORY = 0.9  # of the running mean of losses
_DIVERGED = 4.0  # times the least mean
_LITTLE = 0.1  # of a fall
# Of the rate with the least loss. The running mean follows ten steps later, in which the rate rises 2.5-fold, and above
# the limit of a narrow valley the loss needs some more steps before it rises.
_HIGHEST_SHARE = 0.2
_FIRST = 10  # steps before which the mean says little


class RateTest(Struct, frozen=True):
    """The rate of each step with its loss and the running mean of the losses, up to where the loss has risen again.

    The loss falls fastest at the rate `steepest`, and is least at `least`.
    """

    rates: Array
    losses: Array
    means: Array
    steepest: float
    least: float

    @property
    def advised(self) -> tuple[float, float]:
        """The lowest and the highest rate to try: from a tenth of `least` to `steepest`, in their order, but at most
        `_HIGHEST_SHARE` of `least`."""
        lowest, highest = sorted((self.steepest, self.least / 10))
        most = _HIGHEST_SHARE * self.least
        return min(lowest, most), min(highest, most)


def rate_test(
    model: Model, dataset: Dataset, threads: int | None = None, steps: int = _STEPS, ranks: Ranks | None = None
) -> RateTest:
    """Trains from the model's initial parameters, on its shuffled training samples, and keeps nothing. `ranks` are as
    in Program."""
    size = model.train.samples_per_step
    program = Program(model, threads=threads, ranks=ranks)
    program.fit(dataset.parts["train"])
    rates, losses = np.geomspace(LOWEST, HIGHEST, steps), list[float]()
    epoch = 0
    while len(losses) < steps and (not losses or math.isfinite(losses[-1])):
        fields = dataset.training(program.seed, epoch)
        samples = permutation(len(next(iter(fields.values()))), program.seed, epoch)[: (steps - len(losses)) * size]
        count = -(-len(samples) // size)
        moving = {str(SuppliedKind.RATE.named()): rates[len(losses) : len(losses) + count]}
        moving |= {str(SuppliedKind.LOSS_FACTOR.named(name)): np.ones(count) for name, _ in model.train.loss_scale}
        losses += program.steps(fields, samples, epoch, moving).values["loss"].tolist()
        epoch += 1
    return _judged(rates[: len(losses)], np.array(losses))


def _judged(rates: Array, losses: Array) -> RateTest:
    """The steps before the loss has risen to several times its least mean, or is not a number."""
    means, mean, weight = np.empty(len(losses)), 0.0, 0.0
    end = len(losses)
    for i, loss in enumerate(losses):
        mean, weight = _MEMORY * mean + (1 - _MEMORY) * loss, _MEMORY * weight + 1 - _MEMORY
        means[i] = mean / weight
        has_risen = i >= _FIRST and means[i] > _DIVERGED * means[_FIRST : i + 1].min()
        if has_risen or not math.isfinite(means[i]):
            end = i
            break
    end = max(end, 2)
    rates, losses, means = rates[:end], losses[:end], means[:end]
    first = min(_FIRST, end - 1)
    least = first + int(np.argmin(means[first:]))
    begin = max(first, _last_before_fall(means[: least + 1]))
    steepest = begin + int(np.argmin(np.gradient(means, np.log(rates))[begin : least + 1]))
    return RateTest(rates, losses, means, float(rates[steepest]), float(rates[least]))


def _last_before_fall(means: Array) -> int:
    """The last step at which little of the way from the first losses to the least one, the last, was done: the noise of
    earlier steps says nothing about the rate."""
    before = float(np.median(means[: max(len(means) // 3, 1)]))
    return int(np.flatnonzero(means >= before - _LITTLE * max(before - means[-1], 0.0))[-1])
