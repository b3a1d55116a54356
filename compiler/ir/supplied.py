"""Leaves of kind `given` that the runtime computes for a step, besides index tables: random words, rates, scales.

The name of such a leaf is the printed form of a `Supplied`; only this file reads it.
"""

from enum import Enum
from functools import cache

from msgspec import Struct


class SuppliedKind(Enum):
    """The content of a leaf. The value is the text before its name."""

    CONSTANT = "constant"  # a number of the model (passes/supplied_constants.py); the name is which one
    RANDOM = "random"  # two random words, the key of a stream of random numbers; the name is the stream's
    SAMPLES = "random.sample"  # the number of each sample, which random numbers depend on
    RATE = "train.rate"  # the learning rate of a step
    NUMBER = "train.number"  # another number of the `train` block, which steps read: the name is that of its setting
    LOSS_FACTOR = "train.loss_factor"  # the factor of a loss, from a schedule
    BATCH_SHARE = "batch.share"  # the samples of a step's batch, divided by those of a full one
    SCALE = "scale"  # by which the bytes of an input are multiplied

    def named(self, name: str | int = "") -> "Supplied":
        """The leaf of this kind with a name."""
        return Supplied(self, str(name))


class Supplied(Struct, frozen=True):
    """One leaf that the runtime computes."""

    kind: SuppliedKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value}.{self.name}" if self.name else self.kind.value


_WITHOUT_NAME = (SuppliedKind.SAMPLES, SuppliedKind.RATE, SuppliedKind.BATCH_SHARE)


@cache
def parse_supplied(text: str) -> Supplied | None:
    """Reads the printed form of a leaf; None for names of other leaves."""
    for kind in _WITHOUT_NAME:
        if text == kind.value:
            return kind.named()
    for kind in SuppliedKind:
        prefix, name = f"{kind.value}.", text[len(kind.value) + 1 :]
        if kind not in _WITHOUT_NAME and name and text.startswith(prefix):
            return kind.named(name)
    return None
