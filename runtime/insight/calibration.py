"""The reliability of a run's probabilities and intervals, for its page: a reliability diagram for each target, and the
coverage of the outputs of conformal prediction."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from netc.compiler.analysis.conformal import Covered, covered
from netc.compiler.operations.calibration import Reliability, reliability
from netc.runtime.data.stored import Array
from netc.runtime.execution.fields import Fields
from netc.runtime.insight.drawing.plots import Frame, Mark, legend
from netc.runtime.insight.drawing.scales import Numbers, numbers_axis
from netc.runtime.insight.sections import Heading, Paragraph, Plot, Plots, Section, Table, left_out
from netc.runtime.insight.words import shortened
from netc.runtime.predictions import TargetPrediction, predictions_of_classes
from netc.runtime.runs.run import Run

_BINS = 15  # as in Guo et al. 2017
_MOST_DIAGRAMS, _MOST_OUTPUTS = 8, 60
_SIDE = 360.0  # of a plot, in pixels


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
    yield Plots([*_diagram(curve)])
    confidence, accuracy = float(prediction.confidence.mean()), float(prediction.is_right.mean())
    yield Paragraph(
        f"The mean confidence is {confidence:.3g}, and a share of {accuracy:.3g} is right. "
        f"The expected calibration error is {curve.error:.3g} ({_BINS} bins)."
    )


def _diagram(curve: Reliability) -> Iterator[Plot]:
    """A bar for each bin, with its share that is right beside its mean confidence, and how many samples it has."""
    used = np.flatnonzero(curve.counts > 0)
    confidences = numbers_axis((0, 1), False)
    frame = Frame(_SIDE, _SIDE, confidences, Numbers(0, 1), "confidence", "share that is right", top=28)
    parts, _ = legend([("s0", "right"), ("s1", "mean confidence")], _SIDE)
    parts.append(frame.trace("guide", [(0, 0), (1, 1)]))
    counts = Frame(
        _SIDE, _SIDE, confidences, numbers_axis((0, *curve.counts.tolist()), False, True), "confidence", "samples"
    )
    lower = list[str]()
    for i in used.tolist():
        ends, accuracy, confidence = (i / _BINS, (i + 1) / _BINS), float(curve.accuracy[i]), float(curve.confidence[i])
        title = f"confidence {confidence:.3g}: {accuracy:.3g} of {curve.counts[i]:,} samples are right"
        parts.append(frame.bar(Mark("s0", title=title), ends, (0, accuracy)))
        parts.append(frame.dot(Mark("s1", title=title), confidence, min(max(confidence, 0), 1)))
        lower.append(counts.bar(Mark("s8", title=title), ends, (0, float(curve.counts[i]))))
    yield Plot(frame.svg(parts, "reliability diagram"))
    yield Plot(counts.svg(lower, "samples by confidence"))


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
