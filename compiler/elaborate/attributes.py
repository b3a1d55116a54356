"""The attributes that an operation declares, read from the arguments of an application.

Each kind of attribute (`axes`, `pair`, `dims`, ...) has a reader in READERS.
"""

import math
from collections.abc import Callable

from netc.compiler.elaborate import constants, samples
from netc.compiler.elaborate.bindings import Length
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.elaborate.forms import joining
from netc.compiler.elaborate.operation_call import OperationCall, Parameter
from netc.compiler.elaborate.window_attributes import read_border, read_pads, read_pair
from netc.compiler.ir.types import BATCH, Dim, Mismatch, describe_sample
from netc.compiler.ir.value import Value
from netc.compiler.operations import bounded
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.hints import Change, Hint

FIXED = "fixed"  # as an axis: all axes of a sample but the varying ones


def read_attribute(call: OperationCall, name: str, kind: str) -> None:
    """Reads a parameter of a kind such as `share = 0.5` into the call's attributes; kinds of operands are left alone.

    Raises Mismatch or a Fault if the argument does not suit the operation.
    """
    kind, _, default = kind.partition(" = ")
    parameter = Parameter(name, kind, default, call.named.get(name))
    if kind in ("share", "level", "real", "number") and parameter.argument is None and not default:
        fault("E0301", f"`{call.operation.name}` lacks its argument `{name}`", call.span)
    if kind in READERS:
        READERS[kind](call, parameter)


def _read_axes(call: OperationCall, parameter: Parameter) -> None:
    first, argument = call.first, parameter.argument
    lead = first.type.lead
    if argument is not None and argument.name is None:
        _refuse_second_value(call, argument)
    axes = call.axes(argument) if argument else range(first.type.rank - lead)
    if FIXED in axes:
        axes = tuple(n for n in range(first.type.rank - lead) if not bounded.is_along_steps(first, n + lead))
    elif not axes and argument is not None:
        raise Mismatch("no axis to reduce over", code="E0403")
    numbers = {call.axis_number(axis) for axis in axes}
    if len(numbers) < len(axes):
        raise Mismatch("an axis is named twice", "each axis once, or none for all of them", "E0403")
    call.attributes[parameter.name] = tuple(sorted(numbers))
    if BATCH not in axes and any(bounded.is_along_steps(first, number) for number in numbers):
        call.axes_along_steps = tuple(sorted(numbers))
    if BATCH in axes and first.type.is_held:
        message = f"`{call.operation.name}` of {describe_sample(first.type)} over the batch does not run yet"
        raise Mismatch(message, code="E0901")


def _read_axis(call: OperationCall, parameter: Parameter) -> None:
    number = _single_axis(call, parameter)
    call.attributes[parameter.name] = (number,)
    call.axes_along_steps = (number,) if bounded.is_along_steps(call.first, number) else ()


def _read_joined_axis(call: OperationCall, parameter: Parameter) -> None:
    joining.refuse_numbers(call.operands)
    number = _single_axis(call, parameter)
    if bounded.is_along_steps(call.first, number):
        raise Mismatch("joining along a varying dimension does not run yet", code="E0901")
    call.attributes.update(axis=number)


def _single_axis(call: OperationCall, parameter: Parameter) -> int:
    argument, default = parameter.argument, parameter.default
    axes = call.axes(argument) if argument else (int(default),) if default else (-1,)
    if len(axes) != 1:
        raise Mismatch(f"`{call.operation.name}` works along one axis", code="E0403")
    return call.axis_number(axes[0])


def _read_new_axis(call: OperationCall, parameter: Parameter) -> None:
    rank = len(call.first.type.sample) + 1
    argument = parameter.argument
    axis = call.integer(argument, "an axis", least=-rank) if argument else int(parameter.default)
    if axis >= rank:
        raise Mismatch(f"axis {axis} of a value with {rank} axes", code="E0403")
    if axis % rank == 0:
        call.operands[0] = bounded.hold(call.first)
    call.attributes[parameter.name] = axis % rank + call.first.type.lead


def _read_dims(call: OperationCall, parameter: Parameter) -> None:
    call.attributes[parameter.name] = samples.batched_dims(_sizes(call), call.first)


def _read_all_dims(call: OperationCall, parameter: Parameter) -> None:
    """Reads the dimensions of a result that has those of the first operand, and may have others before them."""
    first, sizes = call.first, _sizes(call)
    if not first.type.is_varying:
        if len(sizes) < len(first.type.sample):
            dims = ", ".join(map(str, sizes))
            title = f"{describe_sample(first.type)} cannot be repeated to the dimensions {dims}"
            hint = f"`{call.operation.name}` names all dimensions of its result, also those that stay"
            raise Mismatch(title, hint)
        call.operands[0] = first = samples.widened(first, len(sizes))
    call.attributes[parameter.name] = samples.batched_dims(sizes, first)


def _read_order(call: OperationCall, parameter: Parameter) -> None:
    first = call.first
    lead, rank = first.type.lead, first.type.rank
    order = [call.integer(argument, "an axis", least=0) + lead for argument in call.rest]
    if not call.rest:
        order = [*range(lead, rank - 2), rank - 1, rank - 2]
    if sorted(order) != list(range(lead, rank)):
        axes = ", ".join(map(str, reversed(range(rank - lead))))
        hint = f"all {rank - lead} axes of a sample in their new order, as in transpose(x, {axes})"
        raise Mismatch("a transposition names every axis once", hint, "E0403")
    if first.type.is_varying and order[0] != 0:
        call.operands[0], lead, order = bounded.hold(first), 1, [axis + 1 for axis in order]
    call.attributes[parameter.name] = (*range(lead), *order)


def _read_share(call: OperationCall, parameter: Parameter) -> None:
    argument = parameter.argument
    share = call.constant(argument) if argument else float(parameter.default)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        span = argument.span if argument else call.span
        is_percent = isinstance(share, int | float) and not isinstance(share, bool) and 1 < share < 100
        hint = f"{share / 100:g} for {share:g} %" if is_percent else None
        fault("E0303", f"`{parameter.name}` is a number from 0 to below 1", span, hint=hint)
    call.attributes[parameter.name] = float(share)


def _read_level(call: OperationCall, parameter: Parameter) -> None:
    assert parameter.argument is not None
    level = call.constant(parameter.argument)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        fact = f"`{parameter.name}` is a number above 0 and below 1"
        fault("E0303", fact, parameter.argument.span, hint="0.9 for 90 %")
    call.attributes[parameter.name] = float(level)


def _read_real(call: OperationCall, parameter: Parameter) -> None:
    argument = parameter.argument
    number = call.constant(argument) if argument else float(parameter.default)
    if isinstance(number, bool) or not isinstance(number, int | float):
        fault("E0303", f"`{parameter.name}` is a number", argument.span if argument else call.span)
    call.attributes[parameter.name] = float(number)


def _read_stream(call: OperationCall, parameter: Parameter) -> None:
    call.context.streams += 1
    call.attributes[parameter.name] = call.context.streams


def _read_number(call: OperationCall, parameter: Parameter) -> None:
    argument = parameter.argument
    number = call.integer(argument, f"`{parameter.name}`") if argument else int(parameter.default)
    is_class_count = call.operation.name == "one_hot"
    call.attributes[parameter.name] = samples.class_size(call.first, number) if is_class_count else number


READERS: dict[str, Callable[[OperationCall, Parameter], None]] = {
    "axes": _read_axes,
    "axis": _read_axis,
    "join": _read_joined_axis,
    "new axis": _read_new_axis,
    "dims": _read_dims,
    "all dims": _read_all_dims,
    "order": _read_order,
    "share": _read_share,
    "level": _read_level,
    "real": _read_real,
    "stream": _read_stream,
    "pair": read_pair,
    "border": read_border,
    "pads": read_pads,
    "number": _read_number,
}


def _sizes(call: OperationCall) -> list[Dim]:
    """The dimensions of a shape, which are all arguments behind the first operand."""
    return [_size(call, argument, number) for number, argument in enumerate(call.rest)]


def _size(call: OperationCall, argument: syntax.Argument, number: int) -> Dim:
    """A dimension of a shape: a number, or a varying dimension by its name."""
    size = call.constant(argument)
    if size == -1:
        fault("E0304", "a dimension must be at least 1", argument.span, "this is -1", hint=_rest(call, number))
    return size.dim if isinstance(size, Length) else constants.integer(size, argument.span, "a dimension")


def _rest(call: OperationCall, number: int) -> str | None:
    """The hint for `reshape(x, 4, -1)`: the shape with the number that the size of the value leaves for -1."""
    if len(call.rest) == 1:
        return "`flatten` makes one vector of a value: x -> flatten"
    others = [call.constant(argument) for argument in (*call.rest[:number], *call.rest[number + 1 :])]
    sizes = [*call.first.type.sample, *others]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return None
    total, divisor = math.prod(call.first.type.sample), math.prod(others)
    left, remainder = divmod(total, divisor)
    return Hint(f"{left} in its place, which is what is left", Change(str(left))) if remainder == 0 else None


_OF_TWO = {"min": ("minimum", "smaller"), "max": ("maximum", "larger")}


def _refuse_second_value(call: OperationCall, argument: syntax.Argument) -> None:
    """Raises E0403 for `min(a, b)`: a reduction takes axes where other languages take a second value."""
    node, name = argument.value, call.operation.name
    is_axis = isinstance(node, syntax.Name) and node.text in call.context.axis_names.get(call.first, ())
    is_axis = is_axis or isinstance(node, syntax.Number | syntax.Tuple | syntax.Unary | syntax.Group)
    if name in _OF_TWO and not is_axis and _is_value(call, node):
        other, which = _OF_TWO[name]
        note = f"`{name}` reduces over axes, and this is a value"
        fault("E0403", note, node.span, hint=f"{other}(a, b) is the {which} of two")


def _is_value(call: OperationCall, node: syntax.Expression) -> bool:
    if isinstance(node, syntax.Name):
        return isinstance(call.scope.find(node.text), Value)
    return isinstance(evaluate(call.context, node, call.scope), Value)
