"""Losses and metrics of a model over all samples of a split: some values batch by batch, the rest once from these."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from netc.compiler.evaluation import Evaluation, evaluation_graphs
from netc.compiler.ir.results import ResultKind
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.compiled_model import CompiledModel, built_once
from netc.runtime.execution.fields import Fields, RawFields, sample_count
from netc.runtime.execution.step import Step
from netc.runtime.figures import Figures, figure_of, loss_figures

Undo = Mapping[str, Callable[[Array], Array]]  # by target: what brings it back to the units of the data


class Evaluator:
    """Evaluates a compiled model. Several threads may use one."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._evaluations: dict[object, Evaluation] = {}

    def evaluate(self, fields: RawFields, undo: Undo | None = None) -> Figures:
        """See Program.evaluate."""
        model, undo = self._compiled.model, undo or {}
        ready = self._compiled.fields.ready(fields)
        count = sample_count(ready, {**model.inputs, **model.targets}, self._compiled.options.batch)
        undone = frozenset(undo)
        key = ("evaluation", undone)
        results = self.results_of_split(key, lambda: evaluation_graphs(model, undone), ready, count, undo)
        graph = self._evaluations[key].whole
        figures = {
            str(result): figure_of(results[str(result)], value.type.is_batched)
            for result, value in graph.results.items()
        }
        losses, metrics = graph.select(ResultKind.LOSS, figures), graph.select(ResultKind.METRIC, figures)
        watched = {
            str(ResultKind.WATCH.named(name)): figures[str(ResultKind.WATCH.named(name))]
            for name in graph.results_of(ResultKind.WATCH)
        }
        return {**loss_figures(model, losses), **metrics, **watched}

    def results_of_split(
        self, key: object, graphs: Callable[[], Evaluation], fields: Fields, count: int, undo: Undo
    ) -> dict[str, Array]:
        """The results of a pair of graphs over all samples; the graphs are built once for each key."""
        evaluation = built_once(self._evaluations, key, graphs)
        self._compiled.step_of(key, lambda: evaluation.batches, fields)  # while it is built, others may write
        with self._compiled.guard.reading:
            step = self._compiled.step_of(key, lambda: evaluation.batches, fields)
            collected = self._collected(step, evaluation, fields, count, undo)
            last = self._compiled.interpreted_step((key, "whole"), evaluation.whole, count)
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
