"""A checked `data` block -> arrays by split and field. Rows are split first, steps are fitted on the training split alone.

Rows go through the steps a chunk at a time. Every fault names the file, the row and the column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from netc.compiler.ir.types import Type, describe_sample
from netc.compiler.model import Model
from netc.dsl.diagnostics import Diagnostic, Label, fault, nearest
from netc.runtime.data import windows
from netc.runtime.data.augment import Spec as Augmenting
from netc.runtime.data.augment import augmented
from netc.runtime.data.conversion import IGNORE_OVERFLOW, convert, windows_of
from netc.runtime.data.data_step import State
from netc.runtime.data.declarations import DataSpec, FieldSpec
from netc.runtime.data.lengths import listed, long_enough, same_lengths
from netc.runtime.data.partition import divided_parts, stratifying_target
from netc.runtime.data.pipeline import fit_steps
from netc.runtime.data.steps import STEPS
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.data.table import Table


@dataclass(slots=True)
class Dataset:
    """Arrays of each split by field, and the fitted states of each field's steps, as a run keeps them. `rows` are the numbers of each part's rows in its file."""

    parts: dict[str, dict[str, Field]]
    states: dict[str, list[State]] = field(default_factory=dict)
    rows: dict[str, Array] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    augmentations: dict[str, tuple[Augmenting, ...]] = field(default_factory=dict)

    def training(self, seed: int, epoch: int) -> dict[str, Field]:
        """The training part as an epoch sees it."""
        fields = self.parts["train"]
        made = {name: augmented(fields[name], specs, name, seed, epoch) for name, specs in self.augmentations.items()}
        return {**fields, **made}


def undo(one: FieldSpec, states: Sequence[State]) -> Callable[[Array], Array]:
    """What brings a field back to the units of the data."""

    def back(array: Array) -> Array:
        for step, state in zip(reversed(one.steps), reversed(states), strict=True):
            inverse = STEPS[step.name].undo
            assert inverse is not None
            array = inverse(array, state)
        return array

    return back


@IGNORE_OVERFLOW
def load(model: Model, spec: DataSpec, states: dict[str, list[State]] | None = None) -> Dataset:
    """Read, split, fit (unless `states` has what an earlier run fitted) and apply. Raises a Fault where the data is at fault."""
    parts = divided_parts(spec, model.source, stratifying_target(model), model.train.seed)
    fitted = states or {}
    begins = {}
    if windows.is_series(spec.fields.values()):
        cuts = [windows.cut_of(one) for one in spec.fields.values() if one.name in {**model.inputs, **model.targets}]
        begins = {name: windows.starts(cuts, len(chosen), name, spec.split.span) for name, (_, chosen) in parts.items()}
    arrays: dict[str, dict[str, Field]] = {name: {} for name in parts}
    for one in spec.fields.values():
        type_ = {**model.inputs, **model.targets}.get(one.name)
        if type_ is None:
            continue
        one = replace(one, is_sequence=type_.is_varying and not begins)
        if one.name not in fitted:
            fitted[one.name] = fit_steps(one, *parts["train"])
        for part_name, (table, chosen) in parts.items():
            given = (one, fitted[one.name], table, chosen, type_, model.declared[one.name])
            made = windows_of(*given, begins[part_name]) if begins else convert(*given)
            arrays[part_name][one.name] = made
    for name, part in arrays.items():
        same_lengths(model, part)
        table, chosen = parts[name]
        long_enough(model, part, chosen + table.first_row, table.name)
    found = [_scale_warning(spec.fields[name], arrays["train"][name]) for name in model.inputs]
    warnings = tuple(one for one in found if one is not None and not one.is_silenced)
    rows = {
        name: (chosen[begins[name]] if begins else chosen) + table.first_row for name, (table, chosen) in parts.items()
    }
    augmentations = {name: _augmentations(spec.fields[name], type_) for name, type_ in model.inputs.items()}
    notes = tuple(dict.fromkeys(note for table, _ in parts.values() for note in table.notes))
    return Dataset(
        arrays, fitted, rows, warnings, notes, {name: specs for name, specs in augmentations.items() if specs}
    )


_SCALES = 100.0  # times: beyond this a network sees the largest column alone


def _scale_warning(one: FieldSpec, values: Field) -> Diagnostic | None:
    """Columns whose numbers are of very different size, of a field that is not brought to one scale."""
    if (
        isinstance(values, Bytes | Ragged)
        or values.ndim != 2
        or (len(one.steps) and one.steps[-1].name in ("standardize", "minmax"))
    ):
        return None
    size = np.abs(values[: 1 << 16]).max(axis=0)
    size = size[size > 0]
    if len(size) < 2 or size.max() < _SCALES * size.min():
        return None
    return Diagnostic(
        "W0801",
        f"the columns of `{one.name}` are of very different scale",
        Label(one.span, f"up to {size.min():.3g} in one, up to {size.max():.3g} in another"),
        hint="-> standardize",
    )


def _augmentations(one: FieldSpec, type_: Type) -> tuple[Augmenting, ...]:
    """What `train_only` asks of a field. Faults E0804 if that is no image."""
    for step in one.steps:
        if step.name == "train_only":
            if len(type_.sample) not in (2, 3):
                told = f"`{one.name}` is {describe_sample(type_)}"
                fault("E0804", "`train_only` takes images, float[h, w] or float[h, w, c]", step.span, told)
            return step.arguments
    return ()


def from_arrays(model: Model, spec: DataSpec, data: Mapping[str, Any]) -> Dataset:
    """Arrays by field name, samples first, as the training part. Faults where one is missing, of another shape, or holds what its type does not."""
    for name in spec.fields:
        if name not in data:
            kind = "input" if name in model.inputs else "target"
            fault(
                "E0702", f"the arrays do not give the {kind} `{name}`", model.declared[name], hint=nearest(name, data)
            )
    types = {**model.inputs, **model.targets}
    columns = {name: listed(data[name]) if types[name].is_varying else np.asarray(data[name]) for name in spec.fields}
    lengths = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        told = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        fault("E0804", "the arrays differ in length", model.declared[next(iter(lengths))], told)
    table = Table("data", columns, 0)
    rows = np.arange(len(table))
    arrays = {}
    for name, one in spec.fields.items():
        one = replace(one, span=model.declared[name], is_sequence=types[name].is_varying)
        arrays[name] = convert(one, [], table, rows, types[name], model.declared[name])
    same_lengths(model, arrays)
    long_enough(model, arrays, rows + 1, "data")
    return Dataset({"train": arrays}, {name: [] for name in spec.fields}, {"train": rows})
