"""The optimizer as values of the graph: each parameter's next value and each state's, one table row an optimizer.

Formulas and defaults are those that PyTorch documents under the same names.
"""

from collections.abc import Callable

from netc.compiler.graph import Graph
from netc.compiler.model import Optimizer
from netc.compiler.types import Type
from netc.compiler.value import Value, apply

STEP = "optimizer.step"


def _state(graph: Graph, name: str, like: Value) -> Value:
    return graph.leaf("state", name, like.type)


def _sgd(graph: Graph, name: str, w: Value, g: Value, numbers: dict[str, float], step: Value) -> Value:
    """v = momentum * v + g; w = w - lr * v."""
    if numbers["momentum"] == 0.0:
        return w - g * numbers["lr"]
    velocity = _state(graph, f"velocity.{name}", w)
    moved = velocity * numbers["momentum"] + g
    graph.results[f"update.velocity.{name}"] = moved
    return w - moved * numbers["lr"]


def _adam(graph: Graph, name: str, w: Value, g: Value, numbers: dict[str, float], step: Value) -> Value:
    """Kingma and Ba 2015, algorithm 1; eps outside of the root, as PyTorch has it. Corrections are computed in f64."""
    beta1, beta2 = numbers["beta1"], numbers["beta2"]
    first, second = _state(graph, f"first_moment.{name}", w), _state(graph, f"second_moment.{name}", w)
    m = first * beta1 + g * (1 - beta1)
    v = second * beta2 + g * g * (1 - beta2)
    graph.results[f"update.first_moment.{name}"] = m
    graph.results[f"update.second_moment.{name}"] = v
    one = graph.constant(1.0, step.type)
    rate = numbers["lr"] / (one - apply("power", graph.constant(beta1, step.type), step))
    scale = 1.0 / apply("sqrt", one - apply("power", graph.constant(beta2, step.type), step))
    rate, scale = (apply("cast", number, dtype=w.type.dtype) for number in (rate, scale))
    return w - rate * m / (apply("sqrt", v) * scale + numbers["eps"])


_RULES: dict[str, Callable[[Graph, str, Value, Value, dict[str, float], Value], Value]] = {"sgd": _sgd, "adam": _adam}


def update(graph: Graph, optimizer: Optimizer, gradients: dict[Value, Value]) -> None:
    """Add `update.NAME` for every parameter and state; `gradients` maps parameters to their gradients."""
    before = graph.leaf("state", STEP, Type("f64"))
    step = before + 1.0
    graph.results[f"update.{STEP}"] = step
    for parameter, gradient in gradients.items():
        name = str(parameter.attributes["name"])
        with graph.at(parameter.span):
            graph.results[f"update.{name}"] = _RULES[optimizer.name](
                graph, name, parameter, gradient, optimizer.numbers, step
            )
