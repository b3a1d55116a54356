"""A part of a model in use: the values that a caller asks for, computed from inputs or from values in the middle."""

from collections.abc import Collection, Sequence

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.index_tables import table_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Bounded, Type
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.pipeline import part_graph, prediction_graph


def part_of(model: Model, fields: Collection[str], outputs: Sequence[str] | None = None) -> Graph:
    """The graph of the values `outputs`, or of all outputs that these fields suffice for: results `output.NAME`.

    A field that is not an input but a value of the model replaces what computes it. Raises ValueError for a name that
    the model does not have, and for a value among the fields that no result depends on.
    """
    values, data = model.values, {**model.inputs, **model.targets}
    inner = [name for name in fields if name in values and name not in data]
    _refuse_unknown(model, outputs or ())
    if outputs is None and not inner:
        return prediction_graph(model)
    names = [name for name in (model.outputs if outputs is None else outputs) if name not in inner]
    graph = part_graph(model, names, inner)
    if outputs is None:
        computable = {result: value for result, value in graph.results.items() if _reads(value) <= {*fields}}
        graph, _ = graph.subgraph({result: value for result, value in computable.items() if _reads(value) & {*inner}})
    unread = sorted({*inner} - {name for value in graph.results.values() for name in _reads(value)})
    if unread:
        raise ValueError(f"nothing that is wanted is computed from `{unread[0]}`")
    return graph


def _refuse_unknown(model: Model, outputs: Sequence[str]) -> None:
    """Raises ValueError for a name that the model does not have, or whose lengths it does not compute."""
    for name in outputs:
        if name not in model.values:
            raise ValueError(f"the model has no value `{name}`: it has {', '.join(model.values)}")
        ends = [ResultKind.LENGTH.named(dim.name) for dim in model.values[name].type.dims if isinstance(dim, Bounded)]
        if any(end not in model.graph.results for end in ends):
            raise ValueError(f"`{name}` has two varying dimensions, and is not an output")


def inputs_of(graph: Graph) -> dict[str, Type]:
    """The types of the fields that a graph reads, by name."""
    return {leaf.name: leaf.type for leaf in graph.values(Role.INPUT)}


def fields_of(model: Model, graph: Graph) -> dict[str, Type]:
    """The types of the fields that a part of a model needs, by name.

    These are the fields that it reads, and an input for each dimension whose lengths none of them has.
    """
    fields = inputs_of(graph)
    dims = {str(type_.rows) for type_ in fields.values()}
    for dim in sorted(_lengths_of(graph) - dims):
        fields |= dict([(name, type_) for name, type_ in model.inputs.items() if type_.rows == dim][:1])
    return fields


def _lengths_of(graph: Graph) -> set[str]:
    """The declared dimensions whose lengths a graph needs."""
    dims = {str(value.type.rows) for value in graph.values() if value.type.is_varying}
    for leaf in graph.values(Role.GIVEN):
        if (table := table_of(leaf)) is not None:
            dims.update(table.dims)
    return {name for dim in dims for name in names_in(dim)}


def _reads(value: Value) -> set[str]:
    """The names of the inputs that a value depends on."""
    return {leaf.name for leaf in needed_by([value]) if leaf.role is Role.INPUT}
