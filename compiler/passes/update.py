"""The optimizer as values of the graph: each parameter's next value and each state's.

optimizers.py has the rule of each optimizer. Here gradients are clipped, a rule is applied to all rows of a parameter
or to those that have a gradient, and running means of parameters are added.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import ParameterInfo, TrainSettings
from netc.compiler.passes.optimizers import OPTIMIZERS, OptimizerRule, Parameter, number_of
from netc.compiler.passes.row_gradient import Gradient, gradient_of
from netc.dsl.structs import replace

STEP = "optimizer.step"
AVERAGE = "average."  # begins the name of the state that holds the mean of a parameter


def update(
    graph: Graph,
    train: TrainSettings,
    trainables: Mapping[str, ParameterInfo],
    gradients: Mapping[Value, Value],
    bounds: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Adds `update.NAME` for every parameter and state; `gradients` maps parameters to their gradients.

    `bounds` are the most steps of varying dimensions. Where only a few rows of a parameter have a gradient, these are
    updated by themselves (see row_gradient.py).
    """
    own_states = [*graph.results_of(ResultKind.UPDATE)]  # of the model, such as running means
    before = graph.leaf(Role.STATE, STEP, Type("f64"))
    step = before + 1.0
    graph.results[ResultKind.UPDATE.named(STEP)] = step
    optimizer, numbers = OPTIMIZERS[train.optimizer.name], train.optimizer.numbers
    rate = graph.leaf(Role.GIVEN, str(SuppliedKind.RATE.named()), Type("f64"), per="step")
    by_rows, inputs = {}, dict[str, Value]()
    for parameter, gradient in gradients.items():
        with graph.at(parameter.span):
            if optimizer.searches:
                by_rows[parameter] = Gradient(gradient)
            else:
                by_rows[parameter] = gradient_of(parameter, gradient, train.batch, bounds, bool(numbers.get("lazy")))
    for parameter, gradient_by_rows in _clipped(graph, train, by_rows).items():
        name = parameter.name
        scale = next((factor for pattern, factor in train.lr_scale if fnmatchcase(name, pattern)), 1.0)
        decay = numbers.get("decay", 0.0) if trainables[name].decay else 0.0
        with graph.at(parameter.span):
            seen = Parameter(
                graph,
                parameter,
                gradient_by_rows.value,
                numbers,
                rate if scale == 1.0 else rate * scale,
                decay,
                step,
                gradient_by_rows.touched,
                inputs=inputs,
            )
            for changed, value in _next_values(optimizer, seen).items():
                graph.results[ResultKind.UPDATE.named(changed)] = value
    if train.average is not None and train.average.decay is not None:
        _average(graph, [*(parameter.name for parameter in gradients), *own_states])


def _average(graph: Graph, names: Sequence[str]) -> None:
    """Adds a running mean of the next values of some parameters and states. It starts from 0 (see runtime/training/
    averaging.py, which corrects that)."""
    decay = number_of(graph, "average")
    for name in names:
        following = graph.results[ResultKind.UPDATE.named(name)]
        if following.type.is_float:
            with graph.at(following.span):
                mean = graph.leaf(Role.STATE, AVERAGE + name, following.type)
                weights = [apply("cast", weight, dtype=mean.type.dtype) for weight in (decay, 1.0 - decay)]
                graph.results[ResultKind.UPDATE.named(AVERAGE + name)] = mean * weights[0] + following * weights[1]


def _next_values(optimizer: OptimizerRule, parameter: Parameter) -> dict[str, Value]:
    """The next value of a parameter and of each of its states, by name."""
    name, touched = parameter.leaf.name, parameter.touched
    following = optimizer.rule(parameter)
    if touched is None:
        states = {f"{kind}.{name}": value for kind, value in parameter.kept.items()}
        return states if following is parameter.leaf else {**states, name: following}
    rest = {kind: parameter.state_leaf(kind) for kind in parameter.kept}
    rest_of_parameter = parameter.leaf
    if not (parameter.numbers.get("lazy") or optimizer.leaves_rest(parameter)):
        others = replace(parameter, gradient=0.0, touched=None, kept=rest)
        rest_of_parameter = optimizer.rule(others)
    return {
        **{f"{kind}.{name}": touched.put(rest[kind], rows) for kind, rows in parameter.kept.items()},
        name: touched.put(rest_of_parameter, following),
    }


def _clipped(graph: Graph, train: TrainSettings, gradients: Mapping[Value, Gradient]) -> Mapping[Value, Gradient]:
    """Clips elements to -clip_value ... clip_value, then scales all gradients down if their norm is above clip_norm."""
    if train.clip_value is not None:
        most = number_of(graph, "clip_value")
        gradients = {
            parameter: replace(gradient, value=_between(gradient.value, most))
            for parameter, gradient in gradients.items()
        }
    if train.clip_norm is not None and gradients:
        values = [gradient.value for gradient in gradients.values()]
        squares = [apply("sum", g * g, over=tuple(range(g.type.rank))) for g in values]
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        most = apply("cast", number_of(graph, "clip_norm"), dtype=total.type.dtype)
        scale = apply("minimum", most / (apply("sqrt", total) + 1e-6), 1.0)
        gradients = {
            parameter: replace(gradient, value=gradient.value * scale) for parameter, gradient in gradients.items()
        }
    return gradients


def _between(value: Value, most: Value) -> Value:
    """The elements of a value, but at least -most and at most `most`, a scalar of f64."""
    bound = apply("cast", most, dtype=value.type.dtype)
    return apply("minimum", apply("maximum", value, -bound), bound)
