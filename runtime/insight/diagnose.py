"""Diagnosis of a run's gradients: how far back in time and through how many layers they reach, which units are dead or
saturated, and what the file could do about it."""

import numpy as np
from msgspec import Struct

from netc.dsl.diagnostics import Diagnostic, fault
from netc.runtime.data.stored import Ragged
from netc.runtime.insight.drawing.plots import LEFT, LETTER, Frame, Mark, legend, moved, series, svg_file, words
from netc.runtime.insight.drawing.scales import Categories, numbers_axis
from netc.runtime.insight.findings import FAINT, findings_of
from netc.runtime.insight.gradients import Layer, Reach, Units, measure
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.runs.run import Run

_SAMPLES = 64
_WIDTH, _HEIGHT = 520.0, 320.0  # of a plot, in pixels
_LEAST = 1e-30  # a gradient of 0 on a logarithmic axis


class Diagnosed(Struct, frozen=True):
    """Everything that was measured, and what is wrong with it."""

    reaches: tuple[Reach, ...]
    layers: tuple[Layer, ...]
    units: tuple[Units, ...]
    findings: tuple[Diagnostic, ...]


def diagnose(run: Run, samples: int = _SAMPLES, share: float = 1.0) -> Diagnosed:
    """Measures a run as it is, by at most `samples` samples.

    `share` is the share of the steps that gradients should reach. Raises E0501 if the run was trained on arrays, which
    it does not keep.
    """
    if run.dataset is None and run.model.data is None:
        fault("E0501", "the run was trained on arrays, which it does not keep", path_span(run.folder))
    measured = measure(run, samples)
    findings = tuple(finding for finding in findings_of(run, measured, share) if not finding.is_silenced)
    return Diagnosed(measured.reaches, measured.layers, measured.units, findings)


def longest(run: Run) -> int:
    """The number of steps of the longest sample in the training part; 0 if it holds no sequences."""
    fields = run.load_data().parts["train"].values()
    return max((int(field.lengths.max()) for field in fields if isinstance(field, Ragged)), default=0)


def draw(diagnosed: Diagnosed, name: str) -> bytes:
    """An SVG file: the gradients of states by steps back in time, and those of weights by layer."""
    panels = [_drawn_reaches(diagnosed.reaches)] if diagnosed.reaches else []
    panels += [_drawn_layers(diagnosed.layers)] if diagnosed.layers else []
    height = max((height for _, height in panels), default=0.0)
    parts = [words(name, LEFT, 18, "start", 80, "strong")]
    parts += [moved(markup, i * _WIDTH, 26) for i, (markup, _) in enumerate(panels)]
    return svg_file(_WIDTH * max(len(panels), 1), height + 26, parts)


def _drawn_reaches(reaches: tuple[Reach, ...]) -> tuple[str, float]:
    """A curve for each state, the gradient relative to that at the last step, and the height of the plot."""
    named = [(series(i), f"line {reach.span.line}: {reach.name}", reach) for i, reach in enumerate(reaches)]
    parts, top = legend([(kind, text) for kind, text, _ in named], _WIDTH)
    lines = [(kind, np.where(reach.sizes > 0, reach.sizes, np.nan) / reach.sizes[0]) for kind, _, reach in named]
    steps = numbers_axis((0, max(len(reach.sizes) for reach in reaches) - 1), False, is_whole=True)
    axis = numbers_axis([FAINT, *(value for _, line in lines for value in line.tolist())], True)
    label = "gradient, of the last step's"
    frame = Frame(_WIDTH, _HEIGHT, steps, axis, "steps back", label, top=top)
    parts.append(frame.trace("guide", [(steps.low, FAINT), (steps.high, FAINT)]))
    return frame.svg([*parts, *(frame.trace(kind, enumerate(line.tolist())) for kind, line in lines)]), _HEIGHT


def _drawn_layers(layers: tuple[Layer, ...]) -> tuple[str, float]:
    """A bar for each weight, its gradient relative to itself, the first layer on top; and the height of the plot."""
    names = [f"{layer.name} (line {layer.span.line})" for layer in layers]
    sizes = [max(layer.relative, _LEAST) for layer in layers]
    axis = numbers_axis([*sizes, min(sizes) / 10], True)
    height = max(_HEIGHT, 18.0 * len(layers) + 60)
    rows = Categories(names[::-1])
    left = 20 + LETTER * min(30, max(map(len, names)))
    frame = Frame(_WIDTH, height, axis, rows, "gradient of a weight, of its own size", "", left=left)
    parts = list[str]()
    for name, size in zip(names, sizes, strict=True):
        (start, y), (end, _) = frame.at(axis.low, name), frame.at(size, name)
        title = f"{name}: {size:.3g}"
        bar = f'<rect x="{start:.1f}" y="{y - 5:.1f}" width="{end - start:.1f}" height="10"/>'
        parts.append(Mark("s0", title=title).around(bar))
    return frame.svg(parts), height
