"""The graphs of a model's programs stage by stage, as chains of graphs that must give the same results.

Independent of pipeline.py, with the passes themselves: a pass that pipeline.py forgets, or runs in another order than
it says, shows as a difference.
"""

from collections.abc import Iterator

from msgspec import Struct

from netc.compiler import pipeline
from netc.compiler.evaluation import evaluation_graphs
from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import EVALUATED, PREDICTED, TRAINED, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.passes.attend import attended
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.objective import total_loss
from netc.compiler.passes.pack import packed
from netc.compiler.passes.prepare import derived
from netc.compiler.passes.reorder import reorder
from netc.compiler.passes.scans import opened
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.specialise import specialise
from netc.compiler.passes.stabilise import stabilise
from netc.runtime.verification.subject import has_loss


class Stage(Struct, frozen=True):
    """A graph and the pass that made it.

    With `is_stabler`, its results may be finite where those of the graph before are not.
    """

    name: str
    graph: Graph
    is_stabler: bool = False


class Chain(Struct, frozen=True):
    """Stages whose results must be the same; `program` says what they compute."""

    program: str
    stages: Iterator[Stage]


def for_training(graph: Graph, is_training: bool) -> Graph:
    """The graph with `training` as a constant and no other change."""

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.TRAINING:
            return copy.add("constant", (), Constant(is_training), value.type)
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


def chains(model: Model) -> Iterator[Chain]:
    """The chains of all graphs of a model."""
    if has_loss(model):
        yield Chain("a training step's losses and states", _prepared(model, TRAINED, True))
        yield Chain("gradients", _gradients(model))
        yield Chain("a training step", _passed(pipeline.training_graph(model)))
        if model.train.accumulate > 1:
            yield Chain("a batch whose gradients are accumulated", _passed(pipeline.accumulation_graph(model)))
        if model.graph.values(Role.SCAN):
            yield Chain("a training step that saves little of its scans", _rematerialised(model))
    if model.outputs:
        yield Chain("a prediction", _prepared(model, PREDICTED, False))
        yield Chain("a prediction", _passed(pipeline.prediction_graph(model)))
    if model.graph.has(ResultKind.METRIC, ResultKind.WATCH, ResultKind.LOSS):
        yield Chain("an evaluation", _prepared(model, (*EVALUATED, ResultKind.FITTED), False))
        yield Chain("an evaluation", _passed(evaluation_graphs(model).batches))


def _prepared(model: Model, results: tuple[ResultKind, ...], is_training: bool) -> Iterator[Stage]:
    """The stages before the passes; `grad` is replaced by derivatives in each, since it cannot be computed as it is."""
    elaborated = model.graph.of(*results)
    yield Stage("elaborate", derived(for_training(elaborated, is_training)))
    specialised = specialise(elaborated, is_training)
    yield Stage("specialise", derived(specialised))
    stable = stabilise(specialised)
    yield Stage("stabilise", derived(stable), is_stabler=True)
    explicit = derived(reorder(stable))
    yield Stage("reorder", explicit, is_stabler=True)
    attending = attended(explicit)
    yield Stage("attend", attending, is_stabler=True)
    yield Stage("pack", packed(attending), is_stabler=True)


def _gradients(model: Model) -> Iterator[Stage]:
    """The gradients of each stage before `differentiate`, and after it those of each pass."""
    for stage in _prepared(model, TRAINED, True):
        yield Stage(stage.name, gradients_of(model, stage.graph), stage.is_stabler)
    graph = pipeline.gradient_graph(model)
    yield Stage("differentiate", graph, is_stabler=True)
    yield from (Stage(stage.name, stage.graph, is_stabler=True) for stage in _passed(graph))


def gradients_of(model: Model, graph: Graph) -> Graph:
    """The results `total` and `gradient.NAME` for each trained parameter, from a graph with the losses.

    The same as pipeline.gradient_graph computes.
    """
    graph = opened(graph.subgraph(graph.results)[0])
    leaves = {leaf.name: leaf for leaf in graph.values(Role.PARAMETER)}
    trained = [leaves[name] for name in model.parameters if name in leaves and not pipeline.is_frozen(model, name)]
    scaled = tuple(name for name, _ in model.train.loss_scale)
    total = graph.results[ResultKind.TOTAL.named()] = total_loss(graph, scaled)
    for value, gradient in differentiate(graph, total, trained).items():
        graph.results[ResultKind.GRADIENT.named(value.name)] = gradient
    return graph.of(ResultKind.TOTAL, ResultKind.COUNT, ResultKind.GRADIENT)


def _rematerialised(model: Model) -> Iterator[Stage]:
    """A training step whose scans save little and compute the rest again in the backward pass."""
    yield Stage("update", pipeline.training_graph(model))
    rematerialised = pipeline.training_graph(model, rematerialises=True)
    yield Stage("update, saving little", rematerialised)
    yield from _passed(rematerialised)


def _passed(graph: Graph) -> Iterator[Stage]:
    """The graph itself, then as each pass leaves it."""
    yield Stage("update", graph)
    stages: list[Stage] = []
    pipeline.run_passes(graph, lambda name, after: stages.append(Stage(name, after)))
    yield from stages
