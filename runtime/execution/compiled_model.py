"""A model with its parameters and states in one memory, and the steps made of its graphs.

Training, prediction and evaluation share one: each brings graphs, this runs them. It knows nothing of optimizers.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import numpy as np
from msgspec import Struct, field

from netc.compiler.backends import target_of, with_shards
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import parse_table
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind, parse_supplied
from netc.compiler.model import Model
from netc.compiler.passes.storage import as_bytes
from netc.compiler.targets.target import Target
from netc.dsl.diagnostics import fault
from netc.dsl.structs import replace
from netc.runtime.available import NotEnough, refuse, require_at
from netc.runtime.data.stored import Array, Bytes, Ragged
from netc.runtime.execution.assumed_bounds import assumed_bound, at_assumed_bound, undeclared_dims
from netc.runtime.execution.fields import Fields, FieldTypes, kept_as_bytes
from netc.runtime.execution.resources import Resources, State, state_layout
from netc.runtime.execution.sequences import SequenceStep
from netc.runtime.execution.shared_executables import SharedExecutables
from netc.runtime.execution.step import Step, has_rows
from netc.runtime.execution.workers import Workers
from netc.runtime.locks import Guard, building
from netc.runtime.random import initial, words
from netc.runtime.settings import setting_span

Scheduled = Mapping[str, Array]  # by name of the leaf: the rate, and the factor of each scheduled loss, at each step
Fill = Callable[[Mapping[str, Array]], object]  # gives arrays their values, by name
_FEW = 1_000_000  # samples whose numbers are kept
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Options(Struct, frozen=True):
    """The options by which a model is compiled and run: its largest batch, the seed of all random numbers, and the
    target.

    Programs with the same `executables` share these, if their models differ only in numbers.
    """

    batch: int
    seed: int
    target: Target = field(default_factory=target_of)
    executables: SharedExecutables | None = None


class _Source(Struct, frozen=True):
    """A graph before the passes, and the dimensions whose bound it takes from the data (assumed_bounds.py)."""

    graph: Graph
    dims: frozenset[str]

    @classmethod
    def of(cls, graph: Graph) -> "_Source":
        return cls(graph, undeclared_dims(graph))


class CompiledModel(Struct):
    """A model, its arrays in memory, and its steps. `guard` is the lock of whoever reads or writes the arrays.

    The memory holds the model's own parameters and states at first. `extend` gives the model memory for an
    optimizer's states too; until then nobody may write to the arrays but whoever made the CompiledModel.
    """

    model: Model
    options: Options
    workers: Workers
    fields: FieldTypes
    state: State
    guard: Guard = field(default_factory=Guard)
    _sources: dict[object, "_Source"] = field(default_factory=dict)  # filled under `building`
    _steps: dict[object, Step] = field(default_factory=dict)  # filled under `building`

    @classmethod
    def of(
        cls, model: Model, options: Options, workers: Workers, training_graph: Graph | None = None
    ) -> "CompiledModel":
        """A model whose arrays are zeros, those that a training graph adds among them.

        Raises E1005 if they are larger than the memory of the machine, and E1013 if there are more ranks than shards.
        """
        _refuse_too_large(model, state_layout(model, training_graph)[2])
        _refuse_more_ranks(model, workers)
        options = replace(options, target=with_shards(options.target, model.train.shards))
        return cls(model, options, workers, FieldTypes.of(model), State.of(model, training_graph))

    def initialise(self) -> None:
        """Draws the initial parameters and states of the model from its seed."""
        for name, info in {**self.model.trainables, **self.model.states}.items():
            self.state.arrays[name][...] = initial(info, self.options.seed)

    def extend(self, training_graph: Graph, fill: Fill) -> None:
        """Moves the arrays to a memory that also holds the states that a training graph adds; `fill` sets their values.

        Must be called under `building`. A call that runs meanwhile reads the same values in the old memory.
        """
        _refuse_too_large(self.model, state_layout(self.model, training_graph)[2])
        state, old = State.of(self.model, training_graph), self.state.arrays
        for name, array in old.items():
            state.arrays[name][...] = array
        fill({name: array for name, array in state.arrays.items() if name not in old})
        self.state, self._steps, self._sources = state, {}, {}

    @property
    def resources(self) -> Resources:
        return Resources(self.state, self.workers, self.options.target)

    @property
    def _interpreting(self) -> Resources:
        """The same memory and workers for graphs that are always interpreted."""
        return Resources(self.state, self.workers, target_of("reference", self.options.target.machine))

    def step_of(self, key: object, graph: Callable[[], Graph], fields: Fields) -> Step:
        """A graph of this model, ready to run on fields that are stored in this way; built once for each key."""
        stored = kept_as_bytes(fields)
        source = built_once(self._sources, (key, stored), lambda: _Source.of(as_bytes(graph(), stored)))
        bound = assumed_bound(source.dims, self._lengths(fields)) if source.dims else None
        return built_once(self._steps, (key, stored, bound), lambda: self.new_step(source.graph, fields))

    def has(self, step: Step) -> bool:
        """Whether a step runs over the arrays as they are now: `extend` moves them, and then steps are built again."""
        return step.resources.state is self.state

    def new_step(self, graph: Graph, fields: Fields, profiled: bool = False) -> Step:
        """A graph made ready to run. With `profiled` it counts the ticks of each call."""
        graph = at_assumed_bound(graph, self._lengths(fields))
        rows = max(map(len, fields.values()), default=None)
        batch, resources = self.options.batch, replace(self.resources, executables=self.options.executables)
        try:
            if has_rows(graph):
                return SequenceStep(graph, resources, batch, self._varying(graph), profiled, rows)
            return Step(graph, resources, batch, profiled, rows)
        except NotEnough as lack:
            self._refuse(lack)

    def _lengths(self, fields: Fields) -> dict[str, Array]:
        """The lengths of the samples along each dimension of the fields."""
        sequences = ((dim, fields.get(name)) for name, dim in self.fields.varying.items())
        return {dim: field.lengths for dim, field in sequences if isinstance(field, Ragged)}

    def single_step(self, key: object, graph: Graph, samples: int) -> Step:
        """A graph without varying dimensions, ready to run on `count` samples at a time; built once for each key."""
        return built_once(self._steps, key, lambda: Step(graph, self.resources, samples))

    def interpreted_step(self, key: object, graph: Graph, count: int) -> Step:
        """A graph in the reference interpreter, all `count` samples as one batch; built once for each key."""
        return built_once(self._steps, key, lambda: self._new_interpreted(graph, count)).with_batch(count)

    def _new_interpreted(self, graph: Graph, count: int) -> Step:
        if not has_rows(graph):
            return Step(graph, self._interpreting, count)
        return SequenceStep(graph, self._interpreting, count, self._varying(graph))

    def _varying(self, graph: Graph) -> dict[str, str]:
        """The varying dimension of each field and each input of a graph that has one."""
        inputs = [leaf for leaf in graph.values(Role.INPUT) if leaf.type.is_varying]
        return {**self.fields.varying, **{leaf.name: str(leaf.type.rows) for leaf in inputs}}

    def _refuse(self, lack: NotEnough) -> NoReturn:
        """Raises Fault E1005, at the span of the text that asks for the memory."""
        if lack.span is not None:
            refuse(lack, lack.span, "fewer samples at once")
        batch = self.options.batch
        fitting = int(0.8 * batch * lack.free.nbytes / lack.needed)
        hint = f"batch = {fitting}" if 0 < fitting < batch else None
        refuse(lack, setting_span(self.model, "batch"), hint)

    def run_step(
        self, step: Step, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None = None
    ) -> dict[str, Array | Ragged]:
        """Runs a step of this model over the samples of `order`, with the random numbers of an epoch.

        `scheduled` has one number for all batches or one for each. If it is not passed, schedules are at 1.
        """
        arrays = {name: field.array if isinstance(field, Bytes) else field for name, field in fields.items()}
        for name in step.given:
            if name in step.constants:
                arrays[name] = step.constants[name]
            elif name not in fields:  # otherwise it was handed on from an earlier chunk
                arrays |= self.generated(name, fields, order, epoch, scheduled)
        try:
            with self.guard.writing if step.is_update else self.guard.reading:
                return step.run(arrays, order)
        except NotEnough as lack:
            self._refuse(lack)

    def generated(
        self, name: str, fields: Fields, order: Array, epoch: int = 0, scheduled: Scheduled | None = None
    ) -> dict[str, Array]:
        """A leaf of a step that is not a field of the data: sample numbers, rates, scales or random words."""
        if parse_table(name) is not None:
            return {}
        supplied = parse_supplied(name)
        assert supplied is not None, name
        match supplied.kind:
            case SuppliedKind.CONSTANT:
                raise AssertionError(f"{name} is supplied by its step")
            case SuppliedKind.SAMPLES:
                count = len(next(iter(fields.values())))
                return {name: _numbers_of(count)}
            case SuppliedKind.NUMBER:
                return {name: np.array(self.model.train.number(supplied.name))}
            case SuppliedKind.RATE | SuppliedKind.LOSS_FACTOR:
                unscheduled = self.model.train.number("lr") if supplied.kind is SuppliedKind.RATE else 1.0
                values = np.full(1, unscheduled) if scheduled is None else scheduled[name]
                return {name: np.ascontiguousarray(np.broadcast_to(values, -(-len(order) // self.options.batch)))}
            case SuppliedKind.BATCH_SHARE:
                return {name: batch_shares(len(order), self.options.batch, len(next(iter(fields.values()))))}
            case SuppliedKind.SCALE:
                stored = fields[supplied.name]
                assert isinstance(stored, Bytes)
                return {name: np.array(stored.scale)}
            case SuppliedKind.RANDOM:
                return {name: words(2, self.options.seed, name, epoch)}

    def results_of(
        self, step: Step, fields: Fields, count: int, epoch: int = 0, scheduled: Scheduled | None = None
    ) -> dict[str, Any]:
        """The results for the first `count` samples, as in `results_of_samples`."""
        return self.results_of_samples(step, fields, _numbers_of(count), epoch, scheduled)

    def results_of_samples(
        self, step: Step, fields: Fields, order: Array, epoch: int = 0, scheduled: Scheduled | None = None
    ) -> dict[str, Any]:
        """The results for the samples of `order`; one that does not depend on the sample is that of the first batch."""
        results = self.run_step(step, fields, order, epoch, scheduled)
        return {**results, **{name: np.asarray(results[name])[0] for name in step.unbatched}}


def _numbers_of(count: int) -> Array:
    """The numbers of `count` samples, in order."""
    return _numbers_to(count) if count <= _FEW else np.arange(count, dtype=np.int32)


@lru_cache(4)
def _numbers_to(count: int) -> Array:
    """The same array every time, because calls that read it are kept (batches.py)."""
    numbers = np.arange(count, dtype=np.int32)
    numbers.flags.writeable = False
    return numbers


def batch_shares(count: int, batch: int, samples: int) -> Array:
    """For each batch of `count` samples, its share of a full batch: 1, or less for a smaller last one.

    A full batch has `batch` samples, or all `samples` of the data if these are fewer.
    """
    shares = np.ones(-(-count // batch))
    shares[-1] = min(1.0, (count - batch * (len(shares) - 1)) / min(batch, samples))
    return shares


def built_once(entries: dict[_Key, _Value], key: _Key, build: Callable[[], _Value]) -> _Value:
    """The entry of a key, built if it is missing: by only one thread, if several ask for it."""
    if key not in entries:
        with building:
            if key not in entries:
                entries[key] = build()
    return entries[key]


def _refuse_more_ranks(model: Model, workers: Workers) -> None:
    ranks, shards = workers.ranks, model.train.shards
    if ranks is not None and ranks.count > shards:
        title, label = f"{ranks.count} ranks cannot share the {shards} shards of a batch", "each rank does whole ones"
        fault("E1013", title, setting_span(model, "shards"), label, hint=f"shards = {ranks.count}")


def _refuse_too_large(model: Model, size: int) -> None:
    """Raises E1005 where parameters and states are larger than the memory of the machine."""
    if model.trainables:
        largest = max(model.trainables.values(), key=lambda info: info.type.nbytes(1))
        what = f"parameters and the optimizer's states, of which `{largest.name}` is the largest,"
        require_at(size, what, largest.span, f"{largest.type} alone are {largest.type.nbytes(1):,} bytes")
