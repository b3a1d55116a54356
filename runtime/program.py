"""A model that runs: parameters and states in one flat memory, and the steps over it, compiled or interpreted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from netc.compiler import pipeline
from netc.compiler.evaluation import Evaluation, evaluation_graphs, fitting_graphs
from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.rows import PREFIX
from netc.compiler.ir.types import DTYPES, Bounded, Type
from netc.compiler.kernels.machine import Machine
from netc.compiler.kernels.targets import machine_for
from netc.compiler.model import CLASS_WEIGHTS, FITTED, Model, Truncate
from netc.compiler.operations.random import SAMPLE
from netc.compiler.passes.objective import LOSS_FACTOR
from netc.compiler.passes.storage import SCALE, as_bytes
from netc.compiler.passes.update import FACTOR, STEP
from netc.runtime import schedule
from netc.runtime.available import NotEnough, refuse, require_at
from netc.runtime.beam import Decoder, decoders, search
from netc.runtime.chunks import Carried, chunks
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.figures import Figures, Losses, figure_of, loss_figures
from netc.runtime.locks import Guard, building
from netc.runtime.parts import fields_of, part_of
from netc.runtime.random import initial, words
from netc.runtime.schedule import Factors
from netc.runtime.sequences import SequenceStep
from netc.runtime.settings import place_of_setting
from netc.runtime.step import Backend, State, Step, check_backend, has_rows, must_be_frugal, state_layout
from netc.runtime.workers import Workers

Fields = Mapping[str, Field]
_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")
Given = Mapping[str, Any]  # by name: an array, samples first; of a varying dimension, a list of arrays


class Program:
    """A compiled model: its parameters, and prediction, gradients and training steps over them.

    `batch` is the most samples that one step takes; larger arrays are cut into batches by `predict`. `threads` defaults to the cores
    that the process may use; results are the same bits on any number of them. Several threads may call one program at the same time: predictions,
    evaluations and gradients run side by side, and a call that changes parameters runs alone (`guard`): the others read what it left, never half of it.
    `machine` is what the program is compiled for: a target description or its text (kernels/targets.py), by default what NETC_TARGET says, else the host. Raises ValueError for less than 1 thread, for a backend that does not
    exist, and for a target whose code this machine cannot run.
    """

    def __init__(
        self,
        model: Model,
        seed: int | None = None,
        backend: Backend = "numba",
        batch: int | None = None,
        threads: int | None = None,
        machine: Machine | str | None = None,
    ) -> None:
        check_backend(backend)
        self.model, self.backend, self.machine = model, backend, machine_for(machine)
        self.batch = batch or model.train.batch
        self.workers = Workers(self.machine.cores if threads is None else threads)
        self.seed = model.train.seed if seed is None else seed
        has_loss = any(name.startswith("loss.") for name in model.graph.results)
        self._is_frugal = has_loss and must_be_frugal(model, self.workers.count, self.machine)
        self._made = pipeline.training_graph(model, self._is_frugal) if has_loss else None
        _refuse_too_large(model, state_layout(model, self._made)[2])
        self.state = State.of(model, self._made)
        self.persistent = self.state.arrays
        for name, info in {**model.trainables, **model.states}.items():
            self.persistent[name][...] = initial(info, self.seed)
        fields = {**model.inputs, **model.targets}
        self.types = {**{name: value.type for name, value in model.values.items()}, **fields}
        self.varying = {name: str(type_.rows) for name, type_ in self.types.items() if type_.is_varying}
        rows = {str(value.type.rows) for value in model.graph.values() if value.type.is_varying}
        self.shorter = sorted(dim for dim in rows if names_in(dim) not in ((), (dim,)))
        self.parameters = {name: self.persistent[name] for name in model.parameters}
        self.guard = Guard()  # of what is in `state`
        self._steps: dict[object, Step] = {}  # made under `building`, as all that follows
        self._parts: dict[tuple[object, ...], Graph] = {}
        self._evaluations: dict[object, Evaluation] = {}
        self._decoders: dict[str, list[Decoder]] = {}

    def step_of(self, key: object, graph: Callable[[], Graph], fields: Fields) -> Step:
        """A graph of this model, ready to run for the way that these fields are kept; made once for a key."""
        kept = kept_as_bytes(fields)
        return _kept(self._steps, (key, kept), lambda: self._made_ready(as_bytes(graph(), kept), fields))

    def _made_ready(self, graph: Graph, fields: Fields, profiled: bool = False) -> Step:
        arguments = (graph, self.state, self.batch, self.workers, self.backend, self.machine)
        rows = max(map(len, fields.values()), default=None)
        with self._with_memory():
            if has_rows(graph):
                return SequenceStep(*arguments, profiled=profiled, rows=rows, varying=self.varying)
            return Step(*arguments, profiled=profiled, rows=rows)

    @contextmanager
    def _with_memory(self) -> Iterator[None]:
        """Fault E1005, at its place in the text, where what is done meanwhile does not fit into memory."""
        try:
            yield
        except NotEnough as lack:
            if lack.span is not None:
                refuse(lack, lack.span, "fewer samples at once")
            fitting = int(0.8 * self.batch * lack.room.nbytes / lack.needed)
            hint = f"batch = {fitting}" if 0 < fitting < self.batch else None
            refuse(lack, place_of_setting(self.model, "batch"), hint)

    @property
    def _steps_done(self) -> int:
        """What stands for the epoch where somebody takes single steps: in each, other random numbers are drawn."""
        return int(self.persistent[STEP]) if STEP in self.persistent else 0

    def _training_graph(self) -> Graph:
        """Faults E0501 if the model has no loss."""
        return self._made or pipeline.training_graph(self.model, self._is_frugal)

    def run_step(
        self, step: Step, fields: Fields, order: Array, epoch: int, factors: Factors | None = None
    ) -> dict[str, Array | Ragged]:
        """Run a step of this program over the samples of `order`, with the random numbers of an epoch, and the factors of schedules (1 if not given; one for
        all batches, or each its own)."""
        arrays = {name: field.array if isinstance(field, Bytes) else field for name, field in fields.items()}
        for name in step.given:
            if name in fields:  # handed on from an earlier chunk
                continue
            if name == SAMPLE:
                arrays[name] = np.arange(len(next(iter(fields.values()))), dtype=np.int32)
            elif name == FACTOR or name.startswith(LOSS_FACTOR):
                given = np.ones(1) if factors is None else factors[name]
                arrays[name] = np.ascontiguousarray(np.broadcast_to(given, -(-len(order) // self.batch)))
            elif name.startswith(SCALE):
                kept = fields[name.removeprefix(SCALE)]
                assert isinstance(kept, Bytes)
                arrays[name] = np.array(kept.scale)
            elif not name.startswith(PREFIX):
                arrays[name] = words(2, self.seed, name, epoch)
        with self._with_memory(), self.guard.writing if step.is_update else self.guard.reading:
            return step.run(arrays, order)

    def training(self, fields: Fields) -> Step:
        """The training step for the way that these fields are kept; the first time it is built."""
        return self.step_of("training", self._training_graph, fields)

    def fit(self, fields: Fields) -> None:
        """What the model takes from the training split before its first step: class weights, samples / (classes * samples of the class)."""
        for name in self.model.states:
            if name.startswith(CLASS_WEIGHTS):
                field = fields[name.removeprefix(CLASS_WEIGHTS)]
                labels = np.asarray(field.rows if isinstance(field, Ragged) else field).ravel()
                counts = np.bincount(labels, minlength=len(self.persistent[name]))
                with self.guard.writing:
                    self.persistent[name][...] = len(labels) / (len(counts) * np.maximum(counts, 1))

    def refit(self, fields: Given) -> None:
        """What `fitted` keeps of the training split, by the parameters as they are: after an epoch. In the order of the file, so that one may read another."""
        names = [name for name in self.model.graph.results if name.startswith(FITTED)]
        ready = self._ready(fields) if names else {}
        with self.guard.writing:
            for name in names:
                graphs = partial(fitting_graphs, self.model, name)
                results = self._of_whole(name, graphs, ready, len(next(iter(ready.values()))), {})
                self.persistent[name.removeprefix(FITTED)][...] = results[name]

    def profiled(self, fields: Fields) -> Step:
        """A training step of this program that counts the ticks of each call."""
        with building:
            return self._made_ready(as_bytes(self._training_graph(), kept_as_bytes(fields)), fields, profiled=True)

    def _ready(self, fields: Given) -> dict[str, Field]:
        """Fields as they were given, lists of arrays as sequences. Raises ValueError where lengths do not fit together."""
        ready = dict[str, Field]()
        lengths: dict[str, tuple[str, Array]] = {}
        for name, field in fields.items():
            dim = self.varying.get(name)
            if dim is None:
                ready[name] = np.asarray(field) if isinstance(field, list | tuple) else field
                continue
            one = field if isinstance(field, Ragged) else Ragged.of(field, DTYPES[self.types[name].dtype].numpy)
            most = self.model.bounds.get(dim)
            if most is not None and one.lengths.max() > most:
                raise ValueError(
                    f"the field `{name}` has a sequence of {int(one.lengths.max())} steps: {dim} <= {most}"
                )
            if not one.lengths.all():
                raise ValueError(f"the field `{name}` has a sequence of no steps: sample {int(np.argmin(one.lengths))}")
            other, known = lengths.setdefault(dim, (name, one.lengths))
            if not np.array_equal(known, one.lengths):
                raise ValueError(f"`{name}` and `{other}` both have the dimension `{dim}`, and their lengths differ")
            ready[name] = one
        self._refuse_lengths(lengths)
        return ready

    def _refuse_lengths(self, lengths: Mapping[str, tuple[str, Array]]) -> None:
        """ValueError where a sample has too few steps for what the model does with them, or lengths are not what is said of them."""
        known = {dim: found for dim, (_, found) in lengths.items()}
        pairs: list[tuple[str, Array | None, str]] = [
            (dim, found, dim) for dim, found in known.items() if names_in(dim) != (dim,)
        ]
        pairs += [(one.one, None, one.other) for one in self.model.equal]
        for one, found, other in pairs:
            if all(name in known for dim in (one, other) for name in names_in(dim)):
                count = len(next(iter(known.values())))
                wanted = lengths_of(other, known, count)
                if not np.array_equal(lengths_of(one, known, count) if found is None else found, wanted):
                    raise ValueError(f"`{one}` and `{other}` are said to be as long, and their lengths differ")
        for dim in self.shorter:
            names = names_in(dim)
            if all(name in known for name in names) and (lengths_of(dim, known, len(known[names[0]])) < 1).any():
                raise ValueError(f"a sample of `{lengths[names[0]][0]}` has too few steps: {dim} is at least 1")

    def step(self, fields: Given) -> dict[str, float]:
        """One step of the optimizer on a batch (or as many samples as are accumulated); returns each loss by name and `loss`, their sum."""
        fields = self._ready(fields)
        count = self._check(
            fields, {**self.model.inputs, **self.model.targets}, self.batch * self.model.train.accumulate
        )
        self.training(fields)
        with self.guard.writing:
            losses = self.steps(fields, np.arange(count), self._steps_done, self._factors())
        return {name: float(values[0]) for name, values in losses.values.items()}

    def _factors(self) -> Factors:
        """Where somebody takes single steps. A schedule that counts epochs stands at its beginning: they belong to none."""
        return schedule.factors(self.model.train, self._steps_done, 1, 2**53)

    def steps(self, fields: Fields, order: Array, epoch: int, factors: Factors | None = None) -> Losses:
        """A step of the optimizer for every batch of the samples that `order` numbers (or as many batches as are accumulated).

        What is random in them depends on the seed, the epoch and the samples' numbers. `factors` are what schedules make of the rate and of losses, a number a step.
        """
        self.training(fields)  # while it is built, other threads may read
        with self.guard.writing:
            return self._steps_alone(fields, order, epoch, factors)

    def _steps_alone(self, fields: Fields, order: Array, epoch: int, factors: Factors | None) -> Losses:
        if self.model.train.truncate is not None:
            return self._in_chunks(self.model.train.truncate, fields, order, epoch, factors)
        several = self.model.train.accumulate
        if several == 1:
            return self._losses(self.run_step(self.training(fields), fields, order, epoch, factors), order)
        made = []
        for i in range(0, len(order), self.batch * several):
            chosen = order[i : i + self.batch * several]
            last, moved = (len(chosen) - 1) // self.batch * self.batch, _at(factors, i // (self.batch * several))
            parts = []
            if last:
                adding = self.step_of(
                    "accumulation", lambda: pipeline.accumulation_graph(self.model, self._is_frugal), fields
                )
                parts.append(self._losses(self.run_step(adding, fields, chosen[:last], epoch, moved), chosen[:last]))
            parts.append(
                self._losses(self.run_step(self.training(fields), fields, chosen[last:], epoch, moved), chosen[last:])
            )
            made.append(Losses.of_one_step(parts))
        return Losses.joined(made)

    def _in_chunks(self, how: Truncate, fields: Fields, order: Array, epoch: int, factors: Factors | None) -> Losses:
        """A step for each chunk of a batch's sequences, whose figures are told as one."""
        step, made = self.training(fields), []
        for i in range(0, len(order), self.batch):
            chosen, moved, parts = order[i : i + self.batch], _at(factors, i // self.batch), []
            carried = Carried(step.graph, len(chosen))
            for chunk in chunks(fields, self.varying, chosen, how):
                given = {**chunk.fields, **carried.given(chunk)}
                rows = np.arange(len(chunk.running))
                found = self.run_step(step, given, rows, chunk.epoch(epoch), moved)
                carried.take(chunk, found)
                parts.append(self._losses({name: one for name, one in found.items() if name not in carried.held}, rows))
            made.append(Losses.of_one_step(parts))
        return Losses.joined(made)

    def _losses(self, results: Mapping[str, Array | Ragged], order: Array) -> Losses:
        sizes = np.full(-(-len(order) // self.batch), float(self.batch))
        sizes[-1] = len(order) - self.batch * (len(sizes) - 1)
        steps = {name: np.asarray(value) for name, value in results.items()}
        values = {name.removeprefix("total."): value for name, value in steps.items() if name.startswith("total.")}
        counts = {name: steps.get(f"count.{name}", sizes).astype(np.float64) for name in values}
        return Losses({**values, "loss": steps["total"]}, {**counts, "loss": sizes})

    def predict(self, fields: Given, beam: int = 1, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """The outputs for any number of samples; of a varying dimension, a list of arrays.

        `outputs` names those that are wanted, or other values that the model gives a name. A field may be such a value too, and stands in place of what
        computes it: a code, to be decoded (parts.py; raises ValueError for a wrong name). With a `beam` above 1 so many beginnings are followed of what a
        decoder may say (beam.py): faults E0507 if no output is one.
        """
        fields = self._ready(fields)
        key = ("prediction", None if outputs is None else (*outputs,), *sorted(fields))
        graph = _kept(self._parts, key, lambda: part_of(self.model, fields, outputs))
        count = self._check(fields, fields_of(self.model, graph))
        step = self.step_of(key, lambda: graph, fields)
        with self.guard.reading:
            return self._predicted(step, graph, fields, count, beam)

    def _predicted(self, step: Step, graph: Graph, fields: Fields, count: int, beam: int) -> dict[str, Any]:
        found = self._of_all(step, fields, count)
        told = {
            name.removeprefix("output."): list(value)
            if isinstance(value, Ragged)
            else _cut(graph.results[name].type, value, found)
            for name, value in found.items()
            if name.startswith("output.")
        }
        if beam > 1:
            told.update(
                {
                    one.output: self._searched(one, fields, count, beam)
                    for one in _kept(self._decoders, "all", lambda: decoders(self.model))
                    if one.output in told
                }
            )
        return told

    def _searched(self, decoder: Decoder, fields: Fields, count: int, beam: int) -> list[Array]:
        """What a decoder says, found by a beam search."""
        step = self.step_of(("beam", decoder.output), lambda: decoder.before, fields)
        held = {
            name: np.stack(list(value)) if isinstance(value, Ragged) else value
            for name, value in self._of_all(step, fields, count).items()
        }
        return search(decoder, held, count, beam)

    def gradients(self, fields: Given, wrt: tuple[str, ...] = ()) -> tuple[float, dict[str, Array]]:
        """The loss of a batch, as a training step has it, and its gradient for every parameter and the inputs of `wrt`."""
        fields = self._ready(fields)
        count = self._check(fields, {**self.model.inputs, **self.model.targets}, self.batch)
        step = self.step_of(("gradients", wrt), lambda: pipeline.gradient_graph(self.model, wrt), fields)
        with self.guard.reading:
            results = self._of_all(step, fields, count, self._steps_done, self._factors())
        return float(results["total"]), {
            name.removeprefix("gradient."): value for name, value in results.items() if name.startswith("gradient.")
        }

    def evaluate(self, fields: Given, undo: Mapping[str, Callable[[Array], Array]] | None = None) -> Figures:
        """Losses, metrics and watched values over all samples given: a loss is its sum over its count, a metric a figure of the whole (or a matrix of them).

        `undo` gives, for a target, what brings it back to the units of the data; metrics are then in these units.
        """
        undo, fields = undo or {}, self._ready(fields)
        count = self._check(fields, {**self.model.inputs, **self.model.targets})
        undone = frozenset(undo)
        key = ("evaluation", undone)
        made = self._of_whole(key, lambda: evaluation_graphs(self.model, undone), fields, count, undo)
        whole = self._evaluations[key].whole
        found = {name: figure_of(value, whole.results[name].type.is_batched) for name, value in made.items()}
        losses = {name.removeprefix("loss."): value for name, value in found.items() if name.startswith("loss.")}
        figures = {name.removeprefix("metric."): value for name, value in found.items() if name.startswith("metric.")}
        watched = {name: value for name, value in found.items() if name.startswith("watch.")}
        return {**loss_figures(self.model, losses), **figures, **watched}

    def _of_whole(
        self,
        key: object,
        graphs: Callable[[], Evaluation],
        fields: Fields,
        count: int,
        undo: Mapping[str, Callable[[Array], Array]],
    ) -> dict[str, Array]:
        """Results over all samples: some values batch by batch, the rest once from these. The graphs are made once for a key."""
        plan = _kept(self._evaluations, key, graphs)
        step = self.step_of(key, lambda: plan.batches, fields)
        with self.guard.reading:
            return self._both(key, plan, step, fields, count, undo)

    def _both(
        self,
        key: object,
        plan: Evaluation,
        step: Step,
        fields: Fields,
        count: int,
        undo: Mapping[str, Callable[[Array], Array]],
    ) -> dict[str, Array]:
        """What `_of_whole` computes batch by batch, and what of these results."""
        collected = {name.removeprefix("collect."): value for name, value in self._of_all(step, fields, count).items()}
        for name, target in plan.units.items():
            if target in undo:
                value = collected[name]
                is_ragged = isinstance(value, Ragged)
                collected[name] = replace(value, rows=undo[target](value.rows)) if is_ragged else undo[target](value)
        whole = _kept(self._steps, (key, "whole"), lambda: self._whole_step(plan.whole, count)).with_batch(count)
        return {
            name: value.rows if isinstance(value, Ragged) else value
            for name, value in self._of_all(whole, {**fields, **collected}, count).items()
        }

    def _whole_step(self, graph: Graph, count: int) -> Step:
        """The whole part of an evaluation in the interpreter, all samples as one batch."""
        if not has_rows(graph):
            return Step(graph, self.state, count, self.workers, "reference", self.machine)
        inputs = [leaf for leaf in graph.values("input") if leaf.type.is_varying]
        varying = {leaf.name: str(leaf.type.rows) for leaf in inputs}
        arguments = (graph, self.state, count, self.workers, "reference", self.machine)
        return SequenceStep(*arguments, varying={**self.varying, **varying})

    def _of_all(
        self, step: Step, fields: Fields, count: int, epoch: int = 0, factors: Factors | None = None
    ) -> dict[str, Any]:
        """Results for all samples; what does not depend on the sample is the same in each step."""
        return {
            name: value if step.graph.results[name].type.is_batched else np.asarray(value)[0]
            for name, value in self.run_step(step, fields, np.arange(count), epoch, factors).items()
        }

    def _check(self, fields: Fields, types: Mapping[str, Type], most: int | None = None) -> int:
        """The number of samples; raises ValueError where a field is missing or of another shape, or if there are more than `most`."""
        counts = set()
        for name, type_ in types.items():
            if name not in fields:
                raise ValueError(f"the field `{name}` is missing: {type_}")
            field = fields[name]
            shape = (len(field), *field.rows.shape[1:]) if isinstance(field, Ragged) else np.shape(field)
            if shape[1:] != type_.shape(1)[1:] or not shape:
                raise ValueError(f"the field `{name}` has the shape {list(shape)}, the model takes {type_}")
            counts.add(shape[0])
        if not types:  # what is asked for reads no field, and is the same for every sample that is given
            counts = {len(field) for field in fields.values()}
        if len(counts) != 1:
            raise ValueError("the fields hold different numbers of samples" if counts else "there is no field to read")
        count = counts.pop()
        if count == 0 or (most is not None and count > most):
            raise ValueError(f"{count} samples in a batch of at most {self.batch}")
        return int(count)


def _kept(memory: dict[_Key, _Kept], key: _Key, make: Callable[[], _Kept]) -> _Kept:
    """What is kept under a key, made if it is not there; by one thread alone, if several ask for it."""
    if key not in memory:
        with building:
            if key not in memory:
                memory[key] = make()
    return memory[key]


def _refuse_too_large(model: Model, size: int) -> None:
    """Fault E1005 where parameters and states are larger than the memory that is there."""
    if model.trainables:
        largest = max(model.trainables.values(), key=lambda info: info.type.nbytes(1))
        what = f"parameters and the optimizer's states, of which `{largest.name}` is the largest,"
        require_at(size, what, largest.span, f"{largest.type} alone are {largest.type.nbytes(1):,} bytes")


def kept_as_bytes(fields: Fields) -> frozenset[str]:
    """The names of those that are."""
    return frozenset(name for name, field in fields.items() if isinstance(field, Bytes))


def _cut(type_: Type, value: Array, found: Mapping[str, Any]) -> Array | list[Array]:
    """Of an output that has varying dimensions at their bounds, what each sample has."""
    if not type_.is_held:
        return value
    ends = [found[f"length.{dim.name}"] if isinstance(dim, Bounded) else None for dim in type_.dims[1:]]
    return [one[tuple(np.s_[: end[i]] if end is not None else np.s_[:] for end in ends)] for i, one in enumerate(value)]


def _at(factors: Factors | None, step: int) -> Factors | None:
    """Those of one step."""
    return None if factors is None else {name: values[step : step + 1] for name, values in factors.items()}
