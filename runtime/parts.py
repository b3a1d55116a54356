"""A part of a model in use: from what is given, inputs or values in the middle, to the values that are wanted of that."""

from collections.abc import Collection, Sequence

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX, Other, asked
from netc.compiler.ir.types import Bounded, Type
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.pipeline import part_graph, prediction_graph


def part_of(model: Model, fields: Collection[str], outputs: Sequence[str] | None = None) -> Graph:
    """What computes the wanted values, or else all outputs that these fields suffice for: results `output.NAME`.

    A field that is no input but a value of the model stands in place of what computes it. Raises ValueError for a name that the model does not have,
    and where a given value changes nothing.
    """
    known, own = model.values, {**model.inputs, **model.targets}
    given = [name for name in fields if name in known and name not in own]
    for name in outputs or ():
        if name not in known:
            raise ValueError(f"the model has no value `{name}`: it has {', '.join(known)}")
        ends = [f"length.{dim.name}" for dim in known[name].type.dims if isinstance(dim, Bounded)]
        if any(end not in model.graph.results for end in ends):
            raise ValueError(f"`{name}` has two varying dimensions, and is no output")
    if outputs is None and not given:
        return prediction_graph(model)
    wanted = [name for name in (model.outputs if outputs is None else outputs) if name not in given]
    graph = part_graph(model, wanted, given)
    if outputs is None:
        suffices = {name: one for name, one in graph.results.items() if _reads(one) <= {*fields}}
        graph, _ = graph.subgraph({name: one for name, one in suffices.items() if _reads(one) & {*given}})
    unread = sorted({*given} - {name for one in graph.results.values() for name in _reads(one)})
    if unread:
        raise ValueError(f"nothing that is wanted is computed from `{unread[0]}`")
    return graph


def inputs_of(graph: Graph) -> dict[str, Type]:
    """The fields that a graph reads, by name."""
    return {leaf.name: leaf.type for leaf in graph.values("input")}


def fields_of(model: Model, graph: Graph) -> dict[str, Type]:
    """The fields that a part of a model needs: those that it reads, and an input for each dimension whose lengths none of them tells."""
    found = inputs_of(graph)
    known = {str(type_.rows) for type_ in found.values()}
    for dim in sorted(_lengths_of(graph) - known):
        found |= dict([(name, type_) for name, type_ in model.inputs.items() if type_.rows == dim][:1])
    return found


def _lengths_of(graph: Graph) -> set[str]:
    """The declared dimensions whose lengths a graph asks for."""
    dims = {str(value.type.rows) for value in graph.values() if value.type.is_varying}
    for leaf in graph.values("given"):
        if leaf.name.startswith(PREFIX):
            kind, dim = asked(leaf.name)
            other = Other.of(kind)
            dims |= {dim, *(other[1].dims if other is not None else ())}
    return {name for dim in dims for name in names_in(dim)}


def _reads(value: Value) -> set[str]:
    return {leaf.name for leaf in needed_by([value]) if leaf.role is Role.INPUT}
