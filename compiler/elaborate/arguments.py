"""The arguments of an application, bound to parameters by name or position, and the axes that an argument names."""

import re
from collections.abc import Sequence

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.bindings import BlockFunction, LayerInstance, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant
from netc.compiler.elaborate.foreign_calls import count_of_changes, in_form_of
from netc.compiler.ir.value import OPERATIONS
from netc.dsl import syntax
from netc.dsl.chains import last_word
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.hints import Change, Hint
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.dsl.plural import counted
from netc.dsl.printer import expression
from netc.dsl.source import Span


def _for_activation(node: syntax.Expression) -> str | None:
    """The hint for `dense(64, relu)`."""
    is_function = isinstance(node, syntax.Name | syntax.Text) and last_word(node).lower() in OPERATIONS
    return synonym("activation", Kind.ARGUMENT, ()) if is_function else None


def _for_layer(context: Context, what: str, node: syntax.Expression) -> str | None:
    """The hint for `x -> relu(dense(16))`, a layer as a further argument of what can come after it."""
    function = node.function if isinstance(node, syntax.Call) else node
    is_layer = isinstance(function, syntax.Name) and isinstance(
        context.globals.find(function.text), BlockFunction | LayerInstance
    )
    return f"-> {expression(node)} -> {what}" if is_layer else None


def _for_sizes(what: str, names: Sequence[str], argument: syntax.Argument, span: Span) -> str | None:
    """The hint for `x -> dense(9, 64)`, where other libraries have the size of the input too."""
    is_size = isinstance(argument.value, syntax.Number) and names[1:] in (["units"], ["n"])
    is_last = span.source.text[argument.span.end :].lstrip().startswith(")")
    call = f"{what}({argument.span.text})"
    return Hint(f"the size of the input is known: {call}", Change(call, span)) if is_size and is_last else None


def as_layer(what: str, arguments: Sequence[syntax.Argument], span: Span) -> str | None:
    """The hint for an operation that is called like the layer which applies it: `conv2d(16, kernel = 5)`."""
    layer = _layer_of(what)
    if layer is None:
        return None
    call = in_form_of(layer, _written(arguments, span))
    return Hint(f"the layer is `{call}`", Change(call, span))


def _layer_of(operation: str) -> str | None:
    match = re.search(r"`(\w+)\(", synonym(operation, Kind.VALUE, ()) or "")
    return match[1] if match is not None else None


def _whole_call(what: str, arguments: Sequence[syntax.Argument], span: Span) -> str | None:
    """The hint for a call with more than one foreign argument: `conv(8, kernel_size = 3, strides = 2)`.

    One of them after the other would need a message each.
    """
    written = _written(arguments, span)
    if count_of_changes(_layer_of(what) or what, written) < 2:
        return None
    return as_layer(what, arguments, span) or Hint.code(in_form_of(what, written), span)


def _written(arguments: Sequence[syntax.Argument], span: Span) -> list[syntax.Argument]:
    """The arguments in the brackets of a call, without what stands before `->`."""
    return [argument for argument in arguments if argument.span.start >= span.start]


def bind(
    context: Context, names: Sequence[str], arguments: Sequence[syntax.Argument], what: str, span: Span
) -> dict[str, syntax.Argument]:
    """The arguments by parameter. Raises E0301 and E0302 for an argument without a parameter and for a second one of a
    parameter.
    """
    bound: dict[str, syntax.Argument] = {}
    for position, argument in enumerate(arguments):
        if argument.name is None:
            if position >= len(names):
                fault(
                    "E0301",
                    f"`{what}` takes {counted(len(names), 'argument')}",
                    argument.span,
                    "this is one too many",
                    hint=_for_activation(argument.value)
                    or _for_sizes(what, names, argument, span)
                    or _for_layer(context, what, argument.value)
                    or f"it takes {', '.join(names) or 'none'}",
                )
            name = names[position]
        else:
            assert isinstance(argument.name, syntax.Name)
            name = argument.name.text
            if name not in names:
                fault(
                    "E0302",
                    f"`{what}` has no argument `{name}`",
                    argument.name.span,
                    hint=_whole_call(what, arguments, span)
                    or nearest(name, names, Kind.ARGUMENT)
                    or as_layer(what, arguments, span)
                    or f"it takes {', '.join(names) or 'none'}",
                )
        if name in bound:
            fault(
                "E0302",
                f"`{what}` is given `{name}` twice",
                argument.span,
                others=[Label(bound[name].span, "first here")],
            )
        bound[name] = argument
    return bound


def refuse_late(arguments: Sequence[syntax.Argument], what: str, span: Span) -> None:
    """Raises E0301 for an argument without a name after one with a name, as in `conv(pad = same, 8)`."""
    written = _written(arguments, span)
    first = next((number for number, argument in enumerate(written) if argument.name is not None), len(written))
    late = next((argument for argument in written[first:] if argument.name is None), None)
    if late is None:
        return
    texts = [argument.span.text for argument in sorted(written, key=lambda argument: argument.name is not None)]
    note = "its position says nothing behind a name"
    title = "an argument without a name stands after one with a name"
    fault("E0301", title, late.span, note, hint=Hint.code(f"{what}({', '.join(texts)})", span))


def named_axes(context: Context, node: syntax.Expression, scope: Scope) -> tuple[int | str, ...]:
    """The axes that an expression names, in order: `0`, `time`, or a tuple of these."""
    axes: list[int | str] = []
    pending = [node]
    while pending:
        match part := pending.pop():
            case syntax.Group(value=inner):
                pending.append(inner)
            case syntax.Tuple(entries=entries):
                pending += [entry.value for entry in reversed(entries)]
            case syntax.Name(text=text):
                axes.append(text)
            case _:
                axes.append(constants.integer(constant(context, part, scope), part.span, "an axis", least=-16))
    return tuple(axes)
