"""What becomes of a run's gradients: how much of one arrives at each step back in time and at each layer, which units are dead or saturated, and what the file
could do about it. A few samples of the training part, in the reference interpreter: one batch for the gradients, more for the units.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.diagnosis import Probe, diagnosis
from netc.compiler.ir.graph import Graph
from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.quoting import plot_text
from netc.dsl.source import Span
from netc.runtime.checkpoint import place_of
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.program import Program
from netc.runtime.random import permutation
from netc.runtime.run import Run

SAMPLES = 64
STEPS = 50_000  # of all samples, at which units are looked at
FAINT = 1e-3  # of the gradient at the nearest step: what is less, nothing is learned from
LOUD = 1e2
NOTHING = 1e-12  # of the nearest step's: what comes after it may be rounded to 0
FAR_APART = 1e-4  # of two layers' gradients, each by its weights' size
ALWAYS = 0.99  # of the samples (and steps) at which a unit is at its end
MANY = 0.5  # of a layer's units
SHARE = 0.5  # of the samples, which are so long


@dataclass(frozen=True, slots=True)
class Reach:
    """Of a state of the scan `group`: `sizes[k]` is the size of the gradient, of the loss at a sample's last step, k steps back from it."""

    name: str
    group: str
    span: Span
    sizes: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """A weight: the size of its gradient, and of itself."""

    name: str
    span: Span
    gradient: float
    weight: float

    @property
    def relative(self) -> float:
        return self.gradient / self.weight if self.weight else 0.0


@dataclass(frozen=True, slots=True)
class Units:
    """Of a layer's units, how many are always at an end: never above 0 for a ReLU, within a hundredth of a bound for the others."""

    operation: str
    span: Span
    count: int
    stuck: int


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """All that was measured, and what is wrong with it."""

    reaches: tuple[Reach, ...]
    layers: tuple[Layer, ...]
    units: tuple[Units, ...]
    findings: tuple[Diagnostic, ...]


def diagnose(run: Run, samples: int = SAMPLES, wanted: float = 1.0) -> Diagnosed:
    """Measure a run as it stands, by so many samples at most; `wanted` is the share of the steps that is to be heard. Faults E0501 if it was trained on arrays, which it does not keep."""
    if run.dataset is None and run.model.data is None:
        fault("E0501", "the run was trained on arrays, which it does not keep", place_of(run.folder))
    fields = run.load_data().parts["train"]
    probes = diagnosis(run.model)
    count = len(next(iter(fields.values())))
    order = permutation(count, run.program.seed, 0)
    program = _interpreted(run)

    def results(what: str, graph: Graph, chosen: Array) -> dict[str, Any]:
        step = program.step_of(what, lambda: graph, fields)
        return dict(program.run_step(step, fields, chosen, run.progress.epoch))

    found = results("gradients", probes.gradients, order[: min(samples, run.model.train.batch)])
    several = _few_steps(fields, order[: 16 * samples])
    found |= results("outputs", probes.outputs, several)
    reaches = tuple(
        max((_reach(one, found[name]) for name in one.results), key=lambda reach: len(reach.sizes))
        for one in probes.states
    )
    layers = tuple(_layer(one, found[one.results[0]], run.program.persistent[one.name]) for one in probes.weights)
    units = tuple(
        sorted(
            (_units(one, found[one.results[0]]) for one in probes.units), key=lambda one: (one.span.line, one.operation)
        )
    )
    known = tuple(one for one in reaches if len(one.sizes) and one.sizes[0] > 0)
    findings = _findings(run, known, layers, units, len(several), wanted)
    return Diagnosed(known, layers, units, tuple(one for one in findings if not one.is_silenced))


def longest(run: Run) -> int:
    """The most steps of a sample of the training part; 0 if it holds no sequences."""
    fields = run.load_data().parts["train"].values()
    return max((int(field.lengths.max()) for field in fields if isinstance(field, Ragged)), default=0)


def _few_steps(fields: Mapping[str, Field], order: Array) -> Array:
    """The first of some samples, at least one, whose sequences have no more than STEPS steps together."""
    for field in fields.values():
        if isinstance(field, Ragged):
            order = order[: max(int(np.searchsorted(np.cumsum(field.lengths[order]), STEPS)), 1)]
    return order


def _interpreted(run: Run) -> Program:
    """The run's program for the reference interpreter, with its parameters and states as they stand."""
    program = Program(run.model, run.program.seed, "reference", threads=1)
    for name, held in program.persistent.items():
        held[...] = run.program.persistent[name]
    return program


def _reach(probe: Probe, gradient: Ragged) -> Reach:
    """The mean size over the samples that are so long, as far back as SHARE of them go. A step that the loss does not depend on does not count."""
    longest = int(np.quantile(gradient.lengths, 1 - SHARE))
    sums, counts = np.zeros(longest), np.zeros(longest)
    for one in gradient:
        sizes = np.linalg.norm(one.reshape(len(one), -1).astype(np.float64), axis=1)[::-1][:longest]
        sums[: len(sizes)] += sizes
        counts[: len(sizes)] += sizes > 0
    mean = sums / np.maximum(counts, 1)
    silent = np.flatnonzero(counts == 0)
    if len(silent) and mean[max(int(silent[0]) - 1, 0)] > NOTHING * mean[0]:  # no way leads there; it did not fade
        mean = mean[: int(silent[0])]
    return Reach(probe.name, probe.group, probe.span, mean)


def _layer(probe: Probe, gradient: Array, weight: Array) -> Layer:
    return Layer(probe.name, probe.span, _norm(gradient), _norm(weight))


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


def _units(probe: Probe, values: Array | Ragged) -> Units:
    rows = values.rows if isinstance(values, Ragged) else values
    flat = rows.reshape(-1, rows.shape[-1]) if rows.ndim > 1 else rows[:, None]
    if probe.name == "relu":
        stuck = flat <= 0
        return Units(probe.name, probe.span, flat.shape[1], int((stuck.mean(axis=0) == 1).sum()))
    near = np.abs(flat if probe.name == "tanh" else 2 * flat - 1) > 0.98
    return Units(probe.name, probe.span, flat.shape[1], int((near.mean(axis=0) >= ALWAYS).sum()))


# ------------------------------------------------------------------ what is wrong, and what helps


def _findings(
    run: Run, reaches: Sequence[Reach], layers: Sequence[Layer], units: Sequence[Units], samples: int, wanted: float
) -> Iterator[Diagnostic]:
    text, settings = run.model.source.text, run.model.train

    def has(*words: str) -> bool:
        return any(re.search(rf"\b{word}", text) for word in words)

    for states in _by_scan(reaches):
        span = states[0].span
        is_lstm, gated = "lstm" in span.text, "lstm" in span.text or "gru" in span.text
        names = " and ".join(f"`{one.name}`" for one in states)
        steps = min(len(one.sizes) for one in states)
        shares = np.max(
            [one.sizes[:steps] / one.sizes[0] for one in states], axis=0
        )  # what one state loses, another may keep
        faint = np.flatnonzero(shares < FAINT)
        if len(faint) and faint[0] < wanted * steps:
            yield _warning(
                "W1001",
                f"the gradient vanishes on its way back in time: {faint[0]} of {steps} steps are heard",
                span,
                f"{names}, {steps - 1} steps back: {_ratio(shares[-1])} of the last step's",
                (not gated, "lstm(n) or gru(n), whose states keep what they are told"),
                (is_lstm and "forget" not in span.text, "lstm(n, forget = 3)"),
                (not gated and not has("orthogonal", "rnn"), "param U: float[n, n] = orthogonal"),
                (True, "attention, or a mean over all steps, is a shorter way"),
            )
        elif shares.max() > LOUD:
            far = int(shares.argmax())
            yield _warning(
                "W1002",
                f"the gradient explodes on its way back in time: {_ratio(shares[far])} times in {far} steps",
                span,
                names,
                (settings.clip_norm is None, "clip_norm = 1"),
                (not gated and not has("orthogonal", "rnn"), "param U: float[n, n] = orthogonal"),
                (not has("lstm_layernorm"), "lstm_layernorm(n)"),
                (True, "a smaller rate"),
            )
    moved = [one for one in layers if one.relative > 0]
    if len(moved) > 1:
        least, most = min(moved, key=lambda one: one.relative), max(moved, key=lambda one: one.relative)
        if least.relative < FAR_APART * most.relative:
            fades = layers.index(least) < layers.index(most)
            yield _warning(
                "W1003",
                f"the gradient {'vanishes' if fades else 'explodes'} on its way through the layers",
                (least if fades else most).span,
                f"`{least.name}` gets {least.relative:.1e} of its size, `{most.name}` {most.relative:.1e}",
                (has("sigmoid", "tanh"), "relu in place of sigmoid and tanh"),
                (not has("layernorm", "batchnorm"), "layernorm or batchnorm between the layers"),
                (not has("residual"), "residual(...) around some"),
                (not fades and settings.clip_norm is None, "clip_norm = 1"),
            )
    for layer in units:
        if layer.stuck > 1 and layer.stuck >= MANY * layer.count:
            is_dead = layer.operation == "relu"
            yield _warning(
                "W1004" if is_dead else "W1005",
                f"{layer.stuck} of {layer.count} units are {'dead' if is_dead else 'saturated'}",
                layer.span,
                f"0 for all of {samples} samples" if is_dead else f"at a bound for nearly all of {samples} samples",
                (True, "a smaller lr"),
                (is_dead, "leaky_relu"),
                (not has("layernorm", "batchnorm"), "layernorm or batchnorm before it"),
                (not is_dead and not has("standardize", "minmax"), "-> standardize in the data block"),
            )


def _by_scan(reaches: Sequence[Reach]) -> list[list[Reach]]:
    """The states of each scan."""
    groups: dict[str, list[Reach]] = {}
    for one in reaches:
        groups.setdefault(one.group, []).append(one)
    return list(groups.values())


def _warning(code: str, title: str, span: Span, told: str, *remedies: tuple[bool, str]) -> Diagnostic:
    """With the remedies that the file does not have yet."""
    return Diagnostic(code, title, Label(span, told), hint="; ".join(text for is_open, text in remedies if is_open))


def _ratio(number: float) -> str:
    return "nothing" if number == 0 else f"{number:.1e}" if number < 0.01 or number >= 1000 else f"{number:.2g}"


# ------------------------------------------------------------------ the picture


def draw(found: Diagnosed, name: str) -> bytes:
    """An SVG: the gradient by steps back in time, a line a state, and by layer."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Picture

    panels = [bool(found.reaches), bool(found.layers)]
    picture = Picture(figsize=(5.5 * max(sum(panels), 1), max(3.4, 0.28 * len(found.layers) + 1)), layout="constrained")
    FigureCanvasSVG(picture)
    picture.suptitle(plot_text(name))
    at = 0
    if found.reaches:
        at += 1
        axes = picture.add_subplot(1, sum(panels), at)
        for one in found.reaches:
            label = plot_text(f"line {one.span.line}: {one.name}")
            axes.plot(
                np.where(one.sizes > 0, one.sizes, np.nan) / one.sizes[0],
                label=label,
                marker="." if len(one.sizes) < 40 else "",
            )
        axes.axhline(FAINT, color="grey", linestyle=":", linewidth=1)
        axes.set(title="gradient of a state, of that at the last step", xlabel="steps back", yscale="log")
        axes.legend()
    if found.layers:
        axes = picture.add_subplot(1, sum(panels), at + 1)
        names = [plot_text(f"{one.name} (line {one.span.line})") for one in found.layers]
        axes.barh(names[::-1], [max(one.relative, 1e-30) for one in found.layers][::-1])
        axes.set(title="gradient of a weight, of its own size", xscale="log")
    buffer = io.BytesIO()
    picture.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
