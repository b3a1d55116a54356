"""The chain rule of a model as equations: from the loss back to each parameter, each with the line of the file that it comes from.

What `netc explain --gradient` prints. Names are the file's own; `∂h` stands for the derivative of the loss by h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.compiler.ir.attributes import Constant, Dims, Over
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.operations.elementwise import cast
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.scan import Part
from netc.compiler.operations.shape import Count, Slice
from netc.compiler.passes import prepare
from netc.compiler.passes.differentiate import adjoints
from netc.compiler.passes.objective import total_loss
from netc.compiler.passes.scans import opened
from netc.compiler.passes.settle import settle
from netc.compiler.passes.simplify import simplify
from netc.compiler.passes.stabilise import stabilise
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span

_INFIX = {
    "add": ("+", 1),
    "subtract": ("-", 1),
    "multiply": ("*", 2),
    "divide": ("/", 2),
    "power": ("**", 4),
    "less": ("<", 0),
    "less_equal": ("<=", 0),
    "greater": (">", 0),
    "greater_equal": (">=", 0),
    "equal": ("==", 0),
    "not_equal": ("!=", 0),
}


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = right`, and the line of the file that it is of (0 for none)."""

    left: str
    right: str
    line: int


@dataclass(frozen=True, slots=True)
class Derivation:
    forward: list[Equation]
    backward: list[Equation]


def derive(model: Model) -> Derivation:
    """The forward equations down to the loss, then each derivative from the loss back to the parameters."""
    losses = {name: value for name, value in model.graph.results.items() if name.startswith(("loss.", "weight.loss."))}
    if not losses:
        fault("E0501", "the model has no loss to derive", Span(model.source, 0, 0), hint="loss mse(prediction, target)")
    live = needed_by(losses.values())
    named = {f"name.{name}": value for name, value in model.names.items() if value in live}
    graph, _ = model.graph.subgraph({**losses, **named})
    graph = opened(simplify(prepare.derived(stabilise(settle(graph, training=True)))))
    total = total_loss(graph)
    names = {value: value.name for value in graph.values() if value.name}
    for name, value in graph.results.items():
        if name.startswith("name."):
            names.setdefault(value, name.removeprefix("name."))
    forward = graph.values()
    gradients = adjoints(graph, {total: graph.constant(1.0, total.type)}, graph.values("parameter"))
    for value in forward:  # what goes into a product, or is used often, and has no name gets one: the layers' borders
        users = graph.users(value)
        feeds = len(users) > 2 or any(user.role is Role.CONTRACTION for user in users if user in gradients)
        if feeds and value in gradients and value.operands and value not in names and not _is_silent(value):
            names[value] = f"t{sum(name[0] == 't' and name[1:].isdigit() for name in names.values()) + 1}"
    own = [value for value in forward if value in names and value in gradients]
    walks = [value for value in graph.values("scan") if value not in set(forward)]
    for kind, scans in (("scan", [value for value in forward if value.role is Role.SCAN]), ("back", walks)):
        names.update({value: f"{kind}_{n}" for n, value in enumerate(scans, 1)})
    names[total] = "loss"
    own.append(total)
    writer = _Writer(names, {one: gradient for one, gradient in gradients.items() if one is not total})
    stated = [one for one in forward if one.operands and one is not total and (one in own or one.role is Role.SCAN)]
    derived = [
        (gradients[one].number, f"∂{names[one]}", gradients[one], one) for one in reversed(own) if one is not total
    ]
    derived += [(one.number, names[one], one, one) for one in walks]
    if walks:  # a scan that walks back stands between what it takes and what it gives
        derived.sort(key=lambda entry: entry[0])
    return Derivation(
        [Equation(names[one], writer.value(one, is_whole=True), one.span.line) for one in (*stated, total)],
        [Equation(left, writer.value(made, is_whole=True), one.span.line) for _, left, made, one in derived],
    )


class _Writer:
    """Values as formulas that stop at names: those of the file, t1, t2 between layers, and derivatives (`∂h`)."""

    def __init__(self, names: Mapping[Value, str], gradients: Mapping[Value, Value]) -> None:
        self.names = names
        self.derivative_of = {
            gradient: value for value, gradient in reversed(list(gradients.items())) if value in names
        }

    def value(self, value: Value, is_whole: bool = False, binding: int = 0) -> str:
        """The formula of a value; `is_whole`: though it has a name."""
        if not is_whole:
            if value in self.names:
                return self.names[value]
            if value in self.derivative_of:
                return f"∂{self.names[self.derivative_of[value]]}"
        text, own = self._formula(value)
        return f"({text})" if own < binding else text

    def _formula(self, value: Value) -> tuple[str, int]:
        operation, operands = value.operation, value.operands
        if operation == "constant":
            number = value.attributes_as(Constant).value
            return (
                f"{number:g}" if isinstance(number, int | float) and not isinstance(number, bool) else str(number)
            ), 9
        if _is_silent(value):
            inner = operands[0]
            is_name = inner in self.names or inner in self.derivative_of
            return (self.value(inner), 9) if is_name else self._formula(inner)
        if operation == "part":
            return f"{self.value(operands[0])}.{value.attributes_as(Part).of}", 9
        if operation == "arange":
            return f"arange({value.attributes_as(Count).n})", 9
        if operation in _INFIX and len(operands) == 2:
            sign, binding = _INFIX[operation]
            left, right = self.value(operands[0], binding=binding), self.value(operands[1], binding=binding + 1)
            return f"{left} {sign} {right}", binding
        if operation == "neg":
            return f"-{self.value(operands[0], binding=3)}", 3
        if operation == "extent":
            dims = value.attributes_as(Dims).dims
            return " * ".join(map(str, dims)) or "1", 9 if len(dims) < 2 else 2
        if operation == "einsum":
            return self._product(value), 2
        if operation == "transpose":
            return f"transpose({self.value(operands[0])})", 9
        arguments = [self.value(one) for one in operands]
        if isinstance(value.attributes, Over) and operands:
            axes = [self._axis(operands[0], axis) for axis in value.attributes.over]
            if "batch" in axes or len(axes) != len(operands[0].type.sample):
                arguments.append(f"over = {axes[0] if len(axes) == 1 else '(' + ', '.join(axes) + ')'}")
        elif isinstance(value.attributes, Slice):
            axis = self._axis(operands[0], value.attributes.axis)
            return f"{self.value(operands[0], binding=5)}[{axis}: {value.attributes.start}..{value.attributes.stop}]", 9
        return f"{operation}({', '.join(arguments)})", 9

    @staticmethod
    def _axis(value: Value, axis: int) -> str:
        return "batch" if value.type.dims[axis] == "batch" else str(axis - int(value.type.is_batched))

    def _product(self, value: Value) -> str:
        """Matrix products as `x @ W`, with transposes where the indices say so; other products as einsum."""
        left, right = value.operands
        subscripts = value.attributes_as(Subscripts).subscripts
        inputs, _, out = subscripts.partition("->")
        a, b = inputs.split(",")
        for x, y, p, q in ((left, right, a, b), (right, left, b, a)):
            shared = [letter for letter in p if letter in q and letter not in out]
            if len(shared) != 1 or len(p) > 2 or len(q) > 2 or out != "".join(c for c in p + q if c != shared[0]):
                continue
            first = self.value(x, binding=3) if p.endswith(shared[0]) else f"transpose({self.value(x)})"
            second = self.value(y, binding=3) if q.startswith(shared[0]) else f"transpose({self.value(y)})"
            return f"{first} @ {second}"
        return f'einsum({self.value(left)}, {self.value(right)}, "{subscripts}")'


def _is_silent(value: Value) -> bool:
    """Whether a value has the same numbers in another shape or type: an equation does not show it."""
    return value.role is Role.SHAPE or value.definition is cast


def lines(equations: Sequence[Equation]) -> list[str]:
    """Equations under one another, with their lines."""
    width = max((len(one.left) for one in equations), default=0)
    return [
        f"{one.left.ljust(width)} = {one.right}" + (f"    # line {one.line}" if one.line else "") for one in equations
    ]
