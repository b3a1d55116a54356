"""Applications of blocks and of shared layers.

A block runs its statements in a scope of its own. A fault in a library block is shown where the file applies the block.
"""

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from netc.compiler.elaborate.advice import misfits
from netc.compiler.elaborate.arguments import bind
from netc.compiler.elaborate.bindings import (
    Applied,
    BlockFunction,
    Item,
    LayerInstance,
    ParameterPath,
    Results,
    Scope,
)
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.elaborate.option_words import refuse_other_word
from netc.compiler.elaborate.signatures import match_type
from netc.compiler.elaborate.statements import body
from netc.compiler.ir.types import describe_sample
from netc.compiler.ir.value import Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label, fault
from netc.dsl.hints import Hint
from netc.dsl.source import Span
from netc.dsl.structs import replace


class _BlockCall(Struct, frozen=True):
    """An application of a block: `bound` are its arguments by parameter, `items` what they came to, by the argument's
    id."""

    block: syntax.Block
    layer: LayerInstance | None
    bound: Mapping[str, syntax.Argument]
    items: Mapping[int, Item]
    span: Span


def apply_block(
    context: Context,
    target: BlockFunction,
    arguments: Sequence[syntax.Argument],
    span: Span,
    scope: Scope,
    layer: LayerInstance | None = None,
) -> Item:
    """The results of a block; or the block with more of its arguments, if its first one is still lacking."""
    pairs = [(argument, scope) for argument in arguments]
    if target.arguments:
        pairs[1:1] = [(argument, target.arguments_scope or scope) for argument in target.arguments]
    # arguments come first, so that applications in them are counted before this one
    for argument, where in pairs:
        refuse_other_word(argument, _default_of(target.block, argument), where)
    items = {id(argument): evaluate(context, argument.value, where) for argument, where in pairs}
    block = _block_for(context, target, [items[id(argument)] for argument, _ in pairs if argument.name is None], span)
    bound: dict[str, syntax.Argument] = {}
    if not lacks_first(context, block, pairs, items):
        names = [parameter.name.text for parameter in block.parameters]
        bound = bind(context, names, [argument for argument, _ in pairs], block.name.text, span)
    if not bound and block.parameters:
        return replace(target, arguments=tuple(arguments), arguments_scope=scope)
    call, inner = _BlockCall(block, layer, bound, items, span), Scope(target.scope)
    _require_arguments(call)
    result = _run_block(context, call, inner)
    if result is None:
        assigned = [name.text for step in block.body if isinstance(step, syntax.Assign) for name in step.names]
        hint = f"return {assigned[-1]}, as its last line" if assigned else None
        others = [Label(span, "applied here")]
        fault("E0103", f"`{block.name.text}` returns nothing", block.name.span, others=others, hint=hint)
    first = result.items[0]
    values = {name: item for name, item in inner.names.items() if name in bound and isinstance(item, Value)}
    if isinstance(first, Value):
        spans = tuple(bound[name].span for name in values)
        is_builtin = block.span.source.is_library
        context.applied.append(Applied(block.name.text, is_builtin, tuple(values.values()), spans, first, span))
    return first if len(result.items) == 1 else result


def _default_of(block: syntax.Block, argument: syntax.Argument) -> syntax.Expression | None:
    """The default of the parameter that an argument names; None if it names none."""
    name = argument.name.text if isinstance(argument.name, syntax.Name) else None
    return next((parameter.default for parameter in block.parameters if parameter.name.text == name), None)


def _require_arguments(call: _BlockCall) -> None:
    """Raises E0301 if a parameter without a default has no argument."""
    block = call.block
    for parameter in block.parameters:
        if parameter.name.text not in call.bound and parameter.default is None:
            fault(
                "E0301",
                f"`{block.name.text}` lacks its argument `{parameter.name.text}`",
                call.span,
                others=[Label(parameter.name.span, "declared here")] if not block.span.source.is_library else [],
                hint=_written_call(call),
            )


def _written_call(call: _BlockCall) -> str:
    """The call with all parameters, where those that are written have their arguments; the first stands before `->`
    unless it is written between the brackets."""
    first, *others = call.block.parameters
    argument = call.bound.get(first.name.text)
    is_inside = argument is not None and argument.span.start > call.span.start
    parts = [argument.span.text] if argument is not None and is_inside else []
    text = f"{call.block.name.text}({', '.join([*parts, *(other.name.text for other in others)])})"
    return Hint.code(text) if call.span.text == call.block.name.text else Hint(text)


def _run_block(context: Context, call: _BlockCall, inner: Scope) -> Results | None:
    """Runs a block's statements in the scope `inner`, and returns what it returns.

    The context's path, layer and names of axes are then as before.
    """
    block, layer = call.block, call.layer
    outer_path, outer_layer = context.path, context.layer
    outer_axes, context.axis_names = context.axis_names, {}
    prefix = (layer.name,) if layer else context.path.apply(block.name.text)
    with context.inside(block.name.text, call.span, block.span.source.is_library):
        try:
            _set_parameters(context, call, inner)
            context.path = ParameterPath(prefix)
            context.layer = layer or context.layer
            return body(context, block.body, inner, in_model=False)
        except Fault as inner_fault:
            argument_spans = {name: argument.value.span for name, argument in call.bound.items()}
            raise seen_from(_at_arguments(inner_fault, block, argument_spans), call.span) from None
        finally:
            context.path, context.layer = outer_path, outer_layer
            context.axis_names = outer_axes  # a block has its own names for axes


def _set_parameters(context: Context, call: _BlockCall, inner: Scope) -> None:
    """Gives a block's parameters their arguments or defaults, and the names of their dimensions their sizes."""
    for parameter in call.block.parameters:
        name, argument = parameter.name.text, call.bound.get(parameter.name.text)
        if argument is not None:
            item = call.items[id(argument)]
        else:
            assert parameter.default is not None
            item = evaluate(context, parameter.default, inner)
        if parameter.type is not None:
            argument_span = argument.span if argument else parameter.name.span
            item = context.as_value(item, argument_span)
            try:
                sizes = match_type(context, parameter.type, item, inner, argument_span, call.block)
            except Fault as error:
                operands = _compared(call)
                raise misfits.explained(error, call.block, operands) if operands else error from None
            for dimension, size in sizes.items():
                inner.set(dimension, size, argument_span)
        inner.set(name, item, parameter.name.span)


def _compared(call: _BlockCall) -> list[misfits.Operand]:
    """The prediction and the target that a loss or a metric compares; nothing for other blocks."""
    if not misfits.compares(call.block):
        return []
    names = [parameter.name.text for parameter in call.block.parameters[:2]]
    arguments = [call.bound[name] for name in names if name in call.bound]
    items = [(call.items[id(argument)], argument.value.span) for argument in arguments]
    operands = [misfits.Operand(item, argument_span) for item, argument_span in items if isinstance(item, Value)]
    return operands if len(operands) == 2 else []


def _block_for(context: Context, target: BlockFunction, unnamed: Sequence[Item], span: Span) -> syntax.Block:
    """The first of a name's blocks whose parameters have the axes and kinds of the arguments, as far as these are
    values; or else the one whose first parameter has as many axes as the first argument.

    Raises E0401 if there is none.
    """
    items = [item.items[0] if isinstance(item, Results) else item for item in unnamed]
    first, blocks = items[0] if items else None, (target.block, *target.others)
    if not target.others or not isinstance(first, Value):
        return target.block
    for block in blocks:
        if _may_take(block, items):
            return block
    types = [type_ for block in blocks if (type_ := block.parameters[0].type) is not None]
    for block, type_ in zip(blocks, types, strict=True):
        if len(type_.dims) == len(first.type.sample):
            return block
    takes = " or ".join(type_.span.text for type_ in types)
    note = f"this is {describe_sample(first.type)}"
    fault(
        "E0401",
        f"`{target.block.name.text}` takes {takes}",
        span,
        note,
        others=context.origins([first], span),
        hint=_as_image(first, types),
    )


def _as_image(value: Value, types: Sequence[syntax.TypeOf]) -> str | None:
    """The hint for a row of pixels where an image is meant: its sides, if they are equal."""
    size = value.type.sample[0] if len(value.type.sample) == 1 else 0
    side = math.isqrt(size) if isinstance(size, int) else 0
    if side < 2 or side * side != size or all(len(type_.dims) != 3 for type_ in types):
        return None
    return f"an image has height, width and channels: `-> reshape({side}, {side}, 1)` before it"


def _may_take(block: syntax.Block, items: Sequence[Item]) -> bool:
    """Whether values have the kinds and the numbers of axes that a block declares, where `...` stands for as many
    axes in each of its parameters."""
    leading: int | None = None
    for parameter, item in zip(block.parameters, items, strict=False):
        if not isinstance(item, Value) or parameter.type is None:
            continue
        dims = parameter.type.dims
        has_leading = any(isinstance(dim, syntax.Leading) for dim in dims)
        count = len(item.type.sample) - len(dims) + int(has_leading)
        leading = count if leading is None and has_leading else leading
        kind = "class" if item.type.classes is not None else "bool" if item.type.dtype == "bool" else "float"
        if count != (leading if has_leading else 0) or count < 0 or kind != parameter.type.kind:
            return False
    return True


def lacks_first(
    context: Context, block: syntax.Block, pairs: Sequence[tuple[syntax.Argument, Scope]], items: dict[int, Item]
) -> bool:
    """Whether an application gives a block all arguments but the value it is applied to: `lstm(64)`, `dense(units =
    10)`."""
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


def _at_arguments(error: Fault, block: syntax.Block, argument_spans: Mapping[str, Span]) -> Fault:
    """The fault with its span moved from the name of a library block's parameter to the argument."""
    moved = []
    for diagnostic in error.diagnostics:
        primary = diagnostic.primary
        argument_span = argument_spans.get(primary.span.text.rpartition("=")[2].strip())
        if argument_span is not None and primary.span.source is block.span.source and block.span.source.is_library:
            diagnostic = replace(diagnostic, primary=Label(argument_span, primary.text))
        moved.append(diagnostic)
    return Fault(moved)


def seen_from(error: Fault, call: Span) -> Fault:
    """A fault inside a block as whoever applied it sees it: at the call if the block is the library's; with the call
    beside it if the block is the file's."""
    return Fault([_diagnostic_from(diagnostic, call) for diagnostic in error.diagnostics])


def _diagnostic_from(diagnostic: Diagnostic, call: Span) -> Diagnostic:
    primary, others = diagnostic.primary, diagnostic.others
    if primary.span.source.is_library and not call.source.is_library:
        inside = [label for label in (primary, *others) if label.span.source.is_library]
        outside = [label for label in others if not label.span.source.is_library]
        hint = diagnostic.hint.at_call() if isinstance(diagnostic.hint, Hint) else diagnostic.hint
        return replace(diagnostic, primary=Label(call, primary.text), others=(*inside[:1], *outside), hint=hint)
    if primary.span.source is call.source and call.start <= primary.span.start < call.end:
        return diagnostic
    if call.source.is_library or any(label.text == "applied here" for label in others):
        return diagnostic
    return replace(diagnostic, others=(*others, Label(call, "applied here")))
