"""Warnings about losses that a model can make small without learning anything: they compare with what it has read."""

from collections.abc import Iterable, Iterator

from netc.compiler.analysis.copying import copy_of, place_in_file, remedy, shifted
from netc.compiler.elaborate.advice.comparisons import comparisons_of, source_of
from netc.compiler.elaborate.context import Context
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph, dependents, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import TrainSettings
from netc.dsl.chains import steps_of
from netc.dsl.diagnostics import Diagnostic, Label


def compared_with_itself(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about `mse(y, y)`, and about losses none of which reads a target although the model has one."""
    comparisons = list(comparisons_of(context))
    same_source = [each for each in comparisons if source_of(each.prediction) is source_of(each.label)]
    for each in same_source:
        yield Diagnostic(
            "W0510",
            f"`{each.loss}` compares a value with itself, so that it is always 0",
            Label(context.user_span(each.span)),
            hint=f"a target in place of one of them: {next(iter(context.targets))}" if context.targets else None,
        )
    losses = context.graph.results_of(ResultKind.LOSS)
    read = dependents(context.graph, context.graph.values(Role.TARGET))
    if same_source or not losses or not context.targets or any(loss in read for loss in losses.values()):
        return
    if _compares_with_input(context.graph, losses.values()):
        return  # an autoencoder may have a target for its metrics
    name = next(iter(context.targets))
    span = next(iter(losses.values())).span
    yield Diagnostic(
        "W0510",
        f"no loss reads the target `{name}`",
        Label(context.user_span(span)),
        (Label(context.declared[name], "it has no influence on training"),),
        "mse(y, target) compares a number with its target, cross_entropy(logits, target) a class",
    )


def _compares_with_input(graph: Graph, losses: Iterable[Value]) -> bool:
    """Whether an element-wise operation takes what a model has computed and an input as it is, as an autoencoder's loss
    does."""
    learned, from_inputs = (dependents(graph, graph.values(role)) for role in (Role.PARAMETER, Role.INPUT))
    return any(
        isinstance(value.lower, Scalar)
        and not learned.isdisjoint(value.operands)
        and any(operand in from_inputs and operand not in learned for operand in value.operands)
        for value in needed_by(losses)
        if value.operands
    )


def compared_with_an_input(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about a loss whose label is an input of one number or class. It may well be one of a differential
    equation, whose other side is a derivative."""
    for each in comparisons_of(context):
        leaf = source_of(each.label)
        sources = needed_by([each.prediction])
        if leaf.role is not Role.INPUT or leaf.type.sample or any(value.role is Role.DERIVATIVE for value in sources):
            continue
        if not any(value.role is Role.PARAMETER for value in sources):
            continue
        fact = (
            "the model reads it as well, and can copy it"
            if leaf in sources
            else "the prediction does not read it, as it would not read a target"
        )
        yield Diagnostic(
            "W0512",
            f"`{each.loss}` compares with the input `{leaf.name}`, which is not a target",
            Label(context.user_span(each.label_span)),
            (Label(context.declared[leaf.name], fact),),
            f"`target {leaf.name}: ...` in place of `input {leaf.name}: ...`",
        )


def copied(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about a loss that asks, at each step, for what the model reads at that step."""
    for each in comparisons_of(context):
        leaves = _inputs_of(each.label)
        copy = copy_of(context.graph, each, leaves[0], leaves[0]) if len(leaves) == 1 else None
        if copy is None:
            continue
        name, others, asked = copy.source.name, [], context.user_span(each.label_span)
        hint = remedy(copy, leaves[0].name, asked.text, context.applications)
        if hint is None:
            hint = shifted(copy, context.applications)
            if name in context.fields and "window" in steps_of(context.fields[name]):
                hint = f"{hint}; or a target whose field has `next(1)` before `window`"
        if copy.reader is not copy.source:
            span = place_in_file(context.applications, copy.reader)
            others = [Label(span, "this reads the step that is asked for")]
        yield Diagnostic(
            "W0511",
            f"the model can copy what `{each.loss}` asks for: it reads the same step of `{name}`",
            Label(asked, "this is an input" if asked.text == name else f"this is made of the input `{name}`"),
            tuple(others),
            hint,
        )


def _inputs_of(label: Value) -> list[Value]:
    """The inputs that a label is made of, without any parameter; empty if it has one."""
    sources = needed_by([label])
    if any(value.role in (Role.PARAMETER, Role.TARGET) for value in sources):
        return []
    return [value for value in sources if value.role is Role.INPUT]
