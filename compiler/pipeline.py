"""The compiler's table of contents: which graph a program is made from, and the passes over it, in order.

    elaborate -> differentiate -> update -> expand -> simplify -> plan -> lower

A model gives three programs: `training` (one step), `evaluation` (losses, and what the metrics need) and `prediction` (outputs).
"""
from collections.abc import Callable, Iterator

from netc.compiler.graph import Graph
from netc.compiler.model import Model
from netc.compiler.operations.reduce import extent
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.simplify import expand, simplify
from netc.compiler.passes.update import update
from netc.compiler.types import BATCH
from netc.compiler.value import OPERATIONS, Value, apply

PASSES: dict[str, Callable[[Graph], Graph]] = {"expand": expand, "simplify": simplify}
STAGES = ("elaborate", "differentiate", "update", *PASSES)


def copy_of(graph: Graph, *prefixes: str) -> Graph:
    return graph.of(*prefixes)


def total_loss(graph: Graph) -> Value | None:
    """Each loss averaged over all its elements in the batch, added up; `total.NAME` and `total` are results then. None without a loss."""
    total: Value | None = None
    for name, loss in [item for item in graph.results.items() if item[0].startswith("loss.")]:
        with graph.at(loss.span):
            axes = tuple(range(loss.type.rank))
            mean = apply("sum", loss, over=axes) / extent(loss, axes) if axes else loss
            graph.results[f"total.{name.removeprefix('loss.')}"] = mean
            total = mean if total is None else total + mean
    if total is not None:
        graph.results["total"] = total
    return total


def gradient_graph(model: Model, wrt: tuple[str, ...] = ()) -> Graph:
    """The loss, and `gradient.NAME` for each parameter and each input named in `wrt`."""
    graph = copy_of(model.graph, "loss.")
    leaves = {str(value.attributes["name"]): value for value in graph.values() if "name" in value.attributes}
    wanted = [leaves[name] for name in (*model.parameters, *wrt) if name in leaves]
    total = total_loss(graph)
    assert total is not None
    for value, gradient in differentiate(graph, total, wanted).items():
        graph.results[f"gradient.{value.attributes['name']}"] = gradient
    graph.results = {name: value for name, value in graph.results.items() if not name.startswith("loss.")}
    return graph


def training_graph(model: Model) -> Graph:
    """One step: the loss and the next value of every parameter and state that it moves."""
    graph = gradient_graph(model)
    leaves = {str(value.attributes["name"]): value for value in graph.values("parameter")}
    gradients = {leaves[name.removeprefix("gradient.")]: value for name, value in graph.results.items() if name.startswith("gradient.")}
    update(graph, model.train.optimizer, gradients)
    graph.results = {name: value for name, value in graph.results.items() if not name.startswith("gradient.")}
    return graph


def prediction_graph(model: Model) -> Graph:
    return copy_of(model.graph, "output.")


def evaluation_graph(model: Model) -> tuple[Graph, Graph]:
    """What is computed batch by batch, and what is computed once over the whole split from that.

    A metric may reduce over the batch (`rmse`, `r2`): it is cut before its first value that mixes samples. What crosses the cut is
    `collect.N` of the first graph, and an input N of the second.
    """
    graph = copy_of(model.graph, "loss.", "metric.")
    first, rest = copy_of(model.graph, "loss.", "metric."), Graph()
    rest.precision = graph.precision
    mixing: set[Value] = set()
    for value in graph.values():
        if any(operand in mixing for operand in value.operands) or (value.operands and _reduces_batch(value)):
            mixing.add(value)
    kept = graph.of("metric.")
    wanted = {str(number): value for number, value in enumerate(_frontier(graph, mixing))}
    numbers = {value: name for name, value in wanted.items()}
    first.results = {name: value for name, value in first.results.items() if name.startswith("loss.")}
    twins = dict(zip(graph.values(), first.values(), strict=True))
    first.results.update({f"collect.{name}": twins[value] for name, value in wanted.items()})
    made: dict[Value, Value] = {}
    for value in graph.values():
        with rest.at(value.span):
            if value in numbers:
                made[value] = rest.leaf("input", numbers[value], value.type)
            elif value in mixing or (not value.operands and "name" not in value.attributes) or (value.operands and all(operand in made for operand in value.operands)):
                made[value] = rest.add(value.operation, [made[operand] for operand in value.operands], value.attributes, value.type)
    for name, value in graph.results.items():
        if name.startswith("metric."):
            rest.results[name] = made[value]
    assert set(kept.results) == set(rest.results)
    return simplify(expand(first)), rest


def _reduces_batch(value: Value) -> bool:
    over = value.attributes.get("over", ())
    return isinstance(over, tuple) and 0 in over and value.operands[0].type.is_batched and value.type.dims[:1] != (BATCH,)


def _frontier(graph: Graph, mixing: set[Value]) -> Iterator[Value]:
    """The values that are computed by batches and read by what mixes samples, or are metrics themselves."""
    seen: set[Value] = set()
    for name, value in graph.results.items():
        if name.startswith("metric.") and value not in mixing and value not in seen:
            seen.add(value)
            yield value
    for value in graph.values():
        if value in mixing:
            for operand in value.operands:
                if operand not in mixing and operand not in seen and (operand.operands or "name" in operand.attributes):
                    seen.add(operand)
                    yield operand


def run_passes(graph: Graph, after: Callable[[str, Graph], None] | None = None) -> Graph:
    """All passes from graph to graph; `after(name, graph)` sees what each made."""
    for name, one in PASSES.items():
        graph = one(graph)
        if after:
            after(name, graph)
    return graph


__all__ = ["OPERATIONS", "PASSES", "STAGES", "evaluation_graph", "gradient_graph", "prediction_graph", "run_passes", "training_graph"]
