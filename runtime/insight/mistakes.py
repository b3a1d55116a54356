"""What a network gets wrong, for a run's page: a confusion matrix or a plot for each target, and the worst mistakes."""

from collections.abc import Iterator

import numpy as np

from netc.dsl.quoting import bounded, plot_text
from netc.runtime.data.stored import Array, Bytes, Field
from netc.runtime.insight.pictures import as_image, png, svg_bytes, svg_element, thinned
from netc.runtime.insight.sections import (
    Card,
    Cards,
    Cell,
    Heading,
    Matrix,
    Note,
    Paragraph,
    Section,
    Svg,
    Table,
    left_out,
    one_of_every,
)
from netc.runtime.predictions import TargetPrediction, predictions_of
from netc.runtime.runs.run import Run

_WORST = 24
_MOST_TARGETS = 8
_MOST_CLASSES = 30  # of a confusion matrix: those with the most mistakes, and all others as one more
_MOST_POINTS = 20_000
LONGEST_LABEL = 200


def shortened(label: str) -> str:
    """A label or name as a page shows it."""
    return bounded(label, LONGEST_LABEL)


def mistake_sections(run: Run, part: str) -> Iterator[Section]:
    """For each of the first targets its predictions on a part of the data, then the samples with the largest errors."""
    predictions = predictions_of(run, part)
    for prediction in predictions[:_MOST_TARGETS]:
        if prediction.labels:
            yield Heading(f"{prediction.target}: true (rows) and predicted (columns), {part}")
            yield from confusion(prediction)
        else:
            yield Heading(f"{prediction.target}: predicted against true, {part}")
            yield from _scatter(prediction)
        yield Heading(f"The worst mistakes, {prediction.target}")
        yield from _worst(run, part, prediction)
    yield from left_out(len(predictions), _MOST_TARGETS, "targets")


def confusion(prediction: TargetPrediction) -> Iterator[Section]:
    """The confusion matrix of all classes, or of the most mistaken ones and all others together."""
    labels, true, predicted = list(prediction.labels), prediction.true, prediction.predicted
    count = len(labels)
    if count > _MOST_CLASSES:
        kept = _most_mistaken(prediction)
        index = np.full(count, _MOST_CLASSES)
        index[kept] = np.arange(_MOST_CLASSES)
        labels, true, predicted = [*(labels[i] for i in kept), "others"], index[true], index[predicted]
    table = np.zeros((len(labels), len(labels)), int)
    np.add.at(table, (true, predicted), 1)
    rows = [
        [Cell(count, _shade(count, row.sum()), i == j) for j, count in enumerate(row.tolist())]
        for i, row in enumerate(table)
    ]
    yield Matrix([shortened(label) for label in labels], rows)
    if count > _MOST_CLASSES:
        yield Note(
            f"{_MOST_CLASSES} of {count:,} classes are shown, those that are in most mistakes; all others are one."
        )


def _most_mistaken(prediction: TargetPrediction) -> Array:
    """The classes that are the true or the predicted one in the most mistakes, in their order."""
    wrong, count = prediction.true != prediction.predicted, len(prediction.labels)
    mistakes = sum(np.bincount(side[wrong], minlength=count) for side in (prediction.true, prediction.predicted))
    return np.sort(np.argsort(-mistakes, kind="stable")[:_MOST_CLASSES])


def _shade(count: int, total: int) -> int:
    """How dark a cell is, in percent: the square root of its share of the row, so that rare mistakes show."""
    return round(75 * (count / total) ** 0.5) if count else 0


def _scatter(prediction: TargetPrediction) -> Iterator[Section]:
    """A dot for each sample, its prediction above its true number."""
    from matplotlib.figure import Figure as Picture

    true, predicted = prediction.true, prediction.predicted
    picture = Picture(figsize=(5, 4.5), layout="constrained")
    axes = picture.add_subplot()
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color="0.7", linewidth=1)
    step = -(-len(true) // _MOST_POINTS)
    axes.scatter(true[::step], predicted[::step], s=14, alpha=0.6, rasterized=len(true) > 5000)
    axes.set(xlabel=plot_text(f"true {prediction.target}"), ylabel=plot_text(f"predicted ({prediction.output})"))
    yield Svg(svg_element(svg_bytes(picture), "32rem"))
    yield from one_of_every(step, "samples")


def _worst(run: Run, part: str, prediction: TargetPrediction) -> Iterator[Section]:
    """The samples with the largest errors, as images if an input is one, or else as rows of a table."""
    dataset = run.load_data()
    order = np.argsort(-prediction.error, kind="stable")[:_WORST]
    is_class = bool(prediction.labels)
    if is_class:
        order = order[prediction.predicted[order] != prediction.true[order]]
    if not len(order):
        yield Paragraph("None.")
        return

    def value_text(value: float) -> str:
        return shortened(prediction.labels[int(value)]) if is_class else f"{float(value):.4g}"

    rows = dataset.rows[part]
    true, predicted = ({i: value_text(values[i]) for i in order} for values in (prediction.true, prediction.predicted))
    fields = dataset.parts[part]
    images = next((image for name in run.model.inputs if (image := _images(fields[name], order)) is not None), None)
    if images is not None:
        yield Cards(
            [
                Card(png(image), f"{true[i]}, taken for {predicted[i]}", f"row {rows[i]}")
                for i, image in zip(order, images, strict=True)
            ]
        )
        yield from one_of_every(thinned(images)[1], "pixels, along each side,")
        return
    errors = {i: 1 - prediction.error[i] if is_class else prediction.error[i] for i in order}
    yield Table(
        ("row", "true", "predicted", "chance of the true one" if is_class else "off by"),
        [(str(rows[i]), true[i], predicted[i], f"{errors[i]:.3g}") for i in order],
    )


def _images(field: Field, rows: Array) -> Array | None:
    """Some samples of a field as images; None if it holds no images."""
    if isinstance(field, Bytes):
        return as_image(Bytes(field.array[rows], field.scale))
    images = as_image(field)
    return None if images is None else images[rows]
