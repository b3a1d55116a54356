"""An application of an operation while its arguments are read."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from netc.compiler.elaborate import constants, samples
from netc.compiler.elaborate.arguments import named_axes
from netc.compiler.elaborate.bindings import BlockFunction, LayerInstance, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.ir.value import Operation, Value
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span


class OperationCall(Struct):
    """An application of an operation while its arguments are read.

    `named` are the arguments by parameter, `rest` those of the parameter that takes any number of them. `operands` and
    `attributes` are what the operation gets; `pairs` are those for height and width, `axes_along_steps` its axes if one
    of them is a varying dimension.
    """

    context: Context
    operation: Operation
    span: Span
    scope: Scope
    named: Mapping[str, syntax.Argument]
    rest: Sequence[syntax.Argument]
    operands: list[Value] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, tuple[int, int]] = field(default_factory=dict)
    axes_along_steps: tuple[int, ...] = ()

    @property
    def first(self) -> Value:
        """The operand that axes and sizes refer to."""
        assert self.operands
        return self.operands[0]

    def value(self, argument: syntax.Argument) -> Value:
        """The value of the graph that an argument stands for. Raises E0205 if it is none."""
        item = evaluate(self.context, argument.value, self.scope)
        if isinstance(item, BlockFunction | LayerInstance):
            hint = f"x -> {argument.span.text} -> {self.operation.name}"
            fault("E0205", "a layer is not a value", argument.span, "it has to be applied to something", hint=hint)
        return self.context.as_value(item, argument.span)

    def constant(self, argument: syntax.Argument) -> Any:
        """The constant that an argument stands for. Raises E0304 if it depends on data."""
        return constant(self.context, argument.value, self.scope)

    def integer(self, argument: syntax.Argument, what: str, least: int = 1) -> int:
        """The integer that an argument stands for. Raises E0304 if it is none, or below `least`."""
        return constants.integer(self.constant(argument), argument.span, what, least)

    def axes(self, argument: syntax.Argument) -> tuple[int | str, ...]:
        """The axes that an argument names."""
        return named_axes(self.context, argument.value, self.scope)

    def axis_number(self, axis: int | str) -> int:
        """An axis of a sample of the first operand, as an axis of its value. Raises Mismatch if there is none."""
        lengths = self.scope.lengths() if isinstance(axis, str) else {}
        return samples.axis_number(self.first, axis, self.context.axis_names, lengths)


class Parameter(Struct, frozen=True):
    """A parameter of an operation that becomes an attribute: its default as text ("" for none), and the argument if
    there is one."""

    name: str
    kind: str
    default: str
    argument: syntax.Argument | None
