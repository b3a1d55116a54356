"""The graphs of integrated gradients (Sundararajan, Taly and Yan 2017): what of an output is due to each input.

The path from a baseline to a sample begins where floats enter the model: at float inputs, and for inputs of classes at
what is computed only from these and from parameters, such as a row of an embedding's table.
"""

from collections.abc import Mapping

from msgspec import Struct

from netc.compiler.ir.graph import Graph, dependents
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Model
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.narrow import narrow
from netc.compiler.passes.prepare import prepared
from netc.compiler.passes.scans import opened
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.specialise import specialise

SELECTOR = "the chosen entry"  # an input of the graph of gradients; no name of a model has blanks
SCORE = ResultKind.VALUE.named("score")


class Attribution(Struct, frozen=True):
    """Two graphs for prediction.

    `starts` computes the numbers at each point as results `NAME` from the inputs of the model; it is None if all points
    are inputs. `gradients` takes the points as inputs, and those of the model that it still reads. Its result `score`
    is the output times the input SELECTOR, summed over each sample, and `gradient.NAME` is the gradient of that with
    respect to a point. `origins` is the input of the model that each point is made of, by name.
    """

    starts: Graph | None
    gradients: Graph
    origins: Mapping[str, str]
    selector: Type


def attribution(model: Model, output: str) -> Attribution | None:
    """The graphs for a named value of a model: floats with a fixed shape in each sample.

    None if no float enters the model that the output depends on.
    """
    result = ResultKind.OUTPUT.named(output)
    graph = specialise(model.graph.subgraph({result: model.values[output]})[0], training=False)
    points = _points(graph)
    if not points:
        return None
    names = {value: name for name, (value, _) in points.items()}
    embedded = {name: value for name, (value, _) in points.items() if value.role is not Role.INPUT}
    starts = graph.subgraph({ResultKind.VALUE.named(name): value for name, value in embedded.items()})[0]

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in names:
            return copy.leaf(Role.INPUT, names[value], value.type)
        return copy.add_copy(value, operands)

    part = opened(prepared(rebuild(graph, rule), training=False))
    predicted = part.results.pop(result)
    scores = predicted * part.leaf(Role.INPUT, SELECTOR, predicted.type)
    if scores.type.rank > 1:
        scores = apply("sum", scores, over=tuple(range(1, scores.type.rank)))
    leaves = {leaf.name: leaf for leaf in part.values(Role.INPUT) if leaf.name in points}
    gradients = differentiate(part, apply("sum", scores, over=(0,)), leaves.values())
    part.results = {SCORE: scores} | {ResultKind.GRADIENT.named(leaf.name): gradients[leaf] for leaf in leaves.values()}
    precision = model.train.precision
    return Attribution(
        narrow(prepared(starts, training=False), precision) if embedded else None,
        narrow(part, precision),
        {name: origin for name, (_, origin) in points.items() if name in leaves},
        predicted.type,
    )


def _points(graph: Graph) -> dict[str, tuple[Value, str]]:
    """The values at which floats enter, each with the input that it is made of, by name."""
    leaves = graph.values(Role.INPUT)
    points = {leaf.name: (leaf, leaf.name) for leaf in leaves if leaf.type.is_float}
    from_data = dependents(graph, leaves)
    for leaf in leaves:
        if leaf.type.is_float:
            continue
        from_leaf = {leaf}  # the input itself, and what else is made of it that is not a float
        for value in graph.values():
            operands = [operand for operand in value.operands if operand in from_data]
            if value in leaves or not operands or not from_leaf.issuperset(operands) or value.role is Role.SCAN:
                continue
            if not value.type.is_float:
                from_leaf.add(value)
            elif value.type.is_batched:
                points[f"{leaf.name} at {len(points)}"] = value, leaf.name
    return points
