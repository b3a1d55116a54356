"""Checks of an elaborated model: results that cannot be computed or learned, names that nothing reads, settings that
match nothing.

Both checks look only at models without errors.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Self

from msgspec import Struct

from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant
from netc.compiler.ir.forms import SplitMetric
from netc.compiler.ir.graph import Graph, dependents, needed_by
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Better, TrainSettings
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostics, nearest, nearest_or_all
from netc.dsl.source import Span


def check_results(context: Context, file: syntax.File) -> None:
    """Notes a model without results, inputs and parameters that nothing reads, and results of the wrong kind."""
    if context.diagnostics.errors:
        return
    if not context.graph.results and any(isinstance(item, syntax.Model) for item in file.items):
        context.diagnostics.add(
            "E0501",
            "the model has no results",
            Span(file.source, 0, 0),
            "it has no output and no loss",
            hint="`output y = ...`, and `loss mse(y, target)` without a `=` after `loss`",
        )
    live = context.graph.live()
    for value in context.graph.values():
        if value not in live and value.name and value.role is not Role.GIVEN:
            context.diagnostics.add("W0501", f"nothing reads the {value.operation} `{value.name}`", value.span)
    dependence = _Dependence.of(context.graph)
    for result, value in context.graph.results.items():
        _check_result(context, result, value, dependence)


class _Dependence(Struct, frozen=True):
    """The values that are computed from a target, from a parameter and from a split metric, with these themselves.

    A pass for each: a model may have hundreds of results, such as the updates of its states.
    """

    targets: set[Value]
    parameters: set[Value]
    split_metrics: set[Value]

    @classmethod
    def of(cls, graph: Graph) -> Self:
        values = graph.values()
        return cls(
            dependents(graph, [value for value in values if value.role is Role.TARGET]),
            dependents(graph, [value for value in values if value.role is Role.PARAMETER]),
            dependents(graph, [value for value in values if _is_split_metric(value)]),
        )


def _is_split_metric(value: Value) -> bool:
    return isinstance(value.lower, SplitMetric)


def _check_result(context: Context, result: Result, value: Value, dependence: _Dependence) -> None:
    """Notes an output that needs a target, a loss without parameters, and a split metric outside of a metric."""
    if result.kind is ResultKind.OUTPUT and value in dependence.targets:
        context.diagnostics.add(
            "E0505", f"the output `{result.name}` needs a target", value.span, "a prediction has no target to read"
        )
    if value in dependence.split_metrics and result.kind not in (ResultKind.METRIC, ResultKind.FITTED):
        first = min(filter(_is_split_metric, needed_by([value])), key=lambda operand: operand.number)
        note, hint = "only a metric may use it", "fitted(...) keeps a metric of the training split"
        context.diagnostics.add("E0503", "this is a split metric", first.span, note, hint=hint)
    if result.kind is ResultKind.FITTED and value.operation == "conformal_quantile" and value not in dependence.targets:
        note = "`conformal` compares a prediction with its target"
        context.diagnostics.add("E0509", "these scores depend on no target", value.span, note)
    if result.kind is ResultKind.LOSS and value not in dependence.parameters:
        context.diagnostics.add("E0502", "this loss depends on no parameter", value.span, "nothing can learn from it")


def check_settings(context: Context, settings: Sequence[syntax.Setting], train: TrainSettings) -> None:
    """Notes settings that name a parameter, a loss, a metric or a dimension that the model does not have."""
    if context.diagnostics.errors:
        return
    for better in train.watched_metrics:
        check_metric(context.graph, context.diagnostics, better)
    for setting in settings:
        if setting.name.text == "truncate" and isinstance(setting.value, syntax.Tuple):
            _check_dimension(context, setting.value.entries[0].name)
        if setting.name.text == "loss_scale" and isinstance(setting.value, syntax.Tuple):
            _check_losses(context, [entry.name for entry in setting.value.entries])
    for setting in settings:
        if setting.name.text == "freeze":
            nodes = setting.value.items if isinstance(setting.value, syntax.ListOf) else (setting.value,)
            _check_patterns(context, nodes)
        elif setting.name.text == "lr_scale" and isinstance(setting.value, syntax.Tuple):
            _check_patterns(context, [entry.name for entry in setting.value.entries if entry.name is not None])


def check_metric(graph: Graph, diagnostics: Diagnostics, better: Better) -> None:
    """Notes a metric that an epoch does not have: the part `train` has only the losses."""
    losses, metrics = graph.results_of(ResultKind.LOSS), graph.results_of(ResultKind.METRIC)
    if not losses:
        return
    part, _, name = better.metric.partition(".")
    matrices = [key for key, value in metrics.items() if value.type.dims and not value.type.is_batched]
    if part == "valid" and name in matrices:
        diagnostics.add("E0602", f"`{better.metric}` is a matrix: none is better", better.span)
        return
    names = ["loss", *(losses if len(losses) > 1 else ()), *(["penalty"] if graph.penalties() else ())]
    if part == "valid":
        names += [key for key in metrics if key not in matrices]
    if name not in names:
        hint = f"valid.{name}" if name in metrics else None
        hint = hint or nearest(name, names) or f"there are {', '.join(f'{part}.{key}' for key in names)}"
        diagnostics.add("E0602", f"no epoch has a metric `{better.metric}`", better.span, hint=hint)


def _check_dimension(context: Context, name: syntax.Expression | None) -> None:
    dimensions = context.dimensions.spans
    if isinstance(name, syntax.Name) and name.text not in dimensions:
        hint = nearest(name.text, dimensions) or "input x: float[time, 3] has the dimension time"
        context.diagnostics.add("E0602", f"no input has the dimension `{name.text}`", name.span, hint=hint)


def _check_losses(context: Context, names: Sequence[syntax.Expression | None]) -> None:
    losses = list(context.graph.results_of(ResultKind.LOSS))
    for name in names:
        if isinstance(name, syntax.Name) and name.text not in losses:
            hint = nearest_or_all(name.text, losses)
            context.diagnostics.add("E0602", f"there is no loss `{name.text}`", name.span, hint=hint)


def _check_patterns(context: Context, nodes: Sequence[syntax.Expression]) -> None:
    for node in nodes:
        pattern = constant(context, node, context.globals)
        if not any(fnmatchcase(name, pattern) for name in (*context.parameters, *context.states)):
            context.diagnostics.add(
                "E0602",
                f'no parameter is called "{pattern}"',
                node.span,
                hint=nearest(pattern, context.parameters) or f"there are {', '.join(list(context.parameters)[:6])}",
            )
