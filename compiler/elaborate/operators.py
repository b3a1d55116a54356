"""The operators of the language, applied to evaluated operands: values of the graph, lengths or constants."""

from netc.compiler.elaborate import constants, samples
from netc.compiler.elaborate.bindings import Item, Length, Results, Weighted
from netc.compiler.elaborate.context import Context
from netc.compiler.ir.dims import plus, times
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Mismatch, describe_sample
from netc.compiler.ir.value import OPERATIONS, Operation, Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault
from netc.dsl.hints import Change, Hint
from netc.dsl.printer import expression
from netc.dsl.source import Span
from netc.dsl.structs import replace

_OPERATORS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "//": "floor_divide",
    "%": "remainder",
    "**": "power",
    "@": "matmul",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
    "and": "logical_and",
    "or": "logical_or",
}


def unary(context: Context, node: syntax.Unary, item: Item) -> Item:
    """Applies `-x` or `not x` to a value or a constant."""
    symbol, operand, span = node.operator, node.operand, node.span
    if isinstance(item, Value | Results | Length):
        with context.applying(symbol, span):
            return context.guard(
                span,
                lambda: samples.apply_elementwise(
                    OPERATIONS["neg" if symbol == "-" else "logical_not"], [context.as_value(item, operand.span)]
                ),
            )
    if symbol == "not":
        return not item
    if isinstance(item, bool) or not isinstance(item, int | float):
        fault("E0304", "only a number has a negative", operand.span)
    return -item


def binary(context: Context, node: syntax.Binary, x: Item, y: Item) -> Item:
    """Applies an operator to two values, lengths or constants."""
    symbol, left, right, span = node.operator, node.left, node.right, node.span
    x, y = (item.items[0] if isinstance(item, Results) else item for item in (x, y))
    if isinstance(x, Weighted) and symbol in ("*", "/"):
        return replace(x, value=_scaled(context, symbol, x.value, y, right, span))
    if isinstance(y, Weighted) and symbol == "*":
        return replace(y, value=_scaled(context, symbol, y.value, x, left, span))
    for item, operand in ((x, left), (y, right)):
        if isinstance(item, Weighted):
            context.as_value(item, operand.span)
    if isinstance(x, Length | int) and isinstance(y, Length | int) and (length := _length(symbol, x, y)) is not None:
        return Length(length)
    x, y = (
        context.as_value(item, operand.span) if isinstance(item, Length) else item
        for item, operand in ((x, left), (y, right))
    )
    if not isinstance(x, Value) and not isinstance(y, Value):
        if symbol == "@":
            fault("E0303", "`@` takes values of the model", span)
        for item, operand in ((x, left), (y, right)):
            if not isinstance(item, int | float | bool | str | tuple):
                title = f"`{expression(operand)}` is not a value"
                fault("E0205", title, operand.span, "it has to be applied to something")
        result: Item = constants.compute(symbol, x, y, span)
        return result
    a, b = context.as_value(x, left.span, like=y), context.as_value(y, right.span, like=x)
    operation = OPERATIONS[_OPERATORS[symbol]]

    def others() -> list[Label]:
        labels = [Label(left.span, describe_sample(a.type)), Label(right.span, describe_sample(b.type))]
        return [*labels, *context.origins((a, b), span)]

    with context.applying(symbol, span):
        joined = f"concat({_inside(left).span.text}, {_inside(right).span.text})"
        return context.guard(span, lambda: _applied(operation, a, b, joined), others)


def _applied(operation: Operation, a: Value, b: Value, joined: str) -> Value:
    """The result of an operator.

    Raises Mismatch, with the hint `joined` for a sum of vectors of two sizes, and with one for a transposed matrix.
    """
    try:
        return samples.apply_operation(operation, [a, b], {})
    except Mismatch as mismatch:
        are_vectors = len(a.type.sample) == len(b.type.sample) >= 1 and a.type.sample[:-1] == b.type.sample[:-1]
        is_sum = operation.name == "add" and are_vectors
        hint: str | None = Hint(f"`{joined}` puts them side by side", Change(joined)) if is_sum else None
        if operation.name == "matmul":
            hint = _of_transposed(a, b)
        if hint is None or mismatch.hint:
            raise
        raise Mismatch(mismatch.message, hint, mismatch.code, mismatch.about) from None


def _of_transposed(a: Value, b: Value) -> str | None:
    """The hint for `x @ W` with a parameter that fits if its sizes are turned; else None."""
    rows, sizes = a.type.sample, b.type.dims
    if b.role is not Role.PARAMETER or len(sizes) != 2 or not rows or rows[-1] != sizes[1] or sizes[0] == sizes[1]:
        return None
    return f"param {b.name}: float[{sizes[1]}, {sizes[0]}], from rows of {sizes[1]} to rows of {sizes[0]}"


def _inside(node: syntax.Expression) -> syntax.Expression:
    """An expression without the brackets around it."""
    while isinstance(node, syntax.Group):
        node = node.value
    return node


def _length(symbol: str, x: Length | int, y: Length | int) -> str | None:
    """The dimension that is a sum, a difference or a multiple of dimensions; None if no dimension is."""
    if symbol == "+" and isinstance(x, int) and isinstance(y, Length):
        x, y = y, x
    if isinstance(x, Length) and symbol in ("+", "-"):
        if isinstance(y, Length):
            return plus(x.dim, y.dim) if symbol == "+" else None
        return plus(x.dim, y if symbol == "+" else -y)
    number, length = (x, y) if isinstance(x, int) else (y, x)
    if symbol == "*" and isinstance(number, int) and number >= 1 and isinstance(length, Length):
        return times(length.dim, number)
    return None


def _scaled(context: Context, symbol: str, value: Value, by: Item, node: syntax.Expression, span: Span) -> Value:
    """A weighted loss, multiplied or divided by a number."""
    factor = context.as_value(by, node.span, like=value)
    if factor.type.dims:
        fault(
            "E0503", "a weighted loss is multiplied by a number", node.span, f"this is {describe_sample(factor.type)}"
        )
    return context.guard(span, lambda: samples.apply_elementwise(OPERATIONS[_OPERATORS[symbol]], [value, factor]))
