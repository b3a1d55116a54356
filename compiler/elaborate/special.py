"""Special forms: what takes arguments, or gives results, as no single operation does. FORMS is their table; applied as `form(context, arguments, span, scope)`."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from netc.compiler.elaborate import constants, samples
from netc.compiler.elaborate.arguments import bind, named_axes
from netc.compiler.elaborate.bindings import Item, Length, Results, Scope, Weighted
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.ir.dims import divided
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Bounded, Mismatch, Type, describe_sample
from netc.compiler.ir.value import OPERATIONS, Value, apply
from netc.compiler.model import CLASS_WEIGHTS, FITTED, Equal, ParameterInfo
from netc.compiler.operations import bounded, sequence
from netc.compiler.operations.reduce import as_float
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.source import Span

Arguments = Sequence[syntax.Argument]
Form = Callable[[Context, Arguments, Span, Scope], Item]


def _bound(
    context: Context, what: str, names: Sequence[str], arguments: Arguments, span: Span, example: str
) -> list[syntax.Argument]:
    """Arguments of a form that takes exactly these."""
    bound = bind(context, names, arguments, what, span)
    missing = [name for name in names if name not in bound]
    if missing:
        fault("E0301", f"`{what}` lacks its argument `{missing[0]}`", span, hint=example)
    return [bound[name] for name in names]


def _value(context: Context, argument: syntax.Argument, scope: Scope) -> Value:
    return context.as_value(evaluate(context, argument.value, scope), argument.span)


def _dims(context: Context, arguments: Arguments, scope: Scope) -> tuple[int, ...]:
    return tuple(
        constants.whole(constant(context, argument.value, scope), argument.span, "a dimension")
        for argument in arguments
    )


def _filled(number: float) -> Form:
    def form(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
        """One number in every place."""
        dims = _dims(context, arguments, scope)
        value = context.as_value(number, span)
        return apply("broadcast", value, dims=dims) if dims else value

    return form


def _arange(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The whole numbers from 0, as floats; of a varying dimension, the number of each step."""
    given = evaluate(context, arguments[0].value, scope) if len(arguments) == 1 else None
    if isinstance(given, Length):
        return context.guard(span, lambda: sequence.steps(context.graph, given.dim))
    dims = _dims(context, arguments, scope)
    if len(dims) != 1:
        fault("E0301", "`arange` takes one number", span, hint="arange(10)")
    with context.graph.at(context.user_span(span)):
        counted = context.graph.add("arange", (), {"n": dims[0]}, Type("i32", dims))
        return apply("cast", counted, dtype=context.graph.precision)


def _split(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """A value in equal parts along an axis (the last one)."""
    bound = bind(context, ("x", "parts", "over"), arguments, "split", span)
    if "x" not in bound or "parts" not in bound:
        fault("E0301", "`split` takes a value and a number of parts", span, hint="a, b = split(x, 2)")
    x = _value(context, bound["x"], scope)
    parts = constants.whole(constant(context, bound["parts"].value, scope), bound["parts"].span, "the number of parts")
    axis = named_axes(context, bound["over"].value, scope)[0] if "over" in bound else -1
    return context.guard(span, lambda: samples.split(x, parts, samples.axis_number(x, axis, context.axis_names)))


def _stack(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Values of one shape along a new first axis."""
    if not arguments:
        fault("E0301", "`stack` takes at least one value", span)
    values = samples.with_common_batch([_value(context, argument, scope) for argument in arguments])
    lead = values[0].type.lead
    return context.guard(
        span,
        lambda: apply(
            "concat",
            *(apply("reshape", value, dims=(*value.type.dims[:lead], 1, *value.type.dims[lead:])) for value in values),
            axis=lead,
        ),
    )


def _weights(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """All elements of the parameters whose names match a pattern, in one axis; those that are there before this line."""
    pattern = constant(context, arguments[0].value, scope) if len(arguments) == 1 else None
    if not isinstance(pattern, str):
        fault("E0301", "`weights` takes one pattern of parameter names in quotes", span, hint='weights("*.W")')
    found = [one for one in context.graph.values("parameter") if fnmatchcase(one.name, pattern)]
    if not found:
        fault(
            "E0201",
            f'no parameter before this line is called "{pattern}"',
            arguments[0].span,
            hint=nearest(pattern, context.parameters) or "*.W",
        )
    with context.graph.at(context.user_span(span)):
        return apply("concat", *(apply("reshape", one, dims=(one.type.size(1),)) for one in found), axis=0)


def _weighted(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Of a loss or metric: the sum of e * w over the sum of w. No gradient goes to w."""
    e, w = _bound(context, "weighted", ("e", "w"), arguments, span, "weighted(cross_entropy(logits, label), w)")
    error, weight = _value(context, e, scope), _value(context, w, scope)

    def build() -> Item:
        fixed = apply("stop_gradient", as_float(weight))
        scaled = samples.apply_elementwise(OPERATIONS["multiply"], [error, fixed])
        if scaled.type.dims != error.type.dims:
            raise Mismatch("there are more weights than what they weigh")
        (_, wide) = samples.align([scaled, fixed])
        return Weighted(scaled, apply("broadcast", wide, dims=scaled.type.dims))

    return context.guard(
        span, build, lambda: [Label(one.span, describe_sample(value.type)) for one, value in ((e, error), (w, weight))]
    )


def _class_weights(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """samples / (classes * samples of the class): a number for each class, from the training split (King and Zeng 2001)."""
    (argument,) = _bound(context, "class_weights", ("label",), arguments, span, "class_weights(label)[label]")
    label = _value(context, argument, scope)
    name = label.name
    if label.role not in (Role.TARGET, Role.INPUT) or label.type.classes is None:
        fault(
            "E0402",
            "`class_weights` takes an input or a target that is a class",
            argument.span,
            describe_sample(label.type),
        )
    key, type_ = f"{CLASS_WEIGHTS}{name}", Type(context.graph.precision, (label.type.classes,))
    known = next((one for one in context.graph.values("state") if one.name == key), None)
    if known is not None:
        return known
    place = context.user_span(span)
    context.states[key] = ParameterInfo(key, type_, "ones", (), False, place)
    with context.graph.at(place):
        return context.graph.leaf("state", key, type_)


def _fitted(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """A figure of the whole training split, by the parameters that an epoch ends with; kept with the run: fitted(quantile(error, 0.99))."""
    (argument,) = _bound(context, "fitted", ("x",), arguments, span, "fitted(mean(x, over = batch))")
    value = _value(context, argument, scope)
    if value.type.is_batched or not value.type.is_float:
        told = f"this is {describe_sample(value.type)}" + (" for each sample" if value.type.is_batched else "")
        hint = f"fitted(mean({argument.span.text}, over = batch))" if value.type.is_float else None
        fault("E0402", "`fitted` keeps a figure of all samples", argument.span, told, hint=hint)
    if context.frames:
        fault("E0503", "a scan may not own states", span, hint="fit the value before the scan")
    name, place = ".".join(context.path.apply("fitted")), context.user_span(span)
    context.states[name] = ParameterInfo(name, value.type, "zeros", (), False, place)
    context.graph.results[f"{FITTED}{name}"] = value
    with context.graph.at(place):
        return context.graph.leaf("state", name, value.type)


def _size(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """How many classes a label has."""
    (argument,) = _bound(context, "size", ("label",), arguments, span, "size(label)")
    value = _value(context, argument, scope)
    if value.type.classes is None:
        fault("E0402", "`size` takes a class", argument.span, f"this is {describe_sample(value.type)}")
    return value.type.classes


def _einsum(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Sums of products by named axes of the samples: einsum(x, y, "ik,kj->ij"), of one value or more."""
    example = 'einsum(x, y, "ik,kj->ij")'
    text = evaluate(context, arguments[-1].value, scope) if arguments else None
    found = re.fullmatch(r"([a-zA-Z,]*)->([a-zA-Z]*)", text.replace(" ", "")) if isinstance(text, str) else None
    if found is None:
        fault("E0301", "`einsum` takes values, then which axes they have", span, hint=example)
    parts, out = found[1].split(","), found[2]
    values = [_value(context, argument, scope) for argument in arguments[:-1]]
    if len(parts) != len(values):
        fault("E0301", f"{len(parts)} groups of axes for {len(values)} values", arguments[-1].span, hint=example)
    labels = [Label(one.span, describe_sample(value.type)) for one, value in zip(arguments, values, strict=False)]
    return context.guard(span, lambda: bounded.pack(samples.einsum(values, parts, out)), lambda: labels)


def _pair(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """A number twice, or the two numbers that are given: a kernel's height and width."""
    (argument,) = _bound(context, "pair", ("x",), arguments, span, "pair(3)")
    given = constant(context, argument.value, scope)
    if isinstance(given, tuple) and len(given) != 2:
        fault("E0303", "this is one number, or two: along the height and the width", argument.span)
    return given if isinstance(given, tuple) else (given, given)


def _moments(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Mean and variance of each channel: over the batch and all axes but the last."""
    (argument,) = _bound(context, "moments", ("x",), arguments, span, "m, v = moments(x)")
    value = _value(context, argument, scope)
    axes = tuple(range(value.type.rank - 1))

    def build() -> Item:
        if not axes:
            raise Mismatch("there is nothing to take a mean over")
        if value.type.is_held:
            told = f"moments of {describe_sample(value.type)} over the batch do not run yet"
            raise Mismatch(told, code="E0901")
        return Results((apply("mean", value, over=axes), apply("variance", value, over=axes)))

    return context.guard(span, build)


def _pad(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """Zeros around an image x[h, w, c]: as many on each side, or (top, bottom, left, right)."""
    x, by = _bound(context, "pad", ("x", "by"), arguments, span, "pad(x, 2)")
    value, given = _value(context, x, scope), constant(context, by.value, scope)
    numbers = given if isinstance(given, tuple) else (given,) * 4
    if len(value.type.sample) != 3 or len(numbers) != 4:
        fault("E0401", "`pad` takes an image, and a number or (top, bottom, left, right)", span)
    top, bottom, left, right = (constants.whole(number, by.span, "a border", least=0) for number in numbers)
    axes = (value.type.rank - 3, value.type.rank - 2)
    with context.graph.at(context.user_span(span)):
        return apply("pad", value, axes=axes, before=(top, left), after=(bottom, right), step=(1, 1))


def _last(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The last step of each sample."""
    (argument,) = _bound(context, "last", ("x",), arguments, span, "last(states)")
    x = _value(context, argument, scope)

    def build() -> Item:
        if x.type.is_varying:
            return sequence.at_end(x, "last")
        if isinstance(x.type.dims[x.type.lead] if x.type.sample else None, Bounded):
            return bounded.last_held(x)
        if not x.type.sample:
            raise Mismatch("a number has no last step")
        return samples.step_of(x, -1)

    return context.guard(span, build)


def _shift(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """A sequence one step later: what a decoder is fed while it learns. `first` (0) stands at the beginning."""
    bound = bind(context, ("x", "first"), arguments, "shift", span)
    if "x" not in bound:
        fault("E0301", "`shift` lacks its argument `x`", span, hint="shift(y, first = 0)")
    x = _value(context, bound["x"], scope)
    given = evaluate(context, bound["first"].value, scope) if "first" in bound else 0
    place = bound["first"].span if "first" in bound else span
    first = context.as_value(given, place, like=x)
    return context.guard(span, lambda: samples.shifted(x, first))


def _ceil(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The least whole number not below a quotient: of a dimension, as a stride makes it, or of numbers."""
    (argument,) = _bound(context, "ceil", ("x",), arguments, span, "ceil(time / 2)")
    node = argument.value
    if isinstance(node, syntax.Binary) and node.operator == "/":
        length = evaluate(context, node.left, scope)
        if isinstance(length, Length):
            by = constants.whole(constant(context, node.right, scope), node.right.span, "what a length is divided by")
            return Length(divided(length.dim, by))
    given = constant(context, node, scope)
    if isinstance(given, bool) or not isinstance(given, int | float):
        fault("E0304", "`ceil` takes a dimension's part, or a number", argument.span, hint="ceil(time / 2)")
    return math.ceil(given)


def _same_length(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """b, whose varying dimension is said to be as long as that of a in every sample: checked when data comes."""
    one, other = _bound(context, "same_length", ("a", "b"), arguments, span, "y = same_length(x, y)")
    a, b = _value(context, one, scope), _value(context, other, scope)
    for value, argument in ((a, one), (b, other)):
        if not value.type.is_varying:
            fault("E0406", "`same_length` takes sequences", argument.span, f"this is {describe_sample(value.type)}")
    if a.type.rows == b.type.rows:
        return b
    dims = (str(a.type.rows), str(b.type.rows))
    context.equal.append(Equal(*dims, context.user_span(span)))
    return context.guard(span, lambda: sequence.renamed(b, dims[0]))


def _grad(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The derivative of y, a number of each sample (of a sequence's steps their sum), with respect to a value x that it depends on; of any order."""
    first, second = _bound(context, "grad", ("y", "x"), arguments, span, "grad(energy, x)")
    y, x = _value(context, first, scope), _value(context, second, scope)
    if context.frames:
        fault("E0901", "`grad` in a scan does not run yet", span)
    if y.type.sample not in ((), (y.type.rows,)) or not y.type.is_float:
        fault("E0508", "a derivative is of one number", first.span, f"this is {describe_sample(y.type)}", hint="sum(y)")
    if not x.type.is_float:
        fault("E0508", "a derivative is with respect to a float", second.span, f"this is {describe_sample(x.type)}")
    path = _between(context, x, y)
    if not path:
        fault("E0508", "this does not depend on it", first.span, others=[Label(second.span, "on this")])
    for inner in path:
        if inner.role is Role.DERIVATIVE and x is not (base := inner.operands[1]) and _between(context, base, x):
            message = "a derivative cannot be differentiated with respect to a value in between"
            others = [Label(second.span, "this lies between the two values of that derivative")]
            fault("E0508", message, first.span, "this is a derivative, or made of one", others=others)
    if y.type.is_batched != x.type.is_batched:
        told = "one number for all samples" if x.type.is_batched else "a number of each sample"
        fault("E0508", f"this is {told}", first.span, others=[Label(second.span, describe_sample(x.type))])
    mixing = next(
        (one for one in path if x.type.is_batched and not one.type.is_batched and one.role is not Role.SCAN), None
    )
    if mixing is not None:
        fault("E0508", "something between the two mixes samples", span, others=context.origins([mixing], span))
    return context.guard(span, lambda: apply("grad", y, x))


def _between(context: Context, x: Value, y: Value) -> set[Value]:
    """The values that y is computed from and that depend on x, both with them; none if y does not depend on x."""
    found, live = {x}, needed_by([y])
    for value in context.graph.values():
        if value in live and any(operand in found for operand in value.operands):
            found.add(value)
    return found if y in found else set()


FORMS: Mapping[str, Form] = {
    "split": _split,
    "stack": _stack,
    "zeros": _filled(0.0),
    "ones": _filled(1.0),
    "arange": _arange,
    "weights": _weights,
    "weighted": _weighted,
    "class_weights": _class_weights,
    "fitted": _fitted,
    "size": _size,
    "einsum": _einsum,
    "pair": _pair,
    "moments": _moments,
    "pad": _pad,
    "last": _last,
    "shift": _shift,
    "ceil": _ceil,
    "grad": _grad,
    "same_length": _same_length,
}
