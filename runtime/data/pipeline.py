"""Takes the cells of a field through its steps, a chunk of rows at a time, so that a table need not fit into memory.

Knows nothing of the type that the model declares: conversion.py compares what comes out with it.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct, field

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import is_writable, net_string
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.available import require_at
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec, FieldSpec, SourceSpec, StepSpec
from netc.runtime.data.division.split import chunks_of
from netc.runtime.data.lengths import cells_of
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.steps.remarks import Remarks
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.tables.cells import BadRows, Location, RowFault
from netc.runtime.data.tables.columns import TextColumn, TextSequences
from netc.runtime.data.tables.table import Table

Result = TypeVar("Result")
_Cells = Array | Ragged | TextColumn | TextSequences
_F32_STEP = float(np.finfo(np.float32).eps)
_MOST_LOST = 1e-3  # of the change that 1 makes in a value of the model, by rounding to f32
_CELL = 16  # bytes of a cell while rows are copied from their columns


class Part(Struct, frozen=True):
    """Some rows of a table: the training, validation or test part of the data, or a whole file.

    If windows are cut from the rows, `stretches` are the places in `rows` at which rows begin that follow one another
    without a gap.

    `remarks` collects what steps notice about cells that they can use. With `bad_rows`, the rows that a step refuses
    are noted there and left out of what the steps yield; without it they end in a RowFault.
    """

    table: Table
    rows: Array
    stretches: Array | None = None
    remarks: Remarks = field(default_factory=Remarks)
    bad_rows: BadRows | None = None

    @property
    def row_numbers(self) -> Array:
        """The number that each row has in its file."""
        return self.table.numbers(self.rows)

    def window_starts(self, cuts: Sequence[windows.Cut], name: str, span: Span) -> Array:
        """The places in `rows` at which windows start. Raises E0806 at `span` if none fits; `name` is for messages."""
        assert self.stretches is not None, "division/partition.py finds the series of data with windows"
        return windows.window_starts(cuts, len(self.rows), self.stretches, name, span)


def resolved(spec: DataSpec, table: Table) -> DataSpec:
    """A data block whose fields name their columns: `columns(all, except = ...)` are those of the training table.

    So all parts and all new data are read by these names, whatever else their files contain, and in whatever order.
    Raises E0802 where `except` names a column that is not there.
    """
    fields = {
        name: replace(field, columns=columns_of(field, table), is_rest=False) for name, field in spec.fields.items()
    }
    pictures, dialect = shape_of_pictures(spec.source, table), dialect_of(spec.source, table)
    return replace(spec, fields=fields, pictures=pictures, dialect=dialect)


def dialect_of(source: SourceSpec, table: Table) -> tuple[str, str, str] | None:
    """The delimiter, the decimal mark and the mark between thousands of a csv; None for another source."""
    if source.reader != "csv":
        return None
    options = {"delimiter": ",", "thousands": "", **dict(source.options), **dict(table.options)}
    decimal = options.get("decimal", "," if options["thousands"] == "." else ".")
    return options["delimiter"], decimal, options["thousands"]


def shape_of_pictures(source: SourceSpec, table: Table) -> tuple[int, int, int] | None:
    """The height, width and channels of the pictures of a table; None if its source has none."""
    if source.reader != "images":
        return None
    height, width, channels = table.columns["image"][np.arange(1)].shape[1:]
    return height, width, channels


def columns_of(field: FieldSpec, table: Table) -> tuple[str, ...]:
    """The names of a field's columns in a table.

    Raises E0802 where `columns(all, except = ...)` names one that is not there.
    """
    if not field.is_rest:
        return field.columns
    for column in field.columns:
        table.require(column, field.span)
    return tuple(name for name in table.names or table.columns if name not in field.columns)


def raw_chunks(field: FieldSpec, part: Part) -> Iterator[tuple[Array | Ragged, Location]]:
    """Yields the cells of a field before its first step: lists as sequences where the model declares them, or a step
    takes their elements for labels.

    Raises E0802 and E0804 where its columns do not form one array.
    """
    for values, location in _raw_chunks(field, part):
        yield _decoded(values), location


def _decoded(values: _Cells) -> Array | Ragged:
    """Values with texts in place of their numbers."""
    if isinstance(values, TextSequences):
        return values.decoded()
    return values[:] if isinstance(values, TextColumn) else values


def _raw_chunks(field: FieldSpec, part: Part) -> Iterator[tuple[_Cells, Location]]:
    """The same as `raw_chunks`, with the texts of a series by numbers if the table has them so."""
    table, names = part.table, columns_of(field, part.table)
    columns = [table.column(name, field.span) for name in names]
    takes_text = any(STEPS[step.name].makes_sequences for step in field.steps)
    if (field.is_sequence or takes_text) and len(columns) > 1:
        writable = next(filter(is_writable, names), None)
        hint = None if writable is None else f"column({net_string(writable)})"
        fault("E0804", "a sequence is made of one column", field.span, hint=hint)
    if not columns:
        fault("E0802", f"no column of `{table.name}` is left for `{field.name}`", field.span)
    impute = next((step.span.text for step in field.steps if step.name == "impute"), "")
    is_series = windows.is_series([field])
    takes_labels = any(STEPS[step.name].takes_labels for step in field.steps) and not is_series
    for file, rows in (piece for chunk in chunks_of(part.rows, columns[0]) for piece in table.by_file(chunk)):
        require_at(_CELL * len(rows) * len(columns), f"{len(rows):,} rows of {len(columns):,} columns", field.span)
        numbers_in_file = table.numbers(rows)
        location = Location(file, names, numbers_in_file, field.span, impute=impute, is_target=field.is_target)
        if is_series and field.is_single and isinstance(columns[0], TextColumn):
            yield columns[0].take(rows), location
            continue
        cells = [_as_floats(column[rows]) for column in columns]
        if len({array.shape for array in cells}) != 1:
            fault("E0804", f"the columns of `{field.name}` have different shapes", field.span)
        if field.is_sequence or (takes_labels and len(cells) == 1 and _has_lists(cells[0])):
            yield from usable(part, cells[0], location, partial(cells_of, takes_text=takes_text))
        else:
            yield cells[0] if field.is_single else np.stack(cells, axis=1), location


def _has_lists(cells: Array) -> bool:
    return cells.dtype == object and cells.ndim == 1 and any(isinstance(cell, list) for cell in cells)


def _as_floats(cells: Array) -> Array:
    """The numbers of a column as float64, whatever type their file has: steps then give them the same bits.

    Arrays, such as pictures, stay as they are.
    """
    return cells.astype(np.float64) if cells.ndim == 1 and cells.dtype.kind in "iufb" else cells


def usable(
    part: Part,
    values: _Cells,
    location: Location,
    apply: Callable[[Any, Location], Result],
) -> Iterator[tuple[Result, Location]]:
    """Yields `apply(values, location)` for the rows that it does not refuse, with their location; nothing if no row
    is left.

    Without `part.bad_rows` a refused row is a RowFault. `apply` is called again for each kind of problem in these
    values, not for each row.
    """
    while len(values):
        remarks = Remarks()
        try:
            result = apply(values, replace(location, remarks=remarks))
        except RowFault as error:
            if part.bad_rows is None:
                raise
            part.bad_rows.note(error)
            is_usable = ~np.isin(location.rows, [problem.row for problem in error.problems])
            if isinstance(values, Ragged | TextSequences):
                values = values.take(np.flatnonzero(is_usable))
            else:
                values = values[is_usable]
            location = replace(location, rows=location.rows[is_usable])
            continue
        part.remarks.add(remarks)
        yield result, location
        return


def sample_outputs(
    field: FieldSpec, states: Sequence[State], part: Part, without: str = ""
) -> Iterator[tuple[Array | Ragged, Location]]:
    """Yields the field after its first `len(states)` steps, except for those called `without`.

    Sequences stay sequences.
    """
    for values, location in _coded_outputs(field, states, part, without):
        yield _decoded(values), location


def _coded_outputs(
    field: FieldSpec, states: Sequence[State], part: Part, without: str = ""
) -> Iterator[tuple[_Cells, Location]]:
    """The same as `sample_outputs`, with texts that no step has changed by numbers."""
    is_series = windows.is_series([field])
    for values, location in _raw_chunks(field, part):
        chunks = iter([(values, location)])
        for step, state in zip(field.steps, states, strict=False):
            is_split_already = is_series and STEPS[step.name].makes_sequences  # a series of text is read in pieces
            if step.name != without and not is_split_already:
                chunks = _stepped(chunks, part, step, state, is_series)
        yield from chunks


def _stepped(
    chunks: Iterator[tuple[_Cells, Location]],
    part: Part,
    step: StepSpec,
    state: State,
    is_series: bool,
) -> Iterator[tuple[_Cells, Location]]:
    """Yields chunks after one step, without the rows that it refuses where the part notes them."""
    for values, location in chunks:
        for result, chunk in usable(part, values, location, partial(_apply, step, state, is_series)):
            yield result, replace(chunk, span=location.span)


def _apply(step: StepSpec, state: State, is_series: bool, values: _Cells, location: Location) -> _Cells:
    """Applies one step; most steps see the rows of all sequences as one array.

    Raises E0804 if a step does not take these values.
    """
    location = replace(location, span=step.span)
    definition = STEPS[step.name]
    if not definition.takes_codes:
        values = _decoded(values)
    if definition.changes_lengths and is_series:
        fact = f"`{step.name}` takes the texts of rows, and this is one long series"
        fault("E0804", fact, step.span, hint=f"leave out `{step.name}`")
    if definition.changes_lengths and not isinstance(values, Ragged | TextSequences):
        hint = "`characters` or `words` makes them of a text"
        fault("E0804", f"`{step.name}` takes sequences of tokens", step.span, hint=hint)
    if definition.changes_lengths or not isinstance(values, Ragged | TextSequences):
        return definition.apply(values, state, location)
    if definition.makes_sequences:
        fault("E0804", f"`{step.name}` takes texts, and this is a sequence already", step.span)
    rows = definition.apply(values.rows, state, per_step(location, values))
    assert isinstance(rows, np.ndarray), "only a step that makes sequences or changes lengths returns them"
    return Ragged(rows, values.lengths)


def per_step(location: Location, sequences: Ragged | TextSequences) -> Location:
    """The location of each step of the sequences, where `location` has one row for each sample."""
    return replace(location, rows=np.repeat(location.rows, sequences.lengths), are_tokens=True)


def step_outputs(
    field: FieldSpec, states: Sequence[State], part: Part, without: str = ""
) -> Iterator[tuple[Array, Location]]:
    """Yields the same as `sample_outputs`, with sequences as one array that has a row for each step of each sample."""
    for values, location in map(_of_steps, sample_outputs(field, states, part, without)):
        assert not isinstance(values, TextColumn), "sample_outputs yields the texts themselves"
        yield values, location


def _of_steps(chunk: tuple[_Cells, Location]) -> tuple[Array | TextColumn, Location]:
    """A chunk with a row for each step of its sequences, if it has any."""
    values, location = chunk
    if isinstance(values, Ragged | TextSequences):
        return values.rows, per_step(location, values)
    return values, location


def labels_of(field: FieldSpec, states: Sequence[State]) -> list[str]:
    """The names of a field's numbers, from its last step that has names for them; empty if no step has."""
    with_labels = [(STEPS[step.name].labels, state) for step, state in zip(field.steps, states, strict=False)]
    labels = [names(state) for names, state in with_labels if names is not None]
    return labels[-1] if labels else []


def class_labels(field: FieldSpec, states: Sequence[State], classes: int) -> tuple[str, ...]:
    """The labels of a field's classes; their numbers if the data does not name them."""
    return tuple(labels_of(field, states)) or tuple(map(str, range(classes)))


def undo(field: FieldSpec, states: Sequence[State]) -> Callable[[Array], Array]:
    """Returns a function that converts values of a field back to the units of the data."""

    def to_units_of_data(array: Array) -> Array:
        for step, state in zip(reversed(field.steps), reversed(states), strict=True):
            inverse = STEPS[step.name].undo
            assert inverse is not None, "parse_data refuses a target with a step that has no inverse"
            array = inverse(array, state)
        return array

    return to_units_of_data


def in_units_of_data(field: FieldSpec, states: Sequence[State], values: Array) -> Array:
    """Values of a field in the units of the data, as predictions give them.

    The steps are undone in f64, as they are done. The result keeps the type f32 of a prediction, unless these units
    need f64.
    """
    to_units = undo(field, states)
    if values.dtype != np.float32:
        return np.asarray(to_units(values))
    result = np.asarray(to_units(values.astype(np.float64)))
    return result if units_need_f64(field, states) else result.astype(np.float32)


def units_need_f64(field: FieldSpec, states: Sequence[State]) -> bool:
    """Whether f32, in the units of the data, would merge what the model tells apart: the seconds of a Unix time."""
    to_units = undo(field, states)
    at_zero, at_one = (np.asarray(to_units(np.asarray(number))) for number in (0.0, 1.0))
    return bool((np.abs(at_zero) * _F32_STEP > _MOST_LOST * np.abs(at_one - at_zero)).any())


def fit_steps(field: FieldSpec, part: Part) -> list[State]:
    """Fits the steps of a field one after the other, each on the output of those before it.

    `part` is the training part.
    """
    states: list[State] = []
    for step in field.steps:

        def chunks(step: StepSpec = step) -> Iterator[tuple[Array | TextColumn, Location]]:
            takes_codes = STEPS[step.name].takes_codes
            for values, location in map(_of_steps, _coded_outputs(field, states, part)):
                is_decoded = isinstance(values, TextColumn) and not takes_codes
                yield values[:] if is_decoded else values, replace(location, span=step.span)

        fit: Callable[[Any, Sequence[Any]], State] = STEPS[step.name].fit
        states.append(fit(chunks, step.arguments))
    return states
