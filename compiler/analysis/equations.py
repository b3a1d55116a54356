"""The chain rule of a model as equations, from the loss back to each parameter, as `netc explain --gradient` prints it.

Names are the file's own; `∂h` stands for the derivative of the loss with respect to h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.compiler.ir.attributes import Constant, Dims, Over
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
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
_STRONGEST = 9  # how strongly a formula without an operator binds
_SILENT = ("reshape", "broadcast", "cast")  # other shapes and types of the same numbers


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = right`, and the line of the file that it comes from (0 for none)."""

    left: str
    right: str
    line: int


@dataclass(frozen=True, slots=True)
class Derivation:
    """The equations of the forward pass in order, and those of the derivatives from the loss back."""

    forward: list[Equation]
    backward: list[Equation]


def derive(model: Model) -> Derivation:
    """The forward equations up to the loss, then each derivative from the loss back to the parameters.

    Faults E0501 if the model has no loss.
    """
    graph = _prepared(model)
    total = total_loss(graph)
    names = _names_in_file(graph)
    forward = graph.values()
    gradients = adjoints(graph, {total: graph.constant(1.0, total.type)}, graph.values(Role.PARAMETER))
    _name_borders(graph, forward, gradients, names)
    own = [value for value in forward if value in names and value in gradients]
    backward_scans = [value for value in graph.values(Role.SCAN) if value not in set(forward)]
    forward_scans = [value for value in forward if value.role is Role.SCAN]
    for kind, scans in (("scan", forward_scans), ("back", backward_scans)):
        names.update({value: f"{kind}_{n}" for n, value in enumerate(scans, 1)})
    names[total] = "loss"
    own.append(total)
    writer = _Writer(names, {value: gradient for value, gradient in gradients.items() if value is not total})
    stated = [
        value
        for value in forward
        if value.operands and value is not total and (value in own or value.role is Role.SCAN)
    ]
    derived = [
        (gradients[value].number, f"∂{names[value]}", gradients[value], value)
        for value in reversed(own)
        if value is not total
    ]
    derived += [(value.number, names[value], value, value) for value in backward_scans]
    if backward_scans:  # such a scan stands between its operands and the derivatives that are its results
        derived.sort(key=lambda entry: entry[0])
    return Derivation(
        [Equation(names[value], writer.definition(value), value.span.line) for value in (*stated, total)],
        [Equation(left, writer.definition(gradient), value.span.line) for _, left, gradient, value in derived],
    )


def _prepared(model: Model) -> Graph:
    """The graph of a model's losses, ready for its derivative. Results `name.NAME` are values that the file names."""
    kinds = (ResultKind.LOSS, ResultKind.LOSS_WEIGHT)
    losses = {result: value for result, value in model.graph.results.items() if result.kind in kinds}
    if not losses:
        fault("E0501", "the model has no loss to derive", Span(model.source, 0, 0), hint="loss mse(prediction, target)")
    live = needed_by(losses.values())
    named = {ResultKind.NAMED.named(name): value for name, value in model.names.items() if value in live}
    graph, _ = model.graph.subgraph({**losses, **named})
    return opened(simplify(prepare.derived(stabilise(settle(graph, training=True)))))


def _names_in_file(graph: Graph) -> dict[Value, str]:
    names = {value: value.name for value in graph.values() if value.name}
    for name, value in graph.results_of(ResultKind.NAMED).items():
        names.setdefault(value, name)
    return names


def _name_borders(
    graph: Graph, forward: Sequence[Value], gradients: Mapping[Value, Value], names: dict[Value, str]
) -> None:
    """Names the values between layers `t1`, `t2`, ...: nameless ones that go into a product or have several users."""
    for value in forward:
        users = graph.users(value)
        feeds = len(users) > 2 or any(user.role is Role.CONTRACTION for user in users if user in gradients)
        if feeds and value in gradients and value.operands and value not in names and not _is_silent(value):
            names[value] = f"t{sum(name[0] == 't' and name[1:].isdigit() for name in names.values()) + 1}"


class _Writer:
    """Writes values as formulas of names: those of the file, t1, t2, ... between layers, and derivatives (`∂h`)."""

    def __init__(self, names: Mapping[Value, str], gradients: Mapping[Value, Value]) -> None:
        self.names = names
        self.derivative_of = {
            gradient: value for value, gradient in reversed(list(gradients.items())) if value in names
        }

    def definition(self, value: Value) -> str:
        """The formula of a value, in place of its name."""
        return self._formula(value)[0]

    def value(self, value: Value, binding: int = 0) -> str:
        """The name of a value, or else its formula, in parentheses beside an operator that binds more strongly."""
        if value in self.names:
            return self.names[value]
        if value in self.derivative_of:
            return f"∂{self.names[self.derivative_of[value]]}"
        text, own = self._formula(value)
        return f"({text})" if own < binding else text

    def _formula(self, value: Value) -> tuple[str, int]:
        """The formula of a value, and how strongly its outermost operator binds."""
        operation, operands = value.operation, value.operands
        if operation in _SILENT:
            inner = operands[0]
            is_name = inner in self.names or inner in self.derivative_of
            return (self.value(inner), _STRONGEST) if is_name else self._formula(inner)
        if operation in _INFIX and len(operands) == 2:
            sign, binding = _INFIX[operation]
            left, right = self.value(operands[0], binding=binding), self.value(operands[1], binding=binding + 1)
            return f"{left} {sign} {right}", binding
        if operation == "neg":
            return f"-{self.value(operands[0], binding=3)}", 3
        if operation == "extent":
            dims = value.attributes_as(Dims).dims
            return " * ".join(map(str, dims)) or "1", _STRONGEST if len(dims) < 2 else 2
        if operation == "einsum":
            return self._product(value), 2
        return self._term(value), _STRONGEST

    def _term(self, value: Value) -> str:
        """The formula of a value that needs no parentheses: a number, a part of a value, or a function."""
        operation, operands = value.operation, value.operands
        if operation == "constant":
            number = value.attributes_as(Constant).value
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            return f"{number:g}" if is_number else str(number)
        if operation == "part":
            return f"{self.value(operands[0])}.{value.attributes_as(Part).of}"
        if operation == "arange":
            return f"arange({value.attributes_as(Count).n})"
        if operation == "transpose":
            return f"transpose({self.value(operands[0])})"
        arguments = [self.value(operand) for operand in operands]
        if isinstance(value.attributes, Over) and operands:
            axes = [self._axis(operands[0], axis) for axis in value.attributes.over]
            if "batch" in axes or len(axes) != len(operands[0].type.sample):
                arguments.append(f"over = {axes[0] if len(axes) == 1 else '(' + ', '.join(axes) + ')'}")
        elif isinstance(value.attributes, Slice):
            axis = self._axis(operands[0], value.attributes.axis)
            bounds = f"{value.attributes.start}..{value.attributes.stop}"
            return f"{self.value(operands[0], binding=5)}[{axis}: {bounds}]"
        return f"{operation}({', '.join(arguments)})"

    @staticmethod
    def _axis(value: Value, axis: int) -> str:
        return "batch" if value.type.dims[axis] == "batch" else str(axis - int(value.type.is_batched))

    def _product(self, value: Value) -> str:
        """A matrix product as `x @ W`, with operands transposed as its subscripts say; any other product as einsum."""
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
    """The equations as text, one a line, aligned, with their lines of the file."""
    width = max((len(equation.left) for equation in equations), default=0)
    return [
        f"{equation.left.ljust(width)} = {equation.right}" + (f"    # line {equation.line}" if equation.line else "")
        for equation in equations
    ]
