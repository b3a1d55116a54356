"""Measures the gradients and the units of a trained model, on a few samples of its training part, in the interpreter.

Takes a run and gives numbers. What is wrong with them is decided in `findings.py`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.analysis.diagnosis import Probe, diagnosis
from netc.compiler.ir.graph import Graph
from netc.dsl.source import Span
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.program import Program
from netc.runtime.random import permutation
from netc.runtime.runs.run import Run

_MOST_STEPS = 50_000  # of all samples together, at which units are looked at
_UNDERFLOW = 1e-12  # of the gradient at the last step: what follows such a gradient may be rounded to 0
_ALWAYS = 0.99  # the share of the samples (and steps) at which a saturated unit is near a bound
_NEAR = 0.98  # how near: this share of the way from the middle of the range to a bound
_LONG_SAMPLES = 0.5  # the share of the samples that go back at least as far as is measured


class Reach(Struct, frozen=True):
    """The number of steps that the gradient of a scan's state reaches back in time.

    `sizes[k]` is the mean norm of the gradient, of the loss at a sample's last step, k steps before that step. States
    of the same scan have the same `group`.
    """

    name: str
    group: str
    span: Span
    sizes: Array


class Layer(Struct, frozen=True):
    """A weight: the norm of its gradient and its own norm."""

    name: str
    span: Span
    gradient: float
    weight: float

    @property
    def relative(self) -> float:
        """The gradient's norm divided by the weight's."""
        return self.gradient / self.weight if self.weight else 0.0


class Units(Struct, frozen=True):
    """The units of a layer: how many there are, and how many are stuck.

    A ReLU is stuck if it is never above 0, a tanh or sigmoid if it is nearly always within a hundredth of a bound.
    """

    operation: str
    span: Span
    count: int
    stuck: int


class Measured(Struct, frozen=True):
    """All measurements; `samples` is the number of samples at which units were looked at, and with `has_step_losses` a
    loss has a row for each step."""

    reaches: tuple[Reach, ...]
    layers: tuple[Layer, ...]
    units: tuple[Units, ...]
    samples: int
    has_step_losses: bool


def measure(run: Run, samples: int) -> Measured:
    """Gradients on one batch of at most `samples` samples, units on up to 16 times as many."""
    fields = run.load_data().parts["train"]
    probes = diagnosis(run.model)
    order = permutation(len(next(iter(fields.values()))), run.program.seed, 0)
    program = _interpreted(run)

    def results(name: str, graph: Graph, chosen: Array) -> dict[str, Any]:
        step = program.step_of(name, lambda: graph, fields)
        return dict(program.run_step(step, fields, chosen, run.progress.epoch))

    arrays = results("gradients", probes.gradients, order[: min(samples, run.model.train.batch)])
    observed = _with_few_steps(fields, order[: 16 * samples])
    arrays |= results("outputs", probes.outputs, observed)
    reaches = (_farthest(probe, arrays) for probe in probes.states)
    weights = run.program.persistent
    layers = (_layer(probe, arrays[probe.results[0]], weights[probe.name]) for probe in probes.weights)
    units = (_units(probe, arrays[probe.results[0]]) for probe in probes.units)
    return Measured(
        tuple(reach for reach in reaches if len(reach.sizes) and reach.sizes[0] > 0),
        tuple(layers),
        tuple(sorted(units, key=lambda layer: (layer.span.line, layer.operation))),
        len(observed),
        probes.has_step_losses,
    )


def _with_few_steps(fields: Mapping[str, Field], order: Array) -> Array:
    """The first of some samples, at least one, whose sequences have at most `_MOST_STEPS` steps together."""
    for field in fields.values():
        if isinstance(field, Ragged):
            order = order[: max(int(np.searchsorted(np.cumsum(field.lengths[order]), _MOST_STEPS)), 1)]
    return order


def _interpreted(run: Run) -> Program:
    """The run's program for the reference interpreter, with a copy of its parameters and states."""
    program = Program(run.model, run.program.seed, "reference", threads=1)
    for name, array in program.persistent.items():
        array[...] = run.program.persistent[name]
    return program


def _farthest(probe: Probe, arrays: Mapping[str, Ragged]) -> Reach:
    """The longest of a state's reaches: from the last step and, for a reversed scan, from the first one."""
    return max((_reach(probe, arrays[name]) for name in probe.results), key=lambda reach: len(reach.sizes))


def _reach(probe: Probe, gradient: Ragged) -> Reach:
    """The mean norm of a gradient by steps back, as far back as `_LONG_SAMPLES` of the samples go.

    Steps on which the loss does not depend (a gradient of exactly 0) do not count.
    """
    longest = int(np.quantile(gradient.lengths, 1 - _LONG_SAMPLES))
    sums, counts = np.zeros(longest), np.zeros(longest)
    for sample in gradient:
        sizes = np.linalg.norm(sample.reshape(len(sample), -1).astype(np.float64), axis=1)[::-1][:longest]
        sums[: len(sizes)] += sizes
        counts[: len(sizes)] += sizes > 0
    mean = sums / np.maximum(counts, 1)
    silent = np.flatnonzero(counts == 0)
    # a gradient that ends abruptly has no path back from there; one that faded before is rounded to 0
    if len(silent) and mean[max(int(silent[0]) - 1, 0)] > _UNDERFLOW * mean[0]:
        mean = mean[: int(silent[0])]
    return Reach(probe.name, probe.group, probe.span, mean)


def _layer(probe: Probe, gradient: Array, weight: Array) -> Layer:
    return Layer(probe.name, probe.span, _norm(gradient), _norm(weight))


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


def _units(probe: Probe, values: Array | Ragged) -> Units:
    """Counts the stuck units of a layer, from its outputs at all samples (and steps)."""
    rows = values.rows if isinstance(values, Ragged) else values
    flat = rows.reshape(-1, rows.shape[-1]) if rows.ndim > 1 else rows[:, None]
    if probe.name == "relu":
        stuck = int(((flat <= 0).mean(axis=0) == 1).sum())
    else:
        is_near = np.abs(flat if probe.name == "tanh" else 2 * flat - 1) > _NEAR
        stuck = int((is_near.mean(axis=0) >= _ALWAYS).sum())
    return Units(probe.name, probe.span, flat.shape[1], stuck)
