"""Classes that the data tells: how many a target has, and which a field that the model does not read has."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.data import windows
from netc.runtime.data.cells import is_missing, numbers
from netc.runtime.data.data_step import State
from netc.runtime.data.declarations import Constants, DataSpec, FieldSpec, StepSpec
from netc.runtime.data.partition import divided_parts, stratifying_target
from netc.runtime.data.pipeline import fit_steps, labels_of, raw_chunks, step_outputs
from netc.runtime.data.spec import parse_block
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.table import Table


def class_counter(file: syntax.File) -> Callable[[str, Constants, int, Span], int]:
    """What tells how many classes a field of the file's data has: it reads the data, and fits that field's steps alone."""

    def count(name: str, constants: Constants, seed: int, asked: Span) -> int:
        data = next((item for item in file.items if isinstance(item, syntax.Data)), None)
        if data is None:
            fault(
                "E0702", "`class(auto)` is told by the data, and the file has no `data` block", asked, hint="class(10)"
            )
        spec = parse_block(file.source, data, constants)
        if name not in spec.fields:
            fault("E0702", f"`class(auto)` is told by the data, which does not give `{name}`", asked)
        one = spec.fields[name]
        table, chosen = divided_parts(spec, file.source, _first_label(file), seed)["train"]
        states = fit_steps(one, table, chosen)
        labels = labels_of(one, states)
        return max(len(labels) if labels else 1 + _largest(one, states, table, chosen), 2)

    return count


def _first_label(file: syntax.File) -> str | None:
    """The target that a split is stratified by, before anything is elaborated."""
    targets = [
        statement
        for item in file.items
        if isinstance(item, syntax.Model)
        for statement in item.body
        if isinstance(statement, syntax.Target)
    ]
    return next((one.name.text for one in targets if one.type.kind == "class" and not one.type.dims), None)


def _largest(one: FieldSpec, states: Sequence[State], table: Table, rows: Array) -> int:
    """The largest whole number of a field. Faults E0805 if it holds others."""
    most = 0
    for array, location in step_outputs(one, states, table, rows):
        values = numbers(array, location)
        if not (np.isfinite(values) & (values == np.floor(values))).all():
            fault("E0805", f"`{one.name}` holds no whole numbers", one.span, hint="`-> classes` numbers what it holds")
        most = max(most, int(values.max()))
    return most


def classes_beside(
    model: Model, spec: DataSpec, one: FieldSpec, part: str, most: int
) -> tuple[tuple[str, ...], Array] | None:
    """Of a field that the model does not read: what it holds in a part, as classes, and which of them each sample has; None if that are not 2 to `most`."""
    if windows.is_series(spec.fields.values()):
        return None
    parts = divided_parts(spec, model.source, stratifying_target(model), model.train.seed)
    table, rows = parts[part]
    plain = replace(one, steps=())
    for cells, _ in raw_chunks(plain, table, rows):
        if isinstance(cells, Ragged) or cells.ndim != 1 or is_missing(cells).any():
            return None
    counted = replace(plain, steps=(StepSpec("classes", (), one.span),))
    states = fit_steps(counted, table, rows)
    labels = tuple(labels_of(counted, states))
    numbers_of = np.concatenate([array for array, _ in step_outputs(counted, states, table, rows)])
    return (labels, numbers_of) if 2 <= len(labels) <= most else None
