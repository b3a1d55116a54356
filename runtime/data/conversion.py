"""Converts a field of the data to an array of the type that the model declares, or says why the two do not fit
together.

Bytes that are only scaled and reshaped stay bytes: a quarter of the memory.
"""

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from netc.compiler.ir.types import BATCH, DTYPES, Type, describe_sample
from netc.dsl.diagnostics import Label, fault
from netc.dsl.hints import At, Change, Hint
from netc.dsl.plural import counted
from netc.dsl.quoting import cell
from netc.dsl.source import NOWHERE, Span
from netc.dsl.structs import replace
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import FieldSpec
from netc.runtime.data.pipeline import Part, labels_of, per_step, raw_chunks, sample_outputs, usable
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.steps.impute import leaves_missing
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.data.tables.cells import Location, numbers
from netc.runtime.data.tables.store import allocate

# NumPy's warnings are off while steps are applied: a result that is not finite is a fault.
WITHOUT_WARNINGS = np.errstate(over="ignore", divide="ignore", invalid="ignore")
_LARGEST_BYTE = 255
_IMAGE = 3  # dimensions: height, width and channels
_CHANNELS = (1, 3, 4)
_KEEP_BYTES = ("scale", "reshape", "flatten", "train_only")  # steps after which bytes can still be stored as bytes


def convert(
    field: FieldSpec,
    states: Sequence[State],
    part: Part,
    type_: Type,
    declared: Span = NOWHERE,
    proposes_type: bool = False,
    cut: windows.Cut | None = None,
) -> Field:
    """The values of a field in a part, of the type that the model declares at `declared`.

    With `proposes_type`, the model and not the data is taken to be wrong where a sample has another shape. With a `cut`
    the type is that of a window, and the values are the rows that windows are cut from.

    Raises E0803, E0804 and E0805 where a value, the shape of a sample or a class does not fit the type.
    """
    _check_class_count(field, labels_of(field, states), type_, declared)
    sample, window = type_, () if cut is None or cut.is_single else (cut.count,)
    type_ = type_ if cut is None else windows.row_type(type_, cut)
    if type_.is_varying:
        return _sequences(field, states, part, type_, declared, proposes_type)
    scales = [state["by"] for step, state in zip(field.steps, states, strict=True) if step.name == "scale"]
    stays_bytes = len(scales) <= 1 and _stays_bytes(field, part, type_) and all(map(_scales_bytes, scales))
    dtype = np.dtype(np.uint8) if stays_bytes else DTYPES[type_.dtype].numpy
    result = allocate((len(part.rows), *type_.shape(1)[1:]), dtype)
    if part.bad_rows is not None:
        result[...] = 0
    may_lack = _may_lack(field, states)

    def prepared(values: Array, location: Location) -> Array:
        array = (
            values if stays_bytes else _widened(field, numbers(values, location, may_lack=may_lack), result.shape[1:])
        )
        if array.shape[1:] != result.shape[1:]:
            _refuse_shape("sample", (*window, *array.shape[1:]), field, sample, declared, proposes_type)
        return array if stays_bytes else _checked(array, location, type_, may_lack)

    count = 0
    for values, location in sample_outputs(field, states, part, "scale" if stays_bytes else ""):
        if isinstance(values, Ragged):
            _refuse_sequences(field, states, part, type_, declared)
            continue
        for array, chunk in usable(part, values, location, prepared):
            result[_positions(part, chunk.rows, count)] = array
            count += len(array)
    return Bytes(result, *scales) if stays_bytes else result


def _widened(field: FieldSpec, array: Array, shape: tuple[int, ...]) -> Array:
    """The places of categories, with zeros for the further places of a sample of this shape."""
    if not _has_places(field) or not shape or array.shape[1:-1] != shape[:-1] or array.shape[-1] >= shape[-1]:
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, shape[-1] - array.shape[-1])])


def _has_places(field: FieldSpec) -> bool:
    """Whether the model may declare more places for a field than its categories need."""
    return bool(field.steps) and STEPS[field.steps[-1].name].category_count is not None


def _positions(part: Part, numbers_in_file: Array, count: int) -> slice | Array:
    """The positions in a part of its rows with these numbers, `count` rows after its first unless rows are left out."""
    if part.bad_rows is None:
        return slice(count, count + len(numbers_in_file))
    every = part.row_numbers
    order = np.argsort(every, kind="stable")  # the rows of a series may be in another order than in the file
    return np.asarray(order[np.searchsorted(every, numbers_in_file, sorter=order)])


def _check_class_count(field: FieldSpec, labels: Sequence[str], type_: Type, declared: Span) -> None:
    """Raises E0805 if the data has another number of classes than the model says."""
    if type_.classes is None or not labels or len(labels) == type_.classes:
        return
    shown = ", ".join(map(cell, labels[:12]))
    if len(labels) == 1:
        fault("E0805", f"`{field.name}` has one class only, the model says {type_.classes}", declared, shown)
    fact = f"`{field.name}` has {len(labels)} classes, the model says {type_.classes}"
    counted = describe_sample(replace(type_, classes=len(labels)))
    fault("E0805", fact, declared, shown, hint=Hint.code(counted, At.TYPE))


def _stays_bytes(field: FieldSpec, part: Part, type_: Type) -> bool:
    """Whether a field is arrays of bytes, such as pictures, and its steps and its type allow to store it as bytes."""
    raw, _ = next(raw_chunks(field, Part(part.table, part.rows[:1])))
    return (
        not isinstance(raw, Ragged)
        and type_.is_float
        and raw.dtype == np.uint8
        and all(step.name in _KEEP_BYTES for step in field.steps)
    )


def _scales_bytes(factor: float) -> bool:
    """Whether each byte times a factor is a finite float32. Otherwise floats are made, and checked one by one."""
    return abs(factor) <= float(np.finfo(np.float32).max) / _LARGEST_BYTE


def _sequences(
    field: FieldSpec, states: Sequence[State], part: Part, type_: Type, declared: Span, proposes_type: bool
) -> Ragged:
    """The values of a field whose samples have lengths of their own. A row that is left out has the length 0."""
    shape, may_lack = type_.shape(1)[1:], _may_lack(field, states)
    rows, lengths = [np.empty((0, *shape), DTYPES[type_.dtype].numpy)], np.zeros(len(part.rows), np.int64)

    def prepared(sequences: Array | Ragged, location: Location) -> Ragged:
        if not isinstance(sequences, Ragged):
            is_text = any(STEPS[step.name].takes_text for step in field.steps)
            hint = "`characters` or `words` makes one of a text" if is_text else None
            if proposes_type and not is_text:
                hint = _as_read("sample", sequences.shape[1:], field, type_.with_dims((BATCH,)))
            fault("E0804", f"a sample of `{field.name}` is not a sequence", field.span, location.cell([0]), hint=hint)
        step_location = per_step(location, sequences)
        values = _widened(field, numbers(sequences.rows, step_location, may_lack=may_lack), shape)
        if values.shape[1:] != shape:
            _refuse_shape("step", values.shape[1:], field, type_, declared, proposes_type)
        return Ragged(_checked(values, step_location, type_, may_lack), sequences.lengths)

    count = 0
    for values, location in sample_outputs(field, states, part):
        for sequences, chunk in usable(part, values, location, prepared):
            rows.append(np.asarray(sequences.rows, DTYPES[type_.dtype].numpy))
            lengths[_positions(part, chunk.rows, count)] = sequences.lengths
            count += len(sequences)
    return Ragged(np.concatenate(rows), lengths)


def _refuse_shape(
    what: str, shape: tuple[int, ...], field: FieldSpec, type_: Type, declared: Span, proposes_type: bool
) -> None:
    """Raises E0804 for a sample, or a step of one, whose shape is not the one that the model declares."""
    fact = f"a {what} of `{field.name}` has the shape {list(shape)}, the model says {describe_sample(type_)}"
    hint = _as_read(what, shape, field, type_) if proposes_type or _has_places(field) else None
    read_here = [Label(field.span, "read here")] if field.span not in (declared, NOWHERE) else []
    fault("E0804", fact, declared, others=read_here, hint=_steps_turned(field) or hint)


def _refuse_sequences(field: FieldSpec, states: Sequence[State], part: Part, type_: Type, declared: Span) -> NoReturn:
    """Raises E0804 for a field whose steps make sequences, where the type has no length of its own for each sample."""
    outputs = [values for values, _ in sample_outputs(field, states, part) if isinstance(values, Ragged)]
    lengths = np.concatenate([sequences.lengths for sequences in outputs])
    least, most = int(lengths.min()), int(lengths.max())
    fact = (
        f"each sample of `{field.name}` is a sequence of {counted(most, 'step')}"
        if least == most
        else f"samples of `{field.name}` have different lengths (such as {least} and {most})"
    )
    step = next((step for step in field.steps if STEPS[step.name].makes_sequences), None)
    read_type = type_.with_dims((BATCH, "t", *outputs[0].rows.shape[1:]))
    hint = _declaration(field, read_type)
    others = [Label(step.span, "this makes sequences") if step else Label(field.span, "its cells are lists")]
    fault("E0804", f"{fact}, the model says {describe_sample(type_)}", declared, others=others, hint=hint)


def _as_read(what: str, shape: tuple[int, ...], field: FieldSpec, type_: Type) -> str:
    """The hint with the declaration that the data has: as it is, or with a step that gives it the declared shape."""
    declared = type_.shape(1)[1:]
    read_type = type_.with_dims((*type_.dims[:1], *shape))
    if type_.classes is None and not shape and any(STEPS[step.name].labels is not None for step in field.steps):
        name = f"{'target' if field.is_target else 'input'} {field.name}"
        return Hint(f"{name}: class(auto)", Change("class(auto)", At.TYPE))
    read = _declaration(field, read_type)
    if windows.is_series([field]):
        return read
    if len(shape) < len(declared) == _IMAGE and math.prod(declared) == math.prod(shape):
        image = (*declared[1:], declared[0]) if _is_channels_first(declared) else declared
        sizes = ", ".join(map(str, image))
        changed = f", and `input {field.name}: float[{sizes}]`, since channels come last" if image != declared else ""
        return f"`-> reshape({sizes})` in `{field.name} = ...` of the data{changed}"
    if len(shape) == 3 and sorted(shape) == sorted(declared):
        return _declaration(field, read_type, ", since channels come last")
    return read


def _declaration(field: FieldSpec, type_: Type, reason: str = "") -> Hint:
    """The hint that declares the input or target of a field with the type that the data has."""
    described = describe_sample(type_)
    text = f"{'target' if field.is_target else 'input'} {field.name}: {described}{reason}"
    return Hint(text, Change(described, At.TYPE))


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether a declared image most likely has its channels first, as other libraries have them."""
    height, width, channels = shape
    return height in _CHANNELS and height != width and (channels not in _CHANNELS or channels == width)


def _steps_turned(field: FieldSpec) -> str | None:
    """The hint for `next` after `window`, which is what follows each window alone; None for other fields."""
    names = [step.name for step in field.steps]
    if "window" not in names or "next" not in names[names.index("window") :]:
        return None
    window, following = (next(step for step in field.steps if step.name == name) for name in ("window", "next"))
    return f"`{following.span.text} -> {window.span.text}`: for each step of a window the one that follows it"


def convert_windows(
    field: FieldSpec,
    states: Sequence[State],
    part: Part,
    starts: Array,
    type_: Type,
    declared: Span,
    proposes_type: bool = False,
) -> Field:
    """The windows of a field of a series, one for each of `starts`: its rows are converted first, then cut."""
    cut = windows.cut_of(field)
    if not cut.is_single and not type_.sample:
        fact = f"`{field.name}` is declared as {describe_sample(type_)}"
        rows, _ = next(sample_outputs(field, states, replace(part, rows=part.rows[:1])))
        assert not isinstance(rows, Ragged), "rows of a series are not sequences"
        hint = _as_read("sample", (cut.count, *rows.shape[1:]), field, type_)
        fault("E0804", fact, declared, others=[Label(cut.span, "and this is a window")], hint=hint)
    converted = convert(field, states, part, type_, declared, proposes_type, cut)
    return windows.cut_windows(field, cut, np.asarray(converted), starts, type_, declared)


def _may_lack(field: FieldSpec, states: Sequence[State]) -> bool:
    """Whether numbers of a field may be missing, because the model fills them."""
    return any(step.name == "impute" and leaves_missing(state) for step, state in zip(field.steps, states, strict=True))


def _checked(values: Array, location: Location, type_: Type, may_lack: bool = False) -> Array:
    """Returns `values`.

    Raises E0805 for the rows with a value that is not a class of a class type, E0803 for those with one that is not
    finite, unless it `may_lack`: be missing.
    """
    if type_.classes is not None:
        location.refuse(
            (values < 0) | (values >= type_.classes) | (values != np.floor(values)),
            "E0805",
            lambda index: f"{values[index]:g} is not a class of class({type_.classes})",
            hint="`-> classes` numbers them" if values.dtype.kind == "f" else None,
        )
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(values.astype(DTYPES[type_.dtype].numpy)) if type_.is_float else np.isfinite(values)
    if may_lack:
        is_finite |= np.isnan(values)
    location.refuse(~is_finite, "E0803", "a value is not finite")
    return values
