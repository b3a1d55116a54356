"""The optimizers: for each, its numbers with their defaults, and the rule that computes a parameter's next value.

Formulas and defaults are those that PyTorch documents under the same names; `decay` is its weight_decay. A rule writes
values into the graph of the step; update.py applies it to every parameter.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.passes.row_gradient import Touched
from netc.dsl.structs import replace


def number_of(graph: Graph, name: str) -> Value:
    """A number of the `train` block as a scalar of f64, which the runtime gives a step (TrainSettings.number)."""
    return graph.leaf(Role.GIVEN, str(SuppliedKind.NUMBER.named(name)), Type("f64"))


class Parameter(Struct, frozen=True):
    """One parameter with its gradient, as the rule of an optimizer sees it.

    - `value` and `gradient` are those of the parameter, or of its `touched` rows if only these have a gradient. A rule
      is then applied to the other rows too, with the number 0 as their gradient.
    - `state(kind)` is a value that is kept from step to step, 0 at first. `keep(kind, value)` sets its next value,
      which `kept` collects.
    - `rate`, the learning rate, is a scalar of f64, and so is `step`, which counts from 1.
    - `numbers` are the optimizer's settings: by them a rule decides what to compute, momentum or none. It computes with
      `number(name)`, an input of the step, so that models with other numbers share a program. `inputs` has these
      inputs, which all parameters use.
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
        """A setting of the optimizer as a scalar of f64."""
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

    A number whose default is None must be given; one whose default is True or False is a switch.

    - `leaves_rest(parameter)`: whether rows without a gradient stay as they are, and their states too.
    - `searches`: the rule keeps the gradient in a state and returns the parameter unchanged. The runtime then moves all
      parameters, by several evaluations (runtime/training/lbfgs.py).
    - `takes_inputs`: the rule computes with Parameter.number and the rate. Of its numbers it only asks which are 0, so
      models with other numbers share a program.
    """

    name: str
    doc: str
    numbers: Mapping[str, float | bool | None]
    rule: Callable[[Parameter], Value]
    leaves_rest: Callable[[Parameter], bool] = lambda parameter: False
    searches: bool = False
    takes_inputs: bool = False


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
