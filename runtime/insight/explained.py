"""The attributions of a sample by what a person knows: columns with their cells, words, steps, pixels."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array, Field, Ragged, taken
from netc.runtime.execution.fields import Fields
from netc.runtime.insight.attributions import Attributed
from netc.runtime.insight.pictures import as_image
from netc.runtime.insight.units import units_of
from netc.runtime.insight.words import shortened
from netc.runtime.runs.run import Run


class Share(Struct, frozen=True):
    """The part of a score that is attributed to a column or a word, with the text of its cell."""

    name: str
    cell: str
    value: float


class Words(Struct, frozen=True):
    """The pieces of a text in their order, and the part of the score that is attributed to each."""

    name: str
    words: Sequence[str]
    values: Array


class Steps(Struct, frozen=True):
    """The attributions [step] of a sequence of numbers."""

    name: str
    values: Array


class Pixels(Struct, frozen=True):
    """A picture [height, width] or [height, width, 3], and the attributions [height, width] of its pixels."""

    name: str
    image: Array
    values: Array


class Explained(Struct, frozen=True):
    """A sample: its prediction as a text, and the parts of its explanation, the columns by their size."""

    attributed: Attributed
    predicted: str
    shares: Sequence[Share]
    parts: Sequence[Words | Steps | Pixels]


def explained(run: Run, attributed: Attributed, fields: Fields, sample: int, cells: Mapping[str, str]) -> Explained:
    """The attributions of one sample of `fields`, in the words of the data. `cells` are those of its columns."""
    shares, parts = list[Share](), list[Words | Steps | Pixels]()
    for name, values in attributed.inputs.items():
        part = _part(run, name, values, fields, sample)
        if part is not None:
            parts.append(part)
        else:
            shares += _shares(run, name, values, cells)
    shares.sort(key=lambda share: -abs(share.value))
    return Explained(attributed, _predicted(run, attributed), shares, parts)


def _predicted(run: Run, attributed: Attributed) -> str:
    """The explained entry: the label of a class, or the number."""
    if attributed.entry is None:
        return f"{attributed.output} {attributed.score:.4g}"
    for entry in run.facts_of([attributed.output]).distributions:
        if not entry.is_binary and not entry.entries:
            return shortened(run.labels_of(entry.target, entry.classes)[attributed.entry])
        if entry.is_multiple and attributed.entry < len(entry.names):
            return shortened(entry.names[attributed.entry])
    return f"{attributed.output}[{attributed.entry}]"


def _part(run: Run, name: str, values: Array, fields: Fields, sample: int) -> Words | Steps | Pixels | None:
    """The attributions of a text, a sequence or a picture; None for an input that is a list of columns."""
    type_, field = run.model.inputs[name], fields[name]
    if type_.classes is not None and values.ndim == 1:
        numbers = _sample(field, sample)
        labels = run.labels_of(name, type_.classes)
        return Words(name, [shortened(labels[int(number)]) for number in numbers], values)
    if type_.is_varying:
        return Steps(name, values.reshape(len(values), -1).sum(axis=1))
    image = as_image(_sample(field, sample)[None])
    if image is not None and values.size == image[0].size:
        grid = values.reshape(image[0].shape)
        return Pixels(name, image[0], grid.sum(axis=2) if grid.ndim == 3 else grid)
    return None


def _sample(field: Field, sample: int) -> Array:
    """One sample of a field as an array."""
    chosen = taken(field, np.array([sample]))
    return chosen.rows if isinstance(chosen, Ragged) else np.asarray(chosen)[0]


def _shares(run: Run, name: str, values: Array, cells: Mapping[str, str]) -> Iterator[Share]:
    """The units of an input, each with its sum."""
    for unit in units_of(run.spec, [name], {name: values[None]}):
        total = float(values[None][unit.index(values.ndim + 1)].sum())
        yield Share(shortened(unit.name), cells.get(unit.name, ""), total)
