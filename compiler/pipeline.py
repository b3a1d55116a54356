"""The compiler's table of contents: which graph a program is made from, and the passes over it, in order.

    elaborate -> settle -> stabilise -> differentiate -> update -> expand -> simplify -> lower -> plan

A model gives three programs: `training` (one step), `evaluation` (losses, and what the metrics need) and `prediction` (outputs).
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netc.compiler.graph import Graph, needed_by
from netc.compiler.model import Model
from netc.compiler.operations.reduce import extent
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.simplify import expand, settle, simplify
from netc.compiler.passes.stabilise import stabilise
from netc.compiler.passes.update import update
from netc.compiler.types import BATCH
from netc.compiler.value import Value, apply
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span

PASSES: dict[str, Callable[[Graph], Graph]] = {"expand": expand, "simplify": simplify}
STAGES = ("elaborate", "settle", "stabilise", "differentiate", "update", *PASSES)


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


def gradient_graph(model: Model, wrt: tuple[str, ...] = (), with_updates: bool = False) -> Graph:
    """The loss, and `gradient.NAME` for each parameter and each input named in `wrt`; `with_updates`, `update.NAME` for each state that is not frozen.

    Faults E0501 if the model has no loss.
    """
    if not any(name.startswith("loss.") for name in model.graph.results):
        fault(
            "E0501", "the model has no loss to train by", Span(model.source, 0, 0), hint="loss mse(prediction, target)"
        )
    forward = model.graph.of("loss.", *(("update.",) if with_updates else ()))
    for name in [name for name in forward.results if _is_frozen(model, name.removeprefix("update."))]:
        del forward.results[name]
    graph = stabilise(settle(forward, training=True))
    leaves = {str(value.attributes["name"]): value for value in graph.values() if "name" in value.attributes}
    wanted = [leaves[name] for name in (*model.parameters, *wrt) if name in leaves and not _is_frozen(model, name)]
    total = total_loss(graph)
    assert total is not None
    for value, gradient in differentiate(graph, total, wanted).items():
        graph.results[f"gradient.{value.attributes['name']}"] = gradient
    graph.results = {name: value for name, value in graph.results.items() if not name.startswith("loss.")}
    return graph


def _is_frozen(model: Model, name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in model.train.freeze)


def training_graph(model: Model) -> Graph:
    """One step: the loss and the next value of every parameter and state that it moves."""
    graph = gradient_graph(model, with_updates=True)
    leaves = {str(value.attributes["name"]): value for value in graph.values("parameter")}
    gradients = {
        leaves[name.removeprefix("gradient.")]: value
        for name, value in graph.results.items()
        if name.startswith("gradient.")
    }
    update(graph, model.train, model.trainables, gradients)
    graph.results = {name: value for name, value in graph.results.items() if not name.startswith("gradient.")}
    return graph


def prediction_graph(model: Model) -> Graph:
    return stabilise(settle(model.graph.of("output."), training=False))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is computed batch by batch (losses, and `collect.N`), and what is computed once over a whole split from that.

    Input N of `whole` is the collected N; `units` names, for some N, the target whose units it is in.
    """

    batches: Graph
    whole: Graph
    units: dict[str, str]


def evaluation_graphs(model: Model, undone: frozenset[str] = frozenset()) -> Evaluation:
    """Losses and metrics. A metric may reduce over the batch (`rmse`, `r2`): it is cut before its first value that mixes samples.

    It is also cut where a target of `undone` is read, so that metrics can be in the units of the data.
    """
    graph = stabilise(settle(model.graph, training=False))
    losses = {name: value for name, value in graph.results.items() if name.startswith("loss.")}
    metrics = {name: value for name, value in graph.results.items() if name.startswith("metric.")}
    live, late = needed_by(metrics.values()), set[Value]()
    for value in graph.values():
        reads_undone = any(
            operand.attributes.get("name") in undone and operand.operation == "target" for operand in value.operands
        )
        if value in live and (
            reads_undone or _reduces_batch(value) or any(operand in late for operand in value.operands)
        ):
            late.add(value)
    whole, made, collected, units = Graph(), dict[Value, Value](), dict[str, Value](), dict[str, str]()
    whole.precision = graph.precision
    of_target = values_in_units_of_targets(graph)

    def collect(value: Value) -> None:
        name = str(len(collected))
        collected[f"collect.{name}"] = value
        made[value] = whole.leaf("input", name, value.type)
        if of_target.get(value) in undone:
            units[name] = of_target[value]

    for value in graph.values():
        if value in late:
            with whole.at(value.span):
                for operand in value.operands:
                    if operand not in made:
                        is_leaf = not operand.operands and "name" not in operand.attributes
                        made.update(
                            {operand: whole.add(operand.operation, (), operand.attributes, operand.type)}
                        ) if is_leaf else collect(operand)
                made[value] = whole.add(
                    value.operation, [made[operand] for operand in value.operands], value.attributes, value.type
                )
    for name, value in metrics.items():
        if value not in made:
            collect(value)
        whole.results[name] = made[value]
    batches, _ = graph.subgraph({**losses, **collected})
    return Evaluation(batches, whole, units)


def _reduces_batch(value: Value) -> bool:
    over = value.attributes.get("over", ())
    return (
        bool(value.operands)
        and isinstance(over, tuple)
        and 0 in over
        and value.operands[0].type.is_batched
        and value.type.dims[:1] != (BATCH,)
    )


def values_in_units_of_targets(graph: Graph) -> dict[Value, str]:
    """The targets, and the outputs that a loss or metric subtracts from one: whatever undoes a target's steps undoes theirs."""
    outputs = {value for name, value in graph.results.items() if name.startswith("output.")}
    found = {value: str(value.attributes["name"]) for value in graph.values("target")}
    for value in graph.values("subtract"):
        for one, other in (value.operands, value.operands[::-1]):
            if other.operation == "target" and one in outputs:
                found[one] = str(other.attributes["name"])
    return found


def training_stages(model: Model) -> dict[str, Graph]:
    """The graph of a training step after each of STAGES."""
    made = {
        "elaborate": model.graph,
        "settle": (settled := settle(model.graph.of("loss.", "update."), training=True)),
        "stabilise": stabilise(settled),
        "differentiate": gradient_graph(model, with_updates=True),
        "update": training_graph(model),
    }
    run_passes(made["update"], made.__setitem__)
    return made


def run_passes(graph: Graph, after: Callable[[str, Graph], None] | None = None) -> Graph:
    """All passes from graph to graph; `after(name, graph)` sees what each made."""
    for name, one in PASSES.items():
        graph = one(graph)
        if after:
            after(name, graph)
    return graph


__all__ = [
    "PASSES",
    "STAGES",
    "Evaluation",
    "evaluation_graphs",
    "gradient_graph",
    "prediction_graph",
    "run_passes",
    "training_graph",
    "training_stages",
    "values_in_units_of_targets",
]
