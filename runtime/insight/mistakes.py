"""The errors of a network, for a page: its scores for each target, and the samples with the largest errors."""

from collections.abc import Iterator, Sequence

import numpy as np

from netc.runtime.data.stored import Array, Field, Ragged, taken
from netc.runtime.insight.cells import input_cells
from netc.runtime.insight.classes import class_sections
from netc.runtime.insight.confusion import confusion
from netc.runtime.insight.pictures import as_image, png, thinned
from netc.runtime.insight.residuals import residual_sections
from netc.runtime.insight.sections import (
    Card,
    Cards,
    Heading,
    Paragraph,
    Section,
    Table,
    left_out,
    one_of_every,
)
from netc.runtime.insight.words import shortened
from netc.runtime.predictions import TargetPrediction, predictions_of
from netc.runtime.runs.run import Run

_WORST = 24
_MOST_TARGETS = 8
_MOST_COLUMNS = 12
_PIXELS = 96  # of a picture, along each side


def mistake_sections(run: Run, part: str, columns: Sequence[str] = ()) -> Iterator[Section]:
    """For each of the first targets its predictions on a part of the data, then the samples with the largest errors.

    `columns` are those of the inputs that are shown first.
    """
    predictions = predictions_of(run, part)
    for prediction in predictions[:_MOST_TARGETS]:
        name = shortened(prediction.target)
        if prediction.labels:
            yield Heading(f"{name}: true (rows) and predicted (columns), {part}")
            yield from confusion(prediction)
            yield from class_sections(prediction, part)
        else:
            yield Heading(f"{name}: predicted against true, {part}")
            yield from residual_sections(prediction)
        yield Heading(f"The worst mistakes, {name}")
        yield from _worst(run, part, prediction, columns)
    yield from left_out(len(predictions), _MOST_TARGETS, "targets")


def _worst(run: Run, part: str, prediction: TargetPrediction, columns: Sequence[str]) -> Iterator[Section]:
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
                Card(
                    png(image, most=_PIXELS),
                    f"{true[i]}, taken for {predicted[i]}",
                    f"row {rows[i]}: {true[i]}, taken for {predicted[i]}",
                )
                for i, image in zip(order, images, strict=True)
            ]
        )
        yield from one_of_every(thinned(images, _PIXELS)[1], "pixels, along each side,")
        return
    errors = {i: 1 - prediction.error[i] if is_class else prediction.error[i] for i in order}
    cells = input_cells(run, part, order.tolist())
    places = [cells.columns.index(name) for name in columns if name in cells.columns]
    places = [*dict.fromkeys([*places, *range(len(cells.columns))])][:_MOST_COLUMNS]
    yield Table(
        (
            *("row", "true", "predicted", "chance of the true one" if is_class else "off by"),
            *(shortened(cells.columns[place]) for place in places),
        ),
        [
            (str(rows[i]), true[i], predicted[i], f"{errors[i]:.3g}", *(texts[place] for place in places))
            for i, texts in zip(order, cells.texts, strict=True)
        ],
    )
    yield from left_out(len(cells.columns), len(places), "columns")


def _images(field: Field, rows: Array) -> Array | None:
    """Some samples of a field as images; None if it holds no images."""
    return None if isinstance(field, Ragged) else as_image(taken(field, rows))
