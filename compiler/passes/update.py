"""The optimizer as values of the graph: each parameter's next value and each state's, one rule an optimizer.

Formulas and defaults are those that PyTorch documents under the same names; `decay` is its weight_decay.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import ParameterInfo, TrainSettings

STEP = "optimizer.step"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter with its gradient, as the rule of an optimizer sees it.

    `state` returns a value that is kept from step to step (0 at first), `keep` sets its next value. `rate` is a
    number, or a scalar of f64 if a schedule changes it; `step` counts from 1, in f64.
    """

    graph: Graph
    name: str
    value: Value
    gradient: Value
    numbers: Mapping[str, float]
    rate: Value | float
    decay: float
    step: Value

    def state(self, kind: str) -> Value:
        return self.graph.leaf(Role.STATE, f"{kind}.{self.name}", self.value.type)

    def keep(self, kind: str, value: Value) -> Value:
        self.graph.results[ResultKind.UPDATE.named(f"{kind}.{self.name}")] = value
        return value

    def scaled(self, value: Value, by: "Value | float" = 1.0) -> Value:
        """rate * by * value; scalars are computed in f64 and rounded once."""
        factor = self.rate * by
        return value * (apply("cast", factor, dtype=self.value.type.dtype) if isinstance(factor, Value) else factor)

    def decayed_gradient(self) -> Value:
        """The gradient of the loss and of decay / 2 * the sum of squares."""
        return self.gradient + self.value * self.decay if self.decay else self.gradient


def _sgd(p: Parameter) -> Value:
    """v = momentum * v + g; w = w - lr * v, or with `nesterov` w = w - lr * (g + momentum * v)."""
    g, momentum = p.decayed_gradient(), p.numbers["momentum"]
    if momentum == 0.0:
        return p.value - p.scaled(g)
    moved = p.keep("velocity", p.state("velocity") * momentum + g)
    return p.value - p.scaled(g + moved * momentum if p.numbers["nesterov"] else moved)


def _adam(p: Parameter) -> Value:
    """Kingma and Ba 2015, algorithm 1, with eps outside of the root, as in PyTorch. Corrections are computed in f64."""
    return _adam_step(p, p.value, p.decayed_gradient())


def _adamw(p: Parameter) -> Value:
    """Loshchilov and Hutter 2019: the decay is applied to the weight itself, and not added to the gradient."""
    return _adam_step(p, p.value - p.scaled(p.value, p.decay) if p.decay else p.value, p.gradient)


def _adam_step(p: Parameter, w: Value, g: Value) -> Value:
    beta1, beta2 = p.numbers["beta1"], p.numbers["beta2"]
    m = p.keep("first_moment", p.state("first_moment") * beta1 + g * (1 - beta1))
    v = p.keep("second_moment", p.state("second_moment") * beta2 + g * g * (1 - beta2))
    unit = p.graph.constant(1.0, p.step.type)
    rate = p.rate / (unit - apply("power", p.graph.constant(beta1, p.step.type), p.step))
    scale = 1.0 / apply("sqrt", unit - apply("power", p.graph.constant(beta2, p.step.type), p.step))
    rate, scale = (apply("cast", number, dtype=w.type.dtype) for number in (rate, scale))
    return w - rate * m / (apply("sqrt", v) * scale + p.numbers["eps"])


def _rmsprop(p: Parameter) -> Value:
    """v = alpha * v + (1 - alpha) * g ** 2; w = w - lr * g / (sqrt(v) + eps), with momentum of that step."""
    g, alpha, momentum = p.decayed_gradient(), p.numbers["alpha"], p.numbers["momentum"]
    v = p.keep("second_moment", p.state("second_moment") * alpha + g * g * (1 - alpha))
    moved = g / (apply("sqrt", v) + p.numbers["eps"])
    if momentum:
        moved = p.keep("velocity", p.state("velocity") * momentum + moved)
    return p.value - p.scaled(moved)


def _adagrad(p: Parameter) -> Value:
    """Duchi, Hazan and Singer 2011: s = s + g ** 2; w = w - lr / (1 + (step - 1) * lr_decay) * g / (sqrt(s) + eps)."""
    g, slower = p.decayed_gradient(), p.numbers["lr_decay"]
    total = p.keep("squares", p.state("squares") + g * g)
    by: Value | float = 1.0 / ((p.step - 1.0) * slower + 1.0) if slower else 1.0
    return p.value - p.scaled(g, by) / (apply("sqrt", total) + p.numbers["eps"])


@dataclass(frozen=True, slots=True)
class OptimizerRule:
    """An optimizer: its `numbers` with their defaults, and the rule that returns a parameter's next value.

    A number whose default is None must be given; one whose default is True or False is a switch.
    """

    name: str
    doc: str
    numbers: Mapping[str, float | bool | None]
    rule: Callable[[Parameter], Value]


# What PyTorch documents under the same names.
OPTIMIZERS = {
    optimizer.name: optimizer
    for optimizer in (
        OptimizerRule(
            "sgd",
            "Gradient descent: w - lr * g; with momentum w - lr * v, v = momentum * v + g, or Nesterov's variant.",
            {"lr": None, "momentum": 0.0, "nesterov": False, "decay": 0.0},
            _sgd,
        ),
        OptimizerRule(
            "adam",
            "Scales the step of each weight by running means of its gradient and of the gradient's square "
            "(Kingma and Ba 2015).",
            {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0},
            _adam,
        ),
        OptimizerRule(
            "adamw",
            "Adam with decay of the weight itself, which is not added to the gradient (Loshchilov and Hutter 2019).",
            {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 1e-2},
            _adamw,
        ),
        OptimizerRule(
            "rmsprop",
            "Divides the gradient by the root of a running mean of its square.",
            {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "decay": 0.0},
            _rmsprop,
        ),
        OptimizerRule(
            "adagrad",
            "Divides the gradient by the root of the sum of all its squares (Duchi, Hazan and Singer 2011).",
            {"lr": 1e-2, "lr_decay": 0.0, "eps": 1e-10, "decay": 0.0},
            _adagrad,
        ),
    )
}


def update(
    graph: Graph, train: TrainSettings, trainables: Mapping[str, ParameterInfo], gradients: Mapping[Value, Value]
) -> None:
    """Adds `update.NAME` for every parameter and state; `gradients` maps parameters to their gradients."""
    before = graph.leaf(Role.STATE, STEP, Type("f64"))
    step = before + 1.0
    graph.results[ResultKind.UPDATE.named(STEP)] = step
    numbers = train.optimizer.numbers
    rate: Value | float = numbers["lr"]
    if train.has_schedule:
        rate = graph.leaf(Role.GIVEN, str(SuppliedKind.RATE_FACTOR.named()), Type("f64"), per="step") * rate
    for parameter, gradient in _clipped(graph, train, gradients).items():
        name = parameter.name
        scale = next((factor for pattern, factor in train.lr_scale if fnmatchcase(name, pattern)), 1.0)
        decay = numbers.get("decay", 0.0) if trainables[name].decay else 0.0
        with graph.at(parameter.span):
            graph.results[ResultKind.UPDATE.named(name)] = OPTIMIZERS[train.optimizer.name].rule(
                Parameter(graph, name, parameter, gradient, numbers, rate * scale, decay, step)
            )


def _clipped(graph: Graph, train: TrainSettings, gradients: Mapping[Value, Value]) -> Mapping[Value, Value]:
    """Clips elements to -clip_value ... clip_value, then scales all gradients down if their norm is above clip_norm."""
    if train.clip_value is not None:
        most = train.clip_value
        gradients = {
            parameter: apply("minimum", apply("maximum", gradient, -most), most)
            for parameter, gradient in gradients.items()
        }
    if train.clip_norm is not None and gradients:
        squares = [apply("sum", g * g, over=tuple(range(g.type.rank))) for g in gradients.values()]
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        scale = apply("minimum", train.clip_norm / (apply("sqrt", total) + 1e-6), 1.0)
        gradients = {parameter: gradient * scale for parameter, gradient in gradients.items()}
    return gradients
