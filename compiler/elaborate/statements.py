"""Statements of a model or a block, in order: each adds values, results or parameters to the graph and names to the scope."""

from collections.abc import Sequence
from itertools import islice

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.bindings import (
    Assigned,
    BlockFunction,
    Broken,
    Item,
    LayerInstance,
    Results,
    Scope,
    Weighted,
)
from netc.compiler.elaborate.context import BrokenName, Context
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.elaborate.settings import INITIALISERS
from netc.compiler.elaborate.signatures import match_type, type_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Bounded, Type, describe_sample
from netc.compiler.ir.value import Value
from netc.compiler.model import ParameterInfo
from netc.compiler.operations import sequence
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, fault, nearest_or_all
from netc.dsl.printer import expression
from netc.dsl.source import Span


def body(context: Context, statements: Sequence[syntax.Statement], scope: Scope, in_model: bool) -> Results | None:
    """Run statements in order. In a model each fault is noted and the rest goes on; in a block it goes to whoever applied it."""
    result: Results | None = None
    around = context.path.assign, context.path.applied  # of the statement that a scan stands in
    for statement in reversed(statements):  # the first place of each name
        scope.later.update({name.text: name.span for name in assigned(statement)})
    for statement in statements:
        try:
            if result is not None:
                fault("E0103", "nothing runs after `return`", statement.span)
            context.count(statement.span)
            first, known = context.graph.network.number_of_nodes(), len(context.parameters)
            result = run_statement(context, statement, scope, in_model) or result
            note_assigned(context, statement, scope, first, known)
        except Fault as found:
            if not in_model:
                raise
            context.diagnostics.note(found)
            break_names(context, statement, scope)
        except BrokenName:
            if not in_model:
                raise
            break_names(context, statement, scope)
    context.path.assign, context.path.applied = around
    return result


def note_assigned(context: Context, statement: syntax.Statement, scope: Scope, first: int, known: int) -> None:
    """What the names of a statement came to, if it stands in the user's own text."""
    if not statement.span.source.is_library:
        end, made = context.graph.network.number_of_nodes(), tuple(islice(context.parameters, known, None))
        for name in assigned(statement):
            value = scope.names.get(name.text)
            if isinstance(value, Value):
                context.assigned.append(Assigned(name.span, value, first, end, made))


def break_names(context: Context, statement: syntax.Statement, scope: Scope) -> None:
    for name in assigned(statement):
        scope.set(name.text, Broken(), name.span)


def assigned(statement: syntax.Statement) -> Sequence[syntax.Name]:
    """The names that a statement gives a meaning to."""
    names = getattr(statement, "names", None) or [getattr(statement, "name", None)]
    return [name for name in names if isinstance(name, syntax.Name)]


def run_statement(context: Context, statement: syntax.Statement, scope: Scope, in_model: bool) -> Results | None:
    only_model = (syntax.Input, syntax.Target, syntax.Output, syntax.Loss, syntax.Metric, syntax.Watch)
    if isinstance(statement, only_model) and not in_model:
        fault("E0103", f"`{statement.span.text.split()[0]}` stands in a model, not in a block", statement.span)
    match statement:
        case syntax.Input() | syntax.Target():
            declare(context, statement, scope)
        case syntax.Output(name=name, value=value):
            context.path.start(name.text, statement)
            result = context.as_value(evaluate(context, value, scope), value.span)
            add_result(context, f"output.{name.text}", result, name.span)
            for dim in result.type.dims:
                if isinstance(dim, Bounded):  # whoever reads the output is told where each sample ends
                    context.graph.results[f"length.{dim.name}"] = sequence.lengths(context.graph, dim.name)
            scope.set(name.text, result, name.span)
            note_name(context, name.text, result)
        case syntax.Loss(name=label, value=value) | syntax.Metric(name=label, value=value):
            figure(context, "loss" if isinstance(statement, syntax.Loss) else "metric", label, value, scope, statement)
        case syntax.Param():
            parameter(context, statement, scope)
        case syntax.Assign(names=names, type=type_, value=value):
            assign(context, statement, names, type_, value, scope)
        case syntax.Layer():
            define_layer(context, statement, scope)
        case syntax.For():
            loop(context, statement, scope, in_model)
        case syntax.Return(values=values):
            if in_model:
                fault("E0103", "`return` stands in a block, not in a model", statement.span, hint="output y = ...")
            context.path.start("", statement)
            return Results(tuple(evaluate(context, value, scope) for value in values))
        case syntax.Yield():
            fault("E0103", "`yield` stands in a scan", statement.span)
        case syntax.State():
            state(context, statement, scope)
        case syntax.Update(name=name, value=value):
            update(context, name, value, scope)
        case syntax.Watch(name=name, value=value):
            context.path.start(name.text, statement)
            watched = context.as_value(evaluate(context, value, scope), value.span)
            if not watched.type.is_float:
                fault("E0402", "a watched value is a float", value.span, f"this is {describe_sample(watched.type)}")
            add_result(context, f"watch.{name.text}", watched, value.span)
    return None


def define_layer(context: Context, item: syntax.Layer, scope: Scope) -> None:
    function = evaluate(context, item.value, scope)
    if not isinstance(function, BlockFunction):
        fault(
            "E0205",
            "a layer is an application of a block that lacks its first argument",
            item.value.span,
            hint="layer f = dense(64)",
        )
    scope.set(item.name.text, LayerInstance(".".join((*context.path.prefix, item.name.text)), function), item.name.span)


def declare(context: Context, statement: syntax.Input | syntax.Target, scope: Scope) -> None:
    name, kind = statement.name, "input" if isinstance(statement, syntax.Input) else "target"
    if name.text in context.declared:
        fault(
            "E0202",
            f"`{name.text}` is declared twice",
            name.span,
            others=[Label(context.declared[name.text], "first here")],
        )
    context.declared[name.text] = name.span
    type_ = type_of(context, statement.type, scope, name.text)
    batched = type_ if type_.is_varying else Type(type_.dtype, (BATCH, *type_.dims), type_.classes)
    with context.graph.at(name.span):
        scope.set(name.text, context.graph.leaf(kind, name.text, batched), name.span)
    (context.inputs if kind == "input" else context.targets)[name.text] = batched


def figure(
    context: Context,
    kind: str,
    label: syntax.Name | None,
    value: syntax.Expression,
    scope: Scope,
    statement: syntax.Node,
) -> None:
    inner = value.value if isinstance(value, syntax.Group) else value
    function = inner.into if isinstance(inner, syntax.Pipe) else inner
    while isinstance(function, syntax.Call | syntax.Attribute):
        function = function.function if isinstance(function, syntax.Call) else function.name
    unnamed = "objective" if kind == "loss" else kind
    name = label.text if label else function.text if isinstance(function, syntax.Name) else unnamed
    if label is not None and label.text == "loss":
        fault("E0202", "`loss` is what all losses come to", label.span, hint=f"{kind} another_name = ...")
    context.path.start(name, statement)
    before, context.may_own = context.may_own, False
    try:
        item = evaluate(context, value, scope)
        result = item.value if isinstance(item, Weighted) else context.as_value(item, value.span)
    finally:
        context.may_own = before
    if kind == "loss" and not result.type.is_float:
        fault("E0402", "a loss is a float", value.span, f"this is {describe_sample(result.type)}")
    add_result(context, f"{kind}.{name}", result, value.span)
    if isinstance(item, Weighted):
        context.graph.results[f"weight.{kind}.{name}"] = item.weight


def add_result(context: Context, name: str, value: Value, span: Span) -> None:
    if name in context.graph.results:
        kind, _, own = name.partition(".")
        fault(
            "E0202",
            f"there is a {kind} `{own}` already",
            span,
            others=[Label(context.graph.results[name].span, "the first one")],
            hint=f"{kind} another_name = ...",
        )
    if value.type.is_held and not name.startswith("output."):
        kind, dims = name.partition(".")[0], [dim.name for dim in value.type.dims if isinstance(dim, Bounded)]
        what = "one varying dimension at most" if len(dims) > 1 else "no steps whose number the model itself makes"
        told, hint = f"this is {describe_sample(value.type)}", f"take a mean: mean(e, over = {dims[-1]})"
        fault("E0401", f"a {kind} has {what}", span, told, hint=hint)
    context.graph.results[name] = value


def parameter(context: Context, statement: syntax.Param, scope: Scope) -> None:
    name = ".".join((*context.path.prefix, statement.name.text))
    if context.frames and context.layer is None:
        fault(
            "E0503",
            "parameters stand outside of a scan",
            statement.span,
            f"`{name}` would be made anew at each step",
            hint="layer f = dense(64) before the scan, and f(x) in it",
        )
    type_ = type_of(context, statement.type, scope)
    own = name.removeprefix(f"{context.layer.name}.") if context.layer is not None else name
    if context.layer is not None and own in context.layer.parameters and name in context.parameters:
        value = context.layer.parameters[own]
        if value.type != type_:
            fault(
                "E0401",
                f"`{name}` is shared, and its shape is {describe_sample(value.type)}",
                statement.span,
                f"here it would be {describe_sample(type_)}",
            )
        scope.set(statement.name.text, value, statement.name.span)
        return
    if name in context.parameters:
        shared = next((value for value in context.outermost.values("parameter") if value.name == name), None)
        if context.layer is None or shared is None or shared.type != type_:
            fault(
                "E0202",
                f"there is a parameter `{name}` already",
                statement.span,
                others=[Label(context.parameters[name].span, "the first one")],
            )
        scope.set(statement.name.text, shared, statement.name.span)
        return
    if not context.may_own:
        fault(
            "E0503",
            "a loss or metric may not own parameters",
            statement.span,
            f"`{name}` would be one",
            hint="assign the value first, then give it to the loss",
        )
    initial, numbers = initialiser(context, statement, type_, scope)
    decay = True
    for option in statement.options:
        key = option.name.text if isinstance(option.name, syntax.Name) else ""
        if key != "decay" or not isinstance(option.value, syntax.Name) or option.value.text not in ("yes", "no"):
            fault(
                "E0302",
                f"a parameter has no option `{expression(option.value) if key == 'decay' else key}`",
                option.span,
                hint="decay = no",
            )
        decay = option.value.text == "yes"
    span = context.user_span(statement.name.span)
    context.parameters[name] = ParameterInfo(name, type_, initial, numbers, decay, span)
    with context.outermost.at(span):
        value = context.outermost.leaf("parameter", name, type_)
    scope.set(statement.name.text, value, statement.name.span)
    if context.layer is not None:
        context.layer.parameters[own] = value


def state(context: Context, statement: syntax.State, scope: Scope) -> None:
    name = ".".join((*context.path.prefix, statement.name.text))
    type_ = type_of(context, statement.type, scope)
    shared = None
    if name in context.states:
        shared = next((value for value in context.graph.values("state") if value.name == name), None)
    if context.frames:
        fault("E0503", "a scan may not own states", statement.span, hint="scan ... with h = ... carries a value")
    if context.layer is not None and shared is not None and shared.type == type_:
        scope.set(statement.name.text, shared, statement.name.span)
        return
    if not context.may_own or name in context.states or name in context.parameters:
        fault(
            "E0202" if context.may_own else "E0503",
            f"there is a value `{name}` already" if context.may_own else "a loss or metric may not own states",
            statement.span,
        )
    initial, numbers = initialiser(context, statement, type_, scope)
    span = context.user_span(statement.name.span)
    context.states[name] = ParameterInfo(name, type_, initial, numbers, False, span)
    with context.graph.at(span):
        scope.set(statement.name.text, context.graph.leaf("state", name, type_), statement.name.span)


def update(context: Context, name: syntax.Name, node: syntax.Expression, scope: Scope) -> None:
    """A state's next value, after a step of training."""
    held = scope.find(name.text)
    if not isinstance(held, Value) or held.role is not Role.STATE:
        fault("E0205", f"`{name.text}` is no state", name.span, hint=f"state {name.text}: float[...] = zeros")
    value = context.as_value(evaluate(context, node, scope), node.span, like=held)
    if value.type.dims != held.type.dims or value.type.dtype != held.type.dtype:
        in_batch = " for each sample: it has to reduce over `batch`" if value.type.is_batched else ""
        fault(
            "E0401",
            f"the state `{name.text}` is {describe_sample(held.type)}",
            node.span,
            f"this is {describe_sample(value.type)}{in_batch}",
            others=[Label(context.states[held.name].span, "declared here")],
        )
    add_result(context, f"update.{held.name}", value, node.span)


def initialiser(
    context: Context, statement: syntax.Param | syntax.State, type_: Type, scope: Scope
) -> tuple[str, tuple[float, ...]]:
    """Its name and its numbers."""
    node = statement.initial
    if node is None:
        return ("glorot_uniform" if isinstance(statement, syntax.Param) else "zeros"), ()
    function = node.function if isinstance(node, syntax.Call) else node
    arguments = [argument.value for argument in node.arguments] if isinstance(node, syntax.Call) else []
    if not isinstance(function, syntax.Name) or function.text not in INITIALISERS:
        name = function.text if isinstance(function, syntax.Name) else expression(node)
        fault(
            "E0504",
            f"there is no initialiser `{name}`",
            node.span,
            hint=nearest_or_all(name, INITIALISERS),
        )
    takes = INITIALISERS[function.text]
    if function.text == "constant":
        size = type_.dims[-1] if type_.dims else 1
        if not arguments or size % len(arguments):
            told = f"{size} elements" if arguments else "none is given"
            fault("E0301", "`constant` takes a number, or one for each equal part of the last axis", node.span, told)
    elif len(arguments) != takes:
        fault("E0301", f"`{function.text}` takes {takes} numbers", node.span)
    return function.text, tuple(float(constant(context, one, scope)) for one in arguments)


def assign(
    context: Context,
    statement: syntax.Assign,
    names: Sequence[syntax.Name],
    type_: syntax.TypeOf | None,
    node: syntax.Expression,
    scope: Scope,
) -> None:
    context.path.start(names[0].text, statement)
    item = evaluate(context, node, scope)
    if len(names) == 1:
        if isinstance(item, Results):
            item = item.items[0]
        if type_ is not None:
            value = context.as_value(item, node.span)
            bindings = match_type(context, type_, value, scope, node.span)
            for dimension, bound in bindings.items():
                scope.set(dimension, bound, type_.span)
            item = value
        scope.set(names[0].text, item, names[0].span)
        note_name(context, context.path.assign, item)
        return
    items = item.items if isinstance(item, Results) else (item,)
    if len(items) < len(names):
        fault(
            "E0301",
            f"{len(names)} names for {len(items)} result{'s' if len(items) > 1 else ''}",
            names[len(items)].span,
            others=[Label(node.span, f"this gives {len(items)}")],
        )
    for name, part in zip(names, items, strict=False):
        scope.set(name.text, part, name.span)
        note_name(context, name.text, part)


def note_name(context: Context, name: str, item: Item) -> None:
    """What the model itself calls a value, for whoever shows it."""
    if isinstance(item, Value) and not context.calls and not context.frames and item.operands:
        context.named.setdefault(name, item)


def loop(context: Context, statement: syntax.For, scope: Scope, in_model: bool) -> None:
    start = constants.whole(
        constant(context, statement.start, scope), statement.start.span, "the start of a loop", least=-(10**6)
    )
    stop = constants.whole(
        constant(context, statement.stop, scope), statement.stop.span, "the end of a loop", least=-(10**6)
    )
    if stop - start > 10_000:
        fault(
            "E0304",
            f"a loop of {stop - start} turns",
            statement.stop.span,
            "a loop is unrolled when compiled; 10,000 turns are the most",
        )
    before = context.path.loops
    for i in range(start, stop):
        context.path.loops = f"{before}[{i}]"
        scope.set(statement.name.text, i, statement.name.span)
        if body(context, statement.body, scope, in_model) is not None:
            fault("E0103", "`return` may not stand in a loop", statement.span)
    context.path.loops = before
