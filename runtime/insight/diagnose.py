"""What becomes of a run's gradients: how far back in time and through how many layers they reach, which units are dead
or saturated, and what the file could do about it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.dsl.diagnostics import Diagnostic, fault
from netc.dsl.quoting import plot_text
from netc.runtime.data.stored import Ragged
from netc.runtime.insight.findings import FAINT, findings_of
from netc.runtime.insight.gradients import Layer, Reach, Units, measure
from netc.runtime.insight.pictures import svg_bytes
from netc.runtime.runs.checkpoint import place_of
from netc.runtime.runs.run import Run

_SAMPLES = 64
_MOST_MARKED_STEPS = 40  # with fewer steps than this, a curve has a dot for each


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """Everything that was measured, and what is wrong with it."""

    reaches: tuple[Reach, ...]
    layers: tuple[Layer, ...]
    units: tuple[Units, ...]
    findings: tuple[Diagnostic, ...]


def diagnose(run: Run, samples: int = _SAMPLES, share: float = 1.0) -> Diagnosed:
    """Measures a run as it stands, by at most so many samples.

    `share` is the share of the steps that gradients should reach. Faults E0501 if the run was trained on arrays, which
    it does not keep.
    """
    if run.dataset is None and run.model.data is None:
        fault("E0501", "the run was trained on arrays, which it does not keep", place_of(run.folder))
    measured = measure(run, samples)
    findings = tuple(finding for finding in findings_of(run, measured, share) if not finding.is_silenced)
    return Diagnosed(measured.reaches, measured.layers, measured.units, findings)


def longest(run: Run) -> int:
    """The number of steps of the longest sample in the training part; 0 if it holds no sequences."""
    fields = run.load_data().parts["train"].values()
    return max((int(field.lengths.max()) for field in fields if isinstance(field, Ragged)), default=0)


def draw(diagnosed: Diagnosed, name: str) -> bytes:
    """An SVG file: the gradients of states by steps back in time, and those of weights by layer."""
    from matplotlib.figure import Figure as Picture

    panels = sum((bool(diagnosed.reaches), bool(diagnosed.layers)))
    height = max(3.4, 0.28 * len(diagnosed.layers) + 1)
    picture = Picture(figsize=(5.5 * max(panels, 1), height), layout="constrained")
    picture.suptitle(plot_text(name))
    if diagnosed.reaches:
        _draw_reaches(picture.add_subplot(1, panels, 1), diagnosed.reaches)
    if diagnosed.layers:
        _draw_layers(picture.add_subplot(1, panels, panels), diagnosed.layers)
    return svg_bytes(picture)


def _draw_reaches(axes: Any, reaches: tuple[Reach, ...]) -> None:
    """A curve for each state: the gradient relative to that at the last step."""
    for reach in reaches:
        axes.plot(
            np.where(reach.sizes > 0, reach.sizes, np.nan) / reach.sizes[0],
            label=plot_text(f"line {reach.span.line}: {reach.name}"),
            marker="." if len(reach.sizes) < _MOST_MARKED_STEPS else "",
        )
    axes.axhline(FAINT, color="grey", linestyle=":", linewidth=1)
    axes.set(title="gradient of a state, of that at the last step", xlabel="steps back", yscale="log")
    axes.legend()


def _draw_layers(axes: Any, layers: tuple[Layer, ...]) -> None:
    """A bar for each weight: the gradient relative to the weight itself, the first layer on top."""
    names = [plot_text(f"{layer.name} (line {layer.span.line})") for layer in layers]
    axes.barh(names[::-1], [max(layer.relative, 1e-30) for layer in layers][::-1])
    axes.set(title="gradient of a weight, of its own size", xscale="log")
