"""Rows of a varying dimension: the step and the sample of each row, and the index tables that sequence operations use.

The samples of a batch are ranked by length, longest first. Step t owns the rows offset[t] to offset[t] + count[t],
one for each sample that still runs, in this order. There is no padding and no mask. The tables that a graph reads
(index_tables.py) are computed from these numbers.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
from msgspec import Struct, field

from netc.compiler.ir.dims import lengths_of
from netc.compiler.ir.index_tables import Other, TableKind

Array = np.ndarray[Any, Any]
_MOST_SHARED = 4096  # steps of a sample whose rows are shared: tables of 16 KiB each


class Rows(Struct, frozen=True):
    """The rows of one batch along one dimension.

    `lengths` are the lengths of the samples, `ranked` the samples by rank, and `offsets` the first row of each step,
    followed by the number of all rows.
    """

    lengths: Array
    ranked: Array
    offsets: Array
    tables: dict[tuple[TableKind, int | None], Array] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Array, like: "Rows | None" = None) -> "Rows":
        """The rows for the lengths of a batch's samples, each at least 1.

        `like` are rows of another dimension, whose ranking is taken over; the lengths must not contradict it.
        """
        if len(lengths) == 1 and lengths[0] <= _MOST_SHARED:
            return _rows_of_one(int(lengths[0]))
        return cls._of(lengths, like)

    @classmethod
    def _of(cls, lengths: Array, like: "Rows | None") -> "Rows":
        ranked = like.ranked if like is not None else np.argsort(-lengths, kind="stable").astype(np.int32)
        steps = int(lengths.max()) if len(lengths) else 0
        running = (lengths[:, None] > np.arange(steps)).sum(axis=0)
        return cls(lengths, ranked, np.concatenate([[0], np.cumsum(running)]).astype(np.int64))

    @property
    def count(self) -> int:
        return int(self.offsets[-1])

    @property
    def steps(self) -> int:
        return len(self.offsets) - 1

    def of_other(self, kind: TableKind, which: Other, rows: Mapping[str, "Rows"]) -> Array:
        """A table about another dimension of the same samples."""
        other, step, sample = rows[which.dim], self.table(TableKind.STEP), self.table(TableKind.SAMPLE)
        at: Array = which.step_of_other(
            step.astype(np.int64),
            sample,
            self.lengths,
            lambda dim: rows[dim].lengths,
            lambda reach: np.maximum(reach, 0),
        )
        is_there = (at >= 0) & (at < other.lengths[sample])
        if kind is TableKind.IN:
            return is_there.astype(np.int32)
        nearest = np.clip(at, 0, other.lengths[sample] - 1)
        return np.asarray(other.offsets[nearest] + other.table(TableKind.FIRST)[sample], np.int32)

    def shares(self, members: int) -> Array:
        """Splits the samples, by rank, into parts with about equally many steps: the start of each, and the end."""
        if members == 1:
            return np.array([0, len(self.lengths)], np.int64)
        done = np.cumsum(self.lengths[self.ranked])
        inner = np.searchsorted(done, done[-1] * np.arange(1, members) / members) + 1
        return np.concatenate([[0], np.minimum(inner, len(done)), [len(done)]]).astype(np.int64)

    def table(self, kind: TableKind, size: int | None = None) -> Array:
        """The table of a kind that concerns only this dimension, as i32."""
        if (kind, size) not in self.tables:
            self.tables[kind, size] = self._make(kind, size)
        return self.tables[kind, size]

    def _make(self, kind: TableKind, size: int | None) -> Array:
        offsets, counts = self.offsets, np.diff(self.offsets)
        rank_of = np.empty_like(self.ranked)
        rank_of[self.ranked] = np.arange(len(self.ranked), dtype=np.int32)
        if kind is TableKind.LENGTH:
            return np.asarray(self.lengths, np.int32)
        if kind is TableKind.FIRST:
            return rank_of
        if kind is TableKind.RANKED:
            return self.ranked
        if kind is TableKind.LAST:
            return np.asarray(offsets[self.lengths - 1] + rank_of, np.int32)
        if kind is TableKind.PADDED and size is not None:
            ahead = np.minimum(np.arange(size), self.lengths[:, None] - 1)
            return np.asarray(offsets[ahead] + rank_of[:, None], np.int32)
        if kind is TableKind.STEP:
            return np.repeat(np.arange(self.steps, dtype=np.int32), counts)
        if kind is TableKind.START:
            return np.asarray(np.cumsum(self.lengths) - self.lengths, np.int32)
        step = self.table(TableKind.STEP)
        rank = np.arange(self.count) - offsets[step]
        if kind is TableKind.PREVIOUS:
            return np.asarray(offsets[np.maximum(step - 1, 0)] + rank, np.int32)
        sample = self.ranked[rank]
        if kind is TableKind.SLOT and size is not None:
            return np.asarray(sample * size + step, np.int32)
        if kind is TableKind.REVERSE:
            return np.asarray(offsets[self.lengths[sample] - 1 - step] + rank, np.int32)
        if kind is TableKind.ORDERED:
            return np.asarray(np.lexsort((step, sample)), np.int32)
        assert kind is TableKind.SAMPLE, kind
        return np.ascontiguousarray(sample, np.int32)


@lru_cache(256)
def _rows_of_one(steps: int) -> Rows:
    """The rows of one sample. Predictions of single samples share them with their tables."""
    return Rows._of(np.array([steps], np.int64), None)


@cache
def rows_of_same(dim: str, samples: int) -> Rows:
    """The rows of a dimension along which all samples have the same length."""
    return Rows.of(lengths_of(dim, {}, samples))
