"""A checked `data` block -> arrays by split and field. Rows are split first, steps are fitted on the training split alone.

Rows go through the steps a chunk at a time. Every fault names the file, the row and the column.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from netc.compiler.ir.types import DTYPES, Type, describe_sample
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Label, fault, nearest
from netc.dsl.quoting import cell
from netc.dsl.source import NOWHERE, Source, Span
from netc.runtime.available import require_at
from netc.runtime.data import windows
from netc.runtime.data.augment import Spec as Augmenting
from netc.runtime.data.augment import augmented
from netc.runtime.data.lengths import cells_of, listed, long_enough, same_lengths
from netc.runtime.data.readers import Array, Table, read, reader_of
from netc.runtime.data.spec import Constants, DataSpec, FieldSpec, SourceSpec, StepSpec, parse_block
from netc.runtime.data.split import chunks_of, divide
from netc.runtime.data.steps import STEPS, Chunks, Place, State, is_missing, numbers
from netc.runtime.data.store import IsText, allocate
from netc.runtime.data.stored import Bytes, Field, Ragged

Part = tuple[Table, Array]  # rows of a table
_CELL = 16  # bytes of a cell of a row that is taken from its columns
_QUIETLY = np.errstate(over="ignore", divide="ignore", invalid="ignore")  # what is not finite in the end is a fault


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


@_QUIETLY
def load(model: Model, spec: DataSpec, states: dict[str, list[State]] | None = None) -> Dataset:
    """Read, split, fit (unless `states` has what an earlier run fitted) and apply. Raises a Fault where the data is at fault."""
    parts = _parts(spec, model.source, _label(model), model.train.seed)
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
            fitted[one.name] = _fit(one, *parts["train"])
        for part_name, (table, chosen) in parts.items():
            given = (one, fitted[one.name], table, chosen, type_, model.declared[one.name])
            made = _windowed(*given, begins[part_name]) if begins else convert(*given)
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


@_QUIETLY
def read_inputs(
    model: Model, spec: DataSpec, states: Mapping[str, list[State]], source: SourceSpec, inputs: Sequence[str]
) -> dict[str, Field]:
    """Those inputs of new data, by the steps that a run fitted. Rows with what a target needs missing are kept: a prediction has no target."""
    types = {name: model.inputs[name] for name in inputs}
    path = model.source.folder / source.path
    table = _in_words(
        read(reader_of(path, source.reader), path, source.path, source.span, _text_columns(spec), dict(source.options)),
        spec,
    )
    rows = np.arange(len(table))
    if windows.is_series(spec.fields.values()):
        cuts = [windows.cut_of(spec.fields[name]) for name in types]
        begins = windows.starts(cuts, len(rows), source.path, source.span)
        return {
            name: _windowed(spec.fields[name], states[name], table, rows, type_, model.declared[name], begins)
            for name, type_ in types.items()
        }
    found: dict[str, Field] = {}
    for name, type_ in types.items():
        one = replace(spec.fields[name], is_sequence=type_.is_varying)
        found[name] = convert(one, states[name], table, rows, type_, model.declared[name])
    same_lengths(model, found)
    long_enough(model, found, rows + table.first_row, table.name)
    return found


def read_values(model: Model, names: Sequence[str], source: SourceSpec) -> dict[str, Field]:
    """Values of the model as a prediction wrote them: a column `NAME`, or `NAME[0]`, `NAME[1]`, ..., or a cell a sequence."""
    found: dict[str, Field] = {}
    if not names:
        return found
    path = model.source.folder / source.path
    table = read(reader_of(path, source.reader), path, source.path, source.span)
    rows = np.arange(len(table))
    for name in names:
        type_ = model.values[name].type
        size = type_.size(1)
        is_wide = name not in table.columns and f"{name}[0]" in table.columns
        columns = tuple(f"{name}[{i}]" for i in range(size)) if is_wide else (name,)
        one = FieldSpec(name, columns, not is_wide, (), source.span, is_sequence=type_.is_varying)
        flat = replace(type_, dims=(*type_.dims[:1], size)) if is_wide else type_
        values = convert(one, [], table, rows, flat, source.span)
        found[name] = np.asarray(values).reshape(type_.shape(len(rows))) if is_wide else values
    return found


def classes_beside(
    model: Model, spec: DataSpec, one: FieldSpec, part: str, most: int
) -> tuple[tuple[str, ...], Array] | None:
    """Of a field that the model does not read: what it holds in a part, as classes, and which of them each sample has; None if that are not 2 to `most`."""
    if windows.is_series(spec.fields.values()):
        return None
    parts = _parts(spec, model.source, _label(model), model.train.seed)
    table, rows = parts[part]
    plain = replace(one, steps=())
    for cells, _ in _raw(plain, table, rows):
        if isinstance(cells, Ragged) or cells.ndim != 1 or is_missing(cells).any():
            return None
    counted = replace(plain, steps=(StepSpec("classes", (), one.span),))
    states = _fit(counted, table, rows)
    labels = tuple(labels_of(counted, states))
    numbers_of = np.concatenate([array for array, _ in _applied(counted, states, table, rows)])
    return (labels, numbers_of) if 2 <= len(labels) <= most else None


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
        table, chosen = _parts(spec, file.source, _first_label(file), seed)["train"]
        states = _fit(one, table, chosen)
        labels = labels_of(one, states)
        return max(len(labels) if labels else 1 + _largest(one, states, table, chosen), 2)

    return count


def _label(model: Model) -> str | None:
    """The target that a split is stratified by."""
    return next((name for name, type_ in model.targets.items() if type_.classes is not None and not type_.sample), None)


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
    for array, place in _applied(one, states, table, rows):
        values = numbers(array, place)
        if not (np.isfinite(values) & (values == np.floor(values))).all():
            fault("E0805", f"`{one.name}` holds no whole numbers", one.span, hint="`-> classes` numbers what it holds")
        most = max(most, int(values.max()))
    return most


# ------------------------------------------------------------------ rows


def _parts(spec: DataSpec, source: Source, label: str | None, seed: int) -> dict[str, Part]:
    """The rows of each part, in the split's order."""

    def table_of(one: SourceSpec) -> Table:
        path = source.folder / one.path
        return _in_words(read(one.reader, path, one.path, one.span, _text_columns(spec), dict(one.options)), spec)

    sources = dict(spec.split.sources)
    table = table_of(spec.source)
    divided = divide(table, _kept_rows(table, spec), spec, spec.fields.get(label or ""), seed)
    if "train" in sources and sources["train"] is not spec.source:
        divided.pop("train", None)
    parts: dict[str, Part] = {name: (table, chosen) for name, chosen in divided.items()}
    for name, part in sources.items():
        if name not in parts:
            other = table_of(part)
            parts[name] = (other, _kept_rows(other, spec))
    for name, (_, chosen) in parts.items():
        if not len(chosen):
            fault("E0806", f"the part `{name}` has no rows", spec.split.span, hint="a larger fraction, or more data")
    return parts


def _in_words(table: Table, spec: DataSpec) -> Table:
    """A text's characters as its words, if a field asks for words."""
    asks = any(step.name == "words" for one in spec.fields.values() for step in one.steps)
    if not asks or not windows.is_series(spec.fields.values()) or "text" not in table.columns:
        return table
    found = "".join(table.column("text", spec.span)[np.arange(len(table))]).split()
    return replace(table, columns={"text": np.array(found, object)})


def _windowed(
    one: FieldSpec,
    states: Sequence[State],
    table: Table,
    rows: Array,
    type_: Type,
    declared: Span,
    begins: Array,
) -> Field:
    """A field of a series: its rows, then the windows that begin at some of them."""
    at = windows.cut_of(one)
    if not at.is_single and not type_.sample:
        fault(
            "E0804",
            f"`{one.name}` is declared as {describe_sample(type_)}",
            declared,
            others=[Label(at.span, "and this is a window")],
        )
    flat = convert(one, states, table, rows, windows.row_type(type_, at), declared)
    return windows.cut(one, at, np.asarray(flat), begins, type_, declared)


def _text_columns(spec: DataSpec) -> IsText:
    """Which columns are wanted as they are written."""
    named: set[str] = {spec.split.column} if spec.split.column is not None else set()
    rest: list[FieldSpec] = []
    for one in spec.fields.values():
        if any(STEPS[step.name].takes_text or step.arguments == ("mode",) for step in one.steps):
            rest += [one] if one.is_rest else []
            named |= set() if one.is_rest else set(one.columns)
    return lambda column: column in named or any(column not in one.columns for one in rest)


def _columns(one: FieldSpec, table: Table) -> tuple[str, ...]:
    """The names of a field's columns in a table."""
    if not one.is_rest:
        return one.columns
    for column in one.columns:
        table.column(column, one.span)
    return tuple(name for name in table.columns if name not in one.columns)


def _kept_rows(table: Table, spec: DataSpec) -> Array:
    """All rows but those that an `impute(drop)` leaves out."""
    kept = np.ones(len(table), bool)
    for one in spec.fields.values():
        if any(step.name == "impute" and step.arguments == ("drop",) for step in one.steps):
            for name in _columns(one, table):
                column = table.column(name, one.span)
                for rows in chunks_of(np.arange(len(table))):
                    kept[rows] &= ~is_missing(column[rows]).reshape(len(rows), -1).any(axis=1)
    return np.flatnonzero(kept)


def _raw(one: FieldSpec, table: Table, rows: Array) -> Iterator[tuple[Array | Ragged, Place]]:
    names = _columns(one, table)
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
        place = Place(table.name, names, chosen + table.first_row, one.span)
        if one.is_sequence:
            yield cells_of(cells[0], place), place
        else:
            yield cells[0] if one.is_single else np.stack(cells, axis=1), place


def _applied(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, without: str = ""
) -> Iterator[tuple[Array, Place]]:
    """The field's rows after the steps whose states are there, but for those called `without`; of sequences, the steps one below the other."""
    for made, place in _moved(one, states, table, rows, without):
        yield (
            (made.rows, replace(place, rows=np.repeat(place.rows, made.lengths)))
            if isinstance(made, Ragged)
            else (made, place)
        )


def _moved(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, without: str = ""
) -> Iterator[tuple[Array | Ragged, Place]]:
    """As `_applied`, sequences as such."""
    for made, place in _raw(one, table, rows):
        for step, state in zip(one.steps, states, strict=False):
            is_cut = windows.is_series([one]) and STEPS[step.name].makes_sequences  # a text is in pieces already
            if step.name == without or is_cut:
                continue
            apply, at = STEPS[step.name].apply, replace(place, span=step.span)
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
                whole = apply(made.rows, state, replace(at, rows=np.repeat(place.rows, made.lengths)))
                assert not isinstance(whole, Ragged)
                made = Ragged(whole, made.lengths)
        yield made, place


def _sequences(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, type_: Type, declared: Span
) -> Ragged:
    """A field of sequences, of the type that the model declares."""
    parts, lengths = [], []
    for made, place in _moved(one, states, table, rows):
        if not isinstance(made, Ragged):
            is_text = any(STEPS[step.name].takes_text for step in one.steps)
            hint = "`characters` or `words` makes one of a text" if is_text else None
            fault("E0804", f"a sample of `{one.name}` is no sequence", one.span, place.cell([0]), hint=hint)
        at = replace(place, rows=np.repeat(place.rows, made.lengths))
        values = numbers(made.rows, at)
        if values.shape[1:] != type_.shape(1)[1:]:
            fault(
                "E0804",
                f"a step of `{one.name}` has the shape {list(values.shape[1:])}, the model says {describe_sample(type_)}",
                declared,
                others=[Label(one.span, "read here")],
            )
        parts.append(np.asarray(_checked(one, values, at, type_), DTYPES[type_.dtype].numpy))
        lengths.append(made.lengths)
    return Ragged(np.concatenate(parts), np.concatenate(lengths))


def labels_of(one: FieldSpec, states: Sequence[State]) -> list[str]:
    """What the numbers of a field are called: of its last step that numbers things."""
    named = [(STEPS[step.name].labels, state) for step, state in zip(one.steps, states, strict=False)]
    found = [labels(state) for labels, state in named if labels is not None]
    return found[-1] if found else []


def _fit(one: FieldSpec, table: Table, rows: Array) -> list[State]:
    states: list[State] = []
    for step in one.steps:

        def chunks(span: Span = step.span) -> Iterator[tuple[Array, Place]]:
            for array, place in _applied(one, states, table, rows):
                yield array, replace(place, span=span)

        fit: Callable[[Chunks, Sequence[Any]], State] = STEPS[step.name].fit
        states.append(fit(chunks, step.arguments))
    return states


def convert(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, type_: Type, declared: Span = NOWHERE
) -> Field:
    """A field's array, of the type that the model declares; bytes that are only scaled and reshaped stay bytes. Faults E0804 and E0805 where it is not."""
    labels = labels_of(one, states)
    if type_.classes is not None and labels and len(labels) != type_.classes:
        fault(
            "E0805",
            f"`{one.name}` has {len(labels)} classes, the model says {type_.classes}",
            declared,
            ", ".join(map(cell, labels[:12])),
            hint=f"class({len(labels)})",
        )
    if type_.is_varying:
        return _sequences(one, states, table, rows, type_, declared)
    scales = [state["by"] for step, state in zip(one.steps, states, strict=True) if step.name == "scale"]
    raw, _ = next(_raw(one, table, rows[:1]))
    assert not isinstance(raw, Ragged)
    stays_bytes = (
        type_.is_float
        and raw.dtype == np.uint8
        and len(scales) <= 1
        and all(step.name in ("scale", "reshape", "flatten", "train_only") for step in one.steps)
    )
    dtype = np.dtype(np.uint8) if stays_bytes else DTYPES[type_.dtype].numpy
    result = allocate((len(rows), *type_.shape(1)[1:]), dtype)
    done = 0
    for given, place in _applied(one, states, table, rows, "scale" if stays_bytes else ""):
        array = given if stays_bytes else numbers(given, place)
        if array.shape[1:] != result.shape[1:]:
            fault(
                "E0804",
                f"a sample of `{one.name}` has the shape {list(array.shape[1:])}, the model says {describe_sample(type_)}",
                declared,
                others=[Label(one.span, "read here")],
            )
        result[done : done + len(array)] = array if stays_bytes else _checked(one, array, place, type_)
        done += len(array)
    return Bytes(result, *scales) if stays_bytes else result


def _checked(one: FieldSpec, values: Array, place: Place, type_: Type) -> Array:
    if type_.classes is not None:
        bad = np.argwhere((values < 0) | (values >= type_.classes) | (values != np.floor(values)))
        if len(bad):
            fault(
                "E0805",
                f"{values[tuple(bad[0])]:g} is not a class of class({type_.classes})",
                one.span,
                f"`{place.file}`, row {place.rows[int(bad[0][0])]}",
                hint="`-> classes` numbers them" if values.dtype.kind == "f" else None,
            )
    with np.errstate(over="ignore"):
        finite = np.isfinite(values.astype(DTYPES[type_.dtype].numpy)) if type_.is_float else np.isfinite(values)
    if not finite.all():
        fault("E0803", "a value is not finite", one.span, place.cell([int(i) for i in np.argwhere(~finite)[0]]))
    return values
