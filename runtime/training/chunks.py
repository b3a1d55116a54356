"""Truncated backpropagation: a step of the optimizer for each chunk of long sequences, carries handed on."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import DTYPES
from netc.compiler.model import Truncate
from netc.compiler.passes.truncate import FIRST
from netc.runtime.data.stored import Array, Field, Ragged, taken

_APART = 1_000_003  # epochs that chunks count as, so that each draws other random numbers


class Chunk(Struct, frozen=True):
    """Chunk `number` of a batch's sequences. `running` are the positions in the batch of the samples that reach it."""

    number: int
    running: Array
    fields: dict[str, Any]

    def epoch(self, epoch: int) -> int:
        """The number that random numbers of this chunk depend on, in place of the epoch."""
        return epoch + self.number * _APART


def chunks(
    fields: Mapping[str, Field], varying: Mapping[str, str], samples: Array, truncate: Truncate, full: int
) -> Iterator[Chunk]:
    """The chunks of a batch: `truncate.steps` steps of the truncated dimension at a time.

    Sequences along other dimensions stay whole. `varying` is the dimension of each field that has one. `full` is the
    number of samples of a full batch, of which those that reach a chunk are a share.
    """
    batch: dict[str, Any] = {name: taken(field, samples) for name, field in fields.items()}
    lengths = next(batch[name].lengths for name, dim in varying.items() if dim == truncate.dim and name in batch)
    for number in range(-(-int(lengths.max()) // truncate.steps)):
        first = number * truncate.steps
        running = np.flatnonzero(lengths > first)
        part: dict[str, Any] = {
            name: _steps(field, running, first, truncate.steps)
            if isinstance(field, Ragged) and varying.get(name) == truncate.dim
            else taken(field, running)
            for name, field in batch.items()
        }
        part[str(SuppliedKind.SAMPLES.named())] = samples[running].astype(np.int32)
        part[str(SuppliedKind.BATCH_SHARE.named())] = np.array([len(running) / full])
        yield Chunk(number, running, part)


def _steps(field: Ragged, running: Array, first: int, count: int) -> Ragged:
    """At most `count` steps of the running samples, from step `first` on."""
    lengths = np.minimum(field.lengths[running] - first, count)
    step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Ragged(field.rows[np.repeat(field.starts[running] + first, lengths) + step], lengths)


class Carried:
    """The carries that the samples of a batch hand on from chunk to chunk: `values` by name, zeros at first."""

    def __init__(self, graph: Graph, samples: int) -> None:
        self.precision = DTYPES[graph.precision].numpy
        self.values = {
            str(result): np.zeros(value.type.shape(samples), DTYPES[value.type.dtype].numpy)
            for result, value in graph.results.items()
            if result.kind is ResultKind.CHUNK
        }

    def fields(self, chunk: Chunk) -> dict[str, Array]:
        """The carries as fields of a chunk, and whether it is the first."""
        first = np.array([float(chunk.number == 0)], self.precision)
        return {FIRST: first, **{name: value[chunk.running] for name, value in self.values.items()}}

    def take(self, chunk: Chunk, results: Mapping[str, Any]) -> None:
        """Keeps the carries that a chunk's step ended with."""
        for name, value in self.values.items():
            value[chunk.running] = results[name]
