"""Check `evaluation`: the figures of all samples, in batches, are those of the graph as the file says it, computed once for all samples together."""

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
    """Losses, metrics and watched values, in f64, by the interpreter."""
    model = in_f64(subject.model)
    names = [name for name in model.graph.results if name.startswith(_RESULTS)]
    if not names:
        return
    fields = ready_fields(model, subject.fields)
    program = program_of(Subject(model, subject.fields, subject.seed), "reference")
    graph = derived(for_training(model.graph.of(*_RESULTS), is_training=False))
    situation = Situation(model, fields, program.persistent, subject.seed, epoch=0)

    def expected(found: dict[str, Array]) -> Results:
        figures = _figures(graph, found)
        losses = {name.removeprefix("loss."): one for name, one in figures.items() if name.startswith("loss.")}
        others = {name.removeprefix("metric."): one for name, one in figures.items() if not name.startswith("loss.")}
        return {name: np.asarray(one) for name, one in {**loss_figures(model, losses), **others}.items()}

    found = {name: np.asarray(one) for name, one in program.evaluate(fields).items()}
    rounding = Rounding(lambda noise: expected(situation.results(graph, noise)))
    for name, detail in differences(found, expected(situation.results(graph)), rounding):
        places = [graph.results[key].span for key in (f"metric.{name}", f"loss.{name}") if key in graph.results]
        yield Difference("evaluation", f"in the figure `{name}`", places[0] if places else _first(graph), detail)


def _figures(graph: Graph, found: dict[str, Array]) -> dict[str, Any]:
    """A loss or a metric as its sum over its count or over its weights, a watched value as its spread."""
    figures: dict[str, Any] = {}
    for name, value in graph.results.items():
        weight = found.get(f"weight.{name}")
        if name.startswith("watch."):
            figures |= {f"{name}.{kind}": float(spread(found[name])) for kind, spread in _SPREAD.items()}
        elif name.startswith(("loss.", "metric.")):
            array = found[name]
            figures[name] = (
                figure_of(array, value.type.is_batched) if weight is None else float(array.sum() / weight.sum())
            )
    return figures


def _first(graph: Graph) -> Any:
    return next((value.span for name, value in graph.results.items() if name.startswith("loss.")), NOWHERE)
