"""Special forms: functions of the language that are neither operations nor blocks. FORMS is their table.

A form takes the context, its arguments, its span and the scope, and returns an item. `netc ops` prints its docstring.
"""

import itertools
import math
import re
from collections.abc import Mapping

from netc.compiler.elaborate import constants, contractions, samples
from netc.compiler.elaborate.arguments import bind, named_axes
from netc.compiler.elaborate.bindings import Item, Length, Results, Scope
from netc.compiler.elaborate.context import Context, Form
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.elaborate.forms import joining
from netc.compiler.elaborate.forms.arguments import Arguments, refuse_names, required, value_of
from netc.compiler.elaborate.forms.training import batch_share, class_weights, fitted, grad, weighted, weights
from netc.compiler.ir.dims import divided
from netc.compiler.ir.index_tables import TableKind
from netc.compiler.ir.types import Bounded, Mismatch, Type, describe_sample
from netc.compiler.ir.value import apply
from netc.compiler.model import Equal
from netc.compiler.operations import bounded, sequence
from netc.compiler.operations.shape import Count
from netc.compiler.operations.window import image_axes, image_size
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label, fault
from netc.dsl.hints import Change, Hint
from netc.dsl.plural import counted
from netc.dsl.source import Span


def _dims(context: Context, arguments: Arguments, scope: Scope) -> tuple[int, ...]:
    return tuple(
        constants.integer(constant(context, argument.value, scope), argument.span, "a dimension")
        for argument in arguments
    )


def _filled(name: str, number: float) -> Form:
    def form(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
        refuse_names(name, arguments)
        dims = _dims(context, arguments, scope)
        value = context.as_value(number, span)
        return apply("broadcast", value, dims=dims) if dims else value

    form.__doc__ = f"A value of this shape whose elements are all {number:g}."
    return form


def _arange(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The numbers 0, 1, ... n - 1, as floats. For a varying dimension, the number of each step."""
    refuse_names("arange", arguments)
    item = evaluate(context, arguments[0].value, scope) if len(arguments) == 1 else None
    if isinstance(item, Length):
        return context.guard(span, lambda: sequence.steps(context.graph, item.dim))
    dims = _dims(context, arguments, scope)
    if len(dims) != 1:
        fault("E0301", "`arange` takes one number", span, hint="arange(10)")
    with context.graph.at(context.user_span(span)):
        numbers = context.graph.add("arange", (), Count(dims[0]), Type("i32", dims))
        return apply("cast", numbers, dtype=context.graph.precision)


def _split(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Cuts a value into equal parts along an axis (by default the last one)."""
    bound = bind(context, ("x", "parts", "over"), arguments, "split", span)
    if "x" not in bound or "parts" not in bound:
        fault("E0301", "`split` takes a value and a number of parts", span, hint="a, b = split(x, 2)")
    x = value_of(context, bound["x"], scope)
    parts = constants.integer(
        constant(context, bound["parts"].value, scope), bound["parts"].span, "the number of parts"
    )
    axis = named_axes(context, bound["over"].value, scope)[0] if "over" in bound else -1
    return context.guard(
        span, lambda: joining.split(x, parts, samples.axis_number(x, axis, context.axis_names, scope.lengths()))
    )


def _stack(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Joins values of one shape along a new first axis."""
    new_last = "the new axis comes first; `concat(unsqueeze(x), unsqueeze(y))` joins along a new last one"
    refuse_names("stack", arguments, new_last)
    if not arguments:
        fault("E0301", "`stack` takes at least one value", span)
    values = joining.with_common_batch([value_of(context, argument, scope) for argument in arguments])
    lead = values[0].type.lead
    return context.guard(
        span,
        lambda: apply(
            "concat",
            *(apply("reshape", value, dims=(*value.type.dims[:lead], 1, *value.type.dims[lead:])) for value in values),
            axis=lead,
        ),
    )


def _size(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The number of classes of a label, or of entries of a list."""
    (argument,) = required(context, "size", ("label",), arguments, span, "size(label)")
    if isinstance(item := evaluate(context, argument.value, scope), tuple):
        return len(item)
    value = value_of(context, argument, scope)
    if value.type.classes is None:
        note = f"this is {describe_sample(value.type)}"
        hint = "the length of an axis is its name in the parameter of a block: `block scaled(x: float[n])`"
        fault("E0402", "`size` takes a class or a list", argument.span, note, hint=hint)
    return value.type.classes


def _einsum(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Sums of products of one or more values, with a letter for each axis of a sample: einsum(x, y, "ik,kj->ij")."""
    refuse_names("einsum", arguments)
    example = 'einsum(x, y, "ik,kj->ij")'
    text = evaluate(context, arguments[-1].value, scope) if arguments else None
    match = re.fullmatch(r"([a-zA-Z,]*)->([a-zA-Z]*)", text.replace(" ", "")) if isinstance(text, str) else None
    if match is None:
        fault("E0301", "`einsum` takes values, then which axes they have", span, hint=example)
    parts, out = match[1].split(","), match[2]
    values = [value_of(context, argument, scope) for argument in arguments[:-1]]
    if len(parts) != len(values):
        fault("E0301", f"{len(parts)} groups of axes for {len(values)} values", arguments[-1].span, hint=example)
    pairs = zip(arguments, values, strict=False)
    labels = [Label(argument.span, describe_sample(value.type)) for argument, value in pairs]
    return context.guard(span, lambda: bounded.pack(contractions.einsum(values, parts, out)), lambda: labels)


def _pair(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """A kernel's height and width: two numbers, or one number for both."""
    (argument,) = required(context, "pair", ("x",), arguments, span, "pair(3)")
    numbers = constant(context, argument.value, scope)
    if isinstance(numbers, tuple) and len(numbers) != 2:
        fault("E0303", "this is one number, or two: along the height and the width", argument.span)
    return numbers if isinstance(numbers, tuple) else (numbers, numbers)


def _levels(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Levels of quantiles: a number above 0 and below 1, or a list of n, each above the one before."""
    q, n = required(context, "levels", ("q", "n"), arguments, span, "levels(0.9, 1)")
    levels, count = constant(context, q.value, scope), constants.integer(constant(context, n.value, scope), n.span, "n")
    numbers = levels if isinstance(levels, tuple) else (levels,)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1:
            fault("E0303", "a level is a number above 0 and below 1", q.span, hint="0.9 for 90 %")
    if len(numbers) != count:
        number = "a number" if count == 1 else f"a list of {count} levels"
        fault("E0303", f"this takes {number}", q.span, f"{counted(len(numbers), 'level')} here")
    if any(left >= right for left, right in itertools.pairwise(numbers)):
        fault("E0303", "each level is above the one before", q.span)
    return numbers if count > 1 else float(numbers[0])


def _choices(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """`choices(k, n)`: k itself, a whole number from 1 to n, of n classes."""
    chosen, classes = required(context, "choices", ("k", "n"), arguments, span, "choices(5, 10)")
    count = constants.integer(constant(context, classes.value, scope), classes.span, "n")
    number = constants.integer(constant(context, chosen.value, scope), chosen.span, "k")
    if number > count:
        most = max(count - 1, 1)
        hint = Hint(f"k = {most}", Change(str(most)))
        fault(
            "E0304",
            f"k is {number}, and there are {count} classes",
            chosen.span,
            "no prediction could be wrong",
            hint=hint,
        )
    if number == count > 1:
        title = f"k is {number} of {count} classes, so no prediction can be wrong"
        label, hint = Label(context.user_span(chosen.span)), Hint(f"k = {count - 1}, or fewer")
        context.diagnostics.note(Fault([Diagnostic("W0516", title, label, hint=hint)]))
    return number


def _moments(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The mean and the variance of each channel, over the batch and all axes but the last."""
    (argument,) = required(context, "moments", ("x",), arguments, span, "m, v = moments(x)")
    value = value_of(context, argument, scope)
    axes = tuple(range(value.type.rank - 1))

    def build() -> Item:
        if not axes:
            raise Mismatch("there is nothing to take a mean over")
        if value.type.is_held:
            raise Mismatch(f"moments of {describe_sample(value.type)} over the batch do not run yet", code="E0901")
        return Results((apply("mean", value, over=axes), apply("variance", value, over=axes)))

    return context.guard(span, build)


def _pad(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Puts zeros around an image x[h, w, c]: one number for all sides, or (top, bottom, left, right)."""
    x, by = required(context, "pad", ("x", "by"), arguments, span, "pad(x, 2)")
    value, widths = value_of(context, x, scope), constant(context, by.value, scope)
    numbers = widths if isinstance(widths, tuple) else (widths,) * 4
    if len(value.type.sample) != 3 or len(numbers) != 4:
        fault("E0401", "`pad` takes an image, and a number or (top, bottom, left, right)", span)
    top, bottom, left, right = (constants.integer(number, by.span, "a border", least=0) for number in numbers)
    context.guard(span, lambda: image_size(value.type))
    with context.graph.at(context.user_span(span)):
        return apply("pad", value, axes=image_axes(value.type), before=(top, left), after=(bottom, right), step=(1, 1))


def _last(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The last step of each sample."""
    (argument,) = required(context, "last", ("x",), arguments, span, "last(states)")
    x = value_of(context, argument, scope)

    def build() -> Item:
        if x.type.is_varying:
            return sequence.at_end(x, TableKind.LAST)
        if isinstance(x.type.dims[x.type.lead] if x.type.sample else None, Bounded):
            return bounded.last_held(x)
        if not x.type.sample:
            raise Mismatch("a number has no last step")
        return joining.step_of(x, -1)

    return context.guard(span, build)


def _shift(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Moves a sequence one step later, as a decoder reads it in training. `first` (default: 0) fills the first step."""
    bound = bind(context, ("x", "first"), arguments, "shift", span)
    if "x" not in bound:
        fault("E0301", "`shift` lacks its argument `x`", span, hint="shift(y, first = 0)")
    x = value_of(context, bound["x"], scope)
    begin = evaluate(context, bound["first"].value, scope) if "first" in bound else 0
    begin_span = bound["first"].span if "first" in bound else span
    first = context.as_value(begin, begin_span, like=x)
    return context.guard(span, lambda: joining.shifted(x, first))


def _ceil(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Rounds a quotient up to a whole number: that of numbers, or the length of a dimension after a stride."""
    (argument,) = required(context, "ceil", ("x",), arguments, span, "ceil(time / 2)")
    node = argument.value
    if isinstance(node, syntax.Binary) and node.operator == "/":
        length = evaluate(context, node.left, scope)
        if isinstance(length, Length):
            by = constants.integer(constant(context, node.right, scope), node.right.span, "what a length is divided by")
            return Length(divided(length.dim, by))
    number = constant(context, node, scope)
    if isinstance(number, bool) or not isinstance(number, int | float):
        fault("E0304", "`ceil` takes a dimension's part, or a number", argument.span, hint="ceil(time / 2)")
    return math.ceil(number)


def _same_length(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Returns b with the varying dimension of a. Both must be equally long in each sample; the data is checked."""
    first, second = required(context, "same_length", ("a", "b"), arguments, span, "y = same_length(x, y)")
    a, b = value_of(context, first, scope), value_of(context, second, scope)
    for value, argument in ((a, first), (b, second)):
        if not value.type.is_varying:
            fault("E0406", "`same_length` takes sequences", argument.span, f"this is {describe_sample(value.type)}")
    if a.type.rows == b.type.rows:
        return b
    dims = (str(a.type.rows), str(b.type.rows))
    context.equal.append(Equal(*dims, context.user_span(span)))
    return context.guard(span, lambda: sequence.renamed(b, dims[0]))


FORMS: Mapping[str, Form] = {
    "split": _split,
    "stack": _stack,
    "zeros": _filled("zeros", 0.0),
    "ones": _filled("ones", 1.0),
    "arange": _arange,
    "weights": weights,
    "weighted": weighted,
    "batch_share": batch_share,
    "class_weights": class_weights,
    "fitted": fitted,
    "size": _size,
    "einsum": _einsum,
    "pair": _pair,
    "levels": _levels,
    "choices": _choices,
    "moments": _moments,
    "pad": _pad,
    "last": _last,
    "shift": _shift,
    "ceil": _ceil,
    "grad": grad,
    "same_length": _same_length,
}
