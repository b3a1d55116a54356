"""Synthetic samples for an exported file and for its run, and the padded form of sequences that ONNX files take."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from netc.compiler.export.exportable import Exported, RawColumns
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import DTYPES, Bounded, Type
from netc.dsl.source import NOWHERE
from netc.runtime.data.block.declarations import FieldSpec
from netc.runtime.data.conversion import convert
from netc.runtime.data.pipeline import Part
from netc.runtime.data.steps.date import moment_of
from netc.runtime.data.steps.number import NumberForm
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.data.tables.cells import Location
from netc.runtime.data.tables.table import Table
from netc.runtime.graph_steps import FORWARD, arithmetic_steps
from netc.runtime.runs.run import Run

_LONGEST = 9  # the most steps of a synthetic sample
_1970 = datetime(1970, 1, 1)
_SECONDS = 365.2425 * 86400  # of a year
_MISSING = 5  # every fifth number is missing where the file fills it


def samples_of(
    run: Run, inputs: Mapping[str, Type], count: int, seed: int = 0, longest: int = _LONGEST
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Synthetic samples of these inputs, as an exported file takes them, and as the run's model does."""
    raw, prepared = dict[str, Any](), dict[str, Any]()
    for name, field in synthetic_data(run.model, count, seed, inputs, longest).items():
        if isinstance(field, Ragged):
            pairs = [_both(run, name, sequence) for sequence in field]
            raw[name], prepared[name] = [before for before, _ in pairs], [after for _, after in pairs]
        else:
            raw[name], prepared[name] = _both(run, name, np.asarray(field))
    return raw, prepared


def _both(run: Run, name: str, drawn: Array) -> tuple[Array, Array]:
    """An array before and after the steps that are part of an exported file."""
    if name not in run.model.inputs:
        return drawn, drawn
    pairs = [
        (step.name, state)
        for step, state in arithmetic_steps(run.spec.fields[name], run.states[name])
        if step.name in FORWARD
    ]
    raw = drawn
    for step, state in reversed(pairs):
        back = STEPS[step].undo
        raw = raw if back is None else back(raw, state)
    raw = raw.astype(drawn.dtype)
    if any(step == "impute" and not state["drop"] for step, state in pairs):
        raw.reshape(-1)[::_MISSING] = np.nan
    through = raw
    location = Location("", (name,), np.arange(len(raw)), NOWHERE)
    for step, state in pairs:
        result = STEPS[step].apply(through, state, location)
        assert isinstance(result, np.ndarray)
        through = result
    return raw, through.astype(DTYPES[run.model.inputs[name].dtype].numpy)


def column_samples(run: Run, asked: Exported, count: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Synthetic samples for a file that takes raw columns, and for its run, whose data steps prepare the same columns.

    Texts are labels of the data, one that no data has where that is allowed, and empty ones where these are filled.
    """
    fields, prepared = samples_of(run, asked.inputs, count, seed)
    cells: dict[str, Array] = {}  # of the file
    written: dict[str, Array] = {}  # the same cells in a table of the data
    for name, raw in asked.raw.items():
        numbers = np.asarray(fields.pop(name), np.float64).reshape(count, -1)
        for i, column in enumerate(raw.columns):
            if column in cells:
                continue
            if raw.codes:
                cells[column] = written[column] = _texts(raw, i, count, run.model.inputs[name].classes or 0)
                continue
            cells[column] = _numbers(raw, i, count) if raw.is_date or raw.edges else numbers[:, i]
            cells[column], written[column] = _written(run.spec.fields[name], cells[column])
            if column in asked.facts.get("fills", {}).get(name, {}):
                is_text = written[column].dtype == object
                cells[column][::_MISSING], written[column][::_MISSING] = np.nan, None if is_text else np.nan
    table = Table("synthetic samples", {name: _with_missing(column) for name, column in written.items()})
    part = Part(table, np.arange(count))
    for name in asked.raw:
        prepared[name] = convert(run.spec.fields[name], run.states[name], part, run.model.inputs[name])
    return {**cells, **fields}, prepared


def _numbers(raw: RawColumns, column: int, count: int) -> Array:
    """Moments of two centuries, or numbers at and around the bounds of buckets."""
    if raw.is_date:
        return np.floor(np.linspace(-70, 130, count) * _SECONDS)
    edges = np.array(raw.edges[column])
    choices = np.concatenate([edges, edges - 0.5, edges + 0.5])
    return np.asarray(np.resize(choices, count), np.float64)


def _written(field: FieldSpec, numbers: Array) -> tuple[Array, Array]:
    """Numbers, and the texts that the first of the steps `number` and `date` of a field reads as these numbers."""
    step = next((step for step in field.steps if step.name in ("number", "date")), None)
    if step is None:
        return numbers, numbers.copy()
    texts = np.empty(len(numbers), object)
    if step.name == "number":
        form = NumberForm.of(step.arguments[0])
        assert form is not None, "the step's check refuses others"
        numbers = np.round(numbers, 2)
        texts[:] = [repr(number).replace(".", form.notation.decimal) for number in numbers.tolist()]
    else:
        form_of_dates = step.arguments[0] if step.arguments else ""
        moments = [_1970 + timedelta(seconds=number) for number in numbers.tolist()]
        texts[:] = [moment.strftime(form_of_dates) if form_of_dates else moment.isoformat() for moment in moments]
        read = [moment_of(text, form_of_dates) for text in texts]
        numbers = np.array([np.nan if moment is None else (moment - _1970).total_seconds() for moment in read])
    return numbers, texts


def _texts(raw: RawColumns, column: int, count: int, classes: int) -> Array:
    """Texts for a column: those without a label first, then labels from all over their list.

    `classes` is the number of classes of the input, 0 if it has none.
    """
    choices = sorted(raw.codes[column], key=bool)
    if raw.width is not None or raw.other < classes:
        choices.insert(0, "a label that no data has")
    step = max(1, len(choices) // count)
    return np.array([choices[(step * i + column) % len(choices)] for i in range(count)], object)


def _with_missing(column: Array) -> Array:
    """A column with None for empty texts, as readers of files have it."""
    return np.array([cell or None for cell in column], object) if column.dtype == object else column


def padded(asked: Exported, fields: Mapping[str, Any]) -> dict[str, Array]:
    """Fields as an ONNX file takes them: sequences [batch, DIM, ...] padded with zeros, and `length.DIM`."""
    columns = {column for raw in asked.raw.values() for column in raw.columns}
    arrays: dict[str, Array] = {name: fields[name] for name in fields if name in columns}
    for name, type_ in asked.inputs.items():
        if name in asked.raw:
            continue
        if not type_.is_varying:
            arrays[name] = np.asarray(fields[name], DTYPES[type_.dtype].numpy)
            continue
        lengths = np.array([len(sequence) for sequence in fields[name]], np.int64)
        sequences = np.zeros((len(lengths), lengths.max(), *map(int, type_.dims[1:])), DTYPES[type_.dtype].numpy)
        for i, sequence in enumerate(fields[name]):
            sequences[i, : len(sequence)] = sequence
        arrays[name], arrays[str(ResultKind.LENGTH.named(str(type_.rows)))] = sequences, lengths
    return arrays


def from_padded(results: Mapping[str, Array], asked: Exported, fields: Mapping[str, Array]) -> dict[str, Any]:
    """The results of an ONNX file, each sequence cut to its length. `fields` are those that the file was run on."""
    arrays = {**fields, **results}
    outputs: dict[str, Any] = {}
    for name, type_ in asked.outputs.items():
        array = results[name]
        if type_.is_varying:
            lengths = arrays[str(ResultKind.LENGTH.named(str(type_.rows)))]
            outputs[name] = [sequence[:n] for sequence, n in zip(array, lengths, strict=True)]
        elif type_.is_held:
            ends = [
                arrays.get(str(ResultKind.LENGTH.named(dim.name))) if isinstance(dim, Bounded) else None
                for dim in type_.dims[1:]
            ]
            outputs[name] = [
                sample[tuple(np.s_[: end[i]] if end is not None else np.s_[:] for end in ends)]
                for i, sample in enumerate(array)
            ]
        else:
            outputs[name] = array
    return outputs
