"""What an autoencoder makes of its input, for a run's page: images side by side, or curves along the steps."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from netc.runtime.data.stored import Array
from netc.runtime.insight.pictures import MOST_PIXELS, as_image, first_of, png, svg_bytes, svg_element, thinned
from netc.runtime.insight.sections import Cards, Heading, Paragraph, Section, Svg, left_out, one_of_every
from netc.runtime.runs.run import Run
from netc.runtime.target_outputs import reconstructions

_MOST_PAIRS = 8  # of an input and an output
_SAMPLES = 16
_DRAWN_SEQUENCES, _CHANNELS = 6, 4
_MOST_STEPS = 2_000  # of a sequence that is drawn


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
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 4.2), layout="constrained")
    step = -(-max(map(len, inputs[:_DRAWN_SEQUENCES])) // _MOST_STEPS)
    pairs = zip(inputs[:_DRAWN_SEQUENCES], outputs[:_DRAWN_SEQUENCES], strict=True)
    for i, (sample, output) in enumerate(pairs, 1):
        axes = picture.add_subplot(2, _DRAWN_SEQUENCES // 2, i)
        for channel in range(min(_CHANNELS, sample.reshape(len(sample), -1).shape[1])):
            for values, width, alpha in ((sample, 0.8, 1.0), (output, 2.2, 0.5)):
                line = values.reshape(len(values), -1)[::step, channel]
                axes.plot(range(0, len(values), step), line, color=f"C{channel}", linewidth=width, alpha=alpha)
    yield Svg(svg_element(svg_bytes(picture), "60rem"))
    yield from one_of_every(step, "steps")
    yield Paragraph("Thin: the input. Thick: the output. Each channel has a colour of its own.")
