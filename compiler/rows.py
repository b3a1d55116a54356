"""Rows of a varying dimension: which step of which sample each is, and index tables that sequence operations are made of.

The samples of a batch are ranked by length, longest first; step t owns rows offset[t] to offset[t] + count[t], one for each sample that still runs, in
this order. No padding and no mask exist. A graph asks for a table by a leaf of kind `given` called `rows.KIND.DIMENSION`; the runtime makes it anew for
each batch, from the lengths of its samples.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from netc.compiler.types import BATCH, Bounded, Dim, Type
from netc.compiler.value import Builder, Value

Array = np.ndarray[Any, Any]
PREFIX = "rows."
# KIND -> whether the table has an element a row, or else a sample
KINDS = {
    "sample": True,  # the sample of a row
    "step": True,  # its step
    "previous": True,  # the row of the step before; of a first step, the row itself
    "reverse": True,  # the row of the same sample that stands as far from its end
    "first": False,  # the row of a sample's first step: its rank
    "ranked": False,  # the sample of a rank
    "last": False,  # of its last
    "length": False,  # how many steps it has
}


def table(graph: Builder, kind: str, dim: str) -> Value:
    """The leaf of a table; beside KINDS there are `movedN`, the row N steps on (of the same sample, or the row itself where there is none),
    `afterNofM`, the row of a dimension M steps longer, N steps on, `placeN`, N times the sample, and the step, and `heldN`, the rows of a sample's N
    first steps (beyond its end its last one)."""
    dims: tuple[Dim, ...] = (dim if KINDS.get(kind, True) else BATCH,)
    if kind.startswith("held"):
        dims = (BATCH, Bounded(int(kind.removeprefix("held")), dim))
    return graph.leaf("given", f"{PREFIX}{kind}.{dim}", Type("i32", dims))


def asked(name: str) -> tuple[str, str]:
    """The kind and the dimension that a leaf's name asks for."""
    kind, _, dim = name.removeprefix(PREFIX).partition(".")
    return kind, dim


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one batch and one dimension: the samples by rank, how many run at each step, and where its rows begin (one more at the end)."""

    lengths: Array
    ranked: Array
    offsets: Array
    made: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Array) -> "Rows":
        """For the lengths of a batch's samples, each at least 1."""
        ranked = np.argsort(-lengths, kind="stable").astype(np.int32)
        steps = int(lengths.max()) if len(lengths) else 0
        running = (lengths[:, None] > np.arange(steps)).sum(axis=0)
        return cls(lengths, ranked, np.concatenate([[0], np.cumsum(running)]).astype(np.int64))

    @property
    def count(self) -> int:
        return int(self.offsets[-1])

    @property
    def steps(self) -> int:
        return len(self.offsets) - 1

    def after(self, first: int, longer: "Rows") -> Array:
        """Of each row the one `first` steps on in a dimension whose samples stand in the same order."""
        step = self.table("step")
        return np.asarray(longer.offsets[step + first] + np.arange(self.count) - self.offsets[step], np.int32)

    def shares(self, members: int) -> Array:
        """The samples by rank in as many parts that have about as many steps: where each part begins, and the end."""
        done = np.cumsum(self.lengths[self.ranked])
        inner = np.searchsorted(done, done[-1] * np.arange(1, members) / members) + 1
        return np.concatenate([[0], np.minimum(inner, len(done)), [len(done)]]).astype(np.int64)

    def table(self, kind: str) -> Array:
        """One of KINDS, as i32."""
        if kind not in self.made:
            self.made[kind] = self._make(kind)
        return self.made[kind]

    def _make(self, kind: str) -> Array:
        offsets, counts = self.offsets, np.diff(self.offsets)
        rank_of = np.empty_like(self.ranked)
        rank_of[self.ranked] = np.arange(len(self.ranked), dtype=np.int32)
        if kind == "length":
            return np.asarray(self.lengths, np.int32)
        if kind == "first":
            return rank_of
        if kind == "ranked":
            return self.ranked
        if kind == "last":
            return np.asarray(offsets[self.lengths - 1] + rank_of, np.int32)
        if kind.startswith("held"):
            ahead = np.minimum(np.arange(int(kind.removeprefix("held"))), self.lengths[:, None] - 1)
            return np.asarray(offsets[ahead] + rank_of[:, None], np.int32)
        if kind == "step":
            return np.repeat(np.arange(self.steps, dtype=np.int32), counts)
        step = self.table("step")
        rank = np.arange(self.count) - offsets[step]
        if kind == "previous":
            return np.asarray(offsets[np.maximum(step - 1, 0)] + rank, np.int32)
        if kind.startswith("moved"):
            there = step + int(kind.removeprefix("moved"))
            is_there = (there >= 0) & (there < self.lengths[self.ranked[rank]])
            return np.asarray(offsets[np.where(is_there, there, step)] + rank, np.int32)
        sample = self.ranked[rank]
        if kind.startswith("place"):
            return np.asarray(sample * int(kind.removeprefix("place")) + step, np.int32)
        if kind == "reverse":
            return np.asarray(offsets[self.lengths[sample] - 1 - step] + rank, np.int32)
        assert kind == "sample", kind
        return np.ascontiguousarray(sample, np.int32)


_SAME = re.compile(r"steps of (\d+)")


def same(steps: int) -> str:
    """The dimension of rows that every sample has as many of: what a scan walks along an axis of a known size."""
    return f"steps of {steps}"


_SHORTER = re.compile(r"(.+) - (\d+)")


def shorter(dim: str, by: int) -> str:
    """The dimension whose every length is less by so many steps."""
    found = _SHORTER.fullmatch(dim)
    base, already = (found[1], int(found[2])) if found else (dim, 0)
    return f"{base} - {already + by}" if already + by else base


def bound_of(dim: str, bounds: Mapping[str, int]) -> int | None:
    """How long a varying dimension is at most, from the bounds of the declared ones; None if nobody said."""
    found = _SHORTER.fullmatch(dim)
    most = bounds.get(found[1] if found else dim)
    return None if most is None else most - int(found[2] if found else 0)


def base_of(dim: str) -> str | None:
    """The declared dimension that another was made of; None if its size is known."""
    if _SAME.fullmatch(dim):
        return None
    found = _SHORTER.fullmatch(dim)
    return found[1] if found else dim


@cache
def rows_of_same(dim: str, samples: int) -> Rows:
    """The rows of a dimension that all samples have as long."""
    return Rows.of(lengths_of(dim, {}, samples))


def lengths_of(dim: str, declared: Mapping[str, Array], samples: int) -> Array:
    """The lengths of a dimension for so many samples, from those of the declared ones."""
    if found := _SAME.fullmatch(dim):
        return np.full(samples, int(found[1]))
    found = _SHORTER.fullmatch(dim)
    return declared[found[1]] - int(found[2]) if found else declared[dim]
