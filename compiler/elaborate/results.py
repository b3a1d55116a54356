"""Statements that give the model its results: outputs, losses, metrics, watched values, next values of states."""

from netc.compiler.elaborate.bindings import BlockFunction, Scope, Weighted
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Bounded, describe_sample
from netc.compiler.ir.value import Value
from netc.compiler.operations import sequence
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault
from netc.dsl.hints import Hint
from netc.dsl.source import Span


def output(context: Context, statement: syntax.Output, scope: Scope) -> Value:
    """Adds an output, and the length of each dimension that is stored at its bound."""
    name, node = statement.name, statement.value
    context.path.start(name.text, statement)
    result = context.as_value(evaluate(context, node, scope), node.span)
    add_result(context, ResultKind.OUTPUT.named(name.text), result, name.span)
    for dim in result.type.dims:
        if isinstance(dim, Bounded):  # a reader of the output needs to know where each sample ends
            context.graph.results[ResultKind.LENGTH.named(dim.name)] = sequence.lengths(context.graph, dim.name)
    return result


def loss_or_metric(context: Context, statement: syntax.Loss | syntax.Metric, scope: Scope) -> None:
    """Adds a loss or a metric, and the weight that its sum is divided by if it is weighted.

    Raises E0402 for a loss of integers.
    """
    kind = ResultKind.LOSS if isinstance(statement, syntax.Loss) else ResultKind.METRIC
    label, node, word = statement.name, statement.value, kind.value
    if label is not None and label.text == "loss":
        fault("E0202", "`loss` is the sum of all losses", label.span, hint=f"{word} another_name = ...")
    name = label.text if label else _applied_name(node) or ("objective" if kind is ResultKind.LOSS else word)
    context.path.start(name, statement)
    before, context.may_own = context.may_own, False
    try:
        item = evaluate(context, node, scope)
        if isinstance(item, BlockFunction):
            _refuse_unapplied(context, item, node)
        result = item.value if isinstance(item, Weighted) else context.as_value(item, node.span)
    finally:
        context.may_own = before
    if kind is ResultKind.LOSS and not result.type.is_float:
        fault("E0402", "a loss is a float", node.span, f"this is {describe_sample(result.type)}")
    key = kind.named(name)
    add_result(context, key, result, node.span)
    if isinstance(item, Weighted) and key.weight is not None:
        context.graph.results[key.weight] = item.weight


def _refuse_unapplied(context: Context, item: BlockFunction, node: syntax.Expression) -> None:
    """Raises E0205 for `loss cross_entropy`, with what the model may compare."""
    called = node.arguments if isinstance(node, syntax.Call) else ()
    operands = [*list(context.named)[-1:], *list(context.targets)[:1]]
    if len(item.block.parameters) < 2 or len(operands) < 2 or not item.block.span.source.is_library:
        return
    written = [argument.span.text for argument in called if argument.name is not None]
    call = f"{item.block.name.text}({', '.join([*operands, *written])})"
    hint = Hint.code(call, node.span)
    fault("E0205", "a block is not a value", node.span, "it has to be applied to something", hint=hint)


def _applied_name(node: syntax.Expression) -> str:
    """The name of the function that an expression applies last, or "" if there is none."""
    inner = node.value if isinstance(node, syntax.Group) else node
    function = inner.into if isinstance(inner, syntax.Pipe) else inner
    while isinstance(function, syntax.Call | syntax.Attribute):
        function = function.function if isinstance(function, syntax.Call) else function.name
    return function.text if isinstance(function, syntax.Name) else ""


def watch(context: Context, statement: syntax.Watch, scope: Scope) -> None:
    """Adds a watched value. Raises E0402 if it is not a float."""
    context.path.start(statement.name.text, statement)
    value = context.as_value(evaluate(context, statement.value, scope), statement.value.span)
    if not value.type.is_float:
        fault("E0402", "a watched value is a float", statement.value.span, f"this is {describe_sample(value.type)}")
    add_result(context, ResultKind.WATCH.named(statement.name.text), value, statement.value.span)


def update(context: Context, statement: syntax.Update, scope: Scope) -> None:
    """Adds a state's next value, after a step of training. Raises E0401 if its type is not the state's, E0202 if it has
    one already. A shared layer's further application replaces the value of the one before, which its own is based on.
    """
    name, node = statement.name, statement.value
    state = scope.find(name.text)
    if isinstance(state, Value):
        state = context.states_of.get(state, state)
    if not isinstance(state, Value) or state.role is not Role.STATE:
        fault("E0205", f"`{name.text}` is not a state", name.span, hint=f"state {name.text}: float[...] = zeros")
    value = context.as_value(evaluate(context, node, scope), node.span, like=state)
    if value.type.dims != state.type.dims or value.type.dtype != state.type.dtype:
        in_batch = " for each sample: it has to reduce over `batch`" if value.type.is_batched else ""
        fault(
            "E0401",
            f"the state `{name.text}` is {describe_sample(state.type)}",
            node.span,
            f"this is {describe_sample(value.type)}{in_batch}",
            others=[Label(context.states[state.name].span, "declared here")],
        )
    result = ResultKind.UPDATE.named(state.name)
    before = context.graph.results.get(result)
    if before is not None and context.replaceable.get(result) is not before:
        first = Label(before.span, "the first one")
        fault("E0202", f"the state `{name.text}` has a next value already", name.span, others=[first])
    context.graph.results[result] = value


def add_result(context: Context, result: Result, value: Value, span: Span) -> None:
    """Adds a result of the graph. Raises E0202 if there is one of this name, E0401 if its steps cannot be reduced."""
    kind = result.kind.value
    if result in context.graph.results:
        fault(
            "E0202",
            f"there is {'an' if kind[0] in 'aeiou' else 'a'} {kind} `{result.name}` already",
            span,
            others=[Label(context.graph.results[result].span, "the first one")],
            hint=f"{kind} another_name = ...",
        )
    if value.type.is_held and result.kind is not ResultKind.OUTPUT:
        dims = [dim.name for dim in value.type.dims if isinstance(dim, Bounded)]
        limit = "one varying dimension at most" if len(dims) > 1 else "no steps whose number the model itself makes"
        note, hint = f"this is {describe_sample(value.type)}", f"take a mean: mean(e, over = {dims[-1]})"
        fault("E0401", f"a {kind} has {limit}", span, note, hint=hint)
    context.graph.results[result] = value
