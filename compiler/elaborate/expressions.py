"""Expressions -> values of the graph, or what is known when compiling: numbers, texts, lists, blocks."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from netc.compiler.elaborate import constants, samples
from netc.compiler.elaborate.bindings import (
    BlockFunction,
    Broken,
    Item,
    LayerInstance,
    Length,
    Namespace,
    Results,
    Scope,
    UserOperation,
    Weighted,
)
from netc.compiler.elaborate.context import BrokenName, Context
from netc.compiler.elaborate.stacks import on_new_stack
from netc.compiler.ir.dims import bound_of, names_in, plus, times
from netc.compiler.ir.rows import table
from netc.compiler.ir.types import Bounded, Type, describe_sample
from netc.compiler.ir.value import OPERATIONS, Operation, Value, apply
from netc.compiler.operations import sequence
from netc.compiler.operations.scan import to_steps
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.printer import expression
from netc.dsl.source import Span

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


def constant(context: Context, node: syntax.Expression, scope: Scope) -> Any:
    """What an expression comes to when compiling; faults E0304 if it depends on data."""
    item = evaluate(context, node, scope)
    if isinstance(item, Value | Results | BlockFunction | LayerInstance | UserOperation | Namespace | Operation):
        fault(
            "E0304",
            "this must be known when compiling",
            node.span,
            "it is a value of the model" if isinstance(item, Value) else "this is no number",
        )
    return item


MOST_LEVELS = 2_000  # expressions in expressions, through all blocks that are applied
_SEGMENT = 16  # links of a chain that are evaluated by recursion
_LEVELS_A_STACK = 40  # expressions in expressions that one thread's stack takes


def evaluate(context: Context, node: syntax.Expression, scope: Scope) -> Item:
    """What an expression comes to: a value, or something that is known when compiling.

    A chain, as `a + b + c` or `x -> f -> g`, may have any number of links: of a long one the beginning is evaluated first, a segment at a time, and what
    it came to is ready when the recursion arrives there.
    """
    if (id(node), id(scope)) in context.ready:
        return context.ready.pop((id(node), id(scope)))
    starts = _links(context, node, scope)[_SEGMENT::_SEGMENT]
    context.levels += 1
    try:
        if context.levels > MOST_LEVELS:
            raise context.exhausted(f"expressions of this model are more than {MOST_LEVELS:,} levels deep", node.span)
        for link in reversed(starts):
            context.ready[id(link), id(scope)] = _evaluate(context, link, scope)
        if context.levels % _LEVELS_A_STACK == 0:
            return on_new_stack(lambda: _evaluate(context, node, scope))
        return _evaluate(context, node, scope)
    finally:
        context.levels -= 1
        for link in starts:  # whoever applies a form may not have asked for it
            context.ready.pop((id(link), id(scope)), None)


def _links(context: Context, node: syntax.Expression, scope: Scope) -> list[syntax.Expression]:
    """A chain from its end to its beginning, or to what is ready."""
    links, part = [node], syntax.first_part(node)
    while part is not None and (id(part), id(scope)) not in context.ready:
        following = syntax.first_part(part)
        if following is None:
            break
        links.append(part)
        part = following
    return links


def _evaluate(context: Context, node: syntax.Expression, scope: Scope) -> Item:
    match node:
        case syntax.Number():
            return node.value
        case syntax.Text(value=text):
            return text
        case syntax.Group(value=inner):
            return evaluate(context, inner, scope)
        case syntax.Name():
            return lookup(context, node, scope)
        case syntax.ListOf(items=items):
            return tuple(evaluate(context, item, scope) for item in items)
        case syntax.Tuple(entries=entries):
            return tuple(evaluate(context, entry.value, scope) for entry in entries)
        case syntax.Unary(operator=symbol, operand=operand):
            return unary(context, symbol, operand, node.span, scope)
        case syntax.Binary(operator=symbol, left=left, right=right):
            return binary(context, symbol, left, right, node.span, scope)
        case syntax.Choose():
            return choose(context, node, scope)
        case syntax.Pipe(value=value, into=into):
            return pipe(context, value, into, scope)
        case syntax.Call(function=function, arguments=arguments):
            return context.apply(context, function, arguments, node.span, scope)
        case syntax.Attribute(value=value, name=name):
            return attribute(context, value, name, scope)
        case syntax.Index(value=value, indices=indices):
            return index(context, value, indices, node.span, scope)
        case syntax.Scan():
            assert context.scan is not None
            return context.scan(context, node, scope)
        case syntax.Leading() | syntax.Slice():
            fault("E0103", f"`{node.span.text}` cannot stand here", node.span)
    raise AssertionError(node)


def choose(context: Context, node: syntax.Choose, scope: Scope) -> Item:
    """`then if condition else otherwise`; a row of conditions is one of these in the `otherwise` of the one before."""
    chosen: syntax.Expression = node
    while isinstance(chosen, syntax.Choose):
        then, condition, otherwise = chosen.then, chosen.condition, chosen.otherwise
        known = evaluate(context, condition, scope)
        if isinstance(known, Value) and context.depends_on_training_alone(known):
            return _chosen_in_training(context, chosen, known, scope)
        if isinstance(known, Value):
            fault(
                "E0304",
                "the condition of `if else` must be known when compiling",
                condition.span,
                "it depends on data",
                hint=f"where({expression(condition)}, {expression(then)}, {expression(otherwise)})",
            )
        chosen = then if known else otherwise
    return evaluate(context, chosen, scope)


def _chosen_in_training(context: Context, node: syntax.Choose, is_training: Value, scope: Scope) -> Value:
    branches = (node.then, node.otherwise)
    items = [evaluate(context, one, scope) for one in branches]
    values = [is_training, *(context.as_value(item, one.span) for item, one in zip(items, branches, strict=True))]
    return context.guard(node.span, lambda: samples.apply_elementwise(OPERATIONS["where"], values))


def pipe(context: Context, value: syntax.Expression, into: syntax.Expression, scope: Scope) -> Item:
    first, owned = syntax.Argument(value.span, None, value), len(context.parameters)
    function, arguments = (into.function, into.arguments) if isinstance(into, syntax.Call) else (into, ())
    result = context.apply(context, function, (first, *arguments), into.span, scope)
    is_sum = isinstance(value, syntax.Binary) and value.operator in ("+", "-")
    if is_sum and len(context.parameters) > owned and not value.span.source.is_library:
        assert isinstance(value, syntax.Binary)
        meant = f"{expression(value.left)} {value.operator} ({expression(value.right)} -> {expression(into)})"
        context.diagnostics.add(
            "W0504",
            "`->` takes in the whole sum before it",
            value.span,
            "all of this goes into it",
            hint=f"{meant}, or brackets around the sum",
        )
    return result


def lookup(context: Context, node: syntax.Name, scope: Scope) -> Item:
    item = scope.find(node.text)
    if isinstance(item, Broken):
        raise BrokenName
    if item is not None:
        return context.local(item)
    if node.text in OPERATIONS and OPERATIONS[node.text].is_callable:
        return OPERATIONS[node.text]
    if node.text in ("true", "false"):
        return node.text == "true"
    if node.text in ("same", "valid"):  # what stands for a border
        return node.text
    if node.text == "training":
        if context.is_frozen:
            return False
        return context.local(context.outermost.add("training", (), {}, Type("bool")))
    if (later := scope.defined_later(node.text)) is not None:
        fault(
            "E0201",
            f"`{node.text}` is used before it is defined",
            node.span,
            others=[Label(later, "defined here")],
            hint="statements run in order",
        )
    known = [
        *scope.all_names(),
        *(name for name, operation in OPERATIONS.items() if operation.is_callable),
        *context.forms,
    ]
    fault(
        "E0201",
        f"unknown name `{node.text}`",
        node.span,
        "nothing of this name is defined before this line",
        hint=nearest(node.text, known),
    )


def attribute(context: Context, node: syntax.Expression, name: syntax.Name, scope: Scope) -> Item:
    owner = evaluate(context, node, scope)
    if isinstance(owner, Namespace):
        found = owner.scope.names.get(name.text)
        if found is None:
            fault(
                "E0201",
                f"the imported file has no `{name.text}`",
                name.span,
                hint=nearest(name.text, owner.scope.names),
            )
        return found
    if isinstance(owner, LayerInstance):
        if name.text not in owner.parameters:
            fault(
                "E0201",
                f"`{owner.name}` has no parameter `{name.text}`"
                if owner.parameters
                else f"`{owner.name}` has not been applied yet",
                name.span,
                "its shapes are known after its first application" if not owner.parameters else "",
                hint=nearest(name.text, owner.parameters),
            )
        return context.local(owner.parameters[name.text])
    fault(
        "E0205",
        "only layers and imported files have names inside",
        node.span,
        others=[Label(name.span, "asked for here")],
    )


def unary(context: Context, symbol: str, operand: syntax.Expression, span: Span, scope: Scope) -> Item:
    item = evaluate(context, operand, scope)
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


def binary(
    context: Context, symbol: str, left: syntax.Expression, right: syntax.Expression, span: Span, scope: Scope
) -> Item:
    x, y = evaluate(context, left, scope), evaluate(context, right, scope)
    x, y = (item.items[0] if isinstance(item, Results) else item for item in (x, y))
    if isinstance(x, Weighted) and symbol in ("*", "/"):
        return replace(x, value=_scaled(context, symbol, x.value, y, right, span))
    if isinstance(y, Weighted) and symbol == "*":
        return replace(y, value=_scaled(context, symbol, y.value, x, left, span))
    for item, node in ((x, left), (y, right)):
        if isinstance(item, Weighted):
            context.as_value(item, node.span)
    if isinstance(x, Length | int) and isinstance(y, Length | int) and (length := _length(symbol, x, y)) is not None:
        return Length(length)
    x, y = (
        context.as_value(item, node.span) if isinstance(item, Length) else item
        for item, node in ((x, left), (y, right))
    )
    if not isinstance(x, Value) and not isinstance(y, Value):
        if symbol == "@":
            fault("E0303", "`@` takes values of the model", span)
        for item, node in ((x, left), (y, right)):
            if not isinstance(item, int | float | bool | str | tuple):
                fault("E0205", f"`{expression(node)}` is no value", node.span, "it has to be applied to something")
        result: Item = constants.compute(symbol, x, y, span)
        return result
    a, b = context.as_value(x, left.span, like=y), context.as_value(y, right.span, like=x)
    operation = OPERATIONS[_OPERATORS[symbol]]

    def others() -> list[Label]:
        labels = [Label(left.span, describe_sample(a.type)), Label(right.span, describe_sample(b.type))]
        return [*labels, *context.origins((a, b), span)]

    with context.applying(symbol, span):
        return context.guard(span, lambda: samples.apply_operation(operation, [a, b], {}), others)


def _length(symbol: str, x: Length | int, y: Length | int) -> str | None:
    """The dimension that a sum, a difference or a multiple of dimensions is; None where it is none."""
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


def index(
    context: Context, node: syntax.Expression, indices: Sequence[syntax.Expression], span: Span, scope: Scope
) -> Item:
    item = evaluate(context, node, scope)
    if isinstance(item, tuple):
        position = constants.whole(constant(context, indices[0], scope), indices[0].span, "an index", least=-len(item))
        if position >= len(item):
            fault("E0404", f"index {position} of a list of {len(item)}", indices[0].span)
        entry: Item = item[position]
        return entry
    value = context.as_value(item, node.span)
    written, within = span.text.removeprefix(node.span.text), [one.span for one in indices]
    name = written if "\n" not in written else "[...]"
    with context.graph.at(context.user_span(span)), context.applying(name, span, arguments=within):
        lead, drop = value.type.lead, []
        if len(indices) > len(value.type.sample):
            fault(
                "E0404",
                f"{len(indices)} indices for a value with {len(value.type.sample)} ax{'i' if len(value.type.sample) == 1 else 'e'}s",
                span,
                others=[Label(node.span, describe_sample(value.type))],
            )
        for axis, part in enumerate(indices, lead):
            if isinstance(part, syntax.Slice):
                value = slice_axis(context, value, axis, part, scope)
                continue
            at = evaluate(context, part, scope)
            if isinstance(at, Value):
                if len(indices) > 1:
                    fault("E0901", "an index that depends on data stands alone, so far", part.span)
                if value.type.is_batched:
                    return context.guard(span, partial(samples.pick, value, at))
                return context.guard(span, partial(apply, "gather", value, at))
            size = value.type.dims[axis]
            if isinstance(size, str):
                value = _end_of(context, value, at, size, part.span)
                continue
            if isinstance(size, Bounded):
                told = "beside another such dimension, or in a scan"
                fault("E0901", f"an index along `{size.name}` does not run yet", part.span, told)
            number = constants.whole(at, part.span, "an index", least=-size)
            if number >= size:
                fault(
                    "E0404",
                    f"index {number} of an axis of {size}",
                    part.span,
                    others=[Label(node.span, describe_sample(value.type))],
                )
            value = apply("slice", value, axis=axis, start=number % size, stop=number % size + 1)
            drop.append(axis)
        return (
            apply("reshape", value, dims=tuple(dim for axis, dim in enumerate(value.type.dims) if axis not in drop))
            if drop
            else value
        )


def _end_of(context: Context, value: Value, at: Item, dim: str, span: Span) -> Value:
    """x[2] or x[-1] along a varying dimension: a step of each sample, which is at least so long."""
    number = constants.whole(at, span, "an index", least=-(10**6))
    kept = sequence.between(value, max(number, 0), max(-number - 1, 0))
    return sequence.at_end(kept, "first" if number >= 0 else "last")


def _steps(context: Context, value: Value, part: syntax.Slice, scope: Scope) -> Value:
    """x[2:], x[:-1], x[:10], x[-10:] along a varying dimension: steps of each sample, and of a shorter one fewer."""
    start, stop = (
        None
        if one is None
        else constants.whole(constant(context, one, scope), one.span, "a bound of a slice", least=-(10**6))
        for one in (part.start, part.stop)
    )
    if stop == 0 or (
        start is not None and stop is not None and (start < 0 < stop or 0 <= stop <= start or stop <= start < 0)
    ):
        fault("E0404", "an empty slice", part.span, "or one whose steps differ in number between samples of any length")
    if start is not None and start < 0:
        value, start = sequence.end(value, -start), None
    if stop is not None and stop > 0:
        value, stop = sequence.begin(value, stop), None
    first, last = start or 0, -(stop or 0)
    return sequence.between(value, first, last) if first or last else value


def _as_long_as(context: Context, value: Value, axis: int, length: Length, part: syntax.Slice) -> Value:
    """x[:time] of an axis of known size: as many of its steps as the dimension has in each sample."""
    size, most = value.type.dims[axis], bound_of(length.dim, context.bounds)
    if axis != value.type.lead or part.start is not None or not isinstance(size, int):
        fault("E0901", f"a slice up to `{length.dim}` begins a value's first axis, so far", part.span)
    if most is None or most > size:
        told = "nobody says how long it is at most" if most is None else f"{length.dim} <= {most}"
        hint = f"{names_in(length.dim)[0]} <= {size}, where it is declared"
        fault("E0404", f"an axis of {size} may be shorter than `{length.dim}`", part.span, told, hint=hint)
    if value.type.lead:
        return to_steps(value, length.dim)
    return apply("gather", value, table(context.graph, "step", length.dim))


def slice_axis(context: Context, value: Value, axis: int, part: syntax.Slice, scope: Scope) -> Value:
    size = value.type.dims[axis]
    if isinstance(size, str):
        return _steps(context, value, part, scope)
    if part.stop is not None and isinstance(length := evaluate(context, part.stop, scope), Length):
        return _as_long_as(context, value, axis, length, part)
    if isinstance(size, Bounded) and (part.start or part.stop):
        told = "beside another such dimension, or in a scan"
        fault("E0901", f"a slice along `{size.name}` does not run yet", part.span, told)
    start = (
        constants.whole(constant(context, part.start, scope), part.start.span, "a slice's start", least=-size)
        if part.start
        else 0
    )
    stop = (
        constants.whole(constant(context, part.stop, scope), part.stop.span, "a slice's end", least=-size)
        if part.stop
        else size
    )
    start, stop = (min(at + size if at < 0 else at, size) for at in (start, stop))
    if start >= stop:
        fault("E0404", "an empty slice", part.span, f"of an axis of {size}")
    return value if stop - start == size else apply("slice", value, axis=axis, start=start, stop=stop)
