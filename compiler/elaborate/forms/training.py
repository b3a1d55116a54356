"""Special forms about training: derivatives, weights of losses, and states that are fitted on the training split."""

from fnmatch import fnmatchcase

from netc.compiler.elaborate import samples
from netc.compiler.elaborate.arguments import bind
from netc.compiler.elaborate.bindings import Item, Scope, Weighted
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant
from netc.compiler.elaborate.forms.arguments import Arguments, refuse_names, required, value_of
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.ir.types import Mismatch, Type, describe_sample
from netc.compiler.ir.value import OPERATIONS, Value, apply
from netc.compiler.model import ParameterInfo
from netc.compiler.operations.reduce import as_float
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.source import Span

_PARTS = ("train", "valid", "calibration")  # that values are fitted on


def weights(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """All elements of the parameters before this line whose names match a pattern, in one axis."""
    refuse_names("weights", arguments)
    pattern = constant(context, arguments[0].value, scope) if len(arguments) == 1 else None
    if not isinstance(pattern, str):
        fault("E0301", "`weights` takes one pattern of parameter names in quotes", span, hint='weights("*.W")')
    leaves = context.graph.values(Role.PARAMETER)
    parameters = [leaf for leaf in leaves if fnmatchcase(leaf.name, pattern)]
    if not parameters:
        fault(
            "E0201",
            f'no parameter before this line is called "{pattern}"',
            arguments[0].span,
            hint=nearest(pattern, context.parameters) or "*.W",
        )
    with context.graph.at(context.user_span(span)):
        return apply("concat", *(apply("reshape", leaf, dims=(leaf.type.size(1),)) for leaf in parameters), axis=0)


def weighted(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """A loss or metric as the sum of e * w over the sum of w. No gradient goes to w."""
    e, w = required(context, "weighted", ("e", "w"), arguments, span, "weighted(cross_entropy(logits, label), w)")
    error, weight = value_of(context, e, scope), value_of(context, w, scope)

    def build() -> Item:
        fixed = apply("stop_gradient", as_float(weight))
        scaled = samples.apply_elementwise(OPERATIONS["multiply"], [error, fixed])
        if scaled.type.dims != error.type.dims:
            raise Mismatch("the weights have more elements than the values that they weigh")
        (_, wide) = samples.align([scaled, fixed])
        return Weighted(scaled, apply("broadcast", wide, dims=scaled.type.dims))

    def labels() -> list[Label]:
        return [Label(e.span, describe_sample(error.type)), Label(w.span, describe_sample(weight.type))]

    return context.guard(span, build, labels)


def batch_share(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The samples of this batch, divided by those of a full one: 1, and less in a smaller last batch of an epoch."""
    required(context, "batch_share", (), arguments, span, "batch_share()")
    with context.outermost.at(context.user_span(span)):
        name = str(SuppliedKind.BATCH_SHARE.named())
        share = context.outermost.leaf(Role.GIVEN, name, Type("f64"), per="step")
        return context.local(apply("cast", share, dtype=context.outermost.precision))


def class_weights(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """samples / (classes * samples of the class) for each class of the training split (King and Zeng 2001)."""
    (argument,) = required(context, "class_weights", ("label",), arguments, span, "class_weights(label)[label]")
    label = value_of(context, argument, scope)
    name = label.name
    if label.role not in (Role.TARGET, Role.INPUT) or label.type.classes is None:
        fault(
            "E0402",
            "`class_weights` takes an input or a target that is a class",
            argument.span,
            describe_sample(label.type),
        )
    key, type_ = f"class_weights.{name}", Type(context.graph.precision, (label.type.classes,))
    state = next((leaf for leaf in context.graph.values(Role.STATE) if leaf.name == key), None)
    if state is not None:
        return state
    user_span = context.user_span(span)
    context.states[key] = ParameterInfo(key, type_, "ones", (), False, user_span, weights_of=name)
    with context.graph.at(user_span):
        return context.graph.leaf(Role.STATE, key, type_)


def fitted(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """A metric of the training split, computed after each epoch and kept in the run: fitted(quantile(error, 0.99)).

    With `part = valid` it is computed from the validation split, with `part = calibration` from the part of that name,
    or else also from the validation split.
    """
    bound = bind(context, ("x", "part"), arguments, "fitted", span)
    if "x" not in bound:
        fault("E0301", "`fitted` lacks its argument `x`", span, hint="fitted(mean(x, over = batch))")
    argument, part = bound["x"], _part(bound.get("part"))
    value = value_of(context, argument, scope)
    if value.type.is_batched or not value.type.is_float:
        note = f"this is {describe_sample(value.type)}" + (" for each sample" if value.type.is_batched else "")
        hint = f"fitted(mean({argument.span.text}, over = batch))" if value.type.is_float else None
        fault("E0402", "`fitted` takes a metric of all samples", argument.span, note, hint=hint)
    if context.frames:
        fault("E0503", "a scan may not own states", span, hint="fit the value before the scan")
    name, user_span = ".".join(context.path.apply("fitted")), context.user_span(span)
    context.states[name] = ParameterInfo(name, value.type, "zeros", (), False, user_span, part=part)
    context.graph.results[ResultKind.FITTED.named(name)] = value
    with context.graph.at(user_span):
        return context.graph.leaf(Role.STATE, name, value.type)


def _part(argument: syntax.Argument | None) -> str:
    """The part of the data that an argument names, `train` without one. Raises E0303 for another."""
    if argument is None:
        return "train"
    name = argument.value.text if isinstance(argument.value, syntax.Name) else ""
    if name not in _PARTS:
        hint = nearest(name, _PARTS, Kind.PART) or "part = valid"
        fault("E0303", "a value is fitted on the part `train`, `valid` or `calibration`", argument.span, hint=hint)
    return name


def grad(context: Context, arguments: Arguments, span: Span, scope: Scope) -> Item:
    """The derivative of y with respect to a value x, of any order. y is one number per sample, or one per step.

    With one number per step, y stands for the sum over the steps of a sample.
    """
    first, second = required(context, "grad", ("y", "x"), arguments, span, "grad(energy, x)")
    y, x = value_of(context, first, scope), value_of(context, second, scope)
    if context.frames:
        fault("E0901", "`grad` in a scan does not run yet", span)
    if y.type.sample not in ((), (y.type.rows,)) or not y.type.is_float:
        fault(
            "E0508",
            "`grad` takes a number of each sample",
            first.span,
            f"this is {describe_sample(y.type)}",
            hint="sum(y)",
        )
    if not x.type.is_float:
        fault(
            "E0508", "`grad` differentiates with respect to a float", second.span, f"this is {describe_sample(x.type)}"
        )
    path = _between(context, x, y)
    if not path:
        fault("E0508", "this does not depend on it", first.span, others=[Label(second.span, "on this")])
    for inner in path:
        if inner.role is Role.DERIVATIVE and x is not (base := inner.operands[1]) and _between(context, base, x):
            message = "a derivative cannot be differentiated with respect to a value in between"
            others = [Label(second.span, "this lies between the two values of that derivative")]
            fault("E0508", message, first.span, "this is a derivative, or made of one", others=others)
    if y.type.is_batched != x.type.is_batched:
        kind = "one number for all samples" if x.type.is_batched else "a number of each sample"
        fault("E0508", f"this is {kind}", first.span, others=[Label(second.span, describe_sample(x.type))])
    inner_values = [value for value in path if not value.type.is_batched and value.role is not Role.SCAN]
    mixing = next(iter(inner_values), None) if x.type.is_batched else None
    if mixing is not None:
        fault("E0508", "something between the two mixes samples", span, others=context.origins([mixing], span))
    return context.guard(span, lambda: apply("grad", y, x))


def _between(context: Context, x: Value, y: Value) -> set[Value]:
    """The values that depend on x and that y depends on, x and y included; none if y does not depend on x."""
    dependent, live = {x}, needed_by([y])
    for value in context.graph.values():
        if value in live and any(operand in dependent for operand in value.operands):
            dependent.add(value)
    return dependent if y in dependent else set()
