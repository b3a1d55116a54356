"""Rows of a varying dimension: the step and the sample of each row, and the index tables that sequence operations use.

The samples of a batch are ranked by length, longest first. Step t owns the rows offset[t] to offset[t] + count[t],
one for each sample that still runs, in this order. There is no padding and no mask. A graph reads a table through a
leaf of kind `given` called `rows.KIND.DIMENSION`. The runtime computes the table for each batch, from the lengths of
its samples.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from netc.compiler.ir.dims import lengths_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Bounded, Dim, Type
from netc.compiler.ir.value import Builder, Value

Array = np.ndarray[Any, Any]
PREFIX = "rows."
# KIND -> whether the table has one element per row (True) or per sample (False)
KINDS = {
    "sample": True,  # the sample of the row
    "step": True,  # the step of the row
    "previous": True,  # the row of the step before; at a first step, the row itself
    "reverse": True,  # the row of the same sample that is as far from its end as this one from its start
    "first": False,  # the row of the sample's first step, which is its rank
    "ranked": False,  # the sample at this rank
    "last": False,  # the row of the sample's last step
    "length": False,  # the number of the sample's steps
}


def table(graph: Builder, kind: str, dim: str) -> Value:
    """Adds the leaf of a table.

    Besides KINDS there are `placeN`: N times the sample plus the step; `heldN`: the rows of a sample's first N steps,
    with its last row repeated beyond its end; and the tables that an `Other` describes.
    """
    dims: tuple[Dim, ...] = (dim if KINDS.get(kind, True) else BATCH,)
    if kind.startswith("held"):
        dims = (BATCH, Bounded(int(kind.removeprefix("held")), dim))
    return graph.leaf("given", f"{PREFIX}{kind}.{dim}", Type("i32", dims))


def asked(name: str) -> tuple[str, str]:
    """The kind and the dimension of a table, from the name of its leaf."""
    kind, _, dim = name.removeprefix(PREFIX).partition(".")
    return kind, dim


@dataclass(frozen=True, slots=True)
class Other:
    """Maps a step to a step of another dimension: step * times // by + offset, adjusted by `shift`.

    `shift` is empty, or `less DIM` (the length of a dimension is subtracted), `end` (the last steps of both dimensions
    correspond), or `same N` (windows of N steps are centred, as those of a convolution). There are two tables for it:
    `to` holds the row of that step, or of the nearest step that exists; `in` holds whether the step exists, 0 or 1.
    """

    dim: str
    times: int = 1
    by: int = 1
    offset: int = 0
    shift: str = ""

    @property
    def dims(self) -> tuple[str, ...]:
        """The dimensions whose rows the table needs."""
        return (self.dim, self.shift[5:]) if self.shift.startswith("less ") else (self.dim,)

    def place(
        self, step: Any, sample: Any, lengths: Any, of: Callable[[str], Any], positive: Callable[[Any], Any]
    ) -> Any:
        """The step of the other dimension for each `step` of a `sample`, whether it exists or not.

        `lengths` are the lengths of the samples, `of` returns their lengths along another dimension, and `positive`
        replaces negative numbers by 0. All are arrays, or objects that support sums, products, `//` and indexing.
        """
        at = step * self.times // self.by + self.offset
        if self.shift == "end":
            return at + (of(self.dim) - lengths)[sample]
        if self.shift.startswith("same "):
            reach = (lengths - 1) * self.times + int(self.shift[5:]) - of(self.dim)
            return at - (positive(reach) // 2)[sample]
        return at - of(self.shift[5:])[sample] if self.shift.startswith("less ") else at

    def kind(self, what: str) -> str:
        """The kind of the table `to` or `in`, as the name of its leaf contains it."""
        return f"{what} {self.times} {self.by} {self.offset} {self.shift}|{self.dim}"

    @classmethod
    def of(cls, kind: str) -> "tuple[str, Other] | None":
        """Reads `to` or `in` and the mapping from the kind of a table, or returns None for kinds without a mapping."""
        if "|" not in kind:
            return None
        fields, _, dim = kind.partition("|")
        what, times, by, offset, shift = fields.split(" ", 4)
        return what, cls(dim, int(times), int(by), int(offset), shift)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one batch along one dimension.

    `lengths` are the lengths of the samples, `ranked` the samples by rank, and `offsets` the first row of each step,
    followed by the number of all rows.
    """

    lengths: Array
    ranked: Array
    offsets: Array
    tables: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Array, like: "Rows | None" = None) -> "Rows":
        """The rows for the lengths of a batch's samples, each at least 1.

        `like` are rows of another dimension, whose ranking is taken over; the lengths must not contradict it.
        """
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
        """Splits the samples, by rank, into parts with about equally many steps: the start of each, and the end."""
        done = np.cumsum(self.lengths[self.ranked])
        inner = np.searchsorted(done, done[-1] * np.arange(1, members) / members) + 1
        return np.concatenate([[0], np.minimum(inner, len(done)), [len(done)]]).astype(np.int64)

    def table(self, kind: str) -> Array:
        """The table of this kind (see `table`), as i32."""
        if kind not in self.tables:
            self.tables[kind] = self._make(kind)
        return self.tables[kind]

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
    """The rows of a dimension along which all samples have the same length."""
    return Rows.of(lengths_of(dim, {}, samples))


def dims_of(values: Iterable[Value]) -> tuple[str, ...]:
    """The dimensions whose rows the values of a graph need: their own varying ones, and those of the tables that they
    read."""
    values = list(values)
    own = [str(value.type.rows) for value in values if value.type.is_varying]
    tables = [asked(value.name) for value in values if value.role is Role.GIVEN and value.name.startswith(PREFIX)]
    relations = [relation[1] for kind, _ in tables if (relation := Other.of(kind)) is not None]
    others = [dim for relation in relations for dim in relation.dims]
    return tuple(dict.fromkeys([*own, *(dim for _, dim in tables), *others]))
