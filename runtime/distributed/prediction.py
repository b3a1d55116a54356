"""Predicts what a training step takes on several ranks, from its times in one process and a network.

One rank's share of the step is run and timed here, without any message. Each message then takes as long as the network
needs for the bytes that a rank receives. Overlap with computing is not counted.
"""

import ctypes
import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from msgspec import Struct, field

from netc.compiler.model import Model
from netc.compiler.targets.target import NativeCall, Part
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.distributed.network import Network
from netc.runtime.distributed.rounds import bytes_of, rounds
from netc.runtime.program import Program

_CHUNK = 0.05  # seconds of a chunk of steps, after which ranks gather the optimizer's states
_SECONDS = 0.4  # in which each number of ranks is timed
_FEWEST = 5  # runs
_SEMAPHORE_WORDS = 8  # of 64 bits: more than a semaphore of any Linux has


class Prediction(Struct, frozen=True):
    """A step on so many ranks. If they share it, a rank computes and gathers for so many seconds, and receives so many
    bytes; by itself a rank takes the seconds `alone`."""

    ranks: int
    computing: float
    gathering: float
    nbytes: int
    alone: float

    @property
    def is_shared(self) -> bool:
        """Whether training, which tries both, will share the step; otherwise every rank does all of it."""
        return self.ranks > 1 and self.computing + self.gathering < self.alone

    @property
    def seconds(self) -> float:
        """The time of the step as training will do it."""
        return self.computing + self.gathering if self.is_shared else self.alone


def predictions(model: Model, network: Network, counts: Sequence[int]) -> list[Prediction]:
    """Times the training step of a model on synthetic data for each number of ranks of one thread, and predicts it.

    If there are more ranks than a batch has shards, the batch gets a shard for each.
    """
    alone, _, _ = _costs(model, network, 1)
    return [Prediction(count, *_costs(model, network, count), alone) for count in counts]


class _Message:
    """A message that is not sent. `count` says how often it would have been: machine code that begins it raises a
    semaphore, which calls no Python."""

    waits: tuple[NativeCall, ...] = ()

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts, self._runs = parts, 0
        self._semaphore = (ctypes.c_int64 * _SEMAPHORE_WORDS)()
        _system().sem_init(self._semaphore, 0, 0)
        post = ctypes.cast(_system().sem_post, ctypes.c_void_p).value or 0
        self.starts: tuple[NativeCall, ...] = ((post, ctypes.addressof(self._semaphore), 0, 0),)

    @property
    def count(self) -> int:
        """The number of times that it was begun, in steps and outside of them."""
        value = ctypes.c_int()
        _system().sem_getvalue(self._semaphore, ctypes.byref(value))
        return value.value + self._runs

    def run(self) -> None:
        """See Exchange.run."""
        self._runs += 1


@cache
def _system() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class _LastRank(Struct, frozen=True):
    """The last of `count` ranks, which has the most rows, in a process without the others. Their rows never arrive, so
    the numbers are wrong, and the times are right."""

    count: int
    messages: list[_Message] = field(default_factory=list)
    must_share = True

    @property
    def rank(self) -> int:
        return self.count - 1

    def exchange(self, parts: Sequence[Part]) -> _Message:
        """See Ranks.exchange."""
        self.messages.append(_Message(parts))
        return self.messages[-1]

    def failure(self, code: int) -> Exception:
        """See Ranks.failure: there is no message that could fail."""
        return RuntimeError(code)

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """See Ranks.largest."""
        return [*numbers]

    def copy_from_first(self, array: Array) -> None:
        """See Ranks.copy_from_first."""


def _costs(model: Model, network: Network, count: int) -> tuple[float, float, int]:
    """The seconds in which a rank computes and gathers, and the bytes that it receives."""
    model = replace(model, train=replace(model.train, shards=max(model.train.shards, count)))
    last = _LastRank(count)
    program = Program(model, threads=1, ranks=last if count > 1 else None)
    batch = model.train.samples_per_step
    fields = program.compiled.fields.ready(synthetic_data(model, batch))
    program.steps(fields, np.arange(batch), 0)  # builds what steps need
    computing, steps = _seconds_of_step(lambda count: program.steps(fields, np.tile(np.arange(batch), count), 0))
    before = {id(message): message.count for message in last.messages}
    program.steps(fields, np.tile(np.arange(batch), steps), 0)  # a chunk: messages outside of steps are fewer
    gathering, nbytes = 0.0, 0.0
    for message in last.messages:
        if times := message.count - before.get(id(message), 0):
            seconds, received = _cost(message.parts, network, last)
            gathering, nbytes = gathering + seconds * times, nbytes + received * times
    return computing, gathering / steps, round(nbytes / steps)


def _seconds_of_step(run: Callable[[int], object]) -> tuple[float, int]:
    """The time of a step, and the steps of a chunk. `run` runs so many steps, which are equal, in this thread alone. So
    its processor time is the time without other programs."""

    def timed(steps: int) -> float:
        begin = time.thread_time()
        run(steps)
        return (time.thread_time() - begin) / steps

    steps = max(round(_CHUNK / max(min(timed(1) for _ in range(3)), 1e-6)), 1)
    end = time.perf_counter() + _SECONDS
    seconds = [timed(steps)]
    while len(seconds) < _FEWEST or time.perf_counter() < end:
        seconds.append(timed(steps))
    return min(seconds), steps


def _cost(parts: Sequence[Part], network: Network, last: _LastRank) -> tuple[float, int]:
    """The seconds of a message, and the bytes that the last rank receives."""
    seconds, total = 0.0, 0
    for _, partners in rounds(last.rank, last.count):
        sizes = [high - low for part in parts for _, theirs in partners for low, high in [bytes_of(part, theirs)]]
        requests, received = sum(size > 0 for size in sizes), sum(sizes)
        if requests:
            seconds, total = seconds + network.seconds(received, requests), total + received
    return seconds, total
