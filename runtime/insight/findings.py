"""Warns of faulty gradients and units of a model, and names remedies that the model does not use yet.

The findings follow from measurements and from the elaborated model: the blocks and operations that it applies, and the
initial values of its parameters. The text of the file is never searched.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct

from netc.compiler.ir.roles import Role
from netc.compiler.model import Model, ParameterInfo
from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.source import Span
from netc.runtime.insight.gradients import Layer, Measured, Reach, Units
from netc.runtime.runs.run import Run

FAINT = 1e-3  # of the gradient at the last step: nothing is learned from less
_LOUD = 1e2  # of the gradient at the last step: it explodes
_FAR_APART = 1e-4  # the ratio of two layers' relative gradients at which one of them vanishes
_MANY = 0.5  # the share of a layer's units that are stuck
_LSTMS = {"lstm", "lstm_peephole", "lstm_layernorm", "lstm_cell"}
_GATED = {*_LSTMS, "gru", "gru_cell"}
_NORMALISATIONS = {"layernorm", "batchnorm"}
_DEFAULT_LSTM_BIAS = (0.0, 1.0, 0.0, 0.0)  # lstm(n, forget = 1)
Remedies = Sequence[tuple[bool, str]]  # whether the model could use it, and what to write


class Recurrence(Struct, frozen=True):
    """A scan of the model: the blocks inside which it was applied, and the parameters that its body reads."""

    blocks: frozenset[str]
    parameters: tuple[ParameterInfo, ...]

    @classmethod
    def at(cls, model: Model, span: Span) -> "Recurrence":
        """The scans that belong to a span of the text (a bidirectional layer has two)."""
        scans = [value for value in model.graph.values(Role.SCAN) if value.span == span]
        blocks = {
            application.name
            for application in model.applications
            if any(application.first <= scan.number < application.end for scan in scans)
        }
        parameters = {*model.graph.values(Role.PARAMETER)}
        names = {leaf.name for scan in scans for leaf in scan.operands if leaf in parameters}
        return cls(frozenset(blocks), tuple(model.trainables[name] for name in sorted(names)))

    @property
    def is_gated(self) -> bool:
        """Whether it is an LSTM or a GRU."""
        return not self.blocks.isdisjoint(_GATED)

    @property
    def may_forget_less(self) -> bool:
        """Whether it is an LSTM whose forget gate begins as it does by default."""
        biases = (info.numbers for info in self.parameters if info.initial == "constant")
        return not self.blocks.isdisjoint(_LSTMS) and _DEFAULT_LSTM_BIAS in biases

    @property
    def may_be_orthogonal(self) -> bool:
        """Whether it has no gates and no matrix that begins orthogonal."""
        return not self.is_gated and all(info.initial != "orthogonal" for info in self.parameters)


def findings_of(run: Run, measured: Measured, share: float) -> Iterator[Diagnostic]:
    """All warnings. A gradient vanishes in time if it does not reach this share of the steps."""
    applied = frozenset(application.name for application in run.model.applications)
    for states in _by_scan(measured.reaches):
        yield from _in_time(run.model, states, share, measured.has_step_losses)
    yield from _through_layers(run.model, measured.layers, applied)
    yield from _stuck(run, measured, applied)


def _by_scan(reaches: Sequence[Reach]) -> list[list[Reach]]:
    """The states of each scan."""
    groups: dict[str, list[Reach]] = {}
    for reach in reaches:
        groups.setdefault(reach.group, []).append(reach)
    return list(groups.values())


def _in_time(model: Model, states: Sequence[Reach], share: float, has_step_losses: bool) -> Iterator[Diagnostic]:
    """Whether the gradient of a scan's states vanishes or explodes on its way back in time.

    A loss for each step needs no gradient from afar if what it compares with depends on near steps, as the next letter
    of a text does. A gated layer learns by itself how far back to look, and one that is made to remember more learns
    such a text worse (docs/course/21-language.md), so that there is no advice for it.
    """
    applied = {application.name for application in model.applications}
    span, recurrence = states[0].span, Recurrence.at(model, states[0].span)
    names = " and ".join(f"`{state.name}`" for state in states)
    steps = min(len(state.sizes) for state in states)
    # what one state loses, another may keep
    ratios = np.max([state.sizes[:steps] / state.sizes[0] for state in states], axis=0)
    faint = np.flatnonzero(ratios < FAINT)
    if len(faint) and faint[0] < share * steps and not (has_step_losses and recurrence.is_gated):
        yield _warning(
            "W1001",
            f"the gradient vanishes on its way back in time: it reaches {faint[0]} of {steps} steps",
            Label(span, f"{names}, {steps - 1} steps back: {_number(ratios[-1])} of the last step's"),
            (
                (not recurrence.is_gated, "lstm(n) or gru(n), whose states last for many steps"),
                (recurrence.may_forget_less, "lstm(n, forget = 3)"),
                (recurrence.may_be_orthogonal, "param U: float[n, n] = orthogonal"),
                (not has_step_losses, "attention, or a mean over all steps, is a shorter way"),
                (has_step_losses, "attention to earlier steps is a shorter way"),
            ),
        )
    elif ratios.max() > _LOUD:
        farthest = int(ratios.argmax())
        yield _warning(
            "W1002",
            f"the gradient explodes on its way back in time: {_number(ratios[farthest])} times in {farthest} steps",
            Label(span, names),
            (
                (model.train.clip_norm is None, "clip_norm = 1"),
                (recurrence.may_be_orthogonal, "param U: float[n, n] = orthogonal"),
                ("lstm_layernorm" not in applied, "lstm_layernorm(n)"),
                (True, "a smaller rate"),
            ),
        )


def _through_layers(model: Model, layers: Sequence[Layer], applied: frozenset[str]) -> Iterator[Diagnostic]:
    """Whether the gradient vanishes or explodes on its way through the layers, which are in the order of the model."""
    moved = [layer for layer in layers if layer.relative > 0]
    if len(moved) < 2:
        return
    least, most = (choose(moved, key=lambda layer: layer.relative) for choose in (min, max))
    if least.relative < _FAR_APART * most.relative:
        vanishes = layers.index(least) < layers.index(most)
        yield _warning(
            "W1003",
            f"the gradient {'vanishes' if vanishes else 'explodes'} on its way through the layers",
            Label(
                (least if vanishes else most).span,
                f"`{least.name}` gets {least.relative:.1e} of its size, `{most.name}` {most.relative:.1e}",
            ),
            (
                (not applied.isdisjoint({"sigmoid", "tanh"}), "relu in place of sigmoid and tanh"),
                (applied.isdisjoint(_NORMALISATIONS), "layernorm or batchnorm between the layers"),
                ("residual" not in applied, "residual(...) around some"),
                (not vanishes and model.train.clip_norm is None, "clip_norm = 1"),
            ),
        )


def _stuck(run: Run, measured: Measured, applied: frozenset[str]) -> Iterator[Diagnostic]:
    """Layers with many dead or saturated units: a warning for each line of the file, which may make several layers."""
    unscaled = [warning for warning in run.load_data().warnings if warning.code == "W0801"]
    steps = {step.name for field in run.spec.fields.values() for step in field.steps}
    groups: dict[tuple[str, Span], list[Units]] = {}
    for layer in measured.units:
        if layer.stuck > 1 and layer.stuck >= _MANY * layer.count:
            groups.setdefault((layer.operation, layer.span), []).append(layer)
    for (operation, span), layers in groups.items():
        is_dead = operation == "relu"
        state, where = ("dead", "0 for all") if is_dead else ("saturated", "at a bound for nearly all")
        counts = [f"{layer.stuck} of {layer.count}" for layer in layers]
        several = f" in {len(layers)} layers" if len(layers) > 1 else ""
        title = f"{' and '.join(filter(None, (', '.join(counts[:-1]), counts[-1])))} units are {state}{several}"
        remedies = (
            (bool(unscaled), _scaled_first(unscaled)),
            (not unscaled, "a smaller lr"),
            (is_dead and not unscaled, "leaky_relu"),
            (applied.isdisjoint(_NORMALISATIONS) and not unscaled, "layernorm or batchnorm before it"),
            (
                not is_dead and not unscaled and steps.isdisjoint({"standardize", "minmax"}),
                "-> standardize in the data block",
            ),
        )
        label = Label(span, f"{where} of {measured.samples} samples")
        yield _warning("W1004" if is_dead else "W1005", title, label, remedies)


def _scaled_first(unscaled: Sequence[Diagnostic]) -> str:
    """The hint to mend what most likely causes units that are stuck: inputs of very different scale."""
    if not unscaled:
        return ""
    span = unscaled[0].primary.span
    return f"{unscaled[0].title} (W0801), which may be the cause: first `-> standardize` in line {span.line}"


def _warning(code: str, title: str, label: Label, remedies: Remedies) -> Diagnostic:
    """A diagnostic that hints at the remedies that the model could use."""
    return Diagnostic(code, title, label, hint="; ".join(text for is_open, text in remedies if is_open))


def _number(value: float) -> str:
    return "nothing" if value == 0 else f"{value:.1e}" if value < 0.01 or value >= 1000 else f"{value:.2g}"
