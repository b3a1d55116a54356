"""A field's rows as an array of the type that the model declares."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from netc.compiler.ir.types import NUMPY, Type, describe_sample
from netc.dsl.diagnostics import Label, fault
from netc.dsl.quoting import cell
from netc.dsl.source import NOWHERE, Span
from netc.runtime.data import windows
from netc.runtime.data.cells import Location, numbers
from netc.runtime.data.data_step import State
from netc.runtime.data.declarations import FieldSpec
from netc.runtime.data.pipeline import labels_of, raw_chunks, sample_outputs, step_outputs
from netc.runtime.data.steps import STEPS
from netc.runtime.data.store import allocate
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.data.table import Table

IGNORE_OVERFLOW = np.errstate(
    over="ignore", divide="ignore", invalid="ignore"
)  # what is not finite in the end is a fault


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
    raw, _ = next(raw_chunks(one, table, rows[:1]))
    assert not isinstance(raw, Ragged)
    stays_bytes = (
        type_.is_float
        and raw.dtype == np.uint8
        and len(scales) <= 1
        and all(step.name in ("scale", "reshape", "flatten", "train_only") for step in one.steps)
    )
    dtype = np.dtype(np.uint8) if stays_bytes else NUMPY[type_.dtype]
    result = allocate((len(rows), *type_.shape(1)[1:]), dtype)
    done = 0
    for given, location in step_outputs(one, states, table, rows, "scale" if stays_bytes else ""):
        array = given if stays_bytes else numbers(given, location)
        if array.shape[1:] != result.shape[1:]:
            fault(
                "E0804",
                f"a sample of `{one.name}` has the shape {list(array.shape[1:])}, the model says {describe_sample(type_)}",
                declared,
                others=[Label(one.span, "read here")],
            )
        result[done : done + len(array)] = array if stays_bytes else _checked(one, array, location, type_)
        done += len(array)
    return Bytes(result, *scales) if stays_bytes else result


def _sequences(
    one: FieldSpec, states: Sequence[State], table: Table, rows: Array, type_: Type, declared: Span
) -> Ragged:
    """A field of sequences, of the type that the model declares."""
    parts, lengths = [], []
    for made, location in sample_outputs(one, states, table, rows):
        if not isinstance(made, Ragged):
            is_text = any(STEPS[step.name].takes_text for step in one.steps)
            hint = "`characters` or `words` makes one of a text" if is_text else None
            fault("E0804", f"a sample of `{one.name}` is no sequence", one.span, location.cell([0]), hint=hint)
        at = replace(location, rows=np.repeat(location.rows, made.lengths))
        values = numbers(made.rows, at)
        if values.shape[1:] != type_.shape(1)[1:]:
            fault(
                "E0804",
                f"a step of `{one.name}` has the shape {list(values.shape[1:])}, the model says {describe_sample(type_)}",
                declared,
                others=[Label(one.span, "read here")],
            )
        parts.append(np.asarray(_checked(one, values, at, type_), NUMPY[type_.dtype]))
        lengths.append(made.lengths)
    return Ragged(np.concatenate(parts), np.concatenate(lengths))


def windows_of(
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


def _checked(one: FieldSpec, values: Array, location: Location, type_: Type) -> Array:
    if type_.classes is not None:
        bad = np.argwhere((values < 0) | (values >= type_.classes) | (values != np.floor(values)))
        if len(bad):
            fault(
                "E0805",
                f"{values[tuple(bad[0])]:g} is not a class of class({type_.classes})",
                one.span,
                f"`{location.file}`, row {location.rows[int(bad[0][0])]}",
                hint="`-> classes` numbers them" if values.dtype.kind == "f" else None,
            )
    with np.errstate(over="ignore"):
        finite = np.isfinite(values.astype(NUMPY[type_.dtype])) if type_.is_float else np.isfinite(values)
    if not finite.all():
        fault("E0803", "a value is not finite", one.span, location.cell([int(i) for i in np.argwhere(~finite)[0]]))
    return values
