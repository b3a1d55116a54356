"""Explanations of a run's predictions, for its page: integrated gradients of some rows."""

import math
from collections.abc import Iterator

import numpy as np

from netc.runtime.insight.attributions import Explainer, explained_output
from netc.runtime.insight.cells import input_cells
from netc.runtime.insight.drawing.bars import Bar, bar_chart
from netc.runtime.insight.drawing.plots import Frame
from netc.runtime.insight.drawing.scales import numbers_axis
from netc.runtime.insight.explained import Explained, Pixels, Steps, Words, explained
from netc.runtime.insight.pictures import png
from netc.runtime.insight.sections import Card, Cards, Heading, Paragraph, Plot, Plots, Section, Text, left_out
from netc.runtime.insight.words import shortened
from netc.runtime.predictions import TargetPrediction, predictions_of
from netc.runtime.runs.run import Run

METHOD = (
    "How much each input contributes to a prediction: its gradient, averaged along a path from a baseline, where all "
    "numbers that enter the model are 0 and each category of a column has the same share, to the sample, times its "
    "change. The contributions add up to the difference between the two predictions."
)
_WORST, _BEST = 3, 2
_MOST_SHARES, _MOST_WORDS = 12, 400
_MOST_NUMBERS = 1 << 22  # of the inputs of all explained samples: of large ones fewer are explained
_PIXELS = 96  # of a picture, along each side


def explanation_sections(run: Run, part: str) -> Iterator[Section]:
    """The attributions of the worst mistakes of the first target, and of the samples with the smallest errors."""
    output = explained_output(run.model)
    prediction = next((each for each in predictions_of(run, part) if each.output == output), None)
    if output is None or prediction is None:
        return
    try:
        explainer = Explainer(run, output)
    except ValueError:  # it depends on no number of the inputs
        return
    order = np.argsort(-prediction.error, kind="stable")
    size = sum(type_.size(1) for type_ in run.model.inputs.values() if not type_.is_varying)
    chosen = [*dict.fromkeys([*order[:_WORST].tolist(), *order[::-1][:_BEST].tolist()])]
    chosen = chosen[: max(1, _MOST_NUMBERS // max(size, 1))]
    fields, cells = run.load_data().parts[part], input_cells(run, part, chosen)
    yield Heading(f"Why: integrated gradients, {part}")
    yield Paragraph(METHOD)
    rows = run.load_data().rows[part]
    for sample, texts in zip(chosen, cells.texts, strict=True):
        named = dict(zip(cells.columns, texts, strict=True))
        explanation = explained(run, explainer.explain(fields, sample), fields, sample, named)
        yield Heading(f"Row {rows[sample]}: {explanation.predicted}{_truth(prediction, sample)}", 3)
        yield from explained_sections(explanation)


def _truth(prediction: TargetPrediction, sample: int) -> str:
    true = prediction.true[sample]
    return f", true: {shortened(prediction.labels[int(true)]) if prediction.labels else f'{true:.4g}'}"


def explained_sections(explanation: Explained) -> Iterator[Section]:
    """The scores of a sample, then the parts of it that are attributed to its columns, words, steps and pixels."""
    attributed = explanation.attributed
    yield Paragraph(
        f"{shortened(attributed.output)} is {attributed.score:.4g}, and {attributed.baseline:.4g} at the baseline. "
        f"The contributions add up to the difference, except for {abs(attributed.gap):.2g}."
    )
    if explanation.shares:
        shown = explanation.shares[:_MOST_SHARES]
        bars = [
            Bar(f"{each.name} = {each.cell}" if each.cell else each.name, each.value, f"{each.value:+.3g}")
            for each in shown
        ]
        yield Plots([Plot(bar_chart(bars, "attributions of the columns"))])
        yield from left_out(len(explanation.shares), len(shown), "columns with smaller parts")
    for part in explanation.parts:
        yield from _part_sections(part)


def _part_sections(part: Words | Steps | Pixels) -> Iterator[Section]:
    largest = float(np.abs(part.values).max(initial=0.0)) or 1.0
    match part:
        case Words():
            words = [
                (word, round(70 * value / largest), f"{value:+.3g}")
                for word, value in zip(part.words[:_MOST_WORDS], part.values.tolist(), strict=False)
            ]
            yield Text(words, "" if all(len(word) <= 1 for word in part.words) else " ")
            yield from left_out(len(part.words), _MOST_WORDS, "words")
        case Steps():
            axes = (
                numbers_axis((0, max(len(part.values) - 1, 1)), False, is_whole=True),
                numbers_axis((0.0, *part.values.tolist()), False),
            )
            frame = Frame(460, 200, *axes, "step", "")
            step = math.ceil(len(part.values) / 1_000)
            points = list(enumerate(part.values.tolist()))[::step]
            yield Plots(
                [Plot(frame.svg([frame.trace("s0", points)], "attributions of the steps"), shortened(part.name))]
            )
        case Pixels():
            pictures = [Card(png(part.image, most=_PIXELS), "", "the picture")]
            pictures.append(Card(png(-part.values, centred=True, most=_PIXELS), "", "its attributions"))
            yield Cards(pictures, 140)
            yield Paragraph("Blue pixels speak for the prediction, red ones against it.")
