"""Reads classes from the data: how many `class(auto)` has, and the classes of a field that the model does not read."""

from collections.abc import Callable, Sequence

import numpy as np

from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import Constants, DataSpec, FieldSpec, StepSpec
from netc.runtime.data.block.spec import check_tokens, missing_field_hint, parse_block
from netc.runtime.data.division.partition import read_parts, stratifying_target
from netc.runtime.data.pipeline import Part, fit_steps, labels_of, raw_chunks, step_outputs
from netc.runtime.data.reuse import parts_of, states_of
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.tables.cells import is_missing, numbers


def class_counter(file: syntax.File) -> Callable[[str, Constants, Span], int]:
    """Returns a function `count(name, constants, asked)`: how many classes a field of the file's data has.

    It reads the data, once for all fields, and fits only that field's steps. Raises E0702 at `asked` if the file has
    no such field, E0805 if the field has one class only.
    """
    read: list[tuple[Constants, Part]] = []  # the constants that data was read with, and its training part

    def training_part(spec: DataSpec, constants: Constants, targets: Sequence[syntax.Target]) -> Part:
        if not read or read[-1][0] != constants:
            read[:] = [(dict(constants), parts_of(spec, file.source, _stratifying_name(targets))["train"])]
        return read[-1][1]

    def count(name: str, constants: Constants, asked: Span) -> int:
        data = next((item for item in file.items if isinstance(item, syntax.Data)), None)
        if data is None:
            fact = "`class(auto)` counts the classes in the data, and the file has no `data` block"
            fault("E0702", fact, asked, hint="class(10)")
        spec, declared = parse_block(file.source, data, constants), _inputs_and_targets(file)
        if name not in spec.fields:
            fact = f"`class(auto)` counts the classes in the data, which has no `{name}`"
            hint = missing_field_hint(name, spec, {statement.name.text for statement in declared})
            fault("E0702", fact, asked, hint=hint)
        targets = [statement for statement in declared if isinstance(statement, syntax.Target)]
        for target in targets:
            if target.name.text in spec.fields:
                spec.fields[target.name.text] = replace(spec.fields[target.name.text], is_target=True)
        field = spec.fields[name]
        check_tokens(field)
        training = training_part(spec, constants, targets)
        states = states_of(field, training)
        labels = labels_of(field, states)
        classes = len(labels) if labels else 1 + _largest(field, states, training)
        if classes < 2:
            label = f'"{cell(labels[0])}"' if labels else "0"
            fault("E0805", f"`{name}` has one class only", asked, f"{label} in all {len(training.rows):,} rows")
        return classes

    return count


def _inputs_and_targets(file: syntax.File) -> list[syntax.Input | syntax.Target]:
    """The inputs and targets that the model of a file declares."""
    bodies = [item.body for item in file.items if isinstance(item, syntax.Model)]
    return [statement for body in bodies for statement in body if isinstance(statement, syntax.Input | syntax.Target)]


def _stratifying_name(targets: Sequence[syntax.Target]) -> str | None:
    """The same as `stratifying_target`, for a file that is not elaborated yet."""
    return next((target.name.text for target in targets if target.type.kind == "class" and not target.type.dims), None)


def _largest(field: FieldSpec, states: Sequence[State], part: Part) -> int:
    """The largest number of a field, at least 0. Raises E0805 if one of its numbers is not an integer."""
    largest = 0
    for array, location in step_outputs(field, states, part):
        values = numbers(array, location)
        if not (np.isfinite(values) & (values == np.floor(values))).all():
            hint = "`-> classes` numbers what it holds"
            fault("E0805", f"`{field.name}` holds no whole numbers", field.span, hint=hint)
        largest = max(largest, int(values.max()))
    return largest


def classes_of_unread_field(
    model: Model, spec: DataSpec, field: FieldSpec, part_name: str, most: int
) -> tuple[tuple[str, ...], Array] | None:
    """The cells of a field that the model does not read, as classes: their labels, and the number of each sample's
    class.

    Returns None for a series, for cells that are missing, sequences or arrays, and unless there are between 2 and
    `most` classes.
    """
    if windows.is_series(spec.fields.values()):
        return None
    part = read_parts(spec, model.source, stratifying_target(model))[part_name]
    without_steps = replace(field, steps=())
    for cells, _ in raw_chunks(without_steps, part):
        if isinstance(cells, Ragged) or cells.ndim != 1 or is_missing(cells).any():
            return None
    as_classes = replace(field, steps=(StepSpec("classes", (), field.span),))
    states = fit_steps(as_classes, part)
    labels = tuple(labels_of(as_classes, states))
    class_numbers = np.concatenate([array for array, _ in step_outputs(as_classes, states, part)])
    return (labels, class_numbers) if 2 <= len(labels) <= most else None
