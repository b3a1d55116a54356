"""Raises E1002: a loss, a parameter or a state that is no longer a number, and what may help."""

import math
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from netc.compiler.ir.results import ResultKind
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span
from netc.runtime.data.stored import Array, Field
from netc.runtime.insight.nan_origin import find
from netc.runtime.metric_values import MetricValues
from netc.runtime.runs.run import Run
from netc.runtime.trainee import Trainee

_SMALLER = "a smaller rate; inputs of very different scale want `-> standardize`"
_BOUNDED = f"{_SMALLER}; `clip_norm` bounds a gradient"


def refuse_weights(run: Trainee, name: str) -> NoReturn:
    """Raises E1002 at a loss whose weights add up to 0 over the training part: there is nothing to learn from."""
    span = run.model.graph.results[ResultKind.LOSS.named(name)].span
    fault("E1002", f"the weights of the loss `{name}` add up to 0 over the part `train`", span, "it has no value")


def refuse_lost_numbers(run: Trainee) -> None:
    """Raises E1002 if a parameter is not finite after an epoch, or a state is NaN.

    The loss of the last step was computed before its update, and does not show it. The last checkpoint stays as it is.
    """
    for name, info in {**run.model.trainables, **run.model.states}.items():
        array = run.program.persistent[name]
        lost = np.isnan(array) if name in run.model.states else ~np.isfinite(array)
        if lost.any():
            kind = "made of numbers" if array.shape else "a number"
            title = f"`{name}` is no longer {kind}, after epoch {run.progress.epoch + 1}"
            label = f"{int(lost.sum()):,} of {array.size:,} elements overflowed in its last step"
            fault("E1002", title, info.span, label, hint=_BOUNDED)


def refuse_lost_loss(run: Trainee, part: str, metrics: MetricValues) -> None:
    """Raises E1002 if the loss on a part of the data is NaN: predictions overflow, though the parameters are finite."""
    loss = metrics["loss"]
    if isinstance(loss, float) and math.isnan(loss):
        _lost_loss(run, f"the loss of the part `{part}` is not a number")


def _lost_loss(run: Trainee, title: str) -> NoReturn:
    """Raises E1002 at the losses, if no single operation is known to be the cause."""
    first, *others = _spans_of_losses(run)
    is_weighted = run.model.graph.has(ResultKind.LOSS_WEIGHT)
    hint = f"{_SMALLER}; a weighted loss has no value where its weights add up to 0" if is_weighted else _SMALLER
    fault("E1002", title, first, others=[Label(span, "or this one") for span in others], hint=hint)


def _spans_of_losses(run: Trainee) -> list[Span]:
    return [value.span for value in run.model.graph.results_of(ResultKind.LOSS).values()]


def not_a_number(run: Trainee, fields: Mapping[str, Field], order: Array) -> None:
    """Raises E1002 at the operation that computed the first NaN; the last checkpoint stays as it is."""
    origin = find(run, fields, order, run.progress.step) if isinstance(run, Run) else None
    title = f"the loss is no longer a number, in epoch {run.progress.epoch + 1}, step {run.progress.step + 1}"
    if origin is not None and origin.value.span.source is run.model.source:
        origin_span = origin.value.span
        losses = [Label(span, "the loss") for span in _spans_of_losses(run) if span != origin_span]
        fault("E1002", title, origin_span, origin.sentence(), others=losses, hint=_BOUNDED)
    _lost_loss(run, title)
