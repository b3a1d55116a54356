"""Training on chunks of long sequences: a step of the optimizer for each, states handed on from each to the next."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import DTYPES
from netc.compiler.model import Truncate
from netc.compiler.operations.random import SAMPLE
from netc.compiler.passes.truncate import CARRIED, FIRST
from netc.runtime.data.stored import Array, Bytes, Field, Ragged

_APART = 1_000_003  # epochs that chunks count as, so that each draws other random numbers


@dataclass(frozen=True, slots=True)
class Chunk:
    """The fields of some samples' steps from `first` on; `running` are those samples that have any, by their place in the batch."""

    number: int
    running: Array
    fields: dict[str, Any]

    def epoch(self, epoch: int) -> int:
        """What stands for the epoch in what is drawn."""
        return epoch + self.number * _APART


def chunks(fields: Mapping[str, Field], varying: Mapping[str, str], chosen: Array, how: Truncate) -> Iterator[Chunk]:
    """The samples of a batch, so many steps of the truncated dimension at a time; sequences along other dimensions stay whole. `varying` names the
    dimension of each field that has one."""
    taken: dict[str, Any] = {}
    for name, field in fields.items():
        if isinstance(field, Bytes):
            taken[name] = Bytes(field.array[chosen], field.scale)
        else:
            taken[name] = field.take(chosen) if isinstance(field, Ragged) else np.asarray(field)[chosen]
    lengths = next(taken[name].lengths for name, dim in varying.items() if dim == how.dim and name in taken)
    for number in range(-(-int(lengths.max()) // how.steps)):
        first = number * how.steps
        running = np.flatnonzero(lengths > first)
        part: dict[str, Any] = {}
        for name, field in taken.items():
            if isinstance(field, Bytes):
                part[name] = Bytes(field.array[running], field.scale)
            elif not isinstance(field, Ragged):
                part[name] = field[running]
            elif varying.get(name) == how.dim:
                part[name] = _steps(field, running, first, how.steps)
            else:
                part[name] = field.take(running)
        yield Chunk(number, running, {**part, SAMPLE: chosen[running].astype(np.int32)})


def _steps(field: Ragged, running: Array, first: int, most: int) -> Ragged:
    """Steps of the running samples, from one on, so many at most."""
    lengths = np.minimum(field.lengths[running] - first, most)
    step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Ragged(field.rows[np.repeat(field.starts[running] + first, lengths) + step], lengths)


class Carried:
    """What the samples of a batch hand on from chunk to chunk."""

    def __init__(self, graph: Graph, samples: int) -> None:
        self.precision = DTYPES[graph.precision].numpy
        self.held = {
            name: np.zeros(value.type.shape(samples), DTYPES[value.type.dtype].numpy)
            for name, value in graph.results.items()
            if name.startswith(CARRIED)
        }

    def given(self, chunk: Chunk) -> dict[str, Array]:
        """As fields of a chunk."""
        first = np.array([float(chunk.number == 0)], self.precision)
        return {FIRST: first, **{name: held[chunk.running] for name, held in self.held.items()}}

    def take(self, chunk: Chunk, found: Mapping[str, Any]) -> None:
        """What a chunk's step ended with."""
        for name, held in self.held.items():
            held[chunk.running] = found[name]
