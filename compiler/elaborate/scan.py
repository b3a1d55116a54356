"""`scan`: its body elaborated into a graph of its own, once, for every step.

While the body runs, the context's graph is the body's: a value from outside that a name leads to becomes a leaf of it (Context.local).
"""

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from itertools import combinations
from typing import Any

from netc.compiler.elaborate import constants, samples
from netc.compiler.elaborate.bindings import Item, Results, Scope
from netc.compiler.elaborate.context import Context, Frame
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.elaborate.statements import assigned, body
from netc.compiler.ir.dims import same
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.rows import table
from netc.compiler.ir.types import BATCH, Bounded, Type, describe_sample
from netc.compiler.ir.value import OPERATIONS, Value, apply
from netc.compiler.operations import bounded
from netc.compiler.operations import scan as operation
from netc.compiler.operations.bounded import ended, hold
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, fault
from netc.dsl.source import Span

_FEW_STEPS = 100  # of a scan in a scan, which is written out
_FEW_NUMBERS = 4  # carries that begin as whole numbers, of which any may be a token


def scan(context: Context, node: syntax.Scan, scope: Scope) -> Item:
    """What the body yields, stacked."""
    head = Span(node.span.source, node.span.start, node.span.start + len("scan"))
    if context.frames:
        return _unrolled(context, node, scope, head)
    sequences, size, dim = _sequences(context, node, scope)
    frame, begins = _elaborated(context, node, scope, sequences, dim, head)
    with context.graph.at(context.user_span(head)):
        captured, body = _captured(frame)
        names = [carry.name.text for carry in node.carries]
        whole = operation.scan(context.graph, body, dim, frame.walked, begins, captured, carries=names)
        parts = [
            operation.part(whole, f"yield.{i}") for i in range(sum(name.startswith("yield.") for name in body.results))
        ]
        if size is not None:
            parts = [operation.from_steps(one, size) for one in parts]
        if node.until is not None:
            *parts, ends = context.guard(head, lambda: [hold(one) for one in parts])
            parts = ended(parts, ends, _new_dimension(context, node.names[0].text))
        parts = [context.guard(head, partial(hold, one)) if one.type.is_held else one for one in parts]
    return parts[0] if len(parts) == 1 else Results(tuple(parts))


def _unrolled(context: Context, node: syntax.Scan, scope: Scope, head: Span) -> Item:
    """A scan in the body of another: a few steps, written out one after the other. Beyond a sample's end its carries stay as they are."""
    if node.until is not None:
        fault("E0901", "`until` in an inner scan does not run yet", node.until.span)
    *statements, last = _checked(node)
    counts, values = _inner_steps(context, node, scope)
    carries = [context.as_value(evaluate(context, one.value, scope), one.value.span) for one in node.carries]
    dim = next((value.type.dims[value.type.lead] for value in values), None)
    stacks: list[list[Value]] = [[] for _ in last.values]
    for n, number in enumerate(counts):
        inner = Scope(scope)
        with context.graph.at(context.user_span(head)):
            is_there = bounded.is_step(values[0], n) if isinstance(dim, Bounded) else None
            steps: list[Item] = [bounded.held_step(value, n) for value in values] or [number]
        for name, step in zip(node.names, steps, strict=True):
            inner.set(name.text, step, name.span)
        for carry, held in zip(node.carries, carries, strict=True):
            inner.set(carry.name.text, held, carry.name.span)
        body(context, statements, inner, in_model=False)
        for stack, value in zip(stacks, last.values, strict=True):
            stack.append(context.as_value(evaluate(context, value, inner), value.span))
        for i, carry in enumerate(node.carries):
            place = inner.places[carry.name.text]
            made = context.as_value(inner.names[carry.name.text], place, like=carries[i])
            if made.type.dtype != carries[i].type.dtype or made.type.sample != carries[i].type.sample:
                told = f"a step makes {describe_sample(made.type)} of it"
                fault(
                    "E0401", f"the carry `{carry.name.text}` begins as {describe_sample(carries[i].type)}", place, told
                )
            carries[i] = made if is_there is None else _chosen(context, is_there, made, carries[i], place)
    with context.graph.at(context.user_span(head)):
        parts = [bounded.stacked([_batched(one) for one in stack], dim) for stack in stacks]
    return parts[0] if len(parts) == 1 else Results(tuple(parts))


def _chosen(context: Context, is_there: Value, made: Value, before: Value, place: Span) -> Value:
    return context.guard(
        place, lambda: samples.apply_elementwise(OPERATIONS["where"], [samples.beside(is_there, made), made, before])
    )


def _inner_steps(context: Context, node: syntax.Scan, scope: Scope) -> tuple[Sequence[int], list[Value]]:
    """The numbers of an inner scan's steps, and what it walks, which is behind the batch."""
    if isinstance(node.over, syntax.Range):
        start, stop = _bounds(context, node.over, scope)
        counts: Sequence[int] = range(start, stop)
        values: list[Value] = []
    else:
        values = [context.as_value(evaluate(context, one, scope), one.span) for one in node.over]
        _check_walked(context, node, node.over, values)
        values = [_batched(value) for value in values]
        size = values[0].type.dims[1]
        assert isinstance(size, int)
        counts = range(size)
    if len(counts) > _FEW_STEPS:
        fault(
            "E0901",
            f"an inner scan of {len(counts)} steps",
            node.span,
            f"it is written out, and {_FEW_STEPS} are the most",
        )
    return counts, values


def _captured(frame: Frame) -> tuple[list[Value], Graph]:
    """What the body uses of outside, and the body alone."""
    live = frame.live()
    used = [(outer, leaf.name) for outer, leaf in frame.captured.items() if leaf in live]
    body, _ = frame.subgraph(frame.results, {name: f"k{i}" for i, (_, name) in enumerate(used)})
    return [outer for outer, _ in used], body


def _elaborated(
    context: Context, node: syntax.Scan, scope: Scope, sequences: Sequence[Value], dim: str, head: Span
) -> tuple[Frame, list[Value]]:
    """The body and what its carries begin with. A carry that begins as a whole number is a float, or a token if a step makes one of it: what fits is tried."""
    items = [evaluate(context, carry.value, scope) for carry in node.carries]
    numbers = [i for i, item in enumerate(items) if isinstance(item, int) and not isinstance(item, bool)]
    tries = [some for n in range(len(numbers[:_FEW_NUMBERS]) + 1) for some in combinations(numbers[:_FEW_NUMBERS], n)]
    before = (context.streams, len(context.applied), deepcopy(context.path))
    first: Fault | None = None
    for tokens in tries:
        begins = [_begin(context, *one, i in tokens) for i, one in enumerate(zip(node.carries, items, strict=True))]
        try:
            return _body(context, node, scope, Frame(context.graph, dim), sequences, begins, head), begins
        except Fault as found:
            first = first or found
            context.streams, context.path = before[0], deepcopy(before[2])
            del context.applied[before[1] :]
    assert first is not None
    raise first


def _body(
    context: Context,
    node: syntax.Scan,
    scope: Scope,
    frame: Frame,
    sequences: Sequence[Value],
    begins: Sequence[Value],
    head: Span,
) -> Frame:
    """The graph of a step: `next.N` for each carry, `yield.N` for what is stacked; with `until`, the last of these says whether a sample's last step is done."""
    inner = Scope(scope)
    with frame.at(context.user_span(head)):
        for name, rows in zip(node.names, sequences, strict=True):
            inner.set(name.text, frame.walk(rows), name.span)
        for i, (carry, begin) in enumerate(zip(node.carries, begins, strict=True)):
            inner.set(carry.name.text, frame.leaf("given", f"c{i}", begin.type), carry.name.span)
    yields = _run(context, node, inner, frame)
    if node.until is not None:
        yields.append(_ends(context, node.until, inner, frame))
    for i, (carry, begin) in enumerate(zip(node.carries, begins, strict=True)):
        frame.results[f"next.{i}"] = _next(context, carry, begin, inner, frame)
    for i, value in enumerate(yields):
        frame.results[f"yield.{i}"] = _batched(value)
    for value in frame.values():
        if not value.type.is_batched and any(one.type.is_batched for one in value.operands):
            fault("E0901", "a reduction over the batch does not run in a scan", value.span)
    return frame


def _ends(context: Context, node: syntax.Expression, inner: Scope, frame: Frame) -> Value:
    """Whether a sample's last step is done, as the step itself leaves it."""
    outer, context.graph = context.graph, frame
    context.frames.append(frame)
    try:
        found = context.as_value(evaluate(context, node, inner), node.span)
    finally:
        context.frames.pop()
        context.graph = outer
    if found.type.dtype != "bool" or found.type.sample:
        told = f"this is {describe_sample(found.type)}"
        fault("E0402", "a scan ends where something is true", node.span, told, hint="until token == 2")
    return found


def _new_dimension(context: Context, wanted: str) -> str:
    """A name that no dimension has."""
    taken = {*context.lengths, *context.graph.lengths}
    return next(name for name in (wanted, *(f"{wanted}_{n}" for n in range(2, len(taken) + 3))) if name not in taken)


def _checked(node: syntax.Scan) -> tuple[Any, ...]:
    """The body's statements, the last of which yields; each carry is assigned by one."""
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
    return (*statements, last)


def _run(context: Context, node: syntax.Scan, inner: Scope, frame: Frame) -> list[Value]:
    """The body's statements; gives what it yields."""
    *statements, last = _checked(node)
    outer, context.graph = context.graph, frame
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
        start, stop = _bounds(context, node.over, scope)
        dim = same(stop - start)
        with context.graph.at(context.user_span(node.span)):
            step = table(context.graph, "step", dim)
            counted = apply("cast", step, dtype=context.graph.precision) + float(start)
            return [counted], stop - start, dim
    nodes: Sequence[syntax.Expression] = node.over
    values = [context.as_value(evaluate(context, one, scope), one.span) for one in nodes]
    _check_walked(context, node, nodes, values)
    first = values[0].type.sample[0]
    if isinstance(first, str):
        return values, None, first
    dim = same(first)
    with context.graph.at(context.user_span(node.span)):
        return [operation.to_steps(_batched(value), dim) for value in values], first, dim


def _bounds(context: Context, over: syntax.Range, scope: Scope) -> tuple[int, int]:
    """From where to where a scan counts."""
    start, stop = (
        constants.whole(constant(context, one, scope), one.span, "a bound of a scan", least=-(10**9))
        for one in (over.start, over.stop)
    )
    if stop <= start:
        fault("E0404", "a scan over nothing", over.span, f"from {start} to {stop}")
    return start, stop


def _check_walked(
    context: Context, node: syntax.Scan, nodes: Sequence[syntax.Expression], values: Sequence[Value]
) -> None:
    """Fault unless there is a name for each, and all have steps, as many."""
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


def _batched(value: Value) -> Value:
    """A value of each sample, though it may be the same for all."""
    return value if value.type.is_batched else apply("broadcast", value, dims=(BATCH, *value.type.dims))


def _begin(context: Context, carry: syntax.Carry, item: Item, is_token: bool) -> Value:
    with context.graph.at(context.user_span(carry.span)):
        value = (
            context.graph.add("constant", (), {"value": item}, Type("i32"))
            if is_token and isinstance(item, int)
            else context.as_value(item, carry.value.span)
        )
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
