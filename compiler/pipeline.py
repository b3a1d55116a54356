"""The compiler's table of contents: the graph that each program starts from, and the passes over it in order.

    elaborate -> specialise -> stabilise -> reorder -> derive -> attend -> pack -> differentiate -> update -> narrow
    -> expand -> simplify -> hoist -> factor -> lift -> sink -> recompute -> lower -> plan

A model has three programs: `training` (one step), evaluation (evaluation.py: metrics of a whole split) and `prediction`
(the outputs, or the part of the model between two of its values).
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from msgspec import Struct

from netc.compiler.ir.graph import Graph, verify
from netc.compiler.ir.results import PREDICTED, TRAINED, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Bounded
from netc.compiler.ir.value import Value
from netc.compiler.model import Model, Truncate
from netc.compiler.passes.attend import attended
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.hoist import hoist
from netc.compiler.passes.lift import lift
from netc.compiler.passes.narrow import narrow
from netc.compiler.passes.objective import accumulate, accumulated_gradients, total_loss
from netc.compiler.passes.pack import packed
from netc.compiler.passes.prepare import derived, prepared, with_attention
from netc.compiler.passes.recompute import recompute
from netc.compiler.passes.reorder import factor, reorder
from netc.compiler.passes.scans import in_bodies, opened, trimmed
from netc.compiler.passes.simplify import expand, rebuild, simplify
from netc.compiler.passes.sink import sink
from netc.compiler.passes.specialise import specialise
from netc.compiler.passes.stabilise import stabilise
from netc.compiler.passes.truncate import truncated
from netc.compiler.passes.update import update
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span


class Pass(Struct, frozen=True):
    """A pass: `run` returns a graph with the same results, computed in another way.

    The pass runs after the one that `after` names, and on the body of each scan too. `example` is the text of a `.net`
    file that the pass changes.
    """

    name: str
    doc: str
    run: Callable[[Graph], Graph]
    after: str = "sink"
    example: str = ""


PASSES: dict[str, Pass] = {
    pass_.name: pass_
    for pass_ in (
        Pass(
            "expand",
            "Replaces operations that are defined by others, such as softmax, by those others.",
            expand,
            "narrow",
        ),
        Pass(
            "simplify",
            "Merges equal values, folds constants and removes operations without effect.",
            simplify,
            "expand",
        ),
        Pass("hoist", "Moves values that do not depend on a carry out of the scan.", hoist, "simplify"),
        Pass("factor", "Moves a common factor out of a sum: sum(x * c) -> sum(x) * c.", factor, "hoist"),
        Pass("lift", "Computes the gradient of a pool part by part, without the image in memory.", lift, "factor"),
        Pass("sink", "Moves slices through element-wise values: f(x)[1:] -> f(x[1:]).", sink, "lift"),
        Pass(
            "recompute",
            "Computes cheap values again in loops that read their operands anyway, such as relu(a) > 0.",
            recompute,
            "sink",
        ),
    )
}
_BUILT_IN = frozenset(PASSES)
_FIRST = (
    *("elaborate", "specialise", "stabilise", "reorder", "derive", "attend", "pack"),
    *("differentiate", "update", "narrow"),
)


def register_pass(pass_: Pass) -> Pass:
    """Inserts a pass into the pipeline, directly after the pass that it names.

    Raises ValueError if its name is taken, or if there is no pass `after`.
    """
    if pass_.name in stages():
        raise ValueError(f"`{pass_.name}` is registered already")
    if pass_.after not in PASSES:
        raise ValueError(f"there is no pass `{pass_.after}`")
    order = list(PASSES.values())
    order.insert(1 + list(PASSES).index(pass_.after), pass_)
    PASSES.clear()
    PASSES.update({entry.name: entry for entry in order})
    return pass_


def stages() -> tuple[str, ...]:
    """Returns the names of the stages that a training step's graph goes through, in order."""
    return (*_FIRST, *PASSES)


def gradient_graph(model: Model, wrt: tuple[str, ...] = ()) -> Graph:
    """Returns a graph of the total loss, `total`, and `gradient.NAME` for each parameter and each input in `wrt`.

    Frozen parameters have no gradient. Raises E0501 if the model has no loss.
    """
    graph, leaves = _forward(model)
    variables = [leaves[name] for name in (*model.parameters, *wrt) if name in leaves and not is_frozen(model, name)]
    total = graph.results[ResultKind.TOTAL.named()] = total_loss(graph, _scaled_losses(model))
    for value, gradient in differentiate(graph, total, variables).items():
        graph.results[ResultKind.GRADIENT.named(value.name)] = gradient
    return narrow(_without(graph, *TRAINED), model.train.precision)


def _forward(
    model: Model, truncate: Truncate | None = None, rematerialises: bool = False
) -> tuple[Graph, dict[str, Value]]:
    """Returns the losses in training, with `update.NAME` for each state that is not frozen, and the graph's leaves.

    With `truncate` it is the graph of one chunk of the sequences. The leaves are by name.
    """
    if not model.graph.has(ResultKind.LOSS):
        assigned = model.names.get("loss")  # `loss = mse(...)`, which gives a value this name
        span = assigned.span if assigned else Span(model.source, 0, 0)
        label = "this only gives a name to a value" if assigned else ""
        fault("E0501", "the model has no loss to train by", span, label, hint="loss mse(prediction, target)")
    forward = model.graph.of(*TRAINED)
    for name in forward.results_of(ResultKind.UPDATE):
        if is_frozen(model, name):
            del forward.results[ResultKind.UPDATE.named(name)]
    graph = prepared(forward, training=True)
    graph = opened(graph if truncate is None else truncated(graph, truncate), rematerialises)
    return graph, {value.name: value for value in graph.values() if value.name}


def _without(graph: Graph, *kinds: ResultKind) -> Graph:
    graph.results = {result: value for result, value in graph.results.items() if result.kind not in kinds}
    return graph


def _scaled_losses(model: Model) -> tuple[str, ...]:
    """Returns the names of the losses that a schedule multiplies."""
    return tuple(name for name, _ in model.train.loss_scale)


def is_frozen(model: Model, name: str) -> bool:
    """Whether `freeze` names a parameter or a state."""
    return any(fnmatchcase(name, pattern) for pattern in model.train.freeze)


def training_graph(model: Model, rematerialises: bool = False) -> Graph:
    """Returns the graph of a training step: the loss, and the next value of every parameter and state that it updates.

    With `accumulate` it is the step's last batch. With `rematerialises`, scans save little and are recomputed in the
    backward pass.
    """
    return narrow(_updated(model, rematerialises), model.train.precision)


def _updated(model: Model, rematerialises: bool = False) -> Graph:
    """Returns the graph of a training step in which no operand of a product is rounded."""
    graph, leaves = _forward(model, model.train.truncate, rematerialises)
    variables = [leaves[name] for name in model.parameters if name in leaves and not is_frozen(model, name)]
    total = total_loss(graph, _scaled_losses(model))
    if model.train.accumulate > 1:
        gradients = accumulated_gradients(graph, variables, _scaled_losses(model))
    else:
        gradients = differentiate(graph, total, variables)
    update(graph, model.train, model.trainables, gradients, model.bounds)
    return _without(graph, ResultKind.LOSS, ResultKind.LOSS_WEIGHT)


def accumulation_graph(model: Model, rematerialises: bool = False) -> Graph:
    """Returns the graph of a batch before the step's last, with `accumulate`: it only sums gradients."""
    graph, leaves = _forward(model, rematerialises=rematerialises)
    variables = [leaves[name] for name in model.parameters if name in leaves and not is_frozen(model, name)]
    total_loss(graph, _scaled_losses(model))
    accumulate(graph, variables, _scaled_losses(model))
    return narrow(_without(graph, ResultKind.LOSS, ResultKind.LOSS_WEIGHT), model.train.precision)


def prediction_graph(model: Model) -> Graph:
    """Returns the graph of the outputs, with `length.DIM` for each dimension that an output stores at its bound."""
    return narrow(prepared(model.graph.of(*PREDICTED), training=False), model.train.precision)


def steppable_graph(model: Model) -> Graph:
    """Returns the graph of the outputs that one step is made of (passes/stepping/).

    Random values are written out, so that it shows how they depend on the step.
    """
    graph = with_attention(model.graph.of(ResultKind.OUTPUT), training=False)
    others = [value.definition for value in graph.values() if value.role is not Role.RANDOM]
    return expand(graph, {definition for definition in others if definition is not None})


def part_graph(model: Model, outputs: Iterable[str], inputs: Iterable[str] = ()) -> Graph:
    """Returns the graph for prediction that computes some named values of a model from others.

    Results are `output.NAME` for each name of `outputs`, and `length.DIM` as in `prediction_graph`. Each value of
    `inputs` becomes an input of its name, in place of the values that compute it.
    """
    values = model.values
    results = {ResultKind.OUTPUT.named(name): values[name] for name in outputs}
    bounded = [dim.name for value in results.values() for dim in value.type.dims if isinstance(dim, Bounded)]
    lengths = [ResultKind.LENGTH.named(dim) for dim in bounded]
    results |= {length: model.graph.results[length] for length in lengths}
    results |= {ResultKind.REPLACED.named(name): values[name] for name in inputs}
    graph = specialise(model.graph.subgraph(results)[0], training=False)
    names = {value: name for name, value in graph.results_of(ResultKind.REPLACED).items()}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in names:
            return copy.leaf(Role.INPUT, names[value], value.type)
        return copy.add_copy(value, operands)

    return narrow(prepared(rebuild(graph, rule).of(*PREDICTED), training=False), model.train.precision)


def training_stages(model: Model) -> dict[str, Graph]:
    """Returns the graph of a training step after each of `stages`."""
    graphs = {
        "elaborate": model.graph,
        "specialise": (specialised := specialise(model.graph.of(*TRAINED), training=True)),
        "stabilise": (stable := stabilise(specialised)),
        "reorder": (ordered := reorder(stable)),
        "derive": (explicit := derived(ordered)),
        "attend": (attending := attended(explicit)),
        "pack": packed(attending),
        "differentiate": gradient_graph(model),
        "update": (updated := _updated(model)),
        "narrow": (narrowed := narrow(updated, model.train.precision)),
    }
    run_passes(narrowed, graphs.__setitem__)
    return graphs


def run_passes(graph: Graph, after: Callable[[str, Graph], None] | None = None) -> Graph:
    """Runs all passes over a graph; `after(name, graph)` is called with the result of each."""
    graph = trimmed(graph)
    for name, pass_ in PASSES.items():
        graph = in_bodies(pass_.run(graph), pass_.run) if name in _BUILT_IN else _run_registered(graph, pass_)
        if after:
            after(name, graph)
    return graph


def _run_registered(graph: Graph, pass_: Pass) -> Graph:
    """Runs a pass of a plugin.

    Raises E1103 if it raises, or returns an invalid graph or one with other results.
    """
    try:
        result = in_bodies(pass_.run(graph), pass_.run)
        verify(result)
        for key, value in graph.results.items():
            assert key in result.results, f"the result `{key}` is gone"
            type_ = result.results[key].type
            assert type_ == value.type, f"the result `{key}` was {value.type}, and is {type_}"
    except Exception as error:  # a plugin's code may raise anything, and its user needs a message
        label = f"{type(error).__name__}: {error}"
        span = Span(Source(f"the pass {pass_.name}", ""), 0, 0)
        fault("E1103", f"the pass `{pass_.name}` spoils the graph", span, label, hint="netc.testing.check(it)")
    return result


__all__ = [
    "PASSES",
    "Pass",
    "accumulation_graph",
    "gradient_graph",
    "part_graph",
    "prediction_graph",
    "register_pass",
    "run_passes",
    "stages",
    "steppable_graph",
    "training_graph",
    "training_stages",
]
