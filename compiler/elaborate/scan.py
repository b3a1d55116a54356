"""`scan`: its body elaborated into a graph of its own, once, for every step.

While the body runs, the context's graph is the body's: a value from outside that a name leads to becomes a leaf of it (Context.local).
"""

from collections.abc import Sequence

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.bindings import Item, Results, Scope
from netc.compiler.elaborate.context import Context, Frame
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.elaborate.statements import assigned, body
from netc.compiler.graph import Graph
from netc.compiler.operations import scan as operation
from netc.compiler.rows import same, table
from netc.compiler.types import BATCH, Type, describe_sample
from netc.compiler.value import Value, apply
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span


def scan(context: Context, node: syntax.Scan, scope: Scope) -> Item:
    """What the body yields, stacked."""
    head = Span(node.span.source, node.span.start, node.span.start + len("scan"))
    if node.until is not None:
        fault("E0901", "`until` does not run yet", node.until.span, "a scan over a sequence, or over numbers, does")
    if context.frames:
        fault("E0901", "a scan in a scan does not run yet", head)
    sequences, size, dim = _sequences(context, node, scope)
    begins = [_begin(context, carry, scope) for carry in node.carries]
    frame = Frame(context.graph, Graph(), {})
    frame.body.precision = context.graph.precision
    inner = Scope(scope)
    with frame.body.at(context.user_span(head)):
        for i, (name, sequence) in enumerate(zip(node.names, sequences, strict=True)):
            leaf = frame.body.leaf("given", f"x{i}", sequence.type.with_dims((BATCH, *sequence.type.dims[1:])))
            inner.set(name.text, leaf, name.span)
        for i, (carry, begin) in enumerate(zip(node.carries, begins, strict=True)):
            inner.set(carry.name.text, frame.body.leaf("given", f"c{i}", begin.type), carry.name.span)
    yields = _run(context, node, inner, frame)
    for value in frame.body.values("given"):
        if str(value.attributes["name"])[0] not in operation.LEAVES:
            fault("E0901", "random values in a scan do not run yet", value.span)
    for i, (carry, begin) in enumerate(zip(node.carries, begins, strict=True)):
        frame.body.results[f"next.{i}"] = _next(context, carry, begin, inner, frame.body)
    for i, value in enumerate(yields):
        frame.body.results[f"yield.{i}"] = _batched(value)
    for value in frame.body.values():
        if not value.type.is_batched and any(one.type.is_batched for one in value.operands):
            fault("E0901", "a reduction over the batch does not run in a scan", value.span)
    with context.graph.at(context.user_span(head)):
        captured = [*frame.captured]
        whole = operation.scan(context.graph, frame.body, dim, sequences, begins, captured)
        parts = [operation.part(whole, f"yield.{i}") for i in range(len(yields))]
        if size is not None:
            parts = [operation.from_steps(one, size) for one in parts]
    return parts[0] if len(parts) == 1 else Results(tuple(parts))


def _run(context: Context, node: syntax.Scan, inner: Scope, frame: Frame) -> list[Value]:
    """The body's statements; gives what it yields."""
    *statements, last = node.body or (None,)
    if not isinstance(last, syntax.Yield):
        fault("E0103", "a scan ends with what it yields", node.span, hint="yield h")
    known = {name.text for statement in statements for name in assigned(statement)}
    for carry in node.carries:
        if carry.name.text not in known:
            told = f"`{carry.name.text}` would be the same at every step"
            fault(
                "E0103",
                f"the carry `{carry.name.text}` is never assigned",
                carry.span,
                told,
                hint=f"{carry.name.text} = ...",
            )
    outer, context.graph = context.graph, frame.body
    context.frames.append(frame)
    try:
        body(context, statements, inner, in_model=False)
        items = [evaluate(context, value, inner) for value in last.values]
        return [context.as_value(item, value.span) for item, value in zip(items, last.values, strict=True)]
    finally:
        context.frames.pop()
        context.graph = outer


def _sequences(context: Context, node: syntax.Scan, scope: Scope) -> tuple[list[Value], int | None, str]:
    """What is walked, as rows; how many steps there are, if that is known; and the dimension of the rows."""
    if isinstance(node.over, syntax.Range):
        start, stop = (
            constants.whole(constant(context, one, scope), one.span, "a bound of a scan", least=-(10**9))
            for one in (node.over.start, node.over.stop)
        )
        if stop <= start:
            fault("E0404", "a scan over nothing", node.over.span, f"from {start} to {stop}")
        dim = same(stop - start)
        with context.graph.at(context.user_span(node.span)):
            step = table(context.graph, "step", dim)
            counted = apply("cast", step, dtype=context.graph.precision) + float(start)
            return [counted], stop - start, dim
    nodes: Sequence[syntax.Expression] = node.over
    values = [context.as_value(evaluate(context, one, scope), one.span) for one in nodes]
    if len(values) != len(node.names):
        fault("E0301", f"{len(node.names)} names for {len(values)} sequences", node.names[-1].span)
    for one, value in zip(nodes, values, strict=True):
        if not value.type.sample:
            fault("E0401", "a scan walks a sequence", one.span, f"this is {describe_sample(value.type)}")
    first = values[0].type.sample[0]
    for one, value in zip(nodes, values, strict=True):
        if value.type.sample[0] != first:
            fault(
                "E0406",
                "what a scan walks together has as many steps",
                one.span,
                f"this is {describe_sample(value.type)}",
                others=[
                    Label(nodes[0].span, describe_sample(values[0].type)),
                    *context.origins((values[0], value), one.span),
                ],
                hint=f"one name for both dimensions says that they are equal: {first}"
                if isinstance(first, str)
                else None,
            )
    if isinstance(first, str):
        return values, None, first
    dim = same(first)
    with context.graph.at(context.user_span(node.span)):
        return [operation.to_steps(_batched(value), dim) for value in values], first, dim


def _batched(value: Value) -> Value:
    """A value of each sample, though it may be the same for all."""
    return value if value.type.is_batched else apply("broadcast", value, dims=(BATCH, *value.type.dims))


def _begin(context: Context, carry: syntax.Carry, scope: Scope) -> Value:
    value = context.as_value(evaluate(context, carry.value, scope), carry.value.span)
    if value.type.is_varying:
        fault("E0401", "a carry is of a sample, not of its steps", carry.value.span, describe_sample(value.type))
    with context.graph.at(context.user_span(carry.span)):
        return _batched(value)


def _next(context: Context, carry: syntax.Carry, begin: Value, inner: Scope, graph: Graph) -> Value:
    """What a carry is at the next step, of the type that it began with."""
    item, place = inner.names[carry.name.text], inner.places[carry.name.text]
    outer, context.graph = context.graph, graph
    try:
        value = context.as_value(item, place, like=begin)
    finally:
        context.graph = outer
    wanted = Type(begin.type.dtype, begin.type.sample, begin.type.classes)
    found = Type(value.type.dtype, value.type.sample if value.type.is_batched else value.type.dims, value.type.classes)
    if (wanted.dtype, wanted.dims) != (found.dtype, found.dims):
        fault(
            "E0401",
            f"the carry `{carry.name.text}` begins as {describe_sample(begin.type)}",
            place,
            f"a step makes {describe_sample(value.type)} of it",
            others=[Label(carry.span, "it begins here")],
        )
    return _batched(value)
