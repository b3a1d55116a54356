"""Loads the data of a model: arrays by part and field.

Rows are divided first; steps are fitted only on the training part.

Rows go through the steps a chunk at a time. Every fault names the file, the row and the column.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from netc.compiler.ir.types import Type
from netc.compiler.model import Model
from netc.dsl.diagnostics import Diagnostic, Fault, fault, nearest
from netc.dsl.structs import replace
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.conversion import WITHOUT_WARNINGS, convert, convert_windows
from netc.runtime.data.division.partition import stratifying_target
from netc.runtime.data.lengths import Samples, listed, long_enough, same_lengths
from netc.runtime.data.pictures.augment import AugmentationSpec, augmentations_of, augmented
from netc.runtime.data.pipeline import Part, labels_of, resolved, undo
from netc.runtime.data.readers.sources import ReadSource, read_source
from netc.runtime.data.reuse import parts_of, states_of
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.stored import Array, Field
from netc.runtime.data.tables.row_numbers import RowNumbers
from netc.runtime.data.tables.table import FilesOfRows, Table
from netc.runtime.data.warnings.data_warnings import FittedField, warnings_of
from netc.runtime.data.warnings.ranges import range_warnings
from netc.runtime.data.warnings.targets import target_warnings


class Dataset(msgspec.Struct):
    """Arrays by part and field, and the fitted states of each field's steps, as a run saves them.

    `spec` is the data block with the names of all columns. `rows` are the numbers that the rows of each part have in
    their file, and `files` say which file that is, for parts that have several. `notes` are what a user should know
    about the files, `remarks` about the cells of each part but `train`.
    `rows_by_source` says how many rows each source has, by its paths in the text.
    """

    spec: DataSpec
    parts: dict[str, dict[str, Field]]
    states: dict[str, list[State]] = msgspec.field(default_factory=dict)
    rows: dict[str, Array] = msgspec.field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    remarks: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    augmentations: dict[str, tuple[AugmentationSpec, ...]] = msgspec.field(default_factory=dict)
    rows_by_source: dict[str, int] = msgspec.field(default_factory=dict)
    files: dict[str, FilesOfRows] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(next(iter(fields.values()))):,} {name}" for name, fields in self.parts.items())
        return f"<Dataset: {parts} samples of {', '.join(next(iter(self.parts.values())))}>"

    def training(self, seed: int, epoch: int) -> dict[str, Field]:
        """The training part with the augmentations of an epoch."""
        fields = dict(self.parts["train"])
        for name, specs in self.augmentations.items():
            fields[name] = augmented(fields[name], specs, name, seed, epoch)
        return fields


@WITHOUT_WARNINGS
def load(
    model: Model,
    spec: DataSpec,
    states: dict[str, list[State]] | None = None,
    read: ReadSource = read_source,
    without: Collection[str] = (),
) -> Dataset:
    """Reads the data of a model, divides it, fits its steps and applies them. Raises E08xx where the data is wrong.

    `states` are those of an earlier run; the fields that it lacks are fitted and added to it. No cell of the parts in
    `without` is looked at, and the dataset does not have them.
    """
    divided = parts_of(spec, model.source, stratifying_target(model), read)
    parts = {name: part for name, part in divided.items() if name not in without}
    written, spec = spec, resolved(spec, parts["train"].table)
    states = states or {}
    types = {**model.inputs, **model.targets}
    starts = _window_starts_by_part(spec, parts, types)
    arrays = _arrays(model, spec, parts, starts, states)
    _check_lengths(model, parts, arrays)
    chosen = {name: part.rows[starts[name]] if starts else part.rows for name, part in parts.items()}
    files = {name: part.table.files_of(chosen[name]) for name, part in parts.items()}
    augmentations = {
        name: augmentations_of(spec.fields[name], type_, model.declared[name]) for name, type_ in model.inputs.items()
    }
    return Dataset(
        spec,
        arrays,
        states,
        {name: part.table.numbers(chosen[name]) for name, part in parts.items()},
        (*target_warnings(model, spec, written), *_warnings(model, spec, parts, arrays["train"], states)),
        tuple(dict.fromkeys(note for part in parts.values() for note in part.table.notes)),
        {name: part.remarks.notes() for name, part in parts.items() if name != "train"},
        {name: specs for name, specs in augmentations.items() if specs},
        {part.table.name: len(part.table) for part in parts.values()},
        {name: names for name, names in files.items() if names is not None},
    )


def _arrays(
    model: Model,
    spec: DataSpec,
    parts: Mapping[str, Part],
    starts: Mapping[str, Array],
    states: dict[str, list[State]],
) -> dict[str, dict[str, Field]]:
    """The arrays of each part by field. Adds the states of fields that have none, fitted on the training part."""
    types = {**model.inputs, **model.targets}
    arrays: dict[str, dict[str, Field]] = {name: {} for name in parts}
    for name, field in spec.fields.items():
        if name not in types:
            continue
        type_, declared = types[name], model.declared[name]
        field = replace(field, is_sequence=type_.is_varying and not starts)
        if name not in states:
            states[name] = states_of(field, parts["train"])
        for part_name, part in parts.items():
            is_training = part_name == "train"
            arrays[part_name][name] = (
                convert_windows(field, states[name], part, starts[part_name], type_, declared, is_training)
                if starts
                else convert(field, states[name], part, type_, declared, is_training)
            )
    return arrays


def _check_lengths(model: Model, parts: Mapping[str, Part], arrays: Mapping[str, dict[str, Field]]) -> None:
    """Raises a Fault for a sample whose sequences of one dimension differ in length, or are too short for the model."""
    for name, part in parts.items():
        samples = Samples(part.table, part.rows)
        same_lengths(model, arrays[name], samples)
        long_enough(model, arrays[name], samples)


def _warnings(
    model: Model,
    spec: DataSpec,
    parts: Mapping[str, Part],
    training: Mapping[str, Field],
    states: Mapping[str, list[State]],
) -> Iterator[Diagnostic]:
    """Warnings about the files, each of them once, then about fields. `training` has arrays of the training part."""
    yield from dict.fromkeys(
        warning for part in parts.values() for warning in part.table.warnings if not warning.is_silenced
    )
    for name, type_ in {**model.inputs, **model.targets}.items():
        field = FittedField(
            spec.fields[name],
            states[name],
            parts["train"],
            training[name],
            type_,
            model.declared[name],
            name in model.inputs,
        )
        yield from warnings_of(field)
    yield from range_warnings(model, spec, training)


def _window_starts_by_part(spec: DataSpec, parts: Mapping[str, Part], types: Mapping[str, Type]) -> dict[str, Array]:
    """The rows of each part at which a window starts; empty if the data is not a series."""
    if not windows.is_series(spec.fields.values()):
        return {}
    cuts = [windows.cut_of(field) for name, field in spec.fields.items() if name in types]
    return {name: part.window_starts(cuts, name, spec.split.span) for name, part in parts.items()}


def undone(
    spec: DataSpec, states: Mapping[str, list[State]], targets: Mapping[str, Type]
) -> dict[str, Callable[[Array], Array]]:
    """For each float target with steps, the function that brings it back to the data's units.

    A float target of labels (two classes as 0 and 1) has none.
    """
    return {
        name: undo(field, states[name])
        for name, type_ in targets.items()
        if type_.classes is None and (field := spec.fields[name]).steps and not labels_of(field, states[name])
    }


def _as_array(values: Any) -> Array:
    """The values of a field as one array; lists of different lengths as a cell each, which `convert` refuses."""
    try:
        return np.asarray(values)
    except ValueError:
        return listed(values)


def from_arrays(model: Model, spec: DataSpec, data: Mapping[str, Any]) -> Dataset:
    """Arrays by field name, samples first, as the training part.

    Raises E0702 if a field is missing, E0803, E0804 or E0805 if its array does not fit the type that the model
    declares.
    """
    for name in spec.fields:
        if name not in data:
            fact = f"the arrays do not give the {'input' if name in model.inputs else 'target'} `{name}`"
            fault("E0702", fact, model.declared[name], hint=nearest(name, data))
    types = {**model.inputs, **model.targets}
    columns = {name: listed(data[name]) if types[name].is_varying else _as_array(data[name]) for name in spec.fields}
    lengths = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        note = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        title = "the arrays differ in length" if any(lengths.values()) else "the arrays have no samples"
        fault("E0804", title, model.declared[next(iter(lengths))], note)
    table = Table("data", columns, RowNumbers(0))
    part = Part(table, np.arange(len(table)))
    arrays = {}
    for name, field in spec.fields.items():
        field = replace(field, span=model.declared[name], is_sequence=types[name].is_varying)
        try:
            arrays[name] = convert(field, [], part, types[name], model.declared[name])
        except Fault as error:  # an array goes through no steps, which its hint would propose
            raise Fault([replace(diagnostic, hint=None) for diagnostic in error.diagnostics]) from None
    samples = Samples(table, part.rows)
    same_lengths(model, arrays, samples)
    long_enough(model, arrays, samples)
    return Dataset(spec, {"train": arrays}, {name: [] for name in spec.fields}, {"train": part.rows})
