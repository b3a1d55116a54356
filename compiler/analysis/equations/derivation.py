"""The equations of a model, forward from its inputs to the loss and backward from the loss to its parameters."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from netc.compiler.analysis.equations.equation import Equation
from netc.compiler.analysis.equations.formula import Formula, Name, everywhere
from netc.compiler.analysis.equations.naming import LEAVES, Level, Namer, is_short, simplified
from netc.compiler.analysis.equations.patterns import shown
from netc.compiler.analysis.equations.steps import unroll
from netc.compiler.analysis.equations.unrolled import Unrolled
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.passes import prepare
from netc.compiler.passes.differentiate import adjoints
from netc.compiler.passes.objective import total_loss
from netc.compiler.passes.scans import opened
from netc.compiler.passes.simplify import simplify
from netc.compiler.passes.specialise import specialise
from netc.compiler.passes.stabilise import stabilise
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.dsl.structs import replace


class Derivation(Struct, frozen=True):
    """The equations of the forward pass in order, and those of the derivatives from the loss back.

    `leaves` are the inputs, targets, parameters and states that the equations begin with. `graph` computes all.
    """

    leaves: list[tuple[Name, Value]]
    forward: list[Equation]
    backward: list[Equation]
    graph: Graph

    def of_line(self, line: int | None) -> "Derivation":
        """Only the equations of one line of the file, or all."""
        if line is None:
            return self
        forward, backward = (
            [equation for equation in part if equation.line == line] for part in (self.forward, self.backward)
        )
        return Derivation(self.leaves, forward, backward, self.graph)


def derive(model: Model) -> Derivation:
    """The forward equations up to the loss, then each derivative from the loss back to the parameters.

    Raises E0501 if the model has no loss.
    """
    level, total = _level(_prepared(model))
    taken = {name.text for name in level.names.values() if isinstance(name, Name)}
    unrolled = unroll(level, taken)
    Namer(level, taken).run()
    return _Writer(level, total, unrolled).derivation()


def _prepared(model: Model) -> Graph:
    """The graph of a model's losses, ready for its derivative. Results `name.NAME` are values that the file names."""
    kinds = (ResultKind.LOSS, ResultKind.LOSS_WEIGHT)
    losses = {result: value for result, value in model.graph.results.items() if result.kind in kinds}
    if not losses:
        fault("E0501", "the model has no loss to derive", Span(model.source, 0, 0), hint="loss mse(prediction, target)")
    live = needed_by(losses.values())
    named = {ResultKind.NAMED.named(name): value for name, value in model.names.items() if value in live}
    graph, _ = model.graph.subgraph({**losses, **named})
    return opened(simplify(prepare.derived(stabilise(specialise(graph, training=True)))))


def _level(graph: Graph) -> tuple[Level, Value]:
    """A simplified copy of a graph with the slope of every value on the way to the parameters, and its loss."""
    total = total_loss(graph)
    forward = graph.values()
    slopes = adjoints(graph, {total: graph.constant(1.0, total.type)}, graph.values(Role.PARAMETER))
    named = graph.results_of(ResultKind.NAMED)
    losses = {name: value for name, value in graph.results_of(ResultKind.TOTAL).items() if name}
    simple, copies, slope_of = simplified(graph, forward, slopes)
    names: dict[Value, Formula] = {}
    level_names = [(value, value.name) for value in simple.values() if value.role in LEAVES]
    level_names += [(copies[value], name) for name, value in named.items()]
    level_names += [(copies[value], f"loss.{name}") for name, value in losses.items() if len(losses) > 1]
    roots = [
        copies[total],
        *(copies[value] for value in named.values()),
        *(slope_of[value] for value in slope_of if value.role is Role.PARAMETER),
    ]
    level = Level(simple, set(needed_by(copies.values())), slope_of, roots, names)
    for value, text in level_names:
        if value not in names:
            level.name(value, text)
    level.name(copies[total], "loss")
    return level, copies[total]


class _Writer:
    """Writes an equation for every name of a level, and those of the bodies of scans where the scans stand."""

    def __init__(self, level: Level, total: Value, unrolled: Sequence[Unrolled]) -> None:
        self.level, self.total = level, total
        self.forward_of = {item.scan: item for item in unrolled}
        self.backward_of = {item.back: item for item in unrolled if item.back is not None}
        self.reader = level.reader()

    def derivation(self) -> Derivation:
        level = self.level
        slope_of = level.value_of
        forward, backward = list[Equation](), list[list[Equation]]()
        for value in level.live:
            if value in self.forward_of:
                forward += self.forward_of[value].forward()
            elif value in self.backward_of:
                backward.append(self.backward_of[value].backward())
            elif self._has_equation(value):
                equation = self._equation(value, slope_of.get(value, value).span.line)
                if value in level.forward and value not in slope_of:
                    forward.append(equation)
                else:
                    backward.append([equation])
        backward += [[equation] for equation in self._equal_slopes(slope_of)]
        leaves = [(level.names[value], value) for value in level.live if value.role in LEAVES]
        named = [(name, value) for name, value in leaves if isinstance(name, Name)]
        return Derivation(named, forward, self._ordered(backward), level.graph)

    def _has_equation(self, value: Value) -> bool:
        """Whether a value has a name that is defined by an equation outside of scans."""
        name = self.level.names.get(value)
        is_defined = value.role not in (*LEAVES, Role.SCAN)
        return isinstance(name, Name) and is_defined and (value.role is not Role.PART or name.is_derivative)

    def _equation(self, value: Value, line: int) -> Equation:
        name, definition = self.level.name_of(value), self.reader.definition(value)
        self.reader.equal.setdefault(definition, name)
        return Equation(name, definition, line, value)

    def _equal_slopes(self, slope_of: dict[Value, Value]) -> Iterable[Equation]:
        """Equations of named values whose slope is that of another value, or a value of the forward pass."""
        for value in self.level.stated:
            slope = self.level.slopes.get(value)
            if slope is None or slope_of.get(shown(slope)) is value or not self.level.varies(slope):
                continue
            definition = self.reader.definition(slope)
            right = definition if shown(slope).operands and is_short(definition) else self.reader.formula(slope)
            name = replace(self.level.name_of(value), is_derivative=True)
            yield Equation(name, right, value.span.line, slope)

    def _ordered(self, groups: Sequence[list[Equation]]) -> list[Equation]:
        """Orders the groups from the loss back: each as soon as all that it reads has been stated, parameters first."""
        parameters = {self.level.text_of(value) for value in self.level.live if value.role is Role.PARAMETER}
        defines = [{_array(equation.left) for equation in group} for group in groups]
        everything = set[Name]().union(*defines)
        reads = [
            {_array(part) for equation in group for part in everywhere([equation.right]) if isinstance(part, Name)}
            & everything - defined
            for group, defined in zip(groups, defines, strict=True)
        ]

        def rank(i: int) -> tuple[bool, int]:
            return groups[i][0].left.text not in parameters, i

        stated, ordered, pending = set[Name](), list[Equation](), list(range(len(groups)))
        while pending:
            ready = [i for i in pending if reads[i] <= stated] or pending[:1]
            chosen = min(ready, key=rank)
            pending.remove(chosen)
            stated |= defines[chosen]
            ordered += groups[chosen]
        return ordered


def _array(name: Name) -> Name:
    return Name(name.text, name.is_derivative)
