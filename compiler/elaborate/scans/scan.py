"""`scan`: its body is elaborated once into a graph of its own, which stands for every step.

While the body runs, the context's graph is the body's, and a name of a value from outside stands for a leaf of it
(Context.local). A scan in the body of another is written out step by step (inner_scan.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import combinations

from netc.compiler.elaborate.bindings import Item, Results, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.elaborate.scans.frame import Frame
from netc.compiler.elaborate.scans.inner_scan import inner_scan
from netc.compiler.elaborate.scans.scan_parts import batched, check_walked, checked_body, range_bounds
from netc.compiler.elaborate.statements import body
from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.dims import same
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import TableKind, table
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import Type, describe_sample
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations import scan as operation
from netc.compiler.operations.bounded import ended, hold
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, fault
from netc.dsl.source import Span

_MOST_TRIED = 4  # carries that begin as integers and may be tokens


def scan(context: Context, node: syntax.Scan, scope: Scope) -> Item:
    """The values that the body yields, each stacked along the steps. Raises a Fault if body and carries do not fit."""
    head = _head(node)
    if context.frames:
        return inner_scan(context, node, scope, head)
    sequences, size, dim = _sequences(context, node, scope)
    frame, begins = _elaborate_body(context, node, scope, sequences, dim)
    with context.graph.at(context.user_span(head)):
        captured, step = _finished(frame)
        names = [carry.name.text for carry in node.carries]
        operands = operation.ScanOperands(frame.walked, begins, captured)
        value = operation.scan(context.graph, step, dim, operands, carries=names)
        stacks = [operation.part(value, result) for result in step.results if result.kind is ResultKind.YIELD]
        if size is not None:
            stacks = [operation.from_steps(stack, size) for stack in stacks]
        if node.until is not None:
            *stacks, ends = context.guard(head, lambda: [hold(stack) for stack in stacks])
            dimension = _new_dimension(context, node.names[0].text)
            stacks, context.dimensions.lengths[dimension] = ended(stacks, ends, dimension)
        stacks = [context.guard(head, partial(hold, stack)) if stack.type.is_held else stack for stack in stacks]
    return stacks[0] if len(stacks) == 1 else Results(tuple(stacks))


def _head(node: syntax.Scan) -> Span:
    """The span of the word `scan`."""
    return Span(node.span.source, node.span.start, node.span.start + len("scan"))


def _finished(frame: Frame) -> tuple[list[Value], Graph]:
    """The outside values that the body uses, and the body without its surroundings, its leaves for them renumbered."""
    live = frame.graph.live()
    used = [(outer, leaf.name) for outer, leaf in frame.captured.items() if leaf in live]
    step, _ = frame.graph.subgraph(
        frame.graph.results, {name: str(operation.SlotKind.CAPTURED.slot(i)) for i, (_, name) in enumerate(used)}
    )
    return [outer for outer, _ in used], step


def _elaborate_body(
    context: Context, node: syntax.Scan, scope: Scope, sequences: Sequence[Value], dim: str
) -> tuple[Frame, list[Value]]:
    """The body, and the first values of its carries.

    A carry that begins as an integer is a float, or a token if a step makes one of it: which of them fits is tried.
    """
    items = [evaluate(context, carry.value, scope) for carry in node.carries]
    integers = [i for i, item in enumerate(items) if isinstance(item, int) and not isinstance(item, bool)]
    integers = integers[:_MOST_TRIED]
    choices = [choice for n in range(len(integers) + 1) for choice in combinations(integers, n)]
    streams, applied, path = context.streams, len(context.applied), deepcopy(context.path)
    first_fault: Fault | None = None
    for tokens in choices:
        pairs = zip(node.carries, items, strict=True)
        begins = [_begin(context, carry, item, i in tokens) for i, (carry, item) in enumerate(pairs)]
        try:
            return _run_body(context, node, scope, Frame(context.graph, dim), sequences, begins), begins
        except Fault as error:
            first_fault = first_fault or error
            context.streams, context.path = streams, deepcopy(path)
            del context.applied[applied:]
    assert first_fault is not None
    raise first_fault


def _run_body(
    context: Context,
    node: syntax.Scan,
    scope: Scope,
    frame: Frame,
    sequences: Sequence[Value],
    begins: Sequence[Value],
) -> Frame:
    """Fills the frame with a step: results `next.N` for the carries, and `yield.N` for the stacked values.

    With `until`, the last of these says whether a sample's last step is done.
    """
    inner, graph = Scope(scope), frame.graph
    with graph.at(context.user_span(_head(node))):
        for name, rows in zip(node.names, sequences, strict=True):
            inner.set(name.text, frame.walk(rows), name.span)
        for i, (carry, begin) in enumerate(zip(node.carries, begins, strict=True)):
            inner.set(
                carry.name.text,
                operation.add_leaf(graph, operation.SlotKind.CARRY.slot(i), begin.type),
                carry.name.span,
            )
    with _in_frame(context, frame):
        yields = _run_statements(context, node, inner)
    if node.until is not None:
        with _in_frame(context, frame):
            yields.append(_end_condition(context, node.until, inner))
    for i, (carry, begin) in enumerate(zip(node.carries, begins, strict=True)):
        graph.results[ResultKind.NEXT.named(i)] = _next(context, carry, begin, inner, graph)
    for i, value in enumerate(yields):
        graph.results[ResultKind.YIELD.named(i)] = batched(value)
    for value in graph.values():
        if not value.type.is_batched and any(operand.type.is_batched for operand in value.operands):
            fault("E0901", "a reduction over the batch does not run in a scan", value.span)
    return frame


@contextmanager
def _in_frame(context: Context, frame: Frame) -> Iterator[None]:
    """Values added meanwhile belong to the body of a scan."""
    outer, context.graph = context.graph, frame.graph
    context.frames.append(frame)
    try:
        yield
    finally:
        context.frames.pop()
        context.graph = outer


def _run_statements(context: Context, node: syntax.Scan, inner: Scope) -> list[Value]:
    """Runs the body's statements, and returns the values that it yields."""
    *statements, last = checked_body(node)
    body(context, statements, inner, in_model=False)
    items = [evaluate(context, value, inner) for value in last.values]
    return [context.as_value(item, value.span) for item, value in zip(items, last.values, strict=True)]


def _end_condition(context: Context, node: syntax.Expression, inner: Scope) -> Value:
    """Whether a sample's last step is done, computed after the step. Raises E0402 unless it is a bool a sample."""
    value = context.as_value(evaluate(context, node, inner), node.span)
    if value.type.dtype != "bool" or value.type.sample:
        note = f"this is {describe_sample(value.type)}"
        fault("E0402", "`until` takes a condition", node.span, note, hint="until token == 2")
    return value


def _new_dimension(context: Context, name: str) -> str:
    """A name that no dimension has yet: `name`, or `name_2`, ..."""
    taken = {*context.dimensions.spans, *context.dimensions.lengths}
    candidates = (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _sequences(context: Context, node: syntax.Scan, scope: Scope) -> tuple[list[Value], int | None, str]:
    """The sequences as rows, the number of steps if it is the same for all samples, and the dimension of the rows."""
    if isinstance(node.over, syntax.Range):
        start, stop = range_bounds(context, node.over, scope)
        dim = same(stop - start)
        with context.graph.at(context.user_span(node.span)):
            step = table(context.graph, TableKind.STEP, dim)
            numbers = apply("cast", step, dtype=context.graph.precision) + float(start)
            return [numbers], stop - start, dim
    values = [context.as_value(evaluate(context, operand, scope), operand.span) for operand in node.over]
    check_walked(context, node, node.over, values)
    first = values[0].type.sample[0]
    if isinstance(first, str):
        return values, None, first
    dim = same(first)
    with context.graph.at(context.user_span(node.span)):
        return [operation.to_steps(batched(value), dim) for value in values], first, dim


def _begin(context: Context, carry: syntax.Carry, item: Item, is_token: bool) -> Value:
    """The first value of a carry, for each sample. Raises E0401 for a sequence."""
    with context.graph.at(context.user_span(carry.span)):
        value = (
            context.graph.add("constant", (), Constant(item), Type("i32"))
            if is_token and isinstance(item, int)
            else context.as_value(item, carry.value.span)
        )
    if value.type.is_varying:
        fault(
            "E0401",
            "a carry has one value for each sample, not for each step",
            carry.value.span,
            describe_sample(value.type),
        )
    with context.graph.at(context.user_span(carry.span)):
        return batched(value)


def _next(context: Context, carry: syntax.Carry, begin: Value, inner: Scope, graph: Graph) -> Value:
    """A carry's value at the next step. Raises E0401 if its type is not the one that it began with."""
    item, span = inner.names[carry.name.text], inner.spans[carry.name.text]
    outer, context.graph = context.graph, graph
    try:
        value = context.as_value(item, span, like=begin)
    finally:
        context.graph = outer
    dims = value.type.sample if value.type.is_batched else value.type.dims
    if (begin.type.dtype, begin.type.sample) != (value.type.dtype, dims):
        fault(
            "E0401",
            f"the carry `{carry.name.text}` begins as {describe_sample(begin.type)}",
            span,
            f"a step makes {describe_sample(value.type)} of it",
            others=[Label(carry.span, "it begins here")],
        )
    return batched(value)
