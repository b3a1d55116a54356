"""The arguments of special forms."""

from collections.abc import Sequence

from netc.compiler.elaborate.arguments import bind
from netc.compiler.elaborate.bindings import Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.ir.value import Value
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span

Arguments = Sequence[syntax.Argument]


def required(
    context: Context, what: str, names: Sequence[str], arguments: Arguments, span: Span, example: str
) -> list[syntax.Argument]:
    """The arguments of a form that takes exactly these, in order. Raises E0301 and E0302 for any others."""
    bound = bind(context, names, arguments, what, span)
    missing = [name for name in names if name not in bound]
    if missing:
        fault("E0301", f"`{what}` lacks its argument `{missing[0]}`", span, hint=example)
    return [bound[name] for name in names]


def refuse_names(what: str, arguments: Arguments, hint: str = "its arguments have no names") -> None:
    """Raises E0302 for an argument with a name, which the form `what` takes by their positions alone."""
    for argument in arguments:
        if argument.name is not None:
            name = argument.name.span
            fault("E0302", f"`{what}` has no argument `{name.text}`", name, hint=hint)


def value_of(context: Context, argument: syntax.Argument, scope: Scope) -> Value:
    """The value of the graph that an argument stands for. Raises E0205 if it is none."""
    return context.as_value(evaluate(context, argument.value, scope), argument.span)
