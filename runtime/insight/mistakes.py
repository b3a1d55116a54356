"""The errors of a network, for a page: its scores for each target, and the samples with the largest errors."""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array, Field, Ragged, taken
from netc.runtime.insight.cells import InputCells, input_cells
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


class _Mistakes(Struct, frozen=True):
    """Samples by decreasing error: their positions in the part, their rows in the data, and texts of their values.

    `errors` are distances from the true value, or for classes the chance of the true class.
    """

    order: Array
    rows: Array
    true: list[str]
    predicted: list[str]
    errors: Array
    is_class: bool

    @classmethod
    def of(cls, prediction: TargetPrediction, rows: Array) -> "_Mistakes":
        """The largest errors of a prediction; of classes only the samples that are taken for another class."""
        order = np.argsort(-prediction.error, kind="stable")[:_WORST]
        is_class = bool(prediction.labels)
        if is_class:
            order = order[prediction.predicted[order] != prediction.true[order]]

        def text_of(value: float) -> str:
            return shortened(prediction.labels[int(value)]) if is_class else f"{float(value):.4g}"

        true, predicted = ([text_of(values[i]) for i in order] for values in (prediction.true, prediction.predicted))
        errors = prediction.error[order]
        return cls(order, rows[order], true, predicted, 1 - errors if is_class else errors, is_class)


def _worst(run: Run, part: str, prediction: TargetPrediction, columns: Sequence[str]) -> Iterator[Section]:
    """The samples with the largest errors, as images if an input is one, or else as rows of a table."""
    dataset = run.load_data()
    mistakes = _Mistakes.of(prediction, dataset.rows[part])
    if not len(mistakes.order):
        yield Paragraph("None.")
        return
    fields = dataset.parts[part]
    of_inputs = (_images(fields[name], mistakes.order) for name in run.model.inputs)
    images = next((images for images in of_inputs if images is not None), None)
    if images is not None:
        yield Cards(_cards(mistakes, images))
        yield from one_of_every(thinned(images, _PIXELS)[1], "pixels, along each side,")
    else:
        yield from _table(mistakes, input_cells(run, part, mistakes.order.tolist()), columns)


def _cards(mistakes: _Mistakes, images: Array) -> list[Card]:
    """A card with its image for each of the samples."""
    cards = []
    for row, true, predicted, image in zip(mistakes.rows, mistakes.true, mistakes.predicted, images, strict=True):
        title = f"{true}, taken for {predicted}"
        cards.append(Card(png(image, most=_PIXELS), title, f"row {row}: {title}"))
    return cards


def _table(mistakes: _Mistakes, cells: InputCells, columns: Sequence[str]) -> Iterator[Section]:
    """A row for each of the samples, with the cells of its inputs: first those of `columns`."""
    shown = [cells.columns.index(name) for name in columns if name in cells.columns]
    shown = [*dict.fromkeys([*shown, *range(len(cells.columns))])][:_MOST_COLUMNS]
    yield Table(
        (
            *("row", "true", "predicted", "chance of the true one" if mistakes.is_class else "off by"),
            *(shortened(cells.columns[column]) for column in shown),
        ),
        [
            (str(row), true, predicted, f"{error:.3g}", *(texts[column] for column in shown))
            for row, true, predicted, error, texts in zip(
                mistakes.rows, mistakes.true, mistakes.predicted, mistakes.errors, cells.texts, strict=True
            )
        ],
    )
    yield from left_out(len(cells.columns), len(shown), "columns")


def _images(field: Field, rows: Array) -> Array | None:
    """Some samples of a field as images; None if it holds no images."""
    return None if isinstance(field, Ragged) else as_image(taken(field, rows))
