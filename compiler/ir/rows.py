"""Rows of a varying dimension: which step of which sample each is, and index tables that sequence operations are made of.

The samples of a batch are ranked by length, longest first; step t owns rows offset[t] to offset[t] + count[t], one for each sample that still runs, in
this order. No padding and no mask exist. A graph asks for a table by a leaf of kind `given` called `rows.KIND.DIMENSION`; the runtime makes it anew for
each batch, from the lengths of its samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from netc.compiler.ir.dims import lengths_of
from netc.compiler.ir.types import BATCH, Bounded, Dim, Type
from netc.compiler.ir.value import Builder, Value

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
    """The leaf of a table. Beside KINDS there are `placeN`, N times the sample, and the step; `heldN`, the rows of a sample's N first steps (beyond its end
    its last one); and what an `Other` says."""
    dims: tuple[Dim, ...] = (dim if KINDS.get(kind, True) else BATCH,)
    if kind.startswith("held"):
        dims = (BATCH, Bounded(int(kind.removeprefix("held")), dim))
    return graph.leaf("given", f"{PREFIX}{kind}.{dim}", Type("i32", dims))


def asked(name: str) -> tuple[str, str]:
    """The kind and the dimension that a leaf's name asks for."""
    kind, _, dim = name.removeprefix(PREFIX).partition(".")
    return kind, dim


@dataclass(frozen=True, slots=True)
class Other:
    """Which step of another dimension belongs to a step: step * times // by + offset, and as `shift` says less the length of a dimension (`less DIM`), or so
    that the last steps of both are one (`end`), or so that windows of N steps stand over the middle (`same N`), as a convolution's do. As a table, the row
    of that step, or of the nearest that there is (`to`); or whether it is there, 0 or 1 (`in`)."""

    dim: str
    times: int = 1
    by: int = 1
    offset: int = 0
    shift: str = ""

    @property
    def dims(self) -> tuple[str, ...]:
        """Those whose rows it needs."""
        return (self.dim, self.shift[5:]) if self.shift.startswith("less ") else (self.dim,)

    def place(
        self, step: Any, sample: Any, lengths: Any, of: Callable[[str], Any], positive: Callable[[Any], Any]
    ) -> Any:
        """The step of the other dimension that belongs to each `step` of a `sample`, there or not. `lengths` are how long the samples are, `of` gives those of
        another dimension, `positive` 0 for what is below: in arrays, or in whatever knows sums, products, `//` and indices."""
        at = step * self.times // self.by + self.offset
        if self.shift == "end":
            return at + (of(self.dim) - lengths)[sample]
        if self.shift.startswith("same "):
            reach = (lengths - 1) * self.times + int(self.shift[5:]) - of(self.dim)
            return at - (positive(reach) // 2)[sample]
        return at - of(self.shift[5:])[sample] if self.shift.startswith("less ") else at

    def kind(self, what: str) -> str:
        return f"{what} {self.times} {self.by} {self.offset} {self.shift}|{self.dim}"

    @classmethod
    def of(cls, kind: str) -> "tuple[str, Other] | None":
        """What a table's kind asks of another dimension."""
        if "|" not in kind:
            return None
        told, _, dim = kind.partition("|")
        what, times, by, offset, shift = told.split(" ", 4)
        return what, cls(dim, int(times), int(by), int(offset), shift)


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one batch and one dimension: the samples by rank, how many run at each step, and where its rows begin (one more at the end)."""

    lengths: Array
    ranked: Array
    offsets: Array
    made: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Array, like: "Rows | None" = None) -> "Rows":
        """For the lengths of a batch's samples, each at least 1; ranked as in another dimension, which these lengths do not contradict."""
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

    def of_other(self, what: str, which: Other, rows: Mapping[str, "Rows"]) -> Array:
        """A table about another dimension of the same samples."""
        other, step, sample = rows[which.dim], self.table("step"), self.table("sample")
        at: Array = which.place(
            step.astype(np.int64),
            sample,
            self.lengths,
            lambda dim: rows[dim].lengths,
            lambda reach: np.maximum(reach, 0),
        )
        is_there = (at >= 0) & (at < other.lengths[sample])
        if what == "in":
            return is_there.astype(np.int32)
        nearest = np.clip(at, 0, other.lengths[sample] - 1)
        return np.asarray(other.offsets[nearest] + other.table("first")[sample], np.int32)

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
        sample = self.ranked[rank]
        if kind.startswith("place"):
            return np.asarray(sample * int(kind.removeprefix("place")) + step, np.int32)
        if kind == "reverse":
            return np.asarray(offsets[self.lengths[sample] - 1 - step] + rank, np.int32)
        assert kind == "sample", kind
        return np.ascontiguousarray(sample, np.int32)


@cache
def rows_of_same(dim: str, samples: int) -> Rows:
    """The rows of a dimension that all samples have as long."""
    return Rows.of(lengths_of(dim, {}, samples))
