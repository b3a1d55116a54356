"""The arguments of an application: by name or place, and as the attributes that an operation declares."""

from collections.abc import Mapping, Sequence
from typing import Any

from netc.compiler.elaborate import constants, samples
from netc.compiler.elaborate.bindings import Length, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.ir.types import BATCH, Dim, Mismatch, describe_sample
from netc.compiler.ir.value import Operation, Value
from netc.compiler.operations import bounded, sequence
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.source import Span

FIXED = "fixed"  # as an axis: all of a sample but a varying one
STEPS = "along steps"  # as an attribute on the way: whether a varying dimension is among the axes


def bind(
    context: Context, names: Sequence[str], arguments: Sequence[syntax.Argument], what: str, span: Span
) -> dict[str, syntax.Argument]:
    """Arguments by the names of the parameters they go to."""
    bound: dict[str, syntax.Argument] = {}
    for position, argument in enumerate(arguments):
        if argument.name is None:
            if position >= len(names):
                fault(
                    "E0301",
                    f"`{what}` takes {len(names)} argument{'s' if len(names) != 1 else ''}",
                    argument.span,
                    "this is one too many",
                )
            name = names[position]
        else:
            assert isinstance(argument.name, syntax.Name)
            name = argument.name.text
            if name not in names:
                fault(
                    "E0302",
                    f"`{what}` has no argument `{name}`",
                    argument.name.span,
                    hint=nearest(name, names) or f"it takes {', '.join(names)}",
                )
        if name in bound:
            fault(
                "E0302",
                f"`{what}` is given `{name}` twice",
                argument.span,
                others=[Label(bound[name].span, "first here")],
            )
        bound[name] = argument
    return bound


def attribute_argument(
    context: Context,
    operation: Operation,
    name: str,
    kind: str,
    argument: syntax.Argument | None,
    loose: list[syntax.Argument],
    operands: list[Value],
    attributes: dict[str, Any],
    scope: Scope,
    span: Span,
) -> None:
    kind, _, default = kind.partition(" = ")
    first = operands[0] if operands else None
    if kind in ("share", "real", "number") and argument is None and not default:
        fault("E0301", f"`{operation.name}` lacks its argument `{name}`", span)
    match kind:
        case "axes":
            assert first is not None
            lead = first.type.lead
            if argument is not None and argument.name is None:
                _refuse_second_value(context, operation.name, first, argument, scope)
            named = named_axes(context, argument.value, scope) if argument else range(first.type.rank - lead)
            if FIXED in named:
                named = tuple(n for n in range(first.type.rank - lead) if not bounded.is_along_steps(first, n + lead))
            elif not named and argument is not None:
                raise Mismatch("no axis to reduce over", code="E0403")
            axes = {samples.axis_number(first, axis, context.axis_names) for axis in named}
            attributes[name] = tuple(sorted(axes))
            attributes[STEPS] = BATCH not in named and any(bounded.is_along_steps(first, axis) for axis in axes)
            if BATCH in named and first.type.is_held:
                told = f"`{operation.name}` of {describe_sample(first.type)} over the batch does not run yet"
                raise Mismatch(told, code="E0901")
        case "axis" | "join":
            assert first is not None
            axis = named_axes(context, argument.value, scope) if argument else (int(default),) if default else (-1,)
            if len(axis) != 1:
                raise Mismatch(f"`{operation.name}` works along one axis", code="E0403")
            number = samples.axis_number(first, axis[0], context.axis_names)
            along_steps = bounded.is_along_steps(first, number)
            if kind == "join" and along_steps:
                raise Mismatch("joining along a varying dimension does not run yet", code="E0901")
            attributes.update({"axis": number} if kind == "join" else {name: (number,), STEPS: along_steps})
        case "new axis":
            assert first is not None
            rank = len(first.type.sample) + 1
            at = (
                constants.whole(constant(context, argument.value, scope), argument.span, "an axis", least=-rank)
                if argument
                else int(default)
            )
            if at >= rank:
                raise Mismatch(f"axis {at} of a value with {rank} axes", code="E0403")
            if at % rank == 0:
                operands[0] = first = bounded.hold(first)
            attributes[name] = at % rank + first.type.lead
        case "dims":
            assert first is not None
            sizes = [_size(context, one, scope) for one in loose]
            attributes[name] = samples.batched_dims(sizes, first)
        case "order":
            assert first is not None
            lead, rank = first.type.lead, first.type.rank
            order = [
                constants.whole(constant(context, one.value, scope), one.span, "an axis", least=0) + lead
                for one in loose
            ]
            if not loose:
                order = [*range(lead, rank - 2), rank - 1, rank - 2]
            if sorted(order) != list(range(lead, rank)):
                raise Mismatch("a transposition names every axis once", code="E0403")
            if first.type.is_varying and order[0] != 0:
                operands[0], lead, order = bounded.hold(first), 1, [axis + 1 for axis in order]
            attributes[name] = (*range(lead), *order)
        case "share":
            share = constant(context, argument.value, scope) if argument else float(default)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
                fault("E0303", f"`{name}` is a number from 0 to below 1", argument.span if argument else span)
            attributes[name] = float(share)
        case "real":
            real = constant(context, argument.value, scope) if argument else float(default)
            if isinstance(real, bool) or not isinstance(real, int | float):
                fault("E0303", f"`{name}` is a number", argument.span if argument else span)
            attributes[name] = float(real)
        case "stream":
            attributes[name] = context.streams = context.streams + 1
        case "pair":
            assert first is not None
            attributes[name] = (
                _pair(context, argument, scope, first)
                if argument
                else attributes[default]
                if default in attributes
                else _lying((int(default),) * 2, first)
            )
        case "border":
            given = constant(context, argument.value, scope) if argument else default
            is_word = given in ("same", "valid")
            attributes[name] = given if is_word else _pads(context, argument, scope, default, operands, attributes)
        case "pads":
            assert first is not None
            attributes[name] = _pads(context, argument, scope, default, operands, attributes)
        case "number":
            given = (
                constants.whole(constant(context, argument.value, scope), argument.span, f"`{name}`")
                if argument
                else int(default)
            )
            assert first is not None
            attributes[name] = samples.class_size(first, given) if operation.name == "one_hot" else given


def _size(context: Context, argument: syntax.Argument, scope: Scope) -> Dim:
    """A dimension of a shape: a number, or a varying one by its name."""
    given = constant(context, argument.value, scope)
    return given.dim if isinstance(given, Length) else constants.whole(given, argument.span, "a dimension")


def _lying(pair: tuple[int, int], x: Value) -> tuple[int, int]:
    """Along h and w; of a line x[t, c], which is an image one column wide, along t alone."""
    return (pair[0], 1) if len(x.type.sample) == 2 else pair


def _pair(context: Context, argument: syntax.Argument, scope: Scope, x: Value) -> tuple[int, int]:
    """`3`, or `(3, 5)` for height and width."""
    node = argument.value
    given = constant(context, node, scope)
    numbers = given if isinstance(given, tuple) else (given, given)
    if len(numbers) != 2:
        fault("E0303", "this is one number, or two: along the height and the width", node.span)
    first, second = (constants.whole(number, node.span, "a size or a step") for number in numbers)
    return _lying((first, second), x)


def _pads(
    context: Context,
    argument: syntax.Argument | None,
    scope: Scope,
    default: str,
    operands: Sequence[Value],
    attributes: Mapping[str, Any],
) -> tuple[int, int, int, int]:
    """`same` (as many places as strides fit into the image, the odd row or column at the end), `valid`, a number, or (top, bottom, left, right)."""
    x = operands[0]
    given = constant(context, argument.value, scope) if argument else default
    if given == "valid":
        return (0, 0, 0, 0)
    if given == "same":
        kernel = attributes["size"] if "size" in attributes else operands[1].type.dims[: len(x.type.sample) - 1]
        pads = []
        for size, reach, stride, dilation in zip(
            x.type.sample[:-1], kernel, attributes["stride"], attributes.get("dilation", (1, 1)), strict=False
        ):
            if isinstance(size, int):
                whole = max((-(-size // stride) - 1) * stride + dilation * (int(reach) - 1) + 1 - size, 0)
            else:
                pads += [sequence.SAME, sequence.SAME]
                continue
            pads += [whole // 2, whole - whole // 2]
        return (pads[0], pads[1], *(pads[2:] or (0, 0)))
    assert argument is not None
    place = argument.value.span
    numbers = given if isinstance(given, tuple) else (given,) * (4 if len(x.type.sample) == 3 else 2)
    if len(numbers) == 2 and len(x.type.sample) == 2:
        numbers = (*numbers, 0, 0)
    if len(numbers) != 4 or isinstance(given, str):
        fault("E0303", "a border is same, valid, a number, or (top, bottom, left, right)", place, hint="pad = same")
    return tuple(constants.whole(number, place, "a border", least=0) for number in numbers)  # type: ignore[return-value]


_OF_TWO = {"min": ("minimum", "smaller"), "max": ("maximum", "larger")}


def _refuse_second_value(context: Context, name: str, first: Value, argument: syntax.Argument, scope: Scope) -> None:
    """Fault E0403 for `min(a, b)`: a reduction takes axes where other languages take a second value."""
    node = argument.value
    is_axis = isinstance(node, syntax.Name) and node.text in context.axis_names.get(first, ())
    is_axis = is_axis or isinstance(node, syntax.Number | syntax.Tuple | syntax.Unary | syntax.Group)
    if name in _OF_TWO and not is_axis and _is_value(context, node, scope):
        other, which = _OF_TWO[name]
        told = f"`{name}` reduces over axes, and this is a value"
        fault("E0403", told, node.span, hint=f"{other}(a, b) is the {which} of two")


def _is_value(context: Context, node: syntax.Expression, scope: Scope) -> bool:
    if isinstance(node, syntax.Name):
        return isinstance(scope.find(node.text), Value)
    return isinstance(evaluate(context, node, scope), Value)


def named_axes(context: Context, node: syntax.Expression, scope: Scope) -> tuple[int | str, ...]:
    axes: list[int | str] = []
    pending = [node]
    while pending:
        match part := pending.pop():
            case syntax.Group(value=inner):
                pending.append(inner)
            case syntax.Tuple(entries=entries):
                pending += [entry.value for entry in reversed(entries)]
            case syntax.Name(text=text):
                axes.append(text)
            case _:
                axes.append(constants.whole(constant(context, part, scope), part.span, "an axis", least=-16))
    return tuple(axes)
