"""Schedules of the learning rate or of a loss: an expression of training's progress, elaborated into a graph of its
own.

The batch of that graph are steps of training.
"""

from typing import NoReturn

from netc.compiler.elaborate.bindings import BlockFunction, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Type, describe_sample
from netc.compiler.ir.value import apply
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.hints import Hint
from netc.dsl.structs import replace

PROGRESS = ("step", "epoch", "progress", "epochs")  # the inputs of a schedule's graph


def schedule_graph(context: Context, node: syntax.Expression) -> Graph:
    """The graph whose result `factor` is the schedule, computed from the inputs of PROGRESS.

    A library's schedule gets those of its parameters that are inputs without being written. Raises E0602 if the result
    is not a float of one number.
    """
    inner = Context.of(replace(context.rules, scan=_refuse_scan), context.globals)
    inner.graph.precision = "f64"
    scope = Scope(context.globals)
    for name in PROGRESS:
        scope.set(name, inner.graph.leaf(Role.INPUT, name, Type("f64", (BATCH,))), node.span)
    if isinstance(node, syntax.Text) and isinstance(scope.find(node.value), BlockFunction):
        fault(
            "E0602", "a schedule stands without quotes", node.span, hint=Hint.assignment("schedule", f"{node.value}()")
        )
    node = _with_progress(node, scope)
    value = inner.as_value(evaluate(inner, node, scope), node.span)
    if value.type.sample or not value.type.is_float:
        fault("E0602", "a schedule is one number, a factor", node.span, describe_sample(value.type))
    factor = value if value.type.is_batched else apply("broadcast", value, dims=(BATCH,))
    inner.graph.results[ResultKind.FACTOR.named()] = factor
    return inner.graph


def _with_progress(node: syntax.Expression, scope: Scope) -> syntax.Expression:
    """The application of a block with the inputs of PROGRESS that it takes and is not given; any other expression as it
    is."""
    if not isinstance(node, syntax.Name | syntax.Call):
        return node
    function = node.function if isinstance(node, syntax.Call) else node
    arguments = node.arguments if isinstance(node, syntax.Call) else ()
    target = scope.find(function.text) if isinstance(function, syntax.Name) else None
    if not isinstance(target, BlockFunction):
        return node
    named = {argument.name.text for argument in arguments if isinstance(argument.name, syntax.Name)}
    lacking = tuple(
        syntax.Argument(node.span, syntax.Name(node.span, name), syntax.Name(node.span, name))
        for name in (parameter.name.text for parameter in target.block.parameters)
        if name in PROGRESS and name not in named
    )
    return syntax.Call(node.span, function, (*arguments, *lacking))


def _refuse_scan(context: Context, node: syntax.Scan, scope: Scope) -> NoReturn:
    fault("E0602", "a schedule has no scan", node.span)
