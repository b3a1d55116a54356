"""Steps of the optimizer over the parameters of a compiled model."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from netc.compiler import pipeline
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.model import Model, Truncate
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.compiler.passes.storage import as_bytes
from netc.compiler.passes.update import STEP
from netc.dsl.diagnostics import Fault
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.execution.compiled_model import CompiledModel, Fill, Options, Scheduled
from netc.runtime.execution.fields import Fields, RawFields, kept_as_bytes, sample_count
from netc.runtime.execution.step import Step
from netc.runtime.execution.step_cost import must_rematerialise
from netc.runtime.execution.workers import Workers
from netc.runtime.inference.evaluation import Evaluator
from netc.runtime.locks import building
from netc.runtime.metric_values import Losses
from netc.runtime.training import schedule
from netc.runtime.training.averaging import Averages
from netc.runtime.training.chunks import Carried, chunks
from netc.runtime.training.fitting import fit_class_weights, refit
from netc.runtime.training.searched_steps import SearchedSteps

_TOTAL = str(ResultKind.TOTAL.named())  # the sum of all losses


class Training:
    """Trains a compiled model, whose memory holds what the training graph adds to it.

    `graph` is None for a model without a loss. Several threads may use one: calls that change parameters run alone.
    """

    def __init__(self, compiled: CompiledModel, graph: Graph | None, rematerialises: bool) -> None:
        self.compiled, self._graph, self._rematerialises = compiled, graph, rematerialises
        searches = graph is not None and OPTIMIZERS[compiled.model.train.optimizer.name].searches
        self._searched = SearchedSteps(compiled) if searches else None
        self._refusal: Fault | None = None  # why no step may be taken, if the optimizer's states are not there
        average = compiled.model.train.average
        self.averages = None if average is None or graph is None else Averages(compiled, average)

    @classmethod
    def of(cls, model: Model, options: Options, workers: Workers) -> "Training":
        """A model with initial parameters. Raises what must_rematerialise raises, and E1005 if it is too large."""
        graph, rematerialises = _training_graph(model, options, workers)
        training = cls(CompiledModel.of(model, options, workers, graph), graph, rematerialises)
        training.compiled.initialise()
        return training

    def restarted(self, draws: bool = True) -> "Training":
        """The training of the same graph from new parameters; its arrays are those of this one. Without `draws` they
        stay as they are: the caller gives them their values."""
        if draws:
            for array in self.compiled.state.arrays.values():
                array.fill(0)
            self.compiled.initialise()
        return Training(self.compiled, self._graph, self._rematerialises)

    @classmethod
    def extending(cls, compiled: CompiledModel, fill: Fill) -> "Training":
        """The training of a model that has memory only for its own arrays; `fill` gives the others their values.

        If `fill` raises a Fault, gradients can be computed, and a step of the optimizer raises it. Must be called under
        `building`.
        """
        refusals: list[Fault] = []

        def fill_or_refuse(arrays: Mapping[str, Array]) -> None:
            try:
                fill(arrays)
            except Fault as error:
                refusals.append(error)

        graph, rematerialises = _training_graph(compiled.model, compiled.options, compiled.workers)
        if graph is not None:
            compiled.extend(graph, fill_or_refuse)
        training = cls(compiled, graph, rematerialises)
        fill_or_refuse(training.kept)
        training._refusal = next(iter(refusals), None)
        return training

    @property
    def kept(self) -> Mapping[str, Array]:
        """The arrays, by name, that a resumed training needs besides the states of the graph."""
        searched = {} if self._searched is None else self._searched.arrays
        return searched if self.averages is None else {**searched, **self.averages.arrays}

    @property
    def is_over(self) -> bool:
        """Whether no further step lowers the loss."""
        return self._searched is not None and self._searched.is_over

    def training_graph(self) -> Graph:
        """The graph of a training step before the passes. Raises E0501 if the model has no loss."""
        return self._graph or pipeline.training_graph(self.compiled.model, self._rematerialises)

    def step_for(self, fields: Fields) -> Step:
        """The training step for fields that are stored in this way, built once. Raises E0501 without a loss."""
        return self.compiled.step_of("training", self.training_graph, fields)

    def profiled_step(self, fields: Fields) -> Step:
        """A training step that counts the ticks of each call."""
        with building:
            graph = as_bytes(self.training_graph(), kept_as_bytes(fields))
            return self.compiled.new_step(graph, fields, profiled=True)

    @property
    def _steps_done(self) -> int:
        """The count of steps: it stands for the epoch where a caller takes single steps, so that each draws other
        random numbers."""
        arrays = self.compiled.state.arrays
        return int(arrays[STEP]) if STEP in arrays else 0

    def _scheduled(self) -> Scheduled:
        """The rate and the factors of a single step, which is in no epoch: schedules are at their beginning."""
        return schedule.scheduled(self.compiled.model.train, np.array([self._steps_done]), 2**53)

    def fit(self, fields: RawFields) -> None:
        """See Program.fit."""
        fit_class_weights(self.compiled, self.compiled.fields.ready(fields))

    def refit(self, evaluator: Evaluator, parts: Mapping[str, RawFields]) -> None:
        """See Program.refit."""
        refit(self.compiled, evaluator, parts)

    def step(self, fields: RawFields) -> dict[str, float]:
        """See Program.step."""
        compiled, model = self.compiled, self.compiled.model
        ready, batch = compiled.fields.ready(fields), compiled.options.batch
        count = sample_count(ready, {**model.inputs, **model.targets}, batch, batch * model.train.accumulate)
        self.step_for(ready)
        with compiled.guard.writing:
            losses = self.steps(ready, np.arange(count), self._steps_done, self._scheduled())
        return {name: float(values[0]) for name, values in losses.values.items()}

    def gradients(self, fields: RawFields, wrt: tuple[str, ...] = ()) -> tuple[float, dict[str, Array]]:
        """See Program.gradients."""
        compiled, model = self.compiled, self.compiled.model
        ready, batch = compiled.fields.ready(fields), compiled.options.batch
        count = sample_count(ready, {**model.inputs, **model.targets}, batch, batch)
        step = compiled.step_of(("gradients", wrt), lambda: pipeline.gradient_graph(model, wrt), ready)
        with compiled.guard.reading:
            results = compiled.results_of(step, ready, count, self._steps_done, self._scheduled())
        return float(results[_TOTAL]), step.source.select(ResultKind.GRADIENT, results)

    def steps(self, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None = None) -> Losses:
        """See Program.steps."""
        if self._refusal is not None:
            raise self._refusal
        self.step_for(fields)  # while it is built, other threads may read
        with self.compiled.guard.writing:
            losses = self._steps(fields, order, epoch, scheduled)
            self.compiled.state.divided.gather()
            return losses

    def _steps(self, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None) -> Losses:
        truncate, accumulated = self.compiled.model.train.truncate, self.compiled.model.train.accumulate
        if truncate is not None:
            return self._steps_on_chunks(truncate, fields, order, epoch, scheduled)
        if self._searched is not None:
            return self._searched_step(self._searched, fields, order, epoch)
        if accumulated > 1:
            return self._accumulated_steps(accumulated, fields, order, epoch, scheduled)
        return self._losses_of(self.step_for(fields), fields, order, epoch, scheduled)

    def _searched_step(self, searched: SearchedSteps, fields: Fields, order: Array, epoch: int) -> Losses:
        """One step on all samples, in a fixed order: the same parameters have the same loss whenever they are tried."""
        step, samples = self.step_for(fields), np.sort(order)
        return searched.take(step, fields, lambda: self._losses_of(step, fields, samples, epoch, None))

    def _accumulated_steps(
        self, accumulated: int, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None
    ) -> Losses:
        """A step of the optimizer for every `accumulated` batches: the last of them moves the parameters."""
        model, batch, losses = self.compiled.model, self.compiled.options.batch, []
        for number, start in enumerate(range(0, len(order), batch * accumulated)):
            samples = order[start : start + batch * accumulated]
            last = (len(samples) - 1) // batch * batch
            moved, parts = _scheduled_in(scheduled, number), []
            if last:
                graph = partial(pipeline.accumulation_graph, model, self._rematerialises)
                adding = self.compiled.step_of("accumulation", graph, fields)
                parts.append(self._losses_of(adding, fields, samples[:last], epoch, moved))
            parts.append(self._losses_of(self.step_for(fields), fields, samples[last:], epoch, moved))
            losses.append(Losses.of_one_step(parts))
        return Losses.joined(losses)

    def _steps_on_chunks(
        self, truncate: Truncate, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None
    ) -> Losses:
        """A step of the optimizer for each chunk of a batch's sequences; their losses are reported as one."""
        step, batch, losses = self.step_for(fields), self.compiled.options.batch, []
        full = min(batch, len(next(iter(fields.values()))))
        for number, start in enumerate(range(0, len(order), batch)):
            samples, moved, parts = order[start : start + batch], _scheduled_in(scheduled, number), []
            carried = Carried(step.source, len(samples))
            for chunk in chunks(fields, self.compiled.fields.varying, samples, truncate, full):
                rows = np.arange(len(chunk.running))
                chunk_fields = {**chunk.fields, **carried.fields(chunk)}
                results = self.compiled.run_step(step, chunk_fields, rows, chunk.epoch(epoch), moved)
                carried.take(chunk, results)
                step_results = {name: value for name, value in results.items() if name not in carried.values}
                parts.append(self._losses(step, step_results, rows))
            losses.append(Losses.of_one_step(parts))
        return Losses.joined(losses)

    def _losses_of(self, step: Step, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None) -> Losses:
        return self._losses(step, self.compiled.run_step(step, fields, order, epoch, scheduled), order)

    def _losses(self, step: Step, results: Mapping[str, Array | Ragged], order: Array) -> Losses:
        """The losses of steps from their results `total`, `total.NAME` and `count.NAME`."""
        batch = self.compiled.options.batch
        sizes = np.full(-(-len(order) // batch), float(batch))
        sizes[-1] = len(order) - batch * (len(sizes) - 1)
        steps = {name: np.asarray(value) for name, value in results.items()}
        values = {name: steps[printed] for name, printed in step.names_of(ResultKind.TOTAL).items() if name}
        counted = step.names_of(ResultKind.COUNT)
        counts = {name: steps[counted[name]].astype(np.float64) if name in counted else sizes for name in values}
        return Losses({**values, "loss": steps[_TOTAL]}, {**counts, "loss": sizes})


def _training_graph(model: Model, options: Options, workers: Workers) -> tuple[Graph | None, bool]:
    """The graph of a step, None without a loss, and whether it rematerialises."""
    if not model.graph.has(ResultKind.LOSS):
        return None, False
    rematerialises = must_rematerialise(model, workers.count, options.target.machine)
    return pipeline.training_graph(model, rematerialises), rematerialises


def _scheduled_in(scheduled: Scheduled | None, step: int) -> Scheduled | None:
    return None if scheduled is None else {name: values[step : step + 1] for name, values in scheduled.items()}
