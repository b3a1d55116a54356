"""The optimizer as values of the graph: each parameter's next value and each state's, one rule an optimizer.

Formulas and defaults are those that PyTorch documents under the same names; `decay` is its weight_decay.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType

from msgspec import Struct, field

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import ParameterInfo, TrainSettings
from netc.compiler.passes.row_gradient import Gradient, Touched, gradient_of
from netc.dsl.structs import replace

STEP = "optimizer.step"
AVERAGE = "average."  # begins the name of the state that holds the mean of a parameter


class Parameter(Struct, frozen=True):
    """One parameter with its gradient, as the rule of an optimizer sees it.

    `value` and `gradient` are the parameter's, or those of its `touched` rows; for the other rows the gradient is the
    number 0. `state` returns a value that is kept from step to step (0 at first), `keep` sets its next value, which
    `kept` collects. `rate` is a scalar of f64, and so is `step`, which counts from 1. By the optimizer's `numbers` a
    rule decides what is computed; it computes with `number`, so that other numbers do not make another program.
    `inputs` has those that other parameters use as well.
    """

    graph: Graph
    leaf: Value
    gradient: Value | float
    numbers: Mapping[str, float]
    rate: Value
    decay: float
    step: Value
    touched: Touched | None = None
    kept: dict[str, Value] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)

    @property
    def value(self) -> Value:
        return self._seen(self.leaf)

    def _seen(self, leaf: Value) -> Value:
        return leaf if self.touched is None else self.touched.rows_of(leaf)

    def state_leaf(self, kind: str) -> Value:
        return self.graph.leaf(Role.STATE, f"{kind}.{self.leaf.name}", self.leaf.type)

    def state(self, kind: str) -> Value:
        return self._seen(self.state_leaf(kind))

    def keep(self, kind: str, value: Value) -> Value:
        self.kept[kind] = value
        return value

    def number(self, name: str) -> Value:
        """A number of the optimizer as a scalar of f64."""
        if name not in self.inputs:
            self.inputs[name] = number_of(self.graph, name)
        return self.inputs[name]

    def rounded(self, scalar: Value) -> Value:
        """A scalar of f64 in the parameter's element type."""
        return apply("cast", scalar, dtype=self.leaf.type.dtype)

    def scaled(self, value: Value | float, by: Value | float = 1.0) -> Value | float:
        """rate * by * value; scalars are computed in f64 and rounded once."""
        return value * self.rounded(self.rate if by == 1.0 else self.rate * by)

    def decayed_gradient(self) -> Value | float:
        """The gradient of the loss and of decay / 2 * the sum of squares."""
        return self.gradient + self.value * self.rounded(self.number("decay")) if self.decay else self.gradient


def _sgd(p: Parameter) -> Value:
    """v = momentum * v + g; w = w - lr * v, or with `nesterov` w = w - lr * (g + momentum * v)."""
    g = p.decayed_gradient()
    if p.numbers["momentum"] == 0.0:
        return p.value - p.scaled(g)
    momentum = p.rounded(p.number("momentum"))
    moved = p.keep("velocity", p.state("velocity") * momentum + g)
    return p.value - p.scaled(g + moved * momentum if p.numbers["nesterov"] else moved)


def _adam(p: Parameter) -> Value:
    """Kingma and Ba 2015, algorithm 1, with eps outside of the root, as in PyTorch. Corrections are computed in f64."""
    return _adam_step(p, p.value, p.decayed_gradient())


def _adamw(p: Parameter) -> Value:
    """Loshchilov and Hutter 2019: the decay is applied to the weight itself, and not added to the gradient."""
    return _adam_step(p, p.value - p.scaled(p.value, p.number("decay")) if p.decay else p.value, p.gradient)


def _adam_step(p: Parameter, w: Value, g: Value | float) -> Value:
    beta1, beta2 = p.number("beta1"), p.number("beta2")
    m = p.keep("first_moment", p.state("first_moment") * p.rounded(beta1) + g * p.rounded(1.0 - beta1))
    v = p.keep("second_moment", p.state("second_moment") * p.rounded(beta2) + g * g * p.rounded(1.0 - beta2))
    rate = p.rounded(p.rate / (1.0 - apply("power", beta1, p.step)))
    scale = p.rounded(1.0 / apply("sqrt", 1.0 - apply("power", beta2, p.step)))
    return w - rate * m / (apply("sqrt", v) * scale + p.rounded(p.number("eps")))


def _rmsprop(p: Parameter) -> Value:
    """v = alpha * v + (1 - alpha) * g ** 2; w = w - lr * g / (sqrt(v) + eps), with momentum of that step."""
    g, alpha = p.decayed_gradient(), p.number("alpha")
    v = p.keep("second_moment", p.state("second_moment") * p.rounded(alpha) + g * g * p.rounded(1.0 - alpha))
    moved = g / (apply("sqrt", v) + p.rounded(p.number("eps")))
    if p.numbers["momentum"]:
        moved = p.keep("velocity", p.state("velocity") * p.rounded(p.number("momentum")) + moved)
    return p.value - p.scaled(moved)


def _adagrad(p: Parameter) -> Value:
    """Duchi, Hazan and Singer 2011: s = s + g ** 2; w = w - lr / (1 + (step - 1) * lr_decay) * g / (sqrt(s) + eps)."""
    g = p.decayed_gradient()
    total = p.keep("squares", p.state("squares") + g * g)
    slower = p.numbers["lr_decay"]
    by: Value | float = 1.0 / ((p.step - 1.0) * p.number("lr_decay") + 1.0) if slower else 1.0
    return p.value - p.scaled(g, by) / (apply("sqrt", total) + p.rounded(p.number("eps")))


def _lbfgs(p: Parameter) -> Value:
    """Keeps the gradient, by which runtime/training/lbfgs.py looks for the next parameters."""
    assert isinstance(p.gradient, Value), "all rows have a gradient"
    p.keep("gradient", p.gradient)
    return p.value


class OptimizerRule(Struct, frozen=True):
    """An optimizer: its `numbers` with their defaults, and the rule that returns a parameter's next value.

    A number whose default is None must be given; one whose default is True or False is a switch. `leaves_rest` says
    whether rows without a gradient stay as they are, and their states too. An optimizer that `searches` keeps the
    gradient in a state and returns the parameter as it is: the runtime moves all parameters, by several evaluations.
    A rule that `takes_inputs` computes with Parameter.number and the rate: by its numbers it decides only what to do if
    one is 0, so models with other numbers share a program.
    """

    name: str
    doc: str
    numbers: Mapping[str, float | bool | None]
    rule: Callable[[Parameter], Value]
    leaves_rest: Callable[[Parameter], bool] = lambda parameter: False
    searches: bool = False
    takes_inputs: bool = False


# What PyTorch documents under the same names.
OPTIMIZERS = {
    optimizer.name: replace(optimizer, takes_inputs=True)
    for optimizer in (
        OptimizerRule(
            "sgd",
            "Gradient descent: w - lr * g; with momentum w - lr * v, v = momentum * v + g, or Nesterov's variant.",
            {"lr": None, "momentum": 0.0, "nesterov": False, "decay": 0.0, "lazy": False},
            _sgd,
            lambda p: not p.numbers["momentum"] and not p.decay,
        ),
        OptimizerRule(
            "adam",
            "Scales the step of each weight by running means of its gradient and of the gradient's square "
            "(Kingma and Ba 2015).",
            {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0, "lazy": False},
            _adam,
        ),
        OptimizerRule(
            "adamw",
            "Adam with decay of the weight itself, which is not added to the gradient (Loshchilov and Hutter 2019).",
            {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 1e-2, "lazy": False},
            _adamw,
        ),
        OptimizerRule(
            "rmsprop",
            "Divides the gradient by the root of a running mean of its square.",
            {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "decay": 0.0, "lazy": False},
            _rmsprop,
        ),
        OptimizerRule(
            "adagrad",
            "Divides the gradient by the root of the sum of all its squares (Duchi, Hazan and Singer 2011).",
            {"lr": 1e-2, "lr_decay": 0.0, "eps": 1e-10, "decay": 0.0, "lazy": False},
            _adagrad,
            lambda p: not p.decay,
        ),
        OptimizerRule(
            "lbfgs",
            "Steps by the last changes of the gradient, of a length that is searched along a line until it meets the "
            "strong Wolfe conditions (Liu and Nocedal 1989). An epoch is one step on all samples at once.",
            {"lr": 1.0, "history": 100.0},
            _lbfgs,
            searches=True,
        ),
    )
}


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


def number_of(graph: Graph, name: str) -> Value:
    """A number of the `train` block as a scalar of f64, which the runtime gives a step (TrainSettings.number)."""
    return graph.leaf(Role.GIVEN, str(SuppliedKind.NUMBER.named(name)), Type("f64"))


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
