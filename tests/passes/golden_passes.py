"""The passes by the names that the headings of golden cases use: how each is run, and the check of its result."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import golden_checks as checks
from golden_case import Call
from golden_checks import Checked
from msgspec import Struct

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.value import Value
from netc.compiler.model import Optimizer, ParameterInfo, TrainSettings, Truncate
from netc.compiler.passes import objective, scans
from netc.compiler.passes.attend import attended
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.hoist import hoist
from netc.compiler.passes.lift import lift
from netc.compiler.passes.narrow import narrow
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.compiler.passes.pack import packed
from netc.compiler.passes.prepare import derived
from netc.compiler.passes.recompute import recompute
from netc.compiler.passes.reorder import factor, reorder
from netc.compiler.passes.simplify import expand, simplify
from netc.compiler.passes.sink import sink
from netc.compiler.passes.specialise import specialise
from netc.compiler.passes.stabilise import stabilise
from netc.compiler.passes.storage import as_bytes
from netc.compiler.passes.truncate import truncated
from netc.compiler.passes.update import update
from netc.dsl.source import NOWHERE


class Pass(Struct, frozen=True):
    """A pass in a case.

    An exact pass gives the same numbers but for the sign of a zero, also for infinity and NaN.
    """

    run: Callable[..., Graph]
    check: Callable[[Checked], None]
    is_exact: bool = False


# ------------------------------------------------------------------ passes that take more than a graph


def _pruned(graph: Graph) -> Graph:
    """The graph without the values that no result needs, which differentiation leaves behind."""
    return graph.subgraph(graph.results)[0]


def _leaves(graph: Graph, names: Sequence[str]) -> list[Value]:
    leaves = {value.name: value for value in graph.values() if value.name}
    return [leaves[name] for name in names]


def _with_gradients(graph: Graph, gradients: Mapping[Value, Value]) -> Graph:
    for value, gradient in gradients.items():
        graph.results[parse_result(f"gradient.{value.name}")] = gradient
    return _pruned(graph)


def _differentiate(graph: Graph, of: str, wrt: tuple[str, ...]) -> Graph:
    return _with_gradients(graph, differentiate(graph, graph.results[parse_result(of)], _leaves(graph, wrt)))


def _in_bodies(graph: Graph, of: str) -> Graph:
    return scans.in_bodies(graph, PASSES[of].run)


def _total_loss(graph: Graph, moved: tuple[str, ...] = ()) -> Graph:
    """Adds the total loss. `small` is the total with the factors of schedules, which training minimises."""
    graph.results[parse_result("small")] = objective.total_loss(graph, moved)
    return _pruned(graph)


def _accumulate(graph: Graph, wrt: tuple[str, ...]) -> Graph:
    objective.accumulate(graph, _leaves(graph, wrt), ())
    return _pruned(graph)


def _accumulated_gradients(graph: Graph, wrt: tuple[str, ...]) -> Graph:
    return _with_gradients(graph, objective.accumulated_gradients(graph, _leaves(graph, wrt), ()))


def _update(graph: Graph, optimizer: str, **settings: Any) -> Graph:
    """Adds a step of an optimizer that reads the results `gradient.NAME`.

    The arguments are the optimizer's numbers and those of the `train` block.
    """
    defaults = OPTIMIZERS[optimizer].numbers
    numbers = {name: float(settings.get(name, default)) for name, default in defaults.items()}
    train = {name: value for name, value in settings.items() if name not in defaults}
    names = [result.name for result in graph.results]
    leaves = dict(zip(names, _leaves(graph, names), strict=True))
    parameters = {name: ParameterInfo(name, leaf.type, "zeros", (), True, NOWHERE) for name, leaf in leaves.items()}
    gradients = {leaf: graph.results[parse_result(f"gradient.{name}")] for name, leaf in leaves.items()}
    update(graph, TrainSettings(Optimizer(optimizer, numbers), **train), parameters, gradients)
    return _pruned(graph)


def _truncated(graph: Graph, dim: str, steps: int) -> Graph:
    return _pruned(truncated(graph, Truncate(dim, steps, NOWHERE)))


PASSES: dict[str, Pass] = {
    "simplify": Pass(simplify, checks.same, is_exact=True),
    "expand": Pass(expand, checks.same),
    "specialise": Pass(specialise, checks.same, is_exact=True),
    "stabilise": Pass(stabilise, checks.same),
    "reorder": Pass(reorder, checks.same),
    "factor": Pass(factor, checks.same),
    "hoist": Pass(hoist, checks.same),
    "lift": Pass(lift, checks.same),
    "narrow": Pass(narrow, checks.narrowed),
    "sink": Pass(sink, checks.same, is_exact=True),
    "recompute": Pass(recompute, checks.same, is_exact=True),
    "trimmed": Pass(scans.trimmed, checks.same, is_exact=True),
    "opened": Pass(scans.opened, checks.same, is_exact=True),
    "gathered": Pass(scans.gathered, checks.same),
    "in_bodies": Pass(_in_bodies, checks.same),
    "in_ranks": Pass(scans.in_ranks, checks.by_rank),
    "attend": Pass(attended, checks.same),
    "packed": Pass(packed, checks.same),
    "differentiate": Pass(_differentiate, checks.gradients),
    "derived": Pass(derived, checks.derivatives),
    "total_loss": Pass(_total_loss, checks.total),
    "accumulate": Pass(_accumulate, checks.accumulated),
    "accumulated_gradients": Pass(_accumulated_gradients, checks.accumulated_gradients),
    "update": Pass(_update, checks.updated),
    "truncated": Pass(_truncated, checks.chunk_by_chunk),
    "as_bytes": Pass(as_bytes, checks.from_bytes),
}


def run(graph: Graph, call: Call) -> Graph:
    return PASSES[call.name].run(graph, **call.arguments)
