"""Statements of a model or a block, in order: each adds values, results or parameters to the graph and names to the
scope.
"""

from collections.abc import Sequence
from itertools import chain, count, islice
from typing import NoReturn

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.advice.misnamed import explained
from netc.compiler.elaborate.bindings import Assigned, Broken, Item, Results, Scope
from netc.compiler.elaborate.context import BrokenName, Context
from netc.compiler.elaborate.declarations import declare, define_layer, parameter, state
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.elaborate.results import loss_or_metric, output, update, watch
from netc.compiler.elaborate.signatures import match_type
from netc.compiler.ir.value import Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, fault
from netc.dsl.hints import Hint
from netc.dsl.keywords import STATEMENTS
from netc.dsl.plural import counted
from netc.dsl.source import Span

_MOST_TURNS = 10_000
_OF_MODELS = (syntax.Input, syntax.Target, syntax.Output, syntax.Loss, syntax.Metric, syntax.Watch)


def body(context: Context, statements: Sequence[syntax.Statement], scope: Scope, in_model: bool) -> Results | None:
    """Runs statements in order, and returns what `return` gives.

    In a model, each fault is noted and the next statement runs; in a block, the fault goes to the application of the
    block.
    """
    result: Results | None = None
    outer = context.path.assign, context.path.applied  # of the statement that a scan stands in
    for statement in reversed(statements):  # the first span of each name stays
        scope.later.update({name.text: name.span for name in assigned(statement)})
    for statement in statements:
        try:
            if result is not None:
                fault("E0103", "nothing runs after `return`", statement.span)
            context.count(statement.span)
            first, parameters = context.graph.size, len(context.parameters)
            result = run_statement(context, statement, scope, in_model) or result
            _note_assigned(context, statement, scope, first, parameters)
        except Fault as error:
            if not in_model:
                raise
            meant = explained(context, statement, error)
            context.diagnostics.note(meant)
            _break_names(statement, scope)
            if isinstance(statement, syntax.Return):  # its value has no name, and later statements may want one
                scope.set("", Broken(), statement.span)
            if meant is not error and isinstance(statement, syntax.Assign):
                scope.set("", Broken(), statement.span)  # the name that was meant is not known
        except BrokenName:
            if not in_model:
                raise
            _break_names(statement, scope)
    context.path.assign, context.path.applied = outer
    return result


def _note_assigned(
    context: Context, statement: syntax.Statement, scope: Scope, first: int, parameters_before: int
) -> None:
    """Notes for the editor which values the names of a statement in the user's own text stand for."""
    if statement.span.source.is_library:
        return
    end, parameters = (
        context.graph.size,
        tuple(islice(context.parameters, parameters_before, None)),
    )
    for name in assigned(statement):
        value = scope.names.get(name.text)
        if isinstance(value, Value):
            context.assigned.append(Assigned(name.span, value, first, end, parameters))


def _break_names(statement: syntax.Statement, scope: Scope) -> None:
    for name in assigned(statement):
        scope.set(name.text, Broken(), name.span)


def assigned(statement: syntax.Statement) -> Sequence[syntax.Name]:
    """The names that a statement gives a meaning to."""
    names = getattr(statement, "names", None) or [getattr(statement, "name", None)]
    return [name for name in names if isinstance(name, syntax.Name)]


def run_statement(  # noqa: C901  a case for each kind of node
    context: Context, statement: syntax.Statement, scope: Scope, in_model: bool
) -> Results | None:
    """Runs one statement, and returns what a `return` gives."""
    if isinstance(statement, _OF_MODELS) and not in_model:
        fault("E0103", f"`{statement.span.text.split()[0]}` stands in a model, not in a block", statement.span)
    match statement:
        case syntax.Input() | syntax.Target():
            declare(context, statement, scope)
        case syntax.Output(name=name):
            result = output(context, statement, scope)
            scope.set(name.text, result, name.span)
            context.outputs.add(name.text)
            _note_name(context, name.text, result)
        case syntax.Loss() | syntax.Metric():
            loss_or_metric(context, statement, scope)
        case syntax.Param():
            parameter(context, statement, scope)
        case syntax.Assign():
            assign(context, statement, scope)
        case syntax.Layer():
            define_layer(context, statement, scope)
        case syntax.For():
            loop(context, statement, scope, in_model)
        case syntax.Return(values=values):
            if in_model:
                hint = _as_outputs(values, statement.span, scope)
                fault("E0103", "`return` stands in a block, not in a model", statement.span, hint=hint)
            context.path.start("", statement)
            return Results(tuple(evaluate(context, value, scope) for value in values))
        case syntax.Yield():
            fault("E0103", "`yield` stands in a scan", statement.span)
        case syntax.State():
            state(context, statement, scope)
        case syntax.Update():
            update(context, statement, scope)
        case syntax.Watch():
            watch(context, statement, scope)
    return None


def assign(context: Context, statement: syntax.Assign, scope: Scope) -> None:
    """Gives one name the first result of an expression, or several names a result each.

    Raises E0301 if there are too few.
    """
    names, node = statement.names, statement.value
    if statement.type is not None and names[0].text in STATEMENTS:
        _refuse_colon(statement, statement.type, names[0], scope)
    context.path.start(names[0].text, statement)
    item = evaluate(context, node, scope)
    if len(names) == 1:
        if isinstance(item, Results):
            item = item.items[0]
        if statement.type is not None:
            item = context.as_value(item, node.span)
            for dimension, size in match_type(context, statement.type, item, scope, node.span).items():
                scope.set(dimension, size, statement.type.span)
        scope.set(names[0].text, item, names[0].span)
        _note_name(context, context.path.assign, item)
        return
    items = item.items if isinstance(item, Results) else (item,)
    if len(items) < len(names):
        fault(
            "E0301",
            f"{len(names)} names for {counted(len(items), 'result')}",
            names[len(items)].span,
            others=[Label(node.span, f"this gives {len(items)}")],
        )
    for name, result in zip(names, items, strict=False):
        scope.set(name.text, result, name.span)
        _note_name(context, name.text, result)


def _as_outputs(values: Sequence[syntax.Expression], span: Span, scope: Scope) -> Hint:
    """The hint for `return h` in a model: an output for each value, with a name that is not taken."""
    taken = {*scope.all_names(), *scope.later}
    free = chain(("y", "prediction"), (f"output_{number}" for number in count(1)))
    names = (name for name in free if name not in taken)
    lines = [f"output {name} = {value.span.text}" for name, value in zip(names, values, strict=False)]
    return Hint.code(lines[0], span) if len(lines) == 1 else Hint(", ".join(lines) + ", in a line each")


def _refuse_colon(statement: syntax.Assign, type_: syntax.TypeOf, word: syntax.Name, scope: Scope) -> NoReturn:
    """Raises E0103 for `output: y = h`, which is read as a value `output` of the type `y`."""
    scope.set(type_.span.text, Broken(), type_.span)
    hint = Hint.code(f"{word.text} {type_.span.text} = {statement.value.span.text}", statement.span)
    fault("E0103", f"no `:` stands after `{word.text}`", word.span, "a name follows", hint=hint)


def _note_name(context: Context, name: str, item: Item) -> None:
    """Notes the model's own name for a value, for whatever shows the value."""
    if isinstance(item, Value) and not context.calls and not context.frames and item.operands:
        context.named.setdefault(name, item)


def loop(context: Context, statement: syntax.For, scope: Scope, in_model: bool) -> None:
    """Runs the statements of a `for` once for each number, written out. Raises E0304 if it has too many turns."""
    start, stop = (
        constants.integer(constant(context, bound, scope), bound.span, what, least=-(10**6))
        for bound, what in ((statement.start, "the start of a loop"), (statement.stop, "the end of a loop"))
    )
    if stop - start > _MOST_TURNS:
        fault(
            "E0304",
            f"a loop of {stop - start} turns",
            statement.stop.span,
            f"a loop is unrolled when compiled; {_MOST_TURNS:,} turns are the most",
        )
    before = context.path.loops
    for i in range(start, stop):
        context.path.loops = f"{before}[{i}]"
        scope.set(statement.name.text, i, statement.name.span)
        if body(context, statement.body, scope, in_model) is not None:
            fault("E0103", "`return` may not stand in a loop", statement.span)
    context.path.loops = before
