"""Check `evaluation`: metrics computed in batches are those of the elaborated graph, computed for all samples."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.passes.prepare import derived
from netc.dsl.source import NOWHERE
from netc.runtime.data.stored import Array
from netc.runtime.metric_names import is_histogram
from netc.runtime.metric_values import loss_metrics, metric_value
from netc.runtime.verification.comparison import Results, Rounding, differences
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.situation import Situation
from netc.runtime.verification.stages import for_training
from netc.runtime.verification.subject import Difference, Subject, program_of, ready_fields

_KINDS = (ResultKind.LOSS, ResultKind.METRIC, ResultKind.WATCH, ResultKind.LOSS_WEIGHT, ResultKind.METRIC_WEIGHT)
_SPREAD: dict[str, Callable[[Array], Any]] = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}


def check(subject: Subject) -> Iterator[Difference]:
    """Compares losses, metrics and watched values in f64, both computed by the interpreter."""
    model = in_f64(subject.model)
    if not model.graph.has(*_KINDS):
        return
    fields = ready_fields(model, subject.fields)
    program = program_of(Subject(model, subject.fields, subject.seed), "reference")
    graph = derived(for_training(model.graph.of(*_KINDS), is_training=False))
    situation = Situation(model, fields, program.persistent, subject.seed, epoch=0)

    def metrics_of(results: dict[str, Array]) -> Results:
        metrics = _metrics(graph, results)
        losses = {key.name: value for key, value in metrics.items() if key.kind is ResultKind.LOSS}
        others = {
            key.name if key.kind is ResultKind.METRIC else str(key): value
            for key, value in metrics.items()
            if key.kind is not ResultKind.LOSS
        }
        return {name: np.asarray(value) for name, value in {**loss_metrics(model, losses), **others}.items()}

    evaluated = program.evaluate(fields).items()
    actual = {name: np.asarray(value) for name, value in evaluated if not is_histogram(name)}  # a count may jump
    rounding = Rounding(lambda noise: metrics_of(situation.results(graph, noise)))
    for name, detail in differences(actual, metrics_of(situation.results(graph)), rounding):
        keys = (ResultKind.METRIC.named(name), ResultKind.LOSS.named(name))
        spans = [graph.results[key].span for key in keys if key in graph.results]
        yield Difference("evaluation", f"in the metric `{name}`", spans[0] if spans else _first(graph), detail)


def _metrics(graph: Graph, results: dict[str, Array]) -> dict[Result, Any]:
    """Losses and metrics as means, or as sums divided by the sums of their weights; watched values as their spread."""
    metrics: dict[Result, Any] = {}
    for result, value in graph.results.items():
        array, weight = results[str(result)], results.get(str(result.weight))
        if result.kind is ResultKind.WATCH:
            for statistic, spread in _SPREAD.items():
                metrics[ResultKind.WATCH.named(f"{result.name}.{statistic}")] = float(spread(array))
        elif result.kind in (ResultKind.LOSS, ResultKind.METRIC):
            metrics[result] = (
                metric_value(array, value.type.is_batched) if weight is None else float(array.sum() / weight.sum())
            )
    return metrics


def _first(graph: Graph) -> Any:
    """The span of the first loss."""
    return next((value.span for value in graph.results_of(ResultKind.LOSS).values()), NOWHERE)
