"""The compiler's table of contents: which graph a program is made from, and the passes over it, in order.

    elaborate -> settle -> stabilise -> reorder -> derive -> differentiate -> update -> expand -> simplify -> hoist -> factor -> lift -> sink -> lower -> plan

A model gives three programs: `training` (one step), evaluation (evaluation.py: figures of a whole split) and `prediction` (outputs, or a part of the
model between two of its values).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netc.compiler.ir.graph import Graph, verify
from netc.compiler.ir.types import Bounded
from netc.compiler.ir.value import Value
from netc.compiler.model import Model, Truncate
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.hoist import hoist
from netc.compiler.passes.lift import lift
from netc.compiler.passes.objective import accumulate, accumulated_gradients, total_loss
from netc.compiler.passes.prepare import derived, prepared
from netc.compiler.passes.reorder import factor, reorder
from netc.compiler.passes.scans import in_bodies, opened, trimmed
from netc.compiler.passes.settle import settle
from netc.compiler.passes.simplify import expand, rebuild, simplify
from netc.compiler.passes.sink import sink
from netc.compiler.passes.stabilise import stabilise
from netc.compiler.passes.truncate import truncated
from netc.compiler.passes.update import update
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span


@dataclass(frozen=True, slots=True)
class Pass:
    """A graph with the same results, computed in another way. It runs on the body of each scan too, after the pass that `after` names. `example` is the text of a
    file in which it finds something to do."""

    name: str
    doc: str
    run: Callable[[Graph], Graph]
    after: str = "sink"
    example: str = ""


PASSES: dict[str, Pass] = {
    one.name: one
    for one in (
        Pass("expand", "What is built of other operations becomes those.", expand, "update"),
        Pass("simplify", "Fewer values that mean the same.", simplify, "expand"),
        Pass("hoist", "What need not be in a recurrence leaves it.", hoist, "simplify"),
        Pass("factor", "A factor goes outside of a sum.", factor, "hoist"),
        Pass("lift", "A pool's gradient part by part.", lift, "factor"),
        Pass("sink", "Slices go through element-wise values.", sink, "lift"),
    )
}
_OWN = frozenset(PASSES)
_FIRST = ("elaborate", "settle", "stabilise", "reorder", "derive", "differentiate", "update")
_GIVEN = "given."


def register_pass(one: Pass) -> Pass:
    """Make a pass one of the pipeline, right after the one that it names. Raises ValueError if its name is taken, or there is no such pass."""
    if one.name in stages() or one.after not in PASSES:
        what = f"`{one.name}` is registered already" if one.name in stages() else f"there is no pass `{one.after}`"
        raise ValueError(what)
    order = list(PASSES.values())
    order.insert(1 + [known.name for known in order].index(one.after), one)
    PASSES.clear()
    PASSES.update({known.name: known for known in order})
    return one


def stages() -> tuple[str, ...]:
    """What a training step's graph goes through, in order."""
    return (*_FIRST, *PASSES)


def gradient_graph(model: Model, wrt: tuple[str, ...] = ()) -> Graph:
    """What a step makes small, as `total`, and `gradient.NAME` for each parameter and each input named in `wrt`. Faults E0501 if the model has no loss."""
    graph, leaves = _forward(model)
    wanted = [leaves[name] for name in (*model.parameters, *wrt) if name in leaves and not is_frozen(model, name)]
    total = graph.results["total"] = total_loss(graph, _moved(model))
    for value, gradient in differentiate(graph, total, wanted).items():
        graph.results[f"gradient.{value.name}"] = gradient
    return _without(graph, "loss.", "weight.", "update.")


def _forward(model: Model, truncate: Truncate | None = None, is_frugal: bool = False) -> tuple[Graph, dict[str, Value]]:
    """The losses while training (of a chunk, if sequences are cut into such), with `update.NAME` for each state that is not frozen; and the leaves by name."""
    if not any(name.startswith("loss.") for name in model.graph.results):
        fault(
            "E0501", "the model has no loss to train by", Span(model.source, 0, 0), hint="loss mse(prediction, target)"
        )
    forward = model.graph.of("loss.", "weight.loss.", "update.")
    for name in [name for name in forward.results if name.startswith("update.")]:
        if is_frozen(model, name.removeprefix("update.")):
            del forward.results[name]
    graph = prepared(forward, training=True)
    graph = opened(graph if truncate is None else truncated(graph, truncate), is_frugal)
    return graph, {value.name: value for value in graph.values() if value.name}


def _without(graph: Graph, *prefixes: str) -> Graph:
    graph.results = {name: value for name, value in graph.results.items() if not name.startswith(prefixes)}
    return graph


def _moved(model: Model) -> tuple[str, ...]:
    """The losses that a schedule multiplies."""
    return tuple(name for name, _ in model.train.loss_scale)


def is_frozen(model: Model, name: str) -> bool:
    """Whether a parameter or a state stays as it is (`freeze`)."""
    return any(fnmatchcase(name, pattern) for pattern in model.train.freeze)


def training_graph(model: Model, is_frugal: bool = False) -> Graph:
    """One step: the loss and the next value of every parameter and state that it moves. With `accumulate`, the last of several batches. What `is_frugal`
    keeps little of a scan and computes it again."""
    graph, leaves = _forward(model, model.train.truncate, is_frugal)
    wanted = [leaves[name] for name in model.parameters if name in leaves and not is_frozen(model, name)]
    total = total_loss(graph, _moved(model))
    several = model.train.accumulate > 1
    gradients = accumulated_gradients(graph, wanted, _moved(model)) if several else differentiate(graph, total, wanted)
    update(graph, model.train, model.trainables, gradients)
    return _without(graph, "loss.", "weight.")


def accumulation_graph(model: Model, is_frugal: bool = False) -> Graph:
    """One batch before the last of a step, with `accumulate`: its gradients are added up, no parameter moves."""
    graph, leaves = _forward(model, is_frugal=is_frugal)
    wanted = [leaves[name] for name in model.parameters if name in leaves and not is_frozen(model, name)]
    total_loss(graph, _moved(model))
    accumulate(graph, wanted, _moved(model))
    return _without(graph, "loss.", "weight.")


def prediction_graph(model: Model) -> Graph:
    """The outputs, and `length.DIM` where they have such a dimension at its bound."""
    return prepared(model.graph.of("output.", "length."), training=False)


def part_graph(model: Model, wanted: Iterable[str], given: Iterable[str] = ()) -> Graph:
    """Those values of a model in use that are `wanted`, as `output.NAME`, from those that are `given`: inputs by their names, in place of what computes
    them. With `length.DIM` as prediction_graph has it."""
    known = model.values
    results = {f"output.{name}": known[name] for name in wanted}
    held = [dim.name for value in results.values() for dim in value.type.dims if isinstance(dim, Bounded)]
    results |= {f"length.{dim}": model.graph.results[f"length.{dim}"] for dim in held}
    results |= {f"{_GIVEN}{name}": known[name] for name in given}
    graph = settle(model.graph.subgraph(results)[0], training=False)
    names = {value: name.removeprefix(_GIVEN) for name, value in graph.results.items() if name.startswith(_GIVEN)}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in names:
            return copy.leaf("input", names[value], value.type)
        return copy.add_copy(value, operands)

    return prepared(rebuild(graph, rule).of("output.", "length."), training=False)


def training_stages(model: Model) -> dict[str, Graph]:
    """The graph of a training step after each of `stages`."""
    made = {
        "elaborate": model.graph,
        "settle": (settled := settle(model.graph.of("loss.", "weight.loss.", "update."), training=True)),
        "stabilise": (stable := stabilise(settled)),
        "reorder": (ordered := reorder(stable)),
        "derive": derived(ordered),
        "differentiate": gradient_graph(model),
        "update": training_graph(model),
    }
    run_passes(made["update"], made.__setitem__)
    return made


def run_passes(graph: Graph, after: Callable[[str, Graph], None] | None = None) -> Graph:
    """All passes from graph to graph; `after(name, graph)` sees what each made."""
    graph = trimmed(graph)
    for name, one in PASSES.items():
        graph = in_bodies(one.run(graph), one.run) if name in _OWN else _of_others(graph, one)
        if after:
            after(name, graph)
    return graph


def _of_others(graph: Graph, one: Pass) -> Graph:
    """A graph through a pass of somebody else's. Faults E1103 where that fails, or leaves what is no graph of the same results."""
    try:
        made = in_bodies(one.run(graph), one.run)
        verify(made)
        for name, value in graph.results.items():
            assert name in made.results, f"the result `{name}` is gone"
            now = made.results[name].type
            assert now == value.type, f"the result `{name}` was {value.type}, and is {now}"
    except Exception as error:  # whatever the code of somebody else raises is told as a message
        told = f"{type(error).__name__}: {error}"
        place = Span(Source(f"the pass {one.name}", ""), 0, 0)
        fault("E1103", f"the pass `{one.name}` spoils the graph", place, told, hint="netc.testing.check(it)")
    return made


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
    "training_graph",
    "training_stages",
]
