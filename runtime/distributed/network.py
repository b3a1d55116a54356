"""The network between ranks as numbers: how long messages of several sizes take."""

import numpy as np
from msgspec import Struct

REQUEST = 0.3e-6  # seconds of a further request, where nobody has measured it: Zen 4, Open MPI


class Network(Struct, frozen=True):
    """The seconds that a message of some bytes takes between two ranks which both send one, by increasing bytes; and
    the seconds that each further request of a message takes."""

    points: tuple[tuple[int, float], ...]
    request: float

    @classmethod
    def of(cls, latency: float, bandwidth: float, request: float = REQUEST) -> "Network":
        """A network in which a message takes `latency` seconds, and another one for every `bandwidth` bytes."""
        return cls(tuple((size, latency + size / bandwidth) for size in (0, 1_000_000)), request)

    @property
    def latency(self) -> float:
        """The seconds of a short message."""
        return self.points[0][1]

    @property
    def bandwidth(self) -> float:
        """The bytes per second of a long message."""
        (size, seconds), (longer_size, longer) = self.points[-2:]
        return (longer_size - size) / max(longer - seconds, 1e-12)

    def seconds(self, nbytes: int, requests: int) -> float:
        """The seconds in which a rank receives some bytes, by several requests at once."""
        sizes, times = zip(*self.points, strict=True)
        longer = max(nbytes - sizes[-1], 0) / self.bandwidth
        near = float(np.interp(nbytes, sizes, times))
        return float(near + longer + max(requests - 1, 0) * self.request)
