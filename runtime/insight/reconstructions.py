"""Reconstructions of an autoencoder, for a run's page: images side by side, or curves along the steps."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from netc.runtime.data.stored import Array
from netc.runtime.insight.drawing.plots import Frame, series
from netc.runtime.insight.drawing.scales import numbers_axis
from netc.runtime.insight.pictures import MOST_PIXELS, as_image, first_of, png, thinned
from netc.runtime.insight.sections import Cards, Heading, Paragraph, Plot, Plots, Section, left_out, one_of_every
from netc.runtime.runs.run import Run
from netc.runtime.target_outputs import reconstructions

_MOST_PAIRS = 8  # of an input and an output
_SAMPLES = 16
_DRAWN_SEQUENCES, _CHANNELS = 6, 4
_MOST_STEPS = 1_000  # of a sequence that is drawn
_WIDTH = 320.0  # of a plot, in pixels


def reconstruction_sections(run: Run, part: str) -> Iterator[Section]:
    """The first samples of a part, each input beside the outputs that a loss compares with it."""
    pairs = [(name, output) for output, name in reconstructions(run.model).items()]
    fields = run.load_data().parts[part]
    inputs = {name: first_of(fields[name], _SAMPLES) for name in run.model.inputs}
    shown = pairs[:_MOST_PAIRS]
    predicted = run.program.predictor.predict(inputs, outputs=[output for _, output in shown]) if shown else {}
    yield from left_out(len(pairs), _MOST_PAIRS, "pairs of an input and an output")
    for name, output in shown:
        type_ = run.model.inputs[name]
        images = None if type_.is_varying else as_image(inputs[name])
        heading = Heading(f"{name}, and beside it {output}, {part}")
        if images is not None:
            yield heading
            yield from _side_by_side(images, predicted[output])
        elif len(type_.sample) <= 2:
            yield heading
            yield from _curves(inputs[name], predicted[output])


def _side_by_side(images: Array, outputs: Any) -> Iterator[Section]:
    """Pictures with an input on the left and the output on the right."""
    outputs = np.clip(np.asarray(outputs), 0, None).reshape(images.shape)
    (images, step), (outputs, _) = thinned(images, MOST_PIXELS // 2), thinned(outputs, MOST_PIXELS // 2)
    pairs = zip(images, outputs, strict=True)
    yield Cards.of([png(np.concatenate([image, output], axis=1)) for image, output in pairs], 168)
    yield from one_of_every(step, "pixels, along each side,")


def _curves(inputs: Sequence[Array], outputs: Sequence[Array]) -> Iterator[Section]:
    """The first samples [step] or [step, channel] as thin lines, one a channel, and the outputs as thick ones."""
    step = -(-max(map(len, inputs[:_DRAWN_SEQUENCES])) // _MOST_STEPS)
    pairs = zip(inputs[:_DRAWN_SEQUENCES], outputs[:_DRAWN_SEQUENCES], strict=True)
    yield Plots([_sequence(sample, output, step) for sample, output in pairs])
    yield from one_of_every(step, "steps")
    yield Paragraph("Faint: the input. Strong: the output. Each channel has a colour of its own.")


def _sequence(sample: Array, output: Array, step: int) -> Plot:
    """An input and the output that is to be like it, channel by channel; one of every `step` steps."""
    lines = [
        (f"{series(channel)}{kind}", values.reshape(len(values), -1)[::step, channel].tolist())
        for channel in range(min(_CHANNELS, sample.reshape(len(sample), -1).shape[1]))
        for values, kind in ((sample, " faint"), (output, ""))
    ]
    steps = numbers_axis((0, max(len(sample), len(output)) - 1), False, is_whole=True)
    frame = Frame(_WIDTH, 190, steps, numbers_axis([y for _, line in lines for y in line], False), "step", "")
    traces = [frame.trace(kind, zip(range(0, len(line) * step, step), line, strict=True)) for kind, line in lines]
    return Plot(frame.svg(traces, "an input and its reconstruction"))
