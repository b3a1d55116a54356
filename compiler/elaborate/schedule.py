"""A schedule, of the rate or of a loss: an expression of where training stands, elaborated into a small graph of its own whose batch are steps."""

from netc.compiler.elaborate.bindings import BlockFunction, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import BATCH, Type, describe_sample
from netc.compiler.ir.value import apply
from netc.dsl import syntax
from netc.dsl.diagnostics import fault

STANDING = ("step", "epoch", "progress", "epochs")


def schedule_graph(context: Context, node: syntax.Expression) -> Graph:
    """The graph whose result `factor` is the schedule, from the inputs of STANDING. What a library's schedule lacks of them is filled in."""
    inner = Context(context.apply, context.forms, context.globals)
    inner.graph.precision = "f64"
    scope = Scope(context.globals)
    for name in STANDING:
        scope.set(name, inner.graph.leaf("input", name, Type("f64", (BATCH,))), node.span)
    if isinstance(node, syntax.Name | syntax.Call):
        function = node.function if isinstance(node, syntax.Call) else node
        arguments = node.arguments if isinstance(node, syntax.Call) else ()
        found = scope.find(function.text) if isinstance(function, syntax.Name) else None
        if isinstance(found, BlockFunction):
            given = {argument.name.text for argument in arguments if isinstance(argument.name, syntax.Name)}
            lacking = tuple(
                syntax.Argument(node.span, syntax.Name(node.span, name), syntax.Name(node.span, name))
                for name in (parameter.name.text for parameter in found.block.parameters)
                if name in STANDING and name not in given
            )
            node = syntax.Call(node.span, function, (*arguments, *lacking))
    value = inner.as_value(evaluate(inner, node, scope), node.span)
    if value.type.sample or not value.type.is_float:
        fault("E0602", "a schedule is one number, a factor", node.span, describe_sample(value.type))
    inner.graph.results["factor"] = value if value.type.is_batched else apply("broadcast", value, dims=(BATCH,))
    return inner.graph
