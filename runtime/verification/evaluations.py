"""Check `evaluation`: metrics computed in batches are those of the elaborated graph, computed for all samples."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.passes.prepare import derived
from netc.dsl.source import NOWHERE
from netc.runtime.data.stored import Array
from netc.runtime.figures import figure_of, loss_figures
from netc.runtime.verification.comparison import Results, Rounding, differences
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.situation import Situation
from netc.runtime.verification.stages import for_training
from netc.runtime.verification.subject import Difference, Subject, program_of, ready_fields

_RESULTS = ("loss.", "metric.", "watch.", "weight.")
_SPREAD: dict[str, Callable[[Array], Any]] = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}


def check(subject: Subject) -> Iterator[Difference]:
    """Compares losses, metrics and watched values in f64, both computed by the interpreter."""
    model = in_f64(subject.model)
    names = [name for name in model.graph.results if name.startswith(_RESULTS)]
    if not names:
        return
    fields = ready_fields(model, subject.fields)
    program = program_of(Subject(model, subject.fields, subject.seed), "reference")
    graph = derived(for_training(model.graph.of(*_RESULTS), is_training=False))
    situation = Situation(model, fields, program.persistent, subject.seed, epoch=0)

    def metrics_of(results: dict[str, Array]) -> Results:
        metrics = _metrics(graph, results)
        losses = {name.removeprefix("loss."): value for name, value in metrics.items() if name.startswith("loss.")}
        others = {
            name.removeprefix("metric."): value for name, value in metrics.items() if not name.startswith("loss.")
        }
        return {name: np.asarray(value) for name, value in {**loss_figures(model, losses), **others}.items()}

    actual = {name: np.asarray(value) for name, value in program.evaluate(fields).items()}
    rounding = Rounding(lambda noise: metrics_of(situation.results(graph, noise)))
    for name, detail in differences(actual, metrics_of(situation.results(graph)), rounding):
        spans = [graph.results[key].span for key in (f"metric.{name}", f"loss.{name}") if key in graph.results]
        yield Difference("evaluation", f"in the metric `{name}`", spans[0] if spans else _first(graph), detail)


def _metrics(graph: Graph, results: dict[str, Array]) -> dict[str, Any]:
    """Losses and metrics as means, or as sums divided by the sums of their weights; watched values as their spread."""
    metrics: dict[str, Any] = {}
    for name, value in graph.results.items():
        weight = results.get(f"weight.{name}")
        if name.startswith("watch."):
            metrics |= {f"{name}.{kind}": float(spread(results[name])) for kind, spread in _SPREAD.items()}
        elif name.startswith(("loss.", "metric.")):
            array = results[name]
            metrics[name] = (
                figure_of(array, value.type.is_batched) if weight is None else float(array.sum() / weight.sum())
            )
    return metrics


def _first(graph: Graph) -> Any:
    """The span of the first loss."""
    return next((value.span for name, value in graph.results.items() if name.startswith("loss.")), NOWHERE)
