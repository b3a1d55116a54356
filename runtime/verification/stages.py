"""The graphs that a model's programs go through, stage by stage, as chains of graphs that must come to the same results.

Written apart from pipeline.py, with the passes themselves: what pipeline.py forgets, or does in another order than it says, shows as a difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from netc.compiler import pipeline
from netc.compiler.evaluation import evaluation_graphs
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import FITTED, Model
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.objective import total_loss
from netc.compiler.passes.prepare import derived
from netc.compiler.passes.reorder import reorder
from netc.compiler.passes.scans import opened
from netc.compiler.passes.settle import settle
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.stabilise import stabilise
from netc.runtime.verification.subject import has_loss

TRAINED = ("loss.", "weight.loss.", "update.")


@dataclass(frozen=True, slots=True)
class Stage:
    """A graph and the pass that it came out of. `is_stabler` says that it may be a number where the graph before is none."""

    name: str
    graph: Graph
    is_stabler: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages whose results must be the same; `program` says what they are the graphs of."""

    program: str
    stages: Iterator[Stage]


def for_training(graph: Graph, is_training: bool) -> Graph:
    """The graph with `training` as a constant, and nothing else changed."""

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.TRAINING:
            return copy.add("constant", (), {"value": is_training}, value.type)
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


def chains(model: Model) -> Iterator[Chain]:
    """All graphs of a model."""
    if has_loss(model):
        yield Chain("a training step's losses and states", _prepared(model, TRAINED, True))
        yield Chain("gradients", _gradients(model))
        yield Chain("a training step", _passed(pipeline.training_graph(model)))
        if model.train.accumulate > 1:
            yield Chain("a batch whose gradients are accumulated", _passed(pipeline.accumulation_graph(model)))
        if model.graph.values("scan"):
            yield Chain("a training step that saves little of its scans", _frugal(model))
    if model.outputs:
        yield Chain("a prediction", _prepared(model, ("output.", "length."), False))
        yield Chain("a prediction", _passed(pipeline.prediction_graph(model)))
    if any(name.startswith(("metric.", "watch.", "loss.")) for name in model.graph.results):
        yield Chain(
            "an evaluation", _prepared(model, ("loss.", "metric.", "watch.", "weight.", "output.", FITTED), False)
        )
        yield Chain("an evaluation", _passed(evaluation_graphs(model).batches))


def _prepared(model: Model, results: tuple[str, ...], is_training: bool) -> Iterator[Stage]:
    """The stages before the passes: `grad` is written out in each, for it cannot be computed otherwise."""
    elaborated = model.graph.of(*results)
    yield Stage("elaborate", derived(for_training(elaborated, is_training)))
    settled = settle(elaborated, is_training)
    yield Stage("settle", derived(settled))
    stable = stabilise(settled)
    yield Stage("stabilise", derived(stable), is_stabler=True)
    yield Stage("reorder", derived(reorder(stable)), is_stabler=True)


def _gradients(model: Model) -> Iterator[Stage]:
    """Gradients of the graph as the file says it, of each stage before `differentiate`, and what the passes make of them."""
    for stage in _prepared(model, TRAINED, True):
        yield Stage(stage.name, gradients_of(model, stage.graph), stage.is_stabler)
    graph = pipeline.gradient_graph(model)
    yield Stage("differentiate", graph, is_stabler=True)
    yield from (Stage(one.name, one.graph, is_stabler=True) for one in _passed(graph))


def gradients_of(model: Model, graph: Graph) -> Graph:
    """`total` and `gradient.NAME` of each parameter that is trained, as pipeline.gradient_graph has it, from a graph with the losses."""
    graph = opened(graph.subgraph(graph.results)[0])
    leaves = {leaf.name: leaf for leaf in graph.values("parameter")}
    wanted = [leaves[name] for name in model.parameters if name in leaves and not pipeline.is_frozen(model, name)]
    moved = tuple(name for name, _ in model.train.loss_scale)
    total = graph.results["total"] = total_loss(graph, moved)
    for value, gradient in differentiate(graph, total, wanted).items():
        graph.results[f"gradient.{value.name}"] = gradient
    return graph.of("total", "count.", "gradient.")


def _frugal(model: Model) -> Iterator[Stage]:
    yield Stage("update", pipeline.training_graph(model))
    frugal = pipeline.training_graph(model, is_frugal=True)
    yield Stage("update, saving little", frugal)
    yield from _passed(frugal)


def _passed(graph: Graph) -> Iterator[Stage]:
    """The graph, and what each pass makes of it."""
    yield Stage("update", graph)
    stages: list[Stage] = []
    pipeline.run_passes(graph, lambda name, after: stages.append(Stage(name, after)))
    yield from stages
