"""A scan in the body of another scan: a few steps, written out one after the other."""

from collections.abc import Sequence

from netc.compiler.elaborate import samples
from netc.compiler.elaborate.bindings import Item, Results, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.elaborate.scans.scan_parts import batched, check_walked, checked_body, range_bounds
from netc.compiler.elaborate.statements import body
from netc.compiler.ir.types import Bounded, describe_sample
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations import bounded
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.plural import counted
from netc.dsl.source import Span

_MOST_STEPS = 100


def inner_scan(context: Context, node: syntax.Scan, scope: Scope, head: Span) -> Item:
    """The values that the body yields, each stacked along the steps.

    Beyond a sample's end its carries stay as they are.

    Raises E0901 for `until` and for too many steps, E0401 if a step changes the type of a carry.
    """
    if node.until is not None:
        fault("E0901", "`until` in an inner scan does not run yet", node.until.span)
    *statements, last = checked_body(node)
    numbers, values = _steps(context, node, scope)
    carries = [context.as_value(evaluate(context, carry.value, scope), carry.value.span) for carry in node.carries]
    dim = next((value.type.dims[value.type.lead] for value in values), None)
    stacks: list[list[Value]] = [[] for _ in last.values]
    for n, number in enumerate(numbers):
        inner = Scope(scope)
        with context.graph.at(context.user_span(head)):
            is_there = bounded.is_step(values[0], n) if isinstance(dim, Bounded) else None
            steps: list[Item] = [bounded.held_step(value, n) for value in values] or [number]
        for name, step in zip(node.names, steps, strict=True):
            inner.set(name.text, step, name.span)
        for carry, value in zip(node.carries, carries, strict=True):
            inner.set(carry.name.text, value, carry.name.span)
        body(context, statements, inner, in_model=False)
        for stack, result in zip(stacks, last.values, strict=True):
            stack.append(context.as_value(evaluate(context, result, inner), result.span))
        for i, carry in enumerate(node.carries):
            carries[i] = _next(context, carry, carries[i], inner, is_there)
    with context.graph.at(context.user_span(head)):
        parts = [bounded.stacked([batched(value) for value in stack], dim) for stack in stacks]
    return parts[0] if len(parts) == 1 else Results(tuple(parts))


def _next(context: Context, carry: syntax.Carry, before: Value, inner: Scope, is_there: Value | None) -> Value:
    """A carry's value after a step: as before for the samples that have no such step."""
    name, span = carry.name.text, inner.spans[carry.name.text]
    value = context.as_value(inner.names[name], span, like=before)
    if value.type.dtype != before.type.dtype or value.type.sample != before.type.sample:
        note = f"a step makes {describe_sample(value.type)} of it"
        fault("E0401", f"the carry `{name}` begins as {describe_sample(before.type)}", span, note)
    if is_there is None:
        return value
    where = OPERATIONS["where"]
    return context.guard(
        span, lambda: samples.apply_elementwise(where, [samples.beside(is_there, value), value, before])
    )


def _steps(context: Context, node: syntax.Scan, scope: Scope) -> tuple[Sequence[int], list[Value]]:
    """The numbers of the steps, and the sequences, with the batch in front."""
    if isinstance(node.over, syntax.Range):
        start, stop = range_bounds(context, node.over, scope)
        numbers: Sequence[int] = range(start, stop)
        values: list[Value] = []
    else:
        values = [context.as_value(evaluate(context, operand, scope), operand.span) for operand in node.over]
        check_walked(context, node, node.over, values)
        values = [batched(value) for value in values]
        numbers = range(context.guard(node.over[0].span, lambda: bounded.most_steps(values[0])))
    if len(numbers) > _MOST_STEPS:
        fault(
            "E0901",
            f"an inner scan of {counted(len(numbers), 'step')}",
            node.span,
            f"it is written out, and {_MOST_STEPS} are the most",
        )
    return numbers, values
