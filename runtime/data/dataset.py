"""A model's `data` block -> arrays by split and field. Rows are split first, steps are fitted on the training split alone.

Takes the checked model, gives a Dataset; every fault names the file, the row and the column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.compiler.model import Model
from netc.compiler.types import NUMPY, Type, describe_sample
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.source import NOWHERE, Span
from netc.runtime.data.readers import READERS, Array, Table, read
from netc.runtime.data.steps import STEPS, WORDS, Place, State, is_missing, numbers
from netc.runtime.data.stored import Bytes, Field
from netc.runtime.random import generator

PARTS = ("train", "valid", "test")
_LATER_READERS = ("parquet", "jsonl", "text", "images")
_LATER_STEPS = (
    "minmax",
    "vocabulary",
    "log",
    "clip",
    "flatten",
    "lowercase",
    "characters",
    "words",
    "next",
    "window",
    "train_only",
)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """`csv("data/cars.csv")`: a reader and a path as written."""

    reader: str
    path: str
    span: Span


@dataclass(frozen=True, slots=True)
class StepSpec:
    name: str
    arguments: tuple[Any, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of the data: the columns that it is made of, and its steps. `is_single` fields lose the axis of columns."""

    name: str
    columns: tuple[str, ...]
    is_single: bool
    steps: tuple[StepSpec, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class DataSpec:
    source: SourceSpec
    fields: dict[str, FieldSpec]
    split: dict[str, float | SourceSpec]
    span: Span


@dataclass(slots=True)
class Dataset:
    """Arrays of each split by field, and the fitted states of each field's steps, as a run keeps them."""

    parts: dict[str, dict[str, Field]]
    states: dict[str, list[State]] = field(default_factory=dict)

    def undo(self, spec: DataSpec, name: str) -> Callable[[Array], Array]:
        """What brings a target back to the units of the data."""
        return undo(spec.fields[name], self.states[name])


def undo(one: FieldSpec, states: Sequence[State]) -> Callable[[Array], Array]:
    def back(array: Array) -> Array:
        for step, state in zip(reversed(one.steps), reversed(states), strict=True):
            inverse = STEPS[step.name].undo
            assert inverse is not None
            array = inverse(array, state)
        return array

    return back


# ------------------------------------------------------------------ the block, checked


def parse_data(model: Model) -> DataSpec:
    """The `data` block's meaning. Faults for unknown readers, steps and settings, and for inputs that it does not give."""
    if model.data is None:
        fault(
            "E0501",
            "the file has no `data` block",
            Span(model.source, 0, 0),
            hint='data { source = csv("data.csv") ... }',
        )
    source: SourceSpec | None = None
    fields: dict[str, FieldSpec] = {}
    split: dict[str, float | SourceSpec] = {"train": 0.8, "valid": 0.1, "test": 0.1}
    seen: dict[str, Span] = {}
    for setting in model.data.settings:
        name = setting.name.text
        if name in seen:
            fault("E0601", f"`{name}` is set twice", setting.name.span, others=[Label(seen[name], "first here")])
        seen[name] = setting.name.span
        if name == "source":
            source = _source(setting.value, model)
        elif name == "split":
            split = _split(setting.value, model)
        else:
            fields[name] = _field(name, setting.value, model)
    if source is None:
        fault(
            "E0701",
            "the `data` block has no source",
            Span(model.source, model.data.span.start, model.data.span.start + 4),
            hint='source = csv("data.csv")',
        )
    spec = DataSpec(source, fields, split, model.data.span)
    for name in (*model.inputs, *model.targets):
        if name not in fields:
            kind = "input" if name in model.inputs else "target"
            fault(
                "E0702",
                f"the data does not give the {kind} `{name}`",
                model.declared[name],
                hint=nearest(name, fields) or f'{name} = column("{name}")',
            )
    for name in model.targets:
        for step in fields[name].steps:
            if STEPS[step.name].undo is None:
                fault(
                    "E0701",
                    f"`{step.name}` on a target cannot be undone in predictions",
                    step.span,
                    hint="classes" if step.name == "one_hot" else None,
                )
    return spec


def array_spec(model: Model) -> DataSpec:
    """What stands for the `data` block of a model that was trained on arrays: its fields as they are."""
    fields = {name: FieldSpec(name, (name,), True, (), NOWHERE) for name in (*model.inputs, *model.targets)}
    return DataSpec(SourceSpec("npz", "", NOWHERE), fields, {"train": 1.0}, NOWHERE)


def _plain(node: syntax.Expression, model: Model, span: Span) -> Any:
    """A constant of the data block: a number, a text, a name's `let` value."""
    match node:
        case syntax.Number():
            return node.value
        case syntax.Text(value=text):
            return text
        case syntax.Group(value=inner):
            return _plain(inner, model, span)
        case syntax.Unary(operator="-", operand=operand):
            return -_plain(operand, model, span)
        case syntax.Binary(operator=operator, left=left, right=right):
            from netc.compiler.elaborate.constants import compute

            return compute(operator, _plain(left, model, span), _plain(right, model, span), node.span)
        case syntax.Name(text=text) if text in model.constants:
            return model.constants[text]
    fault("E0303", "this must be a number or a text", node.span)


def _call(node: syntax.Expression) -> tuple[str, Sequence[syntax.Argument]]:
    if isinstance(node, syntax.Call) and isinstance(node.function, syntax.Name):
        return node.function.text, node.arguments
    if isinstance(node, syntax.Name):
        return node.text, ()
    return "", ()


def _source(node: syntax.Expression, model: Model) -> SourceSpec:
    name, arguments = _call(node)
    if name in _LATER_READERS:
        fault(
            "E0901",
            f"the reader `{name}` does not run yet",
            node.span,
            "a later version of netc brings it",
            hint="csv, npz or idx",
        )
    if name not in READERS:
        fault(
            "E0701",
            f"there is no reader `{name or node.span.text}`",
            node.span,
            hint=nearest(name, READERS) or f"one of {', '.join(READERS)}",
        )
    if len(arguments) != 1 or not isinstance(path := _plain(arguments[0].value, model, node.span), str):
        fault("E0301", f"`{name}` takes one path in quotes", node.span, hint=f'{name}("data/...")')
    return SourceSpec(name, path, arguments[0].span)


def _split(node: syntax.Expression, model: Model) -> dict[str, float | SourceSpec]:
    if not isinstance(node, syntax.Tuple):
        name, _ = _call(node)
        if name in ("ordered", "by", "column"):
            fault("E0901", f"`split = {name}(...)` does not run yet", node.span, "a later version of netc brings it")
        fault("E0602", "a split names its parts", node.span, hint="split = (train = 0.8, valid = 0.1, test = 0.1)")
    parts: dict[str, float | SourceSpec] = {}
    for entry in node.entries:
        name = entry.name.text if isinstance(entry.name, syntax.Name) else ""
        if name not in PARTS or name in parts:
            fault(
                "E0602",
                f"there is no part `{name or entry.span.text}`"
                if name not in PARTS
                else f"the part `{name}` is given twice",
                entry.span,
                hint=nearest(name, PARTS) or "train, valid and test",
            )
        if isinstance(entry.value, syntax.Call):
            parts[name] = _source(entry.value, model)
            continue
        fraction = _plain(entry.value, model, entry.span)
        if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            fault("E0602", "a fraction is above 0 and at most 1", entry.value.span)
        parts[name] = float(fraction)
    total = sum(one for one in parts.values() if isinstance(one, float))
    if "train" not in parts or total > 1 + 1e-9:
        fault(
            "E0602",
            "the fractions add up to more than 1" if total > 1 else "a split needs a part `train`",
            node.span,
            f"they add up to {total:g}" if total > 1 else "",
        )
    return parts


def _field(name: str, node: syntax.Expression, model: Model) -> FieldSpec:
    steps: list[StepSpec] = []
    head = node
    while isinstance(head, syntax.Pipe):
        steps.insert(0, _step(head.into, model))
        head = head.value
    kind, arguments = _call(head)
    if kind not in ("field", "column", "columns"):
        fault(
            "E0701",
            "a field begins with the columns that it is made of",
            head.span,
            hint=nearest(kind, ("field", "column", "columns")) or f'{name} = column("{name}")',
        )
    if any(
        argument.name is not None or (isinstance(argument.value, syntax.Name) and argument.value.text == "all")
        for argument in arguments
    ):
        fault("E0901", "`columns(all, ...)` does not run yet", head.span, "name the columns")
    columns = tuple(_plain(argument.value, model, argument.span) for argument in arguments)
    if (
        not columns
        or not all(isinstance(column, str) for column in columns)
        or (kind != "columns" and len(columns) != 1)
    ):
        fault("E0301", f"`{kind}` takes {'names' if kind == 'columns' else 'one name'} in quotes", head.span)
    return FieldSpec(name, columns, kind != "columns", tuple(steps), head.span)


def _step(node: syntax.Expression, model: Model) -> StepSpec:
    name, arguments = _call(node)
    if name in _LATER_STEPS:
        fault("E0901", f"the step `{name}` does not run yet", node.span, "a later version of netc brings it")
    if name not in STEPS:
        fault(
            "E0701",
            f"there is no step `{name or node.span.text}`",
            node.span,
            hint=nearest(name, STEPS) or f"one of {', '.join(STEPS)}",
        )
    least, most = STEPS[name].arguments
    if not least <= len(arguments) <= most:
        fault(
            "E0301",
            f"`{name}` takes {least if least == most else f'{least} to {most}'} argument{'s' if most != 1 else ''}",
            node.span,
        )
    values = []
    for argument in arguments:
        if isinstance(argument.value, syntax.Name) and argument.value.text in WORDS.get(name, ()):
            values.append(argument.value.text)
        else:
            values.append(_plain(argument.value, model, argument.span))
    return StepSpec(name, tuple(values), node.span)


# ------------------------------------------------------------------ rows


def load(model: Model, spec: DataSpec, states: dict[str, list[State]] | None = None) -> Dataset:
    """Read, split, fit (unless `states` has what an earlier run fitted) and apply. Raises a Fault where the data is at fault."""
    folder = model.source.folder
    table = read(spec.source.reader, folder / spec.source.path, spec.source.path, spec.source.span)
    rows = _kept_rows(table, spec)
    parts = {name: (table, chosen) for name, chosen in _divide(table, rows, spec, model).items()}
    for name, part in spec.split.items():
        if isinstance(part, SourceSpec):
            other = read(part.reader, folder / part.path, part.path, part.span)
            parts[name] = (other, _kept_rows(other, spec))
    for name, (_, chosen) in parts.items():
        if not len(chosen):
            fault("E0806", f"the part `{name}` has no rows", spec.span, hint="a larger fraction, or more data")
    fitted = states or {}
    arrays: dict[str, dict[str, Field]] = {name: {} for name in parts}
    for one in spec.fields.values():
        type_ = {**model.inputs, **model.targets}.get(one.name)
        if type_ is None:
            continue
        if one.name not in fitted:
            fitted[one.name] = _fit(one, *parts["train"])
        for part_name, (source, chosen) in parts.items():
            arrays[part_name][one.name] = convert(
                one, fitted[one.name], source, chosen, type_, model.declared[one.name]
            )
    return Dataset(arrays, fitted)


def _kept_rows(table: Table, spec: DataSpec) -> Array:
    """All rows but those that an `impute(drop)` leaves out."""
    kept = np.ones(len(table), bool)
    for one in spec.fields.values():
        if any(step.name == "impute" and step.arguments == ("drop",) for step in one.steps):
            for column in one.columns:
                cells = table.column(column, one.span)
                kept &= ~is_missing(cells).reshape(len(table), -1).any(axis=1)
    return np.flatnonzero(kept)


def _divide(table: Table, rows: Array, spec: DataSpec, model: Model) -> dict[str, Array]:
    """Rows by part: seeded, and stratified where a target is a class, so that each part has its share of each."""
    fractions = {name: part for name, part in spec.split.items() if isinstance(part, float)}
    groups = [rows]
    label = next((name for name, type_ in model.targets.items() if type_.classes is not None and type_.rank == 1), None)
    if label is not None and len(spec.fields[label].columns) == 1:
        cells = table.column(spec.fields[label].columns[0], spec.fields[label].span)[rows].astype(str)
        groups = [rows[cells == one] for one in np.unique(cells)]
    chosen: dict[str, list[Array]] = {name: [] for name in fractions}
    for i, group in enumerate(groups):
        order = generator(model.train.seed, "split", i).permutation(len(group))
        edges = np.round(np.cumsum([0.0, *fractions.values()]) * len(group)).astype(int)
        for name, start, stop in zip(fractions, edges, edges[1:], strict=False):
            chosen[name].append(group[order[start:stop]])
    return {name: np.sort(np.concatenate(parts)) for name, parts in chosen.items()}


def _raw(one: FieldSpec, table: Table, rows: Array) -> tuple[Array, Place]:
    columns = [table.column(column, one.span)[rows] for column in one.columns]
    array = columns[0] if one.is_single else np.stack(columns, axis=1)
    return array, Place(table.name, one.columns, rows + table.first_row, one.span)


def _fit(one: FieldSpec, table: Table, rows: Array) -> list[State]:
    array, place = _raw(one, table, rows)
    states = []
    for step in one.steps:
        here = Place(place.file, place.columns, place.rows, step.span)
        states.append(STEPS[step.name].fit(array, step.arguments, here))
        if step is not one.steps[-1]:
            array = STEPS[step.name].apply(array, states[-1], here)
    return states


def convert(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, type_: Type, declared: Span = NOWHERE
) -> Field:
    """A field's array, of the type that the model declares; bytes that are only scaled and reshaped stay bytes. Faults E0804 and E0805 where it is not."""
    array, place = _raw(one, table, rows)
    scales = [state["by"] for step, state in zip(one.steps, states, strict=True) if step.name == "scale"]
    stays_bytes = (
        type_.is_float
        and array.dtype == np.uint8
        and len(scales) <= 1
        and all(step.name in ("scale", "reshape") for step in one.steps)
    )
    for step, state in zip(one.steps, states, strict=True):
        if step.name != "scale" or not stays_bytes:
            array = STEPS[step.name].apply(array, state, Place(place.file, place.columns, place.rows, step.span))
    labels = [state["classes"] for step, state in zip(one.steps, states, strict=True) if step.name == "classes"]
    if type_.classes is not None and labels and len(labels[-1]) != type_.classes:
        fault(
            "E0805",
            f"`{one.name}` has {len(labels[-1])} classes, the model says {type_.classes}",
            declared,
            ", ".join(labels[-1][:12]),
            hint=f"class({len(labels[-1])})",
        )
    if array.shape[1:] != type_.shape(1)[1:]:
        fault(
            "E0804",
            f"a sample of `{one.name}` has the shape {list(array.shape[1:])}, the model says {describe_sample(type_)}",
            declared,
            others=[Label(one.span, "read here")],
        )
    if stays_bytes:
        return Bytes(np.ascontiguousarray(array), *scales)
    values = numbers(array, place)
    if type_.classes is not None:
        bad = np.argwhere((values < 0) | (values >= type_.classes) | (values != np.floor(values)))
        if len(bad):
            row = int(bad[0][0])
            fault(
                "E0805",
                f"{values[tuple(bad[0])]:g} is not a class of class({type_.classes})",
                one.span,
                f"`{place.file}`, row {place.rows[row]}",
                hint="`-> classes` numbers them" if values.dtype.kind == "f" else None,
            )
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        fault("E0803", "a value is not finite", one.span, f"`{place.file}`, row {place.rows[row]}")
    return np.ascontiguousarray(values, NUMPY[type_.dtype])


def read_inputs(
    model: Model, spec: DataSpec, states: Mapping[str, list[State]], source: SourceSpec
) -> dict[str, Field]:
    """The inputs of new data, by the steps that a run fitted. Rows with what a target needs missing are kept: a prediction has no target."""
    table = read(source.reader, model.source.folder / source.path, source.path, source.span)
    rows = np.arange(len(table))
    return {
        name: convert(spec.fields[name], states[name], table, rows, type_, model.declared[name])
        for name, type_ in model.inputs.items()
    }
