"""Applications of operations and `op`s; those of blocks and layers are in blocks.py."""

from collections.abc import Sequence

from netc.compiler.elaborate import samples
from netc.compiler.elaborate.arguments import as_layer, bind, refuse_late
from netc.compiler.elaborate.attributes import read_attribute
from netc.compiler.elaborate.bindings import (
    Applied,
    BlockFunction,
    Item,
    LayerInstance,
    Results,
    Scope,
    UserOperation,
)
from netc.compiler.elaborate.blocks import apply_block, seen_from
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.elaborate.forms import joining
from netc.compiler.elaborate.operation_call import OperationCall
from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import describe_sample
from netc.compiler.ir.value import Operation, Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, fault
from netc.dsl.hints import Change, Hint
from netc.dsl.printer import expression
from netc.dsl.source import Span
from netc.dsl.structs import replace

_VARIADIC = ("values", "dims", "all dims", "order")  # kinds of parameters that take any number of arguments


def apply_item(
    context: Context, function: syntax.Expression, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
) -> Item:
    """The result of applying what an expression stands for to arguments. Raises E0205 if it cannot be applied."""
    if isinstance(function, syntax.Name) and function.text in context.rules.forms and scope.find(function.text) is None:
        with context.applying(function.text, span, arguments=[argument.span for argument in arguments]):
            return context.rules.forms[function.text](context, arguments, span, scope)
    target = evaluate(context, function, scope)
    if not (isinstance(target, Operation) and set(target.arguments.values()) & set(_VARIADIC)):
        refuse_late(arguments, expression(function), span)
    match target:
        case Operation():
            return apply_operation(context, target, arguments, span, scope)
        case UserOperation():
            return apply_user_operation(context, target, arguments, span, scope)
        case BlockFunction():
            return apply_block(context, target, arguments, span, scope)
        case LayerInstance():
            if not arguments:
                fault("E0301", f"the layer `{target.name}` is applied to a value", span)
            return apply_block(context, target.function, arguments, span, scope, layer=target)
    fault(
        "E0205",
        f"`{expression(function)}` cannot be applied",
        function.span,
        "it is a value" if isinstance(target, Value) else "it is a constant",
    )


def apply_operation(
    context: Context, operation: Operation, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
) -> Item:
    """The result of an operation, or several; a number if all operands are numbers."""
    call = _bound_call(context, operation, arguments, span, scope)
    _read_operands(call)
    if _is_constant(call):
        numbers = [float(operand.attributes_as(Constant).value) for operand in call.operands]
        return float(operation.reference(*numbers))
    if next(iter(operation.arguments.values()), None) == "values":
        call.operands = [call.value(argument) for argument in call.rest]
        if (joined := _joined_steps(call)) is not None:
            return joined
        call.operands = joining.with_common_batch(call.operands)
        if not call.operands:
            fault("E0301", f"`{operation.name}` takes at least one value", span)
    sources = [call.named[name] for name, kind in operation.arguments.items() if kind == "value"] or call.rest
    spans = tuple(argument.span for argument in sources[: len(call.operands)])

    def labels() -> list[Label]:
        pairs = zip(spans, call.operands, strict=False)
        return [
            *(Label(argument_span, describe_sample(value.type)) for argument_span, value in pairs),
            *context.origins(call.operands, span),
        ]

    if operation.name == "where":
        _refuse_turned(call, spans, span)
    try:
        first, *more = context.guard(span, lambda: _results(call), labels)
    except Fault as error:
        _refuse_remainder(call)
        raise _of_a_layer(error, call, arguments) from None
    context.applied.append(Applied(operation.name, True, tuple(call.operands), spans, first, span))
    return Results((first, *more)) if more else first


def _refuse_turned(call: OperationCall, spans: Sequence[Span], span: Span) -> None:
    """Raises E0402 for `where(x, x > 0, 0)`, whose condition is not the first argument."""
    is_bool = [operand.type.dtype == "bool" for operand in call.operands]
    if is_bool.count(True) != 1 or is_bool[0] or call.operands[0].role is Role.CONSTANT:
        return
    at = is_bool.index(True)
    first, *others = [spans[at].text, *(argument.text for number, argument in enumerate(spans) if number != at)]
    text = f"where({', '.join([first, *others])})"
    is_inside = all(span.start <= argument.start < span.end for argument in spans)
    hint = Hint.code(text, span) if is_inside else Hint(text)
    label = f"this is {describe_sample(call.operands[0].type)}"
    fault("E0402", "the condition of `where` comes first", spans[0], label, others=[Label(spans[at])], hint=hint)


def _refuse_remainder(call: OperationCall) -> None:
    """Raises E0401 for a `reshape` into parts of a size that does not divide a dimension: `reshape(q, h, n // h)`."""
    for argument in call.rest if call.operation.name == "reshape" else ():
        node = argument.value
        if not isinstance(node, syntax.Binary) or node.operator != "//":
            continue
        size, by = (evaluate(call.context, side, call.scope) for side in (node.left, node.right))
        if isinstance(size, int) and isinstance(by, int) and by > 0 and size % by:
            divisors = [number for number in range(1, size + 1) if size % number == 0]
            nearest = min(divisors, key=lambda number: abs(number - by))
            hint = None  # the user has written r, not the r * r of `c // (r * r)`
            if isinstance(node.right, (syntax.Name, syntax.Number)):
                hint = Hint(f"{nearest} in its place, which does", Change(str(nearest)))
            fault("E0401", f"this does not divide the size {size}", node.right.span, f"it is {by}", hint=hint)


def _of_a_layer(error: Fault, call: OperationCall, arguments: Sequence[syntax.Argument]) -> Fault:
    """The fault of an operation; with a hint at the layer, if numbers stand where the operation takes weights."""
    first = error.diagnostics[0]
    has_numbers = any(operand.role is Role.CONSTANT for operand in call.operands[1:])
    if first.hint is not None or not has_numbers:
        return error
    return Fault([replace(first, hint=as_layer(call.operation.name, arguments, call.span)), *error.diagnostics[1:]])


def _bound_call(
    context: Context, operation: Operation, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
) -> OperationCall:
    """The call with its arguments bound: one parameter may take all unnamed arguments that are left."""
    kinds = operation.arguments
    variadic = next((name for name, kind in kinds.items() if kind in _VARIADIC), None)
    rest: list[syntax.Argument] = []
    if variadic is not None:
        fixed = list(kinds).index(variadic)
        rest = [argument for argument in arguments if argument.name is None][fixed:]
        taken = set(map(id, rest))
        arguments = [argument for argument in arguments if id(argument) not in taken]
    named = bind(context, _named_parameters(operation), arguments, operation.name, span)
    return OperationCall(context, operation, span, scope, named, rest)


def _named_parameters(operation: Operation) -> list[str]:
    """The parameters that an argument may name or fill by its position, but for the one that takes any number of
    arguments."""
    return [name for name, kind in operation.arguments.items() if kind not in (*_VARIADIC, "stream")]


def _read_operands(call: OperationCall) -> None:
    operation = call.operation
    for name, kind in operation.arguments.items():
        if kind == "value" and name not in call.named:
            hint = f"{operation.name}({', '.join(_named_parameters(operation))})"
            fault("E0301", f"`{operation.name}` lacks its argument `{name}`", call.span, hint=hint)
        if kind == "value":
            call.operands.append(call.value(call.named[name]))


def _is_constant(call: OperationCall) -> bool:
    """Whether the result is known when compiling: an element-wise operation of which all operands are numbers."""
    return (
        bool(call.operands)
        and all(operand.role is Role.CONSTANT for operand in call.operands)
        and isinstance(call.operation.lower, Scalar)
        and set(call.operation.arguments.values()) == {"value"}
    )


def _joined_steps(call: OperationCall) -> Value | None:
    """The result of `concat` along a varying dimension; None for any other call."""
    axes = call.axes(call.named["over"]) if "over" in call.named else (-1,)
    if call.operation.name != "concat" or not joining.joins_steps(call.operands, axes):
        return None
    operands, span = call.operands, call.span
    return call.context.guard(span, lambda: joining.join_steps(operands), lambda: call.context.origins(operands, span))


def _results(call: OperationCall) -> tuple[Value, ...]:
    """Reads the attributes and applies the operation. Raises Mismatch where they or the operands do not fit."""
    operation, context = call.operation, call.context
    for name, kind in operation.arguments.items():
        read_attribute(call, name, kind)
    with context.applying(operation.name, call.span):
        if call.axes_along_steps:
            return (samples.along_steps(operation, call.operands[0], call.axes_along_steps),)
        return samples.results_of(operation, call.operands, call.attributes)


def apply_user_operation(
    context: Context, target: UserOperation, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
) -> Item:
    """The result of an `op` of the file: its expression, evaluated with the arguments as its names."""
    op = target.op
    context.count(span)
    bound = bind(context, [name.text for name in op.parameters], arguments, op.name.text, span)
    inner = Scope(target.scope)
    for name in op.parameters:
        if name.text not in bound:
            fault(
                "E0301",
                f"`{op.name.text}` lacks its argument `{name.text}`",
                span,
                others=[Label(name.span, "declared here")],
            )
        inner.set(name.text, evaluate(context, bound[name.text].value, scope), name.span)
    with context.inside(op.name.text, span, is_builtin=False):
        try:
            return evaluate(context, op.value, inner)
        except Fault as inner_fault:
            raise seen_from(inner_fault, span) from None
