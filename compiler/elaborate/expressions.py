"""Expressions: each becomes a value of the graph, or a constant: a number, a text, a list, a block."""

from difflib import get_close_matches
from typing import Any, NoReturn

from netc.compiler.elaborate import samples
from netc.compiler.elaborate.bindings import (
    BlockFunction,
    Broken,
    Item,
    LayerInstance,
    Namespace,
    Results,
    Scope,
    UserOperation,
)
from netc.compiler.elaborate.context import BrokenName, Context
from netc.compiler.elaborate.foreign_calls import as_pipe
from netc.compiler.elaborate.operators import binary, unary
from netc.compiler.elaborate.option_words import BORDERS
from netc.compiler.elaborate.stacks import on_new_stack
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import OPERATIONS, Operation, Value
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl import syntax
from netc.dsl.chains import first_part
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.mistakes.comments import with_hint
from netc.dsl.mistakes.synonyms import READERS_OF_DATA, Kind, data_step
from netc.dsl.printer import expression


def constant(context: Context, node: syntax.Expression, scope: Scope) -> Any:
    """The constant that an expression stands for. Raises E0304 if it depends on data."""
    item = evaluate(context, node, scope)
    if isinstance(item, Value | Results | BlockFunction | LayerInstance | UserOperation | Namespace | Operation):
        fault(
            "E0304",
            "this must be known when compiling",
            node.span,
            "it is a value of the model" if isinstance(item, Value) else "this is not a number",
        )
    return item


MOST_LEVELS = 2_000  # expressions in expressions, through all blocks that are applied
_SIMILAR = 0.75  # of two names of which one is most likely the other with a slip
_SEGMENT = 16  # links of a chain that are evaluated by recursion
_LEVELS_A_STACK = 40  # expressions in expressions that one thread's stack takes


def evaluate(context: Context, node: syntax.Expression, scope: Scope) -> Item:
    """The value or constant that an expression stands for.

    A chain such as `a + b + c` or `x -> f -> g` may have any number of links. A long one is evaluated from its
    beginning, a segment at a time, so that each segment's result is ready when the recursion arrives there.
    """
    if (id(node), id(scope)) in context.ready:
        return context.ready.pop((id(node), id(scope)))
    starts = _links(context, node, scope)[_SEGMENT::_SEGMENT]
    context.levels += 1
    try:
        if context.levels > MOST_LEVELS:
            raise context.exhausted(f"expressions of this model are more than {MOST_LEVELS:,} levels deep", node.span)
        for link in reversed(starts):
            context.ready[id(link), id(scope)] = _evaluate(context, link, scope)
        if context.levels % _LEVELS_A_STACK == 0:
            return on_new_stack(lambda: _evaluate(context, node, scope))
        return _evaluate(context, node, scope)
    finally:
        context.levels -= 1
        for link in starts:  # a form need not have evaluated its argument
            context.ready.pop((id(link), id(scope)), None)


def _links(context: Context, node: syntax.Expression, scope: Scope) -> list[syntax.Expression]:
    """The links of a chain, from its end to its beginning or to a link that is ready."""
    links, link = [node], first_part(node)
    while link is not None and (id(link), id(scope)) not in context.ready:
        following = first_part(link)
        if following is None:
            break
        links.append(link)
        link = following
    return links


def _evaluate(  # noqa: C901  a case for each kind of node
    context: Context, node: syntax.Expression, scope: Scope
) -> Item:
    match node:
        case syntax.Number():
            return node.value
        case syntax.Text(value=text):
            return text
        case syntax.Group(value=inner):
            return evaluate(context, inner, scope)
        case syntax.Name():
            return lookup(context, node, scope)
        case syntax.ListOf(items=items):
            return tuple(evaluate(context, item, scope) for item in items)
        case syntax.Tuple(entries=entries):
            return tuple(evaluate(context, entry.value, scope) for entry in entries)
        case syntax.Unary(operand=operand):
            return unary(context, node, evaluate(context, operand, scope))
        case syntax.Binary(left=left, right=right):
            return binary(context, node, evaluate(context, left, scope), evaluate(context, right, scope))
        case syntax.Choose():
            return choose(context, node, scope)
        case syntax.Pipe(value=value, into=into):
            return pipe(context, value, into, scope)
        case syntax.Call(function=function, arguments=arguments):
            return context.rules.apply(context, function, arguments, node.span, scope)
        case syntax.Attribute(value=value, name=name):
            return attribute(context, value, name, scope)
        case syntax.Index():
            return context.rules.index(context, node, scope)
        case syntax.Scan():
            return context.rules.scan(context, node, scope)
        case syntax.Leading() | syntax.Slice():
            fault("E0103", f"`{node.span.text}` cannot stand here", node.span)
    raise AssertionError(node)


def choose(context: Context, node: syntax.Choose, scope: Scope) -> Item:
    """The branch of `then if condition else otherwise` that the condition chooses.

    A condition on `training` becomes a value with both branches. Raises E0304 for a condition that depends on data.
    """
    chosen: syntax.Expression = node
    while isinstance(chosen, syntax.Choose):  # a further condition is in the `otherwise` of the one before
        then, condition, otherwise = chosen.then, chosen.condition, chosen.otherwise
        item = evaluate(context, condition, scope)
        if isinstance(item, Value) and context.depends_on_training_alone(item):
            return _chosen_in_training(context, chosen, item, scope)
        if isinstance(item, Value):
            fault(
                "E0304",
                "the condition of `if else` must be known when compiling",
                condition.span,
                "it depends on data",
                hint=_as_where(chosen),
            )
        chosen = then if item else otherwise
    return evaluate(context, chosen, scope)


def _as_where(node: syntax.Expression) -> str:
    """A choice between values as a `where`, with one inside of it for each further condition."""
    text, closing = "", ""
    while isinstance(node, syntax.Choose):
        text, closing = f"{text}where({expression(node.condition)}, {expression(node.then)}, ", closing + ")"
        node = node.otherwise
    return text + expression(node) + closing


def _chosen_in_training(context: Context, node: syntax.Choose, is_training: Value, scope: Scope) -> Value:
    branches = (node.then, node.otherwise)
    items = [evaluate(context, branch, scope) for branch in branches]
    pairs = zip(items, branches, strict=True)
    values = [is_training, *(context.as_value(item, branch.span) for item, branch in pairs)]
    return context.guard(node.span, lambda: samples.apply_elementwise(OPERATIONS["where"], values))


def pipe(context: Context, value: syntax.Expression, into: syntax.Expression, scope: Scope) -> Item:
    """`value -> into`: the application of `into` to the value. Warns W0504 if a layer takes in a whole sum."""
    first, parameters_before = syntax.Argument(value.span, None, value), len(context.parameters)
    function, arguments = (into.function, into.arguments) if isinstance(into, syntax.Call) else (into, ())
    result = context.rules.apply(context, function, (first, *arguments), into.span, scope)
    takes_in = len(context.parameters) > parameters_before and not value.span.source.is_library
    if takes_in and isinstance(value, syntax.Binary) and value.operator in ("+", "-"):
        alternative = f"{expression(value.left)} {value.operator} ({expression(value.right)} -> {expression(into)})"
        context.diagnostics.add(
            "W0504",
            "`->` takes in the whole sum before it",
            value.span,
            "all of this goes into it",
            hint=f"{alternative}, or brackets around the sum",
        )
    return result


def lookup(context: Context, node: syntax.Name, scope: Scope) -> Item:
    """The item that a name stands for. Raises E0201 if it is unknown, or defined by a later statement."""
    item = scope.find(node.text)
    if not node.span.source.is_library:
        context.read.add(node.text)
    if isinstance(item, Broken):
        raise BrokenName
    if item is not None:
        return context.local(item)
    if node.text in OPERATIONS and OPERATIONS[node.text].is_callable:
        return OPERATIONS[node.text]
    if node.text in ("true", "false"):
        return node.text == "true"
    if node.text in BORDERS:
        return node.text
    if node.text == "training":
        if context.is_frozen:
            return False
        return context.local(context.outermost.add("training", (), {}, Type("bool")))
    _refuse_unknown(context, node, scope)


def _refuse_unknown(context: Context, node: syntax.Name, scope: Scope) -> NoReturn:
    """Raises E0201 for a name without a meaning here; raises BrokenName if a fault before it caused that."""
    reported, later = scope.reported(), scope.defined_later(node.text)
    if reported is not None:
        if node.text in reported or (later is None and _is_of_broken_statement(node.text, scope)):
            raise BrokenName
        reported.add(node.text)
    if later is not None:
        fault(
            "E0201",
            f"`{node.text}` is used before it is defined",
            node.span,
            others=[Label(later, "defined here")],
            hint="statements run in order",
        )
    elsewhere = data_step(node.text) or _of_another_block(node.text)
    fault(
        "E0201",
        f"unknown name `{node.text}`",
        node.span,
        "nothing of this name is defined before this line",
        hint=with_hint(elsewhere or nearest(node.text, _names(context, scope), Kind.VALUE), node.span),
    )


def _of_another_block(name: str) -> str | None:
    """The hint for an optimizer or a reader in a model; None for any other name."""
    if name in OPTIMIZERS:
        return f"`{name}` is an optimizer: `optimizer = {name}(lr = 0.001)` in the block `train`"
    return f"`{name}` is a reader: `source = {name}(...)` in the block `data`" if name in READERS_OF_DATA else None


def _is_of_broken_statement(name: str, scope: Scope) -> bool:
    """Whether a faulty statement defines a similar name, or one that its fault hides: `param: float = 1`."""
    broken = [other for other in scope.all_names() if isinstance(scope.find(other), Broken)]
    return "" in broken or bool(get_close_matches(name, broken, n=1, cutoff=_SIMILAR))


def _names(context: Context, scope: Scope) -> list[str]:
    """All names that an expression may use."""
    operations = (name for name, operation in OPERATIONS.items() if operation.is_callable)
    return [*scope.all_names(), *operations, *context.rules.forms]


def attribute(context: Context, node: syntax.Expression, name: syntax.Name, scope: Scope) -> Item:
    """`owner.name`: a definition of an imported file, or a parameter of a shared layer. Raises E0201 and E0205."""
    _refuse_other_library(context, node, name, scope)
    owner = evaluate(context, node, scope)
    if isinstance(owner, Namespace):
        item = owner.scope.names.get(name.text)
        if item is None:
            fault(
                "E0201",
                f"the imported file has no `{name.text}`",
                name.span,
                hint=nearest(name.text, owner.scope.names),
            )
        return item
    if isinstance(owner, LayerInstance):
        if name.text not in owner.parameters:
            fault(
                "E0201",
                f"`{owner.name}` has no parameter `{name.text}`"
                if owner.parameters
                else f"`{owner.name}` has not been applied yet",
                name.span,
                "its shapes are known after its first application" if not owner.parameters else "",
                hint=nearest(name.text, owner.parameters),
            )
        return context.local(owner.parameters[name.text])
    fault(
        "E0205",
        "only layers and imported files have names inside",
        node.span,
        others=[Label(name.span, "asked for here")],
        hint=_as_function(context, node, name, scope),
    )


def _refuse_other_library(context: Context, node: syntax.Expression, name: syntax.Name, scope: Scope) -> None:
    """Raises E0201 for a name of another library, such as `nn.Linear`: its last part says what was meant."""
    root = node
    while isinstance(root, syntax.Attribute):
        root = root.value
    is_known = isinstance(root, syntax.Name) and (
        scope.find(root.text) is not None or root.text in OPERATIONS or scope.defined_later(root.text) is not None
    )
    if not isinstance(root, syntax.Name) or is_known:
        return
    path = node.span.to(name.span)
    hint = nearest(name.text, _names(context, scope), Kind.VALUE)
    hint = hint.in_place() if hint is not None else None
    fault("E0201", f"unknown name `{path.text}`", path, f"there is no `{root.text}`", hint=hint)


def _as_function(context: Context, node: syntax.Expression, name: syntax.Name, scope: Scope) -> str | None:
    """The hint for a method of another library, such as `x.softmax()` or `x.dense(32)`."""
    if name.text in _names(context, scope):
        return as_pipe(expression(node), name.span, name.text) or f"{name.text}({expression(node)})"
    return nearest(name.text, _names(context, scope), Kind.VALUE)
