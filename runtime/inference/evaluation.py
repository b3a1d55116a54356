"""Losses and metrics of a model over all samples of a split: some values batch by batch, the rest once from these."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from netc.compiler.evaluation import Evaluation, evaluation_graphs
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import DTYPES
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.compiled_model import CompiledModel, built_once
from netc.runtime.execution.fields import Fields, RawFields, sample_count
from netc.runtime.execution.step import Step
from netc.runtime.metric_values import MetricValues, loss_metrics, metric_value

Undo = Mapping[str, Callable[[Array], Array]]  # by target: what brings it back to the units of the data


class Evaluator:
    """Evaluates a compiled model. Several threads may use one."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._evaluations: dict[object, Evaluation] = {}

    def evaluate(self, fields: RawFields, undo: Undo | None = None) -> MetricValues:
        """See Program.evaluate."""
        model, undo = self._compiled.model, undo or {}
        ready = self._compiled.fields.ready(fields)
        count = sample_count(ready, {**model.inputs, **model.targets}, self._compiled.options.batch)
        undone = frozenset(undo)
        key = ("evaluation", undone)
        results = self.results_of_split(key, lambda: evaluation_graphs(model, undone), ready, count, undo)
        graph = self._evaluations[key].over_split
        losses, metrics, watched = MetricValues(), MetricValues(), MetricValues()
        for result, value in graph.results.items():
            printed = str(result)
            number = metric_value(results[printed], value.type.is_batched)
            if result.kind is ResultKind.WATCH:
                watched[printed] = number
            else:
                (losses if result.kind is ResultKind.LOSS else metrics)[result.name] = number
        return {**loss_metrics(model, losses), **metrics, **watched}

    def results_of_split(
        self, key: object, graphs: Callable[[], Evaluation], fields: Fields, count: int, undo: Undo
    ) -> dict[str, Array]:
        """The results of a pair of graphs over all samples; the graphs are built once for each key."""
        evaluation = built_once(self._evaluations, key, graphs)
        self._compiled.step_of(key, lambda: evaluation.batches, fields)  # while it is built, others may write
        with self._compiled.guard.reading:
            step = self._compiled.step_of(key, lambda: evaluation.batches, fields)
            collected = self._collected(step, evaluation, fields, count, undo)
            if evaluation.computes_nothing:
                return _as_collected(evaluation, collected)
            last = self._compiled.interpreted_step((key, "whole"), evaluation.over_split, count)
            results = self._compiled.results_of(last, {**fields, **collected}, count)
        return {name: value.rows if isinstance(value, Ragged) else value for name, value in results.items()}

    def _collected(
        self, step: Step, evaluation: Evaluation, fields: Fields, count: int, undo: Undo
    ) -> dict[str, Field]:
        """The values that are computed batch by batch, in the units of the data where `undo` has them."""
        results = self._compiled.results_of(step, fields, count)
        collected = evaluation.batches.select(ResultKind.COLLECTED, results)
        for name, target in evaluation.units.items():
            if target in undo:
                value = collected[name]
                is_ragged = isinstance(value, Ragged)
                collected[name] = replace(value, rows=undo[target](value.rows)) if is_ragged else undo[target](value)
        return collected


def _as_collected(evaluation: Evaluation, collected: Mapping[str, Field]) -> dict[str, Array]:
    """The results over a split that are collected values."""
    return {
        str(result): np.asarray(collected[value.name], DTYPES[value.type.dtype].numpy)
        for result, value in evaluation.over_split.results.items()
    }
