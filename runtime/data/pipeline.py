"""A field's rows on their way through its steps, a chunk at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.available import require_at
from netc.runtime.data import windows
from netc.runtime.data.cells import Location
from netc.runtime.data.data_step import Chunks, State
from netc.runtime.data.declarations import FieldSpec
from netc.runtime.data.lengths import cells_of
from netc.runtime.data.split import chunks_of
from netc.runtime.data.steps import STEPS
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.table import Table

_CELL = 16  # bytes of a cell of a row that is taken from its columns


def columns_of(one: FieldSpec, table: Table) -> tuple[str, ...]:
    """The names of a field's columns in a table."""
    if not one.is_rest:
        return one.columns
    for column in one.columns:
        table.column(column, one.span)
    return tuple(name for name in table.columns if name not in one.columns)


def raw_chunks(one: FieldSpec, table: Table, rows: Array) -> Iterator[tuple[Array | Ragged, Location]]:
    names = columns_of(one, table)
    columns = [table.column(name, one.span) for name in names]
    if one.is_sequence and len(columns) > 1:
        fault("E0804", "a sequence is made of one column", one.span, hint='field("x")')
    if not columns:
        fault("E0802", f"no column of `{table.name}` is left for `{one.name}`", one.span)
    for chosen in chunks_of(rows):
        require_at(_CELL * len(chosen) * len(columns), f"{len(chosen):,} rows of {len(columns):,} columns", one.span)
        cells = [column[chosen] for column in columns]
        if len({part.shape for part in cells}) != 1:
            fault("E0804", f"the columns of `{one.name}` have different shapes", one.span)
        location = Location(table.name, names, chosen + table.first_row, one.span)
        if one.is_sequence:
            yield cells_of(cells[0], location), location
        else:
            yield cells[0] if one.is_single else np.stack(cells, axis=1), location


def step_outputs(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, without: str = ""
) -> Iterator[tuple[Array, Location]]:
    """The field's rows after the steps whose states are there, but for those called `without`; of sequences, the steps one below the other."""
    for made, location in sample_outputs(one, states, table, rows, without):
        yield (
            (made.rows, replace(location, rows=np.repeat(location.rows, made.lengths)))
            if isinstance(made, Ragged)
            else (made, location)
        )


def sample_outputs(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, without: str = ""
) -> Iterator[tuple[Array | Ragged, Location]]:
    """As `step_outputs`, sequences as such."""
    for made, location in raw_chunks(one, table, rows):
        for step, state in zip(one.steps, states, strict=False):
            is_cut = windows.is_series([one]) and STEPS[step.name].makes_sequences  # a text is in pieces already
            if step.name == without or is_cut:
                continue
            apply, at = STEPS[step.name].apply, replace(location, span=step.span)
            if STEPS[step.name].changes_lengths:
                if not isinstance(made, Ragged) or windows.is_series([one]):
                    told = "`characters` or `words` makes them of a text"
                    fault("E0804", f"`{step.name}` takes sequences of tokens", step.span, hint=told)
                made = apply(made, state, at)
            elif not isinstance(made, Ragged):
                made = apply(made, state, at)
            elif STEPS[step.name].makes_sequences:
                fault("E0804", f"`{step.name}` takes texts, and this is a sequence already", step.span)
            else:
                whole = apply(made.rows, state, replace(at, rows=np.repeat(location.rows, made.lengths)))
                assert not isinstance(whole, Ragged)
                made = Ragged(whole, made.lengths)
        yield made, location


def labels_of(one: FieldSpec, states: Sequence[State]) -> list[str]:
    """What the numbers of a field are called: of its last step that numbers things."""
    named = [(STEPS[step.name].labels, state) for step, state in zip(one.steps, states, strict=False)]
    found = [labels(state) for labels, state in named if labels is not None]
    return found[-1] if found else []


def fit_steps(one: FieldSpec, table: Table, rows: Array) -> list[State]:
    states: list[State] = []
    for step in one.steps:

        def chunks(span: Span = step.span) -> Iterator[tuple[Array, Location]]:
            for array, location in step_outputs(one, states, table, rows):
                yield array, replace(location, span=span)

        fit: Callable[[Chunks, Sequence[Any]], State] = STEPS[step.name].fit
        states.append(fit(chunks, step.arguments))
    return states
