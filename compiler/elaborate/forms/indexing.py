"""Indices and slices: `x[0]`, `x[:, 1:]`, `x[label]`, and steps along a varying dimension."""

from collections.abc import Sequence
from functools import partial

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.bindings import Item, Length, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.elaborate.forms import joining
from netc.compiler.ir.dims import names_in
from netc.compiler.ir.index_tables import TableKind, table
from netc.compiler.ir.types import Bounded, describe_sample
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations import sequence
from netc.compiler.operations.scan import to_steps
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span


def index(context: Context, node: syntax.Index, scope: Scope) -> Item:
    """An entry of a list, or part of a value. Raises E0404 if it is out of range, E0901 if it does not run yet."""
    item = evaluate(context, node.value, scope)
    if isinstance(item, tuple):
        return _entry(context, item, node.indices[0], scope)
    value = context.as_value(item, node.value.span)
    written = node.span.text.removeprefix(node.value.span.text)
    name = written if "\n" not in written else "[...]"
    spans = [part.span for part in node.indices]
    with context.graph.at(context.user_span(node.span)), context.applying(name, node.span, arguments=spans):
        return _index_value(context, value, node, scope)


def _entry(context: Context, items: tuple[Item, ...], node: syntax.Expression, scope: Scope) -> Item:
    """An entry of a list, counted from its end if the index is negative."""
    position = constants.integer(constant(context, node, scope), node.span, "an index", least=-len(items))
    if position >= len(items):
        fault("E0404", f"index {position} of a list of {len(items)}", node.span)
    return items[position]


def _index_value(context: Context, value: Value, node: syntax.Index, scope: Scope) -> Value:
    """A value with an index or a slice for each of its first axes; an axis with an index is dropped."""
    lead, indices, dropped = value.type.lead, node.indices, list[int]()
    axes = len(value.type.sample)
    _refuse_new_axes(value, indices)
    if len(indices) > axes:
        fault(
            "E0404",
            f"{len(indices)} ind{'ex' if len(indices) == 1 else 'ices'} "
            f"for a value with {axes} ax{'i' if axes == 1 else 'e'}s",
            node.span,
            others=[Label(node.value.span, describe_sample(value.type))],
        )
    for axis, part in enumerate(indices, lead):
        if isinstance(part, syntax.Slice):
            value = slice_axis(context, value, axis, part, scope)
            continue
        item = evaluate(context, part, scope)
        if isinstance(item, Value):
            if len(indices) > 1:
                fault("E0901", "an index that depends on data stands alone, so far", part.span)
            if value.type.is_batched:
                return context.guard(node.span, partial(joining.pick, value, item))
            return context.guard(node.span, partial(apply, "gather", value, item))
        size = value.type.dims[axis]
        if isinstance(size, str):
            value = _step_of(value, item, part.span)
            continue
        if isinstance(size, Bounded):
            note = "beside another such dimension, or in a scan"
            fault("E0901", f"an index along `{size.name}` does not run yet", part.span, note)
        number = constants.integer(item, part.span, "an index", least=-size)
        if number >= size:
            others = [Label(node.value.span, describe_sample(value.type))]
            hint = f"the first is 0, the last is {size - 1}, or -1"
            fault("E0404", f"index {number} of an axis of {size}", part.span, others=others, hint=hint)
        value = apply("slice", value, axis=axis, start=number % size, stop=number % size + 1)
        dropped.append(axis)
    if not dropped:
        return value
    return apply("reshape", value, dims=tuple(dim for axis, dim in enumerate(value.type.dims) if axis not in dropped))


def _refuse_new_axes(value: Value, indices: Sequence[syntax.Expression | syntax.Slice]) -> None:
    """Raises E0404 for `x[:, None]`, which adds an axis in Python."""
    for axis, part in enumerate(indices):
        if isinstance(part, syntax.Name) and part.text in ("None", "newaxis"):
            hint = f"unsqueeze({value.name or 'x'}, {axis})"
            fault("E0404", "an index adds no axis", part.span, hint=hint)


def _step_of(value: Value, item: Item, span: Span) -> Value:
    """x[2] or x[-1] along a varying dimension: one step of each sample, which must be long enough."""
    number = constants.integer(item, span, "an index", least=-(10**6))
    steps = sequence.between(value, max(number, 0), max(-number - 1, 0))
    return sequence.at_end(steps, TableKind.FIRST if number >= 0 else TableKind.LAST)


def slice_axis(context: Context, value: Value, axis: int, part: syntax.Slice, scope: Scope) -> Value:
    """A slice of one axis. Raises E0404 if it is empty."""
    size = value.type.dims[axis]
    if isinstance(size, str):
        return _steps(context, value, part, scope)
    if part.stop is not None and isinstance(length := evaluate(context, part.stop, scope), Length):
        return _as_long_as(context, value, axis, length, part)
    if isinstance(size, Bounded) and (part.start or part.stop):
        note = "beside another such dimension, or in a scan"
        fault("E0901", f"a slice along `{size.name}` does not run yet", part.span, note)
    start, stop = (
        constants.integer(constant(context, bound, scope), bound.span, what, least=-size) if bound else default
        for bound, what, default in ((part.start, "a slice's start", 0), (part.stop, "a slice's end", size))
    )
    start, stop = (min(bound + size if bound < 0 else bound, size) for bound in (start, stop))
    if start >= stop:
        fault("E0404", "an empty slice", part.span, f"of an axis of {size}")
    return value if stop - start == size else apply("slice", value, axis=axis, start=start, stop=stop)


def _steps(context: Context, value: Value, part: syntax.Slice, scope: Scope) -> Value:
    """x[2:], x[:-1], x[:10] or x[-10:] along a varying dimension: steps of each sample, and fewer of a shorter one."""
    start, stop = (
        None
        if bound is None
        else constants.integer(constant(context, bound, scope), bound.span, "a bound of a slice", least=-(10**6))
        for bound in (part.start, part.stop)
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
    size, bound = value.type.dims[axis], context.dimensions.bound(length.dim)
    if axis != value.type.lead or part.start is not None or not isinstance(size, int):
        fault("E0901", f"a slice up to `{length.dim}` begins a value's first axis, so far", part.span)
    if bound is None or bound > size:
        note = "it has no bound" if bound is None else f"{length.dim} <= {bound}"
        hint = f"{names_in(length.dim)[0]} <= {size}, where it is declared"
        fault("E0404", f"an axis of {size} may be shorter than `{length.dim}`", part.span, note, hint=hint)
    if value.type.lead:
        return to_steps(value, length.dim)
    return apply("gather", value, table(context.graph, TableKind.STEP, length.dim))
