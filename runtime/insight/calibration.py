"""How far the probabilities and intervals of a run can be relied on, for its page: a reliability diagram for each
target, and the coverage of the outputs of conformal prediction."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from netc.compiler.analysis.conformal import Covered, covered
from netc.compiler.operations.calibration import Reliability, reliability
from netc.runtime.data.stored import Array
from netc.runtime.execution.fields import Fields
from netc.runtime.insight.mistakes import shortened
from netc.runtime.insight.pictures import svg_bytes, svg_element
from netc.runtime.insight.sections import Heading, Paragraph, Section, Svg, Table, left_out
from netc.runtime.predictions import TargetPrediction, predictions_of_classes
from netc.runtime.runs.run import Run

_BINS = 15  # as in Guo et al. 2017
_MOST_DIAGRAMS, _MOST_OUTPUTS = 8, 60


def calibration_sections(run: Run, part: str) -> Iterator[Section]:
    """A reliability diagram for each output that holds probabilities, then the coverage of intervals and sets."""
    fields = run.load_data().parts[part]
    predicted = run.predict_prepared(fields)
    predictions = [
        prediction
        for output in predicted
        for distribution in run.facts_of([output]).distributions
        for prediction in predictions_of_classes(run, distribution, fields[distribution.target], predicted[output])
    ]
    for prediction in predictions[:_MOST_DIAGRAMS]:
        yield from _reliability(prediction, part)
    yield from left_out(len(predictions), _MOST_DIAGRAMS, "outputs")
    yield from _coverage(run, part, fields, predicted)


def _reliability(prediction: TargetPrediction, part: str) -> Iterator[Section]:
    """The reliability diagram of the probabilities of a target, and its expected calibration error."""
    curve = reliability(prediction.confidence, prediction.is_right, _BINS)
    output, target = shortened(prediction.output), shortened(prediction.target)
    yield Heading(f"{output}: how often {target} is right, by confidence, {part}")
    yield Svg(svg_element(_diagram(curve), "32rem"))
    confidence, accuracy = float(prediction.confidence.mean()), float(prediction.is_right.mean())
    yield Paragraph(
        f"The mean confidence is {confidence:.3g}, and a share of {accuracy:.3g} is right. "
        f"The expected calibration error is {curve.error:.3g} ({_BINS} bins)."
    )


def _diagram(curve: Reliability) -> bytes:
    """A bar for each bin, with its share that is right beside its mean confidence, and below it how many samples it
    has."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(5, 5), layout="constrained")
    upper, lower = picture.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    used = curve.counts > 0
    middles = ((np.arange(_BINS) + 0.5) / _BINS)[used]
    upper.bar(middles, curve.accuracy[used], 1 / _BINS, color="C0", edgecolor="white", label="right")
    upper.plot(curve.confidence[used], curve.confidence[used], "o", color="C3", label="mean confidence")
    upper.plot((0, 1), (0, 1), color="0.6", linewidth=1)
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
    upper.legend(loc="upper left")
    lower.bar(middles, curve.counts[used], 1 / _BINS, color="0.6", edgecolor="white")
    lower.set(xlabel="confidence", ylabel="samples")
    return svg_bytes(picture)


def _coverage(run: Run, part: str, fields: Fields, predicted: Mapping[str, Any]) -> Iterator[Section]:
    """A row for each interval and each set of conformal prediction: how many samples it covers, and how wide it is."""
    outputs = covered(run.model.described.graph)
    if not outputs:
        return
    yield Heading(f"Coverage, {part}")
    yield Table(
        ("output", "target", "level", "covered", "mean width or number of classes"),
        [
            _row(output, predicted[output.output], _true(run, output.target, fields[output.target]))
            for output in outputs[:_MOST_OUTPUTS]
        ],
    )
    yield from left_out(len(outputs), _MOST_OUTPUTS, "outputs")


def _true(run: Run, target: str, field: Any) -> Array:
    """The values of a target in the units of the data, or the numbers of its classes."""
    undone = run.undone()
    return np.asarray(undone[target](np.asarray(field)) if target in undone else field)


def _row(output: Covered, values: Array, true: Array) -> tuple[str, ...]:
    if output.is_set:
        is_covered = np.take_along_axis(values, true[..., None].astype(np.int64), axis=-1)
        widths = values.sum(axis=-1)
    else:
        low, high = values[:, 0], values[:, 1]
        is_covered, widths = (low <= true) & (true <= high), high - low
    share, width = float(is_covered.mean()), float(widths.mean())
    names = shortened(output.output), shortened(output.target)
    return *names, f"{output.level:g}", f"{share:.4g}", f"{width:.4g}"
