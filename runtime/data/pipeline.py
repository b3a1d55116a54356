"""Takes the cells of a field through its steps, a chunk of rows at a time, so that a table need not fit into memory.

Knows nothing of the type that the model declares: conversion.py compares what comes out with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.available import require_at
from netc.runtime.data import windows
from netc.runtime.data.cells import Location
from netc.runtime.data.data_step import Chunks, State
from netc.runtime.data.declarations import FieldSpec, StepSpec
from netc.runtime.data.lengths import cells_of
from netc.runtime.data.split import chunks_of
from netc.runtime.data.steps import STEPS
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.table import Table

_CELL = 16  # bytes of a cell while rows are copied from their columns


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table: the training, validation or test part of the data, or a whole file."""

    table: Table
    rows: Array

    @property
    def row_numbers(self) -> Array:
        """The number that each row has in its file."""
        return self.table.rows.of(self.rows)


def columns_of(field: FieldSpec, table: Table) -> tuple[str, ...]:
    """The names of a field's columns in a table.

    Faults E0802 where `columns(all, except = ...)` names one that is not there.
    """
    if not field.is_rest:
        return field.columns
    for column in field.columns:
        table.require(column, field.span)
    return tuple(name for name in table.columns if name not in field.columns)


def raw_chunks(field: FieldSpec, part: Part) -> Iterator[tuple[Array | Ragged, Location]]:
    """Yields the cells of a field before its first step.

    Faults E0802 and E0804 where its columns do not form one array.
    """
    table, names = part.table, columns_of(field, part.table)
    columns = [table.column(name, field.span) for name in names]
    if field.is_sequence and len(columns) > 1:
        fault("E0804", "a sequence is made of one column", field.span, hint='field("x")')
    if not columns:
        fault("E0802", f"no column of `{table.name}` is left for `{field.name}`", field.span)
    for rows in chunks_of(part.rows):
        require_at(_CELL * len(rows) * len(columns), f"{len(rows):,} rows of {len(columns):,} columns", field.span)
        cells = [column[rows] for column in columns]
        if len({array.shape for array in cells}) != 1:
            fault("E0804", f"the columns of `{field.name}` have different shapes", field.span)
        location = Location(table.name, names, table.rows.of(rows), field.span)
        if field.is_sequence:
            yield cells_of(cells[0], location), location
        else:
            yield cells[0] if field.is_single else np.stack(cells, axis=1), location


def sample_outputs(
    field: FieldSpec, states: Sequence[State], part: Part, without: str = ""
) -> Iterator[tuple[Array | Ragged, Location]]:
    """Yields the field after its first `len(states)` steps, except for those called `without`.

    Sequences stay sequences.
    """
    is_series = windows.is_series([field])
    for values, location in raw_chunks(field, part):
        for step, state in zip(field.steps, states, strict=False):
            is_split_already = is_series and STEPS[step.name].makes_sequences  # a series of text is read in pieces
            if step.name != without and not is_split_already:
                values = _apply(step, state, values, replace(location, span=step.span), is_series)
        yield values, location


def _apply(step: StepSpec, state: State, values: Array | Ragged, location: Location, is_series: bool) -> Array | Ragged:
    """Applies one step; most steps see the rows of all sequences as one array.

    Faults E0804 if a step does not take these values.
    """
    definition = STEPS[step.name]
    if definition.changes_lengths and (is_series or not isinstance(values, Ragged)):
        hint = "`characters` or `words` makes them of a text"
        fault("E0804", f"`{step.name}` takes sequences of tokens", step.span, hint=hint)
    if definition.changes_lengths or not isinstance(values, Ragged):
        return definition.apply(values, state, location)
    if definition.makes_sequences:
        fault("E0804", f"`{step.name}` takes texts, and this is a sequence already", step.span)
    rows = definition.apply(values.rows, state, per_step(location, values))
    assert not isinstance(rows, Ragged), "only a step that makes sequences or changes lengths returns them"
    return Ragged(rows, values.lengths)


def per_step(location: Location, sequences: Ragged) -> Location:
    """The location of each step of the sequences, where `location` has one row for each sample."""
    return replace(location, rows=np.repeat(location.rows, sequences.lengths))


def step_outputs(
    field: FieldSpec, states: Sequence[State], part: Part, without: str = ""
) -> Iterator[tuple[Array, Location]]:
    """Yields the same as `sample_outputs`, with sequences as one array that has a row for each step of each sample."""
    for values, location in sample_outputs(field, states, part, without):
        if isinstance(values, Ragged):
            yield values.rows, per_step(location, values)
        else:
            yield values, location


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


def fit_steps(field: FieldSpec, part: Part) -> list[State]:
    """Fits the steps of a field one after the other, each on the output of those before it.

    `part` is the training part.
    """
    states: list[State] = []
    for step in field.steps:

        def chunks(span: Span = step.span) -> Iterator[tuple[Array, Location]]:
            for array, location in step_outputs(field, states, part):
                yield array, replace(location, span=span)

        fit: Callable[[Chunks, Sequence[Any]], State] = STEPS[step.name].fit
        states.append(fit(chunks, step.arguments))
    return states
