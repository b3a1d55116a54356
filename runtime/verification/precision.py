"""A model in double precision: f64 for every f32, so that rounding does not hide what a check looks for."""

from collections.abc import Mapping
from typing import Any

from netc.compiler.ir.attributes import Attribute
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value
from netc.compiler.model import Model, ParameterInfo
from netc.dsl.structs import replace


def in_f64(model: Model) -> Model:
    """The model in f64, or itself if it is that already."""
    if model.train.precision == "f64":
        return model
    graph, copies = widened(model.graph)
    return replace(
        model,
        graph=graph,
        inputs=_types(model.inputs),
        targets=_types(model.targets),
        trainables={name: _parameter(info) for name, info in model.trainables.items()},
        states={name: _parameter(info) for name, info in model.states.items()},
        train=replace(model.train, precision="f64"),
        names={name: copies[value] for name, value in model.names.items() if value in copies},
    )


def widened(graph: Graph) -> tuple[Graph, dict[Value, Value]]:
    """A copy of a graph with f64 in place of f32, values that no result needs included, and the copy of each value."""
    copy, copies = Graph(), dict[Value, Value]()
    copy.precision = "f64"
    for value in graph.values():
        operands = [copies[operand] for operand in value.operands]
        attributes = {key: _attribute(attribute) for key, attribute in value.keywords.items()}
        type_ = value.type if value.role is Role.SCAN else _type(value.type)  # a scan has no type of its own
        copies[value] = copy.add_copy(value, operands, attributes, type_, value.span)
    copy.results = {name: copies[value] for name, value in graph.results.items()}
    return copy, copies


def _attribute(attribute: Attribute) -> Attribute:
    if isinstance(attribute, Body):
        return Body(widened(attribute.graph)[0])
    if isinstance(attribute, str) and (
        attribute == "f32" or attribute.startswith("f32[")
    ):  # `dtype`, and the `type` of a part
        return "f64" + attribute[3:]
    return attribute


def _type(type_: Type) -> Type:
    return Type("f64", type_.dims, type_.classes) if type_.dtype == "f32" else type_


def _types(types: Mapping[str, Type]) -> dict[str, Any]:
    return {name: _type(type_) for name, type_ in types.items()}


def _parameter(info: ParameterInfo) -> ParameterInfo:
    return replace(info, type=_type(info.type))
