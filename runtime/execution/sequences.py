"""Batches of sequences of different lengths: samples ordered by length, rows of varying dimensions, index tables."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, parse_table
from netc.compiler.ir.rows import Rows, rows_of_same
from netc.compiler.ir.types import BATCH, DTYPES, size_of
from netc.compiler.targets.target import Call
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.execution.batches import result_of
from netc.runtime.execution.loaded import Loaded
from netc.runtime.execution.resources import Resources
from netc.runtime.execution.step import Step
from netc.runtime.locks import building

_REMEMBERED = 8  # fields whose sequences are known to fit into the planned memory


class Batch(Struct, frozen=True):
    """`samples` are the samples' numbers, longest first; `rows` the rows of each varying dimension; `starts` the first
    row of each sample in the fields of a dimension."""

    samples: Array
    rows: dict[str, Rows]
    starts: dict[str, Array]

    @classmethod
    def of(
        cls,
        samples: Array,
        dims: Iterable[str],
        first: str | None,
        fields: Mapping[str, Array | Ragged],
        varying: Mapping[str, str],
    ) -> "Batch":
        """The batch of these samples. `varying` is the dimension of each field that has one; the batch is ordered by
        the lengths of the dimension `first`."""
        sequences: dict[str, Ragged] = {}
        for name, dim in varying.items():
            field = fields.get(name)
            if isinstance(field, Ragged):
                sequences.setdefault(dim, field)
        if first is not None:
            samples = samples[np.argsort(-sequences[first].lengths[samples], kind="stable")]
        lengths = {dim: field.lengths[samples] for dim, field in sequences.items()}
        rows: dict[str, Rows] = {}
        for dim in sorted(dims, key=lambda dim: names_in(dim) != (dim,)):  # declared ones first
            names = names_in(dim)
            if not names:
                rows[dim] = rows_of_same(dim, len(samples))
                continue
            like = rows.get(names[0]) if len(names) == 1 else None
            if like is None and names != (dim,) and len(names) == 1:
                like = rows[names[0]] = Rows.of(lengths[names[0]])
            rows[dim] = Rows.of(lengths_of(dim, lengths, len(samples)), like)
        return cls(samples, rows, {dim: field.starts[samples] for dim, field in sequences.items()})

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples, and of rows of each varying dimension."""
        return {BATCH: len(self.samples), **{dim: rows.count for dim, rows in self.rows.items()}}

    def table(self, table: IndexTable) -> Array:
        """The table for this batch."""
        rows = self.rows[table.dim]
        if table.other is not None:
            return rows.of_other(table.kind, table.other, self.rows)
        if table.kind is TableKind.SOURCE:
            sample, step = rows.table(TableKind.SAMPLE), rows.table(TableKind.STEP)
            return (self.starts[table.dim][sample] + step).astype(np.int32)
        return rows.table(table.kind, table.size)

    def tables(self, names: Iterable[str]) -> dict[str, Array]:
        """The tables among leaves or buffers of these names."""
        return {name: self.table(table) for name in names if (table := parse_table(name)) is not None}

    def by_sample(self, values: Array, dim: str) -> list[Array]:
        """The rows of a result as a sequence for each sample of `samples`."""
        rows = self.rows[dim]
        sample, step = rows.table(TableKind.SAMPLE), rows.table(TableKind.STEP)
        ordered = values[np.lexsort((step, sample))]
        return np.split(ordered, np.cumsum(rows.lengths)[:-1])


class SequenceStep(Step):
    """One graph with varying dimensions, ready to run. `varying` is the dimension of each field that has one.

    Memory for rows is planned when their number is known, and again when a batch has more of them. Batches run one at
    a time, unless all samples have the same number of steps.
    """

    def __init__(
        self,
        graph: Graph,
        resources: Resources,
        batch: int,
        varying: Mapping[str, str],
        profiled: bool = False,
        rows: int | None = None,
    ) -> None:
        super().__init__(graph, resources, batch, profiled, rows)
        self.varying = varying
        facts = self.prepared.facts
        self.dims, self.first, self.per_step = facts.dims, facts.first, facts.per_step
        self.is_same = not any(map(names_in, self.dims))
        self.gives_rows = any(value.type.is_varying for value in self.results.values())
        self._loaded_for: tuple[Loaded | None, tuple[Ragged, ...]] = (self.loaded, ())  # and sequences that fit

    def run(self, fields: Mapping[str, Array | Ragged], order: Array) -> dict[str, Array | Ragged]:
        """Like Step.run; sequences are Ragged, and so are results that have a row for each step."""
        loaded = self._with_capacity(fields, order)
        reads_sequences = any(isinstance(fields.get(name), Ragged) for name in loaded.interface.inputs)
        if self.is_same and not self.gives_rows and not reads_sequences:
            return self.run_arrays(loaded, fields, order)
        parts: dict[str, list[Any]] = {}
        batches = []
        for start in range(0, len(order), self.batch):
            batch = Batch.of(order[start : start + self.batch], self.dims, self.first, fields, self.varying)
            read = {**fields, **{name: np.asarray(fields[name])[start // self.batch :] for name in self.per_step}}
            for name, value in self._run_one(loaded, batch, read).items():
                type_ = self.results[name].type
                parts.setdefault(name, []).append(
                    batch.by_sample(value, str(type_.rows)) if type_.is_varying else value
                )
            batches.append(batch.samples)
        computed = np.concatenate(batches)
        return {name: self._joined(name, values, order, computed) for name, values in parts.items()}

    def _with_capacity(self, fields: Mapping[str, Array | Ragged], order: Array) -> Loaded:
        """An executable with memory for the longest samples of these fields in one batch.

        If there is less, it is planned again; calls that began before keep the old one.
        """
        loaded, fitting = self._loaded_for
        if loaded is not None and loaded.capacity is None:
            return loaded
        sequences = {dim: field for name, dim in self.varying.items() if isinstance(field := fields.get(name), Ragged)}
        repeats = int(np.bincount(order).max(initial=1)) if len(order) > 1 else 1  # above 1 in a bootstrap sample
        fits = repeats == 1 and all(any(field is other for other in fitting) for field in sequences.values())
        if loaded is not None and loaded.capacity is not None:
            if sequences and fits:
                return loaded
            if not self.dims and len(order) <= size_of(BATCH, loaded.capacity):  # the passes left nothing varying
                return loaded
        lengths = {dim: field.lengths for dim, field in sequences.items()}
        count = max(len(order), *map(len, lengths.values()), 1) if lengths else len(order)
        is_one_batch = repeats == 1 and count <= self.batch
        needed = {
            dim: int(rows.sum() if is_one_batch else np.sort(np.repeat(rows, repeats))[-self.batch :].sum())
            for dim, rows in ((dim, lengths_of(dim, lengths, count)) for dim in self.dims)
        }
        needed[BATCH] = min(self.batch, max(len(order), count))
        if is_one_batch and loaded is not None and _holds(_capacity_of(loaded), needed):
            return loaded
        with building:
            loaded, fitting = self._loaded_for
            capacity = _capacity_of(loaded) if loaded is not None else {}
            if loaded is None or not _holds(capacity, needed):
                loaded, fitting = self.build(needed), ()
            self.loaded = loaded
            self._loaded_for = loaded, (*fitting[-_REMEMBERED:], *(sequences.values() if repeats == 1 else ()))
            return loaded

    def _run_one(self, loaded: Loaded, batch: Batch, fields: Mapping[str, Array | Ragged]) -> dict[str, Array]:
        sizes = batch.sizes
        capacity = _capacity_of(loaded)
        assert capacity is None or all(sizes.get(dim, 0) <= rows for dim, rows in capacity.items()), (
            "more rows than planned"
        )
        arrays = {name: field.rows if isinstance(field, Ragged) else field for name, field in fields.items()}
        inputs = loaded.inputs({**arrays, **batch.tables(loaded.interface.inputs)})
        results = {}
        for name, type_ in loaded.interface.results.items():
            shape = type_.shape(sizes)
            results[name] = result_of(type_, shape if type_.is_batched else (1, *shape))
        order = np.ascontiguousarray(batch.samples, np.int32)
        loaded.run(Call(inputs, results, order, 1, len(order), batch.rows))
        return results

    def rows_of_step(self, loaded: Loaded, size: int) -> tuple[Mapping[str, Array], Mapping[str, Rows]]:
        batch = Batch.of(np.arange(size), self.dims, None, {}, {})
        return batch.tables(loaded.interface.inputs), batch.rows

    def _joined(self, name: str, values: list[Any], order: Array, computed: Array) -> Array | Ragged:
        """The results of all batches, `computed` in this order of samples, in the order of `order`."""
        type_ = self.results[name].type
        if not type_.is_batched:
            return np.concatenate(values)
        if len(order) == 1:
            return Ragged.of(values[0], DTYPES[type_.dtype].numpy) if type_.is_varying else values[0]
        back = np.empty(len(order), np.int64)
        for start in range(0, len(order), self.batch):
            part = slice(start, start + self.batch)
            back[part] = start + _positions(order[part], computed[part])
        if type_.is_varying:
            sequences = [sequence for part in values for sequence in part]
            return Ragged.of([sequences[i] for i in back], DTYPES[type_.dtype].numpy)
        joined: Array = np.concatenate(values)[back]
        return joined


def _holds(capacity: Mapping[str, int] | None, needed: Mapping[str, int]) -> bool:
    """Whether storage of this capacity (None is any) has the rows that are needed of each dimension."""
    return capacity is None or all(rows <= capacity.get(dim, 0) for dim, rows in needed.items())


def _capacity_of(loaded: Loaded) -> Mapping[str, int] | None:
    """The most samples, and rows of each dimension, that an executable has memory for; None without a limit."""
    capacity = loaded.capacity
    return {BATCH: capacity} if isinstance(capacity, int) else capacity


def _positions(numbers: Array, permuted: Array) -> Array:
    """The index of each number in an array that holds the same numbers in another order."""
    positions = np.empty(len(numbers), np.int64)
    positions[np.argsort(numbers, kind="stable")] = np.argsort(permuted, kind="stable")
    return positions
