"""One batch of sequences of different lengths, made ready: its samples by length, the rows of each varying dimension, the tables that a graph asks for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX, Other, Rows, asked, rows_of_same
from netc.compiler.ir.types import BATCH, DTYPES, size_of
from netc.compiler.passes.plan import SLACK, Plan
from netc.compiler.passes.scans import first_dim
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.executable import Executable
from netc.runtime.locks import building
from netc.runtime.memory import Memory
from netc.runtime.step import Step

_REMEMBERED = 8  # fields


@dataclass(frozen=True, slots=True)
class Batch:
    """`chosen` are the samples' numbers, longest first; `rows` the rows of each varying dimension; `starts` where the samples' steps begin in their fields."""

    chosen: Array
    rows: dict[str, Rows]
    starts: dict[str, Array]

    @classmethod
    def of(
        cls,
        chosen: Array,
        dims: Iterable[str],
        first: str | None,
        fields: Mapping[str, Array | Ragged],
        varying: Mapping[str, str],
    ) -> "Batch":
        """`varying` names the dimension of each field that has one, `first` the one by whose lengths the batch is ordered."""
        known: dict[str, Ragged] = {}
        for name, dim in varying.items():
            field = fields.get(name)
            if isinstance(field, Ragged):
                known.setdefault(dim, field)
        if first is not None:
            chosen = chosen[np.argsort(-known[first].lengths[chosen], kind="stable")]
        lengths = {dim: field.lengths[chosen] for dim, field in known.items()}
        rows: dict[str, Rows] = {}
        for dim in sorted(dims, key=lambda one: names_in(one) != (one,)):  # declared ones first
            names = names_in(dim)
            if not names:
                rows[dim] = rows_of_same(dim, len(chosen))
                continue
            like = rows.get(names[0]) if len(names) == 1 else None
            if like is None and names != (dim,) and len(names) == 1:
                like = rows[names[0]] = Rows.of(lengths[names[0]])
            rows[dim] = Rows.of(lengths_of(dim, lengths, len(chosen)), like)
        return cls(chosen, rows, {dim: field.starts[chosen] for dim, field in known.items()})

    @property
    def sizes(self) -> dict[str, int]:
        """How many samples, and rows of each varying dimension."""
        return {BATCH: len(self.chosen), **{dim: rows.count for dim, rows in self.rows.items()}}

    def table(self, name: str) -> Array:
        """The table that a leaf or a buffer called `rows.KIND.DIMENSION` asks for; `source` is where each row stands in a field."""
        kind, dim = asked(name)
        rows = self.rows[dim]
        if (found := Other.of(kind)) is not None:
            return rows.of_other(*found, self.rows)
        if kind == "source":
            sample, step = rows.table("sample"), rows.table("step")
            return (self.starts[dim][sample] + step).astype(np.int32)
        return rows.table(kind)

    def tables(self, names: Iterable[str]) -> dict[str, Array]:
        return {name: self.table(name) for name in names if name.startswith(PREFIX)}

    def by_sample(self, values: Array, dim: str) -> list[Array]:
        """The rows of a result as a sequence for each sample of `chosen`."""
        rows = self.rows[dim]
        sample, step = rows.table("sample"), rows.table("step")
        ordered = values[np.lexsort((step, sample))]
        return np.split(ordered, np.cumsum(rows.lengths)[:-1])


class SequenceStep(Step):
    """One graph with varying dimensions, ready to run. `varying` names the dimension of each field of the model that has one.

    What the rows need is planned when they are known, and anew where a batch has more of them. A program of sequences runs a step at a time, but where
    all samples are as long.
    """

    def __init__(self, *arguments: Any, varying: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.varying = varying
        rows = (str(value.type.rows) for value in self.graph.values() if value.type.is_varying)
        tables = [asked(name) for name in self.given if name.startswith(PREFIX)]
        others = [found[1] for kind, _ in tables if (found := Other.of(kind)) is not None]
        read = [dim for other in others for dim in other.dims]
        self.dims = tuple(dict.fromkeys([*rows, *(dim for _, dim in tables), *read]))
        self.first = first_dim(self.graph)
        self.is_same = not any(map(names_in, self.dims))
        self.gives_rows = any(value.type.is_varying for value in self.graph.results.values())
        self.per_step = [one.name for one in self.graph.values("given") if one.is_per_step]
        self._room: tuple[Executable | None, tuple[Ragged, ...]] = self.executable, ()  # and sequences that fit into it

    def run(self, fields: Mapping[str, Array | Ragged], order: Array) -> dict[str, Array | Ragged]:
        """As Step.run; sequences come as a Ragged, and so do results that have a step a row."""
        executable = self._with_room(fields, order) if self.backend != "reference" else None
        if executable is not None and self.is_same and not self.gives_rows:
            arrays = {name: field for name, field in fields.items() if not isinstance(field, Ragged)}
            return {**self.run_arrays(executable, arrays, order)}
        parts: dict[str, list[Any]] = {}
        placed = []
        for at in range(0, len(order), self.batch):
            batch = Batch.of(order[at : at + self.batch], self.dims, self.first, fields, self.varying)
            moved = {name: np.asarray(fields[name])[at // self.batch :] for name in self.per_step}
            own = {**fields, **moved}
            results = self._interpret_one(batch, own) if executable is None else self._run_one(executable, batch, own)
            for name, value in results.items():
                type_ = self.graph.results[name].type
                parts.setdefault(name, []).append(
                    batch.by_sample(value, str(type_.rows)) if type_.is_varying else value
                )
            placed.append(batch.chosen)
        return {name: self._joined(name, values, order, np.concatenate(placed)) for name, values in parts.items()}

    def _with_room(self, fields: Mapping[str, Array | Ragged], order: Array) -> Executable:
        """What runs the longest samples of these fields in one batch: planned anew if it has less room. Calls that began before go on with the old one."""
        sequences = {dim: one for name, dim in self.varying.items() if isinstance(one := fields.get(name), Ragged)}
        most = int(
            np.bincount(order).max(initial=1)
        )  # how often `order` has a sample: in a bootstrap sample several times
        executable, fitting = self._room
        is_seen = most == 1 and all(any(one is other for other in fitting) for one in sequences.values())
        if executable is not None and (
            (sequences and is_seen) or (not self.dims and len(order) <= size_of(BATCH, executable.plan.sizes))
        ):  # or nothing varies after the passes
            return executable
        lengths = {dim: one.lengths for dim, one in sequences.items()}
        count = max(len(order), *map(len, lengths.values()), 1) if lengths else len(order)
        needed = {
            dim: int(np.sort(np.repeat(lengths_of(dim, lengths, count), most))[-self.batch :].sum())
            for dim in self.dims
        }
        needed[BATCH] = min(self.batch, max(len(order), count))
        with building:
            executable, fitting = self._room
            sizes = executable.plan.sizes if executable is not None else {}
            assert isinstance(sizes, Mapping)
            if executable is None or any(sizes.get(dim, 0) < rows for dim, rows in needed.items()):
                executable, fitting = self.build(needed), ()
            self.executable = executable
            self._room = executable, (*fitting[-_REMEMBERED:], *(sequences.values() if most == 1 else ()))
            return executable

    def _run_one(self, executable: Executable, batch: Batch, fields: Mapping[str, Array | Ragged]) -> dict[str, Array]:
        room = executable.plan.sizes
        assert isinstance(room, Mapping)
        sizes = batch.sizes
        assert all(sizes.get(dim, 0) <= rows for dim, rows in room.items()), "a batch has more rows than were planned"
        arrays = {name: field.rows if isinstance(field, Ragged) else field for name, field in fields.items()}
        inputs = executable.inputs({**arrays, **batch.tables(executable.plan.inputs)})
        results = {}
        for name, table in executable.plan.results.items():
            shape = table.type.shape(batch.sizes)
            size = table.type.nbytes(batch.sizes)
            results[name] = Memory(size + SLACK, unwritten=True).array(0, table.type.dtype, shape)
        order = np.ascontiguousarray(batch.chosen, np.int32)
        executable.run(order, executable.tables(inputs, results), 1, len(order), batch.rows)
        return results

    def rows_of_step(self, plan: Plan, size: int) -> tuple[Mapping[str, Array], Mapping[str, Rows]]:
        batch = Batch.of(np.arange(size), self.dims, None, {}, {})
        return batch.tables(plan.inputs), batch.rows

    def _interpret_one(self, batch: Batch, fields: Mapping[str, Array | Ragged]) -> dict[str, Array]:
        taken: dict[str, Array] = {}
        for leaf in (value for value in self.graph.values() if value.role in (Role.INPUT, Role.TARGET, Role.GIVEN)):
            name, field = leaf.name, fields.get(leaf.name)
            if isinstance(field, Ragged):
                assert leaf.type.rows is not None
                taken[name] = field.rows[batch.table(f"{PREFIX}source.{leaf.type.rows}")]
            elif field is not None:
                taken[name] = field[0] if leaf.is_per_step else field[batch.chosen] if leaf.type.lead else field
        walked = [f"{PREFIX}{kind}.{dim}" for kind in ("sample", "step") for dim in self.dims]
        return self.interpret({**taken, **batch.tables([*self.given, *walked])}, batch.sizes)

    def _joined(self, name: str, values: list[Any], order: Array, placed: Array) -> Array | Ragged:
        """The results of all steps, of samples in the order that was asked for."""
        type_ = self.graph.results[name].type
        if not type_.is_batched:
            return np.stack(values)
        back = np.empty(len(order), np.int64)
        for at in range(0, len(order), self.batch):
            part = slice(at, at + self.batch)
            back[part] = at + _places(order[part], placed[part])
        if type_.is_varying:
            sequences = [one for part in values for one in part]
            return Ragged.of([sequences[i] for i in back], DTYPES[type_.dtype].numpy)
        joined: Array = np.concatenate(values)[back]
        return joined


def _places(wanted: Array, placed: Array) -> Array:
    """Where each wanted number stands in what holds the same numbers in another order."""
    found = np.empty(len(wanted), np.int64)
    found[np.argsort(wanted, kind="stable")] = np.argsort(placed, kind="stable")
    return found
