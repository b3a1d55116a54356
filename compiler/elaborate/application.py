"""Applying what a name stands for: an operation, an `op`, a block, a layer.

A block runs its statements in a scope of its own; a fault inside is shown from where its user applied it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from netc.compiler.elaborate import samples
from netc.compiler.elaborate.arguments import STEPS, attribute_argument, bind, named_axes
from netc.compiler.elaborate.bindings import (
    Applied,
    BlockFunction,
    Item,
    LayerInstance,
    ParameterPath,
    Results,
    Scope,
    UserOperation,
)
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.elaborate.signatures import match_type
from netc.compiler.elaborate.statements import body
from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import describe_sample
from netc.compiler.ir.value import Operation, Scalar, Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label, fault
from netc.dsl.printer import expression
from netc.dsl.source import Span


def apply_item(
    context: Context, function: syntax.Expression, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
) -> Item:
    if isinstance(function, syntax.Name) and function.text in context.forms and scope.find(function.text) is None:
        with context.applying(function.text, span, arguments=[one.span for one in arguments]):
            return context.forms[function.text](context, arguments, span, scope)
    target = evaluate(context, function, scope)
    match target:
        case Operation():
            return apply_operation(context, target, arguments, span, scope)
        case UserOperation():
            return apply_user_operation(context, target, arguments, span, scope)
        case BlockFunction():
            return apply_block(context, target, arguments, span, scope)
        case LayerInstance():
            if not arguments:
                fault("E0301", f"the layer `{target.name}` is applied to a value", span)
            return apply_block(context, target.function, arguments, span, scope, layer=target)
    fault(
        "E0205",
        f"`{expression(function)}` cannot be applied",
        function.span,
        "it is a value" if isinstance(target, Value) else "it is a constant",
    )


def apply_operation(
    context: Context, operation: Operation, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
) -> Item:
    kinds = operation.arguments
    rest = next((name for name, kind in kinds.items() if kind in ("values", "dims", "order")), None)
    loose: list[syntax.Argument] = []
    if rest is not None:  # what takes any number of arguments takes all unnamed ones that are left
        fixed = list(kinds).index(rest)
        loose = [argument for argument in arguments if argument.name is None][fixed:]
        taken = set(map(id, loose))
        arguments = [argument for argument in arguments if id(argument) not in taken]
    names = [name for name, kind in kinds.items() if name != rest and kind != "stream"]
    bound = bind(context, names, arguments, operation.name, span)
    operands: list[Value] = []
    attributes: dict[str, Any] = {}
    for name, kind in kinds.items():
        if kind == "value" and name not in bound:
            fault(
                "E0301",
                f"`{operation.name}` lacks its argument `{name}`",
                span,
                hint=f"{operation.name}({', '.join(names)})",
            )
        if kind == "value":
            operands.append(context.as_value(evaluate(context, bound[name].value, scope), bound[name].span))
    if (
        operands
        and all(operand.role is Role.CONSTANT for operand in operands)
        and isinstance(operation.lower, Scalar)
        and set(kinds.values()) == {"value"}
    ):
        with context.graph.at(span):
            return float(operation.reference(*(float(operand.attributes_as(Constant).value) for operand in operands)))
    if kinds and next(iter(kinds.values())) == "values":
        operands = [context.as_value(evaluate(context, one.value, scope), one.span) for one in loose]
        axes = named_axes(context, bound["over"].value, scope) if "over" in bound else (-1,)
        if operation.name == "concat" and samples.joins_steps(operands, axes):
            return context.guard(
                span, lambda: samples.join_steps(operands), others=lambda: context.origins(operands, span)
            )
        operands = samples.with_common_batch(operands)
        if not operands:
            fault("E0301", f"`{operation.name}` takes at least one value", span)

    def build() -> tuple[Value, ...]:
        for name, kind in kinds.items():
            attribute_argument(
                context, operation, name, kind, bound.get(name), loose, operands, attributes, scope, span
            )
        if attributes.pop(STEPS, False):
            with context.applying(operation.name, span):
                return (samples.along_steps(operation, operands[0], attributes["over"]),)
        with context.applying(operation.name, span):
            return samples.results_of(operation, operands, attributes)

    given = [bound[name] for name, kind in kinds.items() if kind == "value"] or loose
    spans = tuple(argument.span for argument in given[: len(operands)])

    def others() -> list[Label]:
        labels = [Label(place, describe_sample(value.type)) for place, value in zip(spans, operands, strict=False)]
        return [*labels, *context.origins(operands, span)]

    first, *more = context.guard(span, build, others)
    context.applied.append(Applied(operation.name, True, tuple(operands), spans, first, span))
    return Results((first, *more)) if more else first


def apply_user_operation(
    context: Context, target: UserOperation, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
) -> Item:
    op = target.op
    context.count(span)
    bound = bind(context, [name.text for name in op.parameters], arguments, op.name.text, span)
    inner = Scope(target.scope)
    for name in op.parameters:
        if name.text not in bound:
            fault(
                "E0301",
                f"`{op.name.text}` lacks its argument `{name.text}`",
                span,
                others=[Label(name.span, "declared here")],
            )
        inner.set(name.text, evaluate(context, bound[name.text].value, scope), name.span)
    with context.inside(op.name.text, span, is_builtin=False):
        try:
            return evaluate(context, op.value, inner)
        except Fault as found:
            raise _seen_from(found, span) from None


def apply_block(
    context: Context,
    target: BlockFunction,
    arguments: Sequence[syntax.Argument],
    span: Span,
    scope: Scope,
    layer: LayerInstance | None = None,
) -> Item:
    block = target.block
    names = [parameter.name.text for parameter in block.parameters]
    pairs = [(argument, scope) for argument in arguments]
    if target.given:
        pairs[1:1] = [(argument, target.given_scope or scope) for argument in target.given]
    items = {
        id(argument): evaluate(context, argument.value, where) for argument, where in pairs
    }  # first, so that inner applications count before this one
    block = _block_for(context, target, [items[id(one)] for one, _ in pairs if one.name is None], span)
    bound = (
        bind(context, names, [argument for argument, _ in pairs], block.name.text, span)
        if not lacks_first(context, block, pairs, items)
        else {}
    )
    if not bound and block.parameters:
        return replace(target, given=tuple(arguments), given_scope=scope)
    for parameter in block.parameters:
        if parameter.name.text not in bound and parameter.default is None:
            fault(
                "E0301",
                f"`{block.name.text}` lacks its argument `{parameter.name.text}`",
                span,
                others=[Label(parameter.name.span, "declared here")] if not block.span.source.is_library else [],
                hint=f"{block.name.text}({', '.join(names[1:])})",
            )
    inner = Scope(target.scope)
    outer_path, outer_layer = context.path, context.layer
    outer_axes = {value: context.axis_names.get(value) for value in items.values() if isinstance(value, Value)}
    prefix = (layer.name,) if layer else context.path.apply(block.name.text)
    with context.inside(block.name.text, span, block.span.source.is_library):
        try:
            for parameter in block.parameters:
                name = parameter.name.text
                item = items[id(bound[name])] if name in bound else evaluate(context, parameter.default, inner)  # type: ignore[arg-type]
                if parameter.type is not None:
                    where = bound[name].span if name in bound else parameter.name.span
                    item = context.as_value(item, where)
                    for dimension, bound_to in match_type(context, parameter.type, item, inner, where, block).items():
                        inner.set(dimension, bound_to, where)
                inner.set(name, item, parameter.name.span)
            context.path = ParameterPath(prefix)
            context.layer = layer or context.layer
            result = body(context, block.body, inner, in_model=False)
        except Fault as found:
            places = {name: argument.value.span for name, argument in bound.items()}
            raise _seen_from(_at_arguments(found, block, places), span) from None
        finally:
            context.path, context.layer = outer_path, outer_layer
            for value, axes in outer_axes.items():  # a block's names for the axes of its arguments end with it
                if axes is None:
                    context.axis_names.pop(value, None)
                else:
                    context.axis_names[value] = axes
    if result is None:
        fault("E0103", f"`{block.name.text}` returns nothing", block.name.span, others=[Label(span, "applied here")])
    first = result.items[0]
    values = {name: item for name, item in inner.names.items() if name in bound and isinstance(item, Value)}
    if isinstance(first, Value):
        spans = tuple(bound[name].span for name in values)
        is_builtin = block.span.source.is_library
        context.applied.append(Applied(block.name.text, is_builtin, tuple(values.values()), spans, first, span))
    return first if len(result.items) == 1 else result


def _block_for(context: Context, target: BlockFunction, unnamed: Sequence[Item], span: Span) -> syntax.Block:
    """Of the blocks of one name, the one whose first argument has as many axes as what it is given."""
    first = unnamed[0].items[0] if unnamed and isinstance(unnamed[0], Results) else unnamed[0] if unnamed else None
    for block in (target.block, *target.others):
        declared = block.parameters[0].type if block.parameters else None
        if isinstance(first, Value) and declared is not None and len(declared.dims) == len(first.type.sample):
            return block
    if isinstance(first, Value) and target.others:
        takes = " or ".join(block.parameters[0].type.span.text for block in (target.block, *target.others))  # type: ignore[union-attr]
        told = f"this is {describe_sample(first.type)}"
        fault("E0401", f"`{target.block.name.text}` takes {takes}", span, told, others=context.origins([first], span))
    return target.block


def lacks_first(
    context: Context, block: syntax.Block, pairs: Sequence[tuple[syntax.Argument, Scope]], items: dict[int, Item]
) -> bool:
    """Whether a block of one value is given only what comes after it: `lstm(64)`, `dense(units = 10)`."""
    named = {argument.name.text for argument, _ in pairs if isinstance(argument.name, syntax.Name)}
    unnamed = [items[id(argument)] for argument, _ in pairs if argument.name is None]
    required = [
        parameter.name.text
        for parameter in block.parameters
        if parameter.default is None and parameter.name.text not in named
    ]
    if not block.parameters or block.parameters[0].type is None or block.parameters[0].name.text in named:
        return False
    return (
        len(unnamed) < len(required)
        if not unnamed
        else len(unnamed) == len(required) - 1 and not isinstance(unnamed[0], Value | Results)
    )


def _at_arguments(found: Fault, block: syntax.Block, given: Mapping[str, Span]) -> Fault:
    """A fault at the name of a library block's argument is one at what it was given."""
    moved = []
    for one in found.diagnostics:
        place = given.get(one.primary.span.text.rpartition("=")[2].strip())
        if place is not None and one.primary.span.source is block.span.source and block.span.source.is_library:
            inside = () if any(label.span.source.is_library for label in one.others) else (Label(one.primary.span),)
            one = replace(one, primary=Label(place, one.primary.text), others=(*one.others, *inside))
        moved.append(one)
    return Fault(moved)


def _seen_from(found: Fault, call: Span) -> Fault:
    """A fault inside a block as its user sees it: the call first where the block is the library's, the call as well where it is his own."""
    seen: list[Diagnostic] = []
    for one in found.diagnostics:
        if one.primary.span.source.is_library and not call.source.is_library:
            inside = [label for label in (one.primary, *one.others) if label.span.source.is_library]
            seen.append(
                replace(
                    one,
                    primary=Label(call, one.primary.text),
                    others=(*inside[:1], *(label for label in one.others if not label.span.source.is_library)),
                )
            )
        elif one.primary.span.source is not call.source or not (call.start <= one.primary.span.start < call.end):
            extra = (
                ()
                if any(label.text == "applied here" for label in one.others) or call.source.is_library
                else (Label(call, "applied here"),)
            )
            seen.append(replace(one, others=(*one.others, *extra)))
        else:
            seen.append(one)
    return Fault(seen)
