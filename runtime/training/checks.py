"""Checks of a model's settings against its data that can be made before the first step of training.

`check_parts` needs only the names of the split's parts, and `check_schedules` also works without the data.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from netc.compiler.analysis.conformal import margins_of
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind
from netc.compiler.model import Model
from netc.compiler.operations.calibration import least_samples
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.plural import counted
from netc.runtime.data.stored import Array, Field
from netc.runtime.random import permutation
from netc.runtime.settings import setting_span
from netc.runtime.training.fitting import fitting_part
from netc.runtime.training.schedule import scheduled, steps_of_epoch

if TYPE_CHECKING:  # `netc check` without data does without what reads it
    from netc.runtime.data.dataset import Dataset

_MOST_STEPS = 20_000  # steps at which a schedule is computed; of a longer training, as many are picked evenly
_STEPS_AN_EPOCH = 100  # where the data is not read, and so the number of its samples is not known
_SINGLE_CLASS = 0.5  # the share of steps with one class only, from which class weights have little effect


def check_training(model: Model, dataset: "Dataset") -> list[Diagnostic]:
    """Refuses settings that would end training in a fault, and returns warnings for those with little effect.

    Raises E0602 and E0611. Warnings: W0514, W0611 and W0612.
    """
    from netc.runtime.inference.next_token import generation_warnings

    check_parts(model, dataset.parts)
    _check_conformal(model, dataset)
    fields = dataset.parts["train"]
    samples = max(map(len, fields.values()), default=1)
    _check_full_batch(model, samples)
    warnings = [warning for warning in _single_classes(model, fields) if not warning.is_silenced]
    sees_later = any(warning.code == "W0511" for warning in dataset.warnings)  # which says more
    warnings += generation_warnings(model, dataset.spec) if model.data is not None and not sees_later else []
    return [*check_schedules(model, steps_of_epoch(model.train, samples)), *warnings]


def _check_conformal(model: Model, dataset: "Dataset") -> None:
    """Raises E0602 if a part has too few samples for the level of conformal prediction: bounds would be infinite."""
    for margin in margins_of(model.graph).values():
        info = model.states[margin.state]
        part = fitting_part(info, dataset.parts)
        samples, least = len(dataset.parts[part][margin.target]), least_samples(margin.level)
        if samples < least:
            title = f"the level {margin.level:g} needs at least {counted(least, 'sample')} in the part `{part}`"
            hint = f"a level of at most {samples / (samples + 1):.2g}, or a larger part"
            fault("E0602", title, info.span, f"it has {samples:,}", hint=hint)


def _check_full_batch(model: Model, samples: int) -> None:
    """Raises E0602 if the optimizer searches for its steps, and a batch has not all samples: its loss would change."""
    train = model.train
    if OPTIMIZERS[train.optimizer.name].searches and train.batch < samples:
        title = f"`{train.optimizer.name}` takes all samples in one batch"
        label = f"a batch has {train.batch:,} of {samples:,} training samples"
        fault("E0602", title, setting_span(model, "batch"), label, hint=f"batch = {samples}")


def check_parts(model: Model, parts: Collection[str]) -> None:
    """Raises E0602 if a setting reads a metric of a part that the split does not have, or a state is fitted on it."""
    for info in model.states.values():
        if (part := fitting_part(info, parts)) not in parts:
            title = f"this is fitted on the part `{part}`, which the data does not have"
            hint = "split = (train = 0.7, valid = 0.1, test = 0.2)"
            fault("E0602", title, info.span, f"the parts are {', '.join(parts)}", hint=hint)
    for better in model.train.watched_metrics:
        if better.metric.startswith("valid.") and "valid" not in parts:
            title = f"`{better.metric}` needs a part `valid`, which the data does not have"
            hint = "train.loss, or a split with `valid = 0.1`"
            fault("E0602", title, better.span, f"the parts are {', '.join(parts)}", hint=hint)


def check_schedules(model: Model, steps_an_epoch: int | None = None) -> list[Diagnostic]:
    """Raises E0611 for a factor that is not a number or negative; returns W0612 for a rate that rises until the end.

    Without `steps_an_epoch`, schedules that read `step` are left out.
    """
    train = model.train
    graphs = [graph for graph in (train.schedule, *(scale for _, scale in train.loss_scale)) if graph is not None]
    if not graphs:
        return []
    if steps_an_epoch is None:
        if any(leaf.role is Role.INPUT and leaf.name == "step" for graph in graphs for leaf in graph.live()):
            return []
        steps_an_epoch = _STEPS_AN_EPOCH
    total = train.epochs * steps_an_epoch
    steps = np.unique(np.linspace(0, total - 1, min(total, _MOST_STEPS)).astype(np.int64))
    moving = scheduled(train, steps, steps_an_epoch)
    rates = moving[str(SuppliedKind.RATE.named())] / train.number("lr")
    _check_factors(model, "schedule", rates, steps / steps_an_epoch)
    for name, _ in train.loss_scale:
        scales = moving[str(SuppliedKind.LOSS_FACTOR.named(name))]
        _check_factors(model, "loss_scale", scales, steps / steps_an_epoch, f" of the loss `{name}`")
    if len(rates) < 2 or rates[-1] <= rates[-2] or (np.diff(rates) < 0).any():
        return []
    rises = Diagnostic(
        "W0612",
        f"the learning rate rises until training ends, at {rates[-1]:.3g} of `lr`",
        Label(setting_span(model, "schedule")),
        hint=f"a warm-up that is shorter than the {counted(train.epochs, 'epoch')}",
    )
    return [] if rises.is_silenced else [rises]


def _check_factors(model: Model, setting: str, values: Array, epochs: Array, what: str = "") -> None:
    """Raises E0611 at a setting if one of its factors is negative or no number. `epochs` has the epoch of each."""
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        value, epoch = values[wrong[0]], int(epochs[wrong[0]]) + 1
        title = f"the factor{what} is {'negative' if value < 0 else 'not a finite number'} in epoch {epoch}"
        hint = "maximum(0, ...) keeps it from falling below 0" if value < 0 else None
        fault("E0611", title, setting_span(model, setting), f"it is {value:.3g} there", hint=hint)


def _single_classes(model: Model, fields: Mapping[str, Field]) -> Iterator[Diagnostic]:
    """Yields W0611 for class weights that cancel, because most steps have samples of one class only."""
    train = model.train
    if train.samples_per_step == 1:
        return  # the model has this warning, without its data
    for name, info in model.states.items():
        labels = fields.get(info.weights_of or "")
        if not isinstance(labels, np.ndarray) or labels.ndim != 1 or not _divides_by(model, name):
            continue
        order = permutation(len(labels), train.seed, 0) if train.shuffle else np.arange(len(labels))
        starts = np.arange(0, len(labels), train.samples_per_step)
        lowest, highest = (reduce.reduceat(labels[order], starts) for reduce in (np.minimum, np.maximum))
        single = int((lowest == highest).sum())
        if single >= _SINGLE_CLASS * len(starts):
            yield Diagnostic(
                "W0611",
                f"class weights have little effect: {single:,} of {len(starts):,} steps have samples of a single class",
                Label(info.span, "a step divides by the sum of its samples' weights, which cancels them there"),
                hint="shuffle = true" if not train.shuffle else "a larger `batch`, or `accumulate`",
            )


def _divides_by(model: Model, state: str) -> bool:
    """Whether a loss is divided by weights that are read from this state."""
    weights = model.graph.results_of(ResultKind.LOSS_WEIGHT).values()
    return any(leaf.role is Role.STATE and leaf.name == state for leaf in needed_by(weights))
