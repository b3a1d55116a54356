"""Losses and metrics of a model over all samples of a split: some values batch by batch, the rest once from these."""

from collections.abc import Callable, Mapping

import numpy as np
from msgspec import Struct

from netc.compiler.evaluation import Evaluation, evaluation_graphs
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import DTYPES
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.compiled_model import CompiledModel, built_once
from netc.runtime.execution.fields import Fields, RawFields, sample_count
from netc.runtime.inference.bootstrap import Resampling
from netc.runtime.metric_names import is_histogram
from netc.runtime.metric_values import Intervals, MetricValues, histogram, loss_metrics, metric_value
from netc.runtime.random import generator

Undo = Mapping[str, Callable[[Array], Array]]  # by target: what brings it back to the units of the data


class Evaluator:
    """Evaluates a compiled model. Several threads may use one."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._evaluations: dict[object, Evaluation] = {}
        self._resampled: dict[object, Graph] = {}

    def evaluate(self, fields: RawFields, undo: Undo | None = None) -> MetricValues:
        """See Program.evaluate."""
        part = self._part(fields, undo or {})
        with self._compiled.guard.reading:
            return self._over_all(part, self._collected(part))

    def evaluate_with_intervals(self, fields: RawFields, undo: Undo | None = None) -> tuple[MetricValues, Intervals]:
        """See Program.evaluate_with_intervals."""
        part = self._part(fields, undo or {})
        with self._compiled.guard.reading:
            collected = self._collected(part)
            metrics = self._over_all(part, collected)
            resampling = Resampling.of(part.count, collected)
            resampled = self._resamples(part, collected, resampling)
        numbers = {name: value for name, value in metrics.items() if isinstance(value, float) and name in resampled}
        intervals = {name: resampling.interval(value, resampled[name]) for name, value in numbers.items()}
        return metrics, {name: interval for name, interval in intervals.items() if interval is not None}

    def results_of_split(
        self, key: object, graphs: Callable[[], Evaluation], fields: Fields, count: int
    ) -> dict[str, Array]:
        """The results of a pair of graphs over all samples; the graphs are built once for each key."""
        part = self._part_of(key, graphs, fields, count, {})
        with self._compiled.guard.reading:
            return self._results(part, self._collected(part))

    def _part(self, fields: RawFields, undo: Undo) -> "_Part":
        """These samples, for the losses and metrics of the model."""
        model, ready = self._compiled.model, self._compiled.fields.ready(fields)
        count = sample_count(ready, {**model.inputs, **model.targets}, self._compiled.options.batch)
        undone = frozenset(undo)
        return self._part_of(("evaluation", undone), lambda: evaluation_graphs(model, undone), ready, count, undo)

    def _part_of(
        self, key: object, graphs: Callable[[], Evaluation], fields: Fields, count: int, undo: Undo
    ) -> "_Part":
        evaluation = built_once(self._evaluations, key, graphs)
        self._compiled.step_of(key, lambda: evaluation.batches, fields)  # while it is built, others may write
        return _Part(key, evaluation, fields, count, undo)

    def _over_all(self, part: "_Part", collected: Fields) -> MetricValues:
        """The losses and metrics of all samples."""
        return self._metrics(part.evaluation.over_split, self._results(part, collected))

    def _results(self, part: "_Part", collected: Fields) -> dict[str, Array]:
        """The results over all samples."""
        if part.evaluation.computes_nothing:
            return _as_collected(part.evaluation, collected)
        graph = part.evaluation.over_split
        last = self._compiled.interpreted_step((part.key, "whole"), graph, part.count)
        return _rows(self._compiled.results_of(last, {**part.fields, **collected}, part.count))

    def _resamples(self, part: "_Part", collected: Fields, resampling: Resampling) -> dict[str, list[float]]:
        """The losses and metrics that are numbers, for each resample; without those that depend on no sample."""
        graph = built_once(self._resampled, part.key, lambda: _numbers(part.evaluation.over_split))
        last = self._compiled.interpreted_step((part.key, "resampled"), graph, resampling.size)
        fields, random = {**part.fields, **collected}, generator(self._compiled.options.seed, "bootstrap")
        penalties, values = self._compiled.model.graph.penalties(), dict[str, list[float]]()
        for order in resampling.orders(random):
            results = _rows(self._compiled.results_of_samples(last, fields, order))
            for name, value in self._metrics(graph, results).items():
                if isinstance(value, float) and name not in ("penalty", *penalties):
                    values.setdefault(name, []).append(value)
        return values

    def _metrics(self, graph: Graph, results: Mapping[str, Array]) -> MetricValues:
        """The losses, metrics and watched values that a graph over a split has, from its results."""
        losses, metrics, watched = MetricValues(), MetricValues(), MetricValues()
        for result, value in graph.results.items():
            printed = str(result)
            if result.kind is ResultKind.WATCH and is_histogram(printed):
                watched[printed] = histogram(results[printed])
                continue
            number = metric_value(results[printed], value.type.is_batched)
            if result.kind is ResultKind.WATCH:
                watched[printed] = number
            else:
                (losses if result.kind is ResultKind.LOSS else metrics)[result.name] = number
        return {**loss_metrics(self._compiled.model, losses), **metrics, **watched}

    def _collected(self, part: "_Part") -> Fields:
        """The values that are computed batch by batch, in the units of the data where `undo` has them."""
        evaluation, undo = part.evaluation, part.undo
        step = self._compiled.step_of(part.key, lambda: evaluation.batches, part.fields)
        results = self._compiled.results_of(step, part.fields, part.count)
        collected: dict[str, Field] = evaluation.batches.select(ResultKind.COLLECTED, results)
        for name, target in evaluation.units.items():
            if target in undo:
                value = collected[name]
                if isinstance(value, Ragged):
                    collected[name] = replace(value, rows=undo[target](value.rows))
                else:
                    collected[name] = undo[target](np.asarray(value))
        return collected


class _Part(Struct, frozen=True):
    """Samples that a pair of graphs is computed for. `key` says which graphs these are."""

    key: object
    evaluation: Evaluation
    fields: Fields
    count: int
    undo: Undo


def _as_collected(evaluation: Evaluation, collected: Fields) -> dict[str, Array]:
    """The results over a split that are collected values."""
    return {
        str(result): np.asarray(collected[value.name], DTYPES[value.type.dtype].numpy)
        for result, value in evaluation.over_split.results.items()
    }


def _rows(results: Mapping[str, Array | Ragged]) -> dict[str, Array]:
    """Results with the rows of sequences one after another."""
    return {name: value.rows if isinstance(value, Ragged) else value for name, value in results.items()}


def _numbers(over_split: Graph) -> Graph:
    """The graph of the losses and metrics that are numbers."""
    kinds = (ResultKind.LOSS, ResultKind.METRIC)
    results = {
        result: value
        for result, value in over_split.results.items()
        if result.kind in kinds and (value.type.is_batched or not value.type.dims)
    }
    return over_split.subgraph(results)[0]
