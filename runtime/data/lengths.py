"""Sequences of different lengths in the data: cells of a column as such, and whether their lengths are what the model
says.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.model import Model
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span
from netc.runtime.data.cells import Location, refuse_missing
from netc.runtime.data.stored import Array, Field, Ragged


def listed(sequences: Any) -> Array:
    """Arrays of different lengths as cells of a column."""
    column = np.empty(len(sequences), object)
    for i, one in enumerate(sequences):
        column[i] = np.asarray(one).tolist()
    return column


def cells_of(array: Array, location: Location) -> Array | Ragged:
    """Cells that are lists, or an array of them, as sequences; texts stay texts.

    Faults E0803 and E0804 at the first that is none.
    """
    if array.dtype != object:
        if array.ndim < 2:
            fault("E0804", "this holds no sequences", location.span, location.cell([0]))
        return Ragged(array.reshape(-1, *array.shape[2:]), np.full(len(array), array.shape[1], np.int64))
    refuse_missing(array, location)
    if all(isinstance(cell, str) for cell in array):
        return array
    found = []
    for row, cell in enumerate(array):
        if not isinstance(cell, list) or not cell:
            told = "an empty sequence" if isinstance(cell, list) else "this is no sequence"
            fault("E0804", told, location.span, location.cell([row]), hint="a sequence has at least one step")
        is_text = isinstance(cell[0], str)
        try:
            found.append(np.array(cell, object if is_text else np.float64))
        except (ValueError, TypeError, OverflowError):
            fault("E0804", "the steps of a sequence are of one shape, and numbers", location.span, location.cell([row]))
        if found[-1].shape[1:] != found[0].shape[1:]:
            shapes = f"{list(found[-1].shape[1:])}, row {location.rows[0]} has {list(found[0].shape[1:])}"
            fault(
                "E0804",
                "the steps of sequences are of one shape",
                location.span,
                f"{location.cell([row])} has {shapes}",
            )
    return Ragged(np.concatenate(found), np.array([len(cell) for cell in found], np.int64))


def long_enough(model: Model, fields: Mapping[str, Field], rows: Array, shown: str) -> None:
    """Fault E0804 at the first sample that is longer than the model says, or too short for what it does with its steps."""
    for name, type_ in {**model.inputs, **model.targets}.items():
        field, most = fields.get(name), model.bounds.get(str(type_.rows))
        if isinstance(field, Ragged) and most is not None and (field.lengths > most).any():
            at = int(np.argmax(field.lengths > most))
            told = f"`{shown}`, row {rows[at]}: `{name}` has {field.lengths[at]}"
            hint = f"{type_.rows} <= {int(field.lengths.max())}"
            fault(
                "E0804", f"a sample has more steps than {type_.rows} <= {most}", model.declared[name], told, hint=hint
            )
    lengths = declared_lengths(model, fields)
    for value in model.graph.values():
        dim = str(value.type.rows)
        names = names_in(dim) if value.type.is_varying else ()
        if not names or names == (dim,) or any(name not in lengths for name in names):
            continue
        counts = lengths_of(dim, lengths, len(rows))
        if (counts < 1).any():
            at = int(np.argmin(counts))
            told = " and ".join(f"{name} is {lengths[name][at]}" for name in names)
            told = f"`{shown}`, row {rows[at]}: {told}, and {dim} is at least 1"
            fault("E0804", "a sample has too few steps", value.span, told)


def declared_lengths(model: Model, fields: Mapping[str, Field]) -> dict[str, Array]:
    """Of each declared dimension that some field has."""
    found: dict[str, Array] = {}
    for name, type_ in {**model.inputs, **model.targets}.items():
        if isinstance(field := fields.get(name), Ragged) and names_in(str(type_.rows)) == (type_.rows,):
            found.setdefault(str(type_.rows), field.lengths)
    return found


def same_lengths(model: Model, fields: Mapping[str, Field]) -> None:
    """Fault E0804 where two fields of one varying dimension have another length in some sample, one of a dimension made
    of others not the length that this says, or two dimensions that are said to be equal are not.
    """
    first: dict[str, str] = {}
    for name, type_ in {**model.inputs, **model.targets}.items():
        field = fields.get(name)
        if not isinstance(field, Ragged) or type_.rows is None:
            continue
        other = fields[first.setdefault(type_.rows, name)]
        assert isinstance(other, Ragged)
        apart = np.flatnonzero(field.lengths != other.lengths)
        if len(apart):
            at = int(apart[0])
            told = f"sample {at + 1} has {field.lengths[at]} steps of `{name}`, {other.lengths[at]} of `{first[type_.rows]}`"
            labels = [Label(model.declared[first[type_.rows]], "the other one")]
            fault(
                "E0804",
                f"two fields of the dimension `{type_.rows}` differ in length",
                model.declared[name],
                told,
                others=labels,
            )
    known = declared_lengths(model, fields)
    for name, type_ in {**model.inputs, **model.targets}.items():
        field, dim = fields.get(name), str(type_.rows)
        if isinstance(field, Ragged) and dim not in known and all(one in known for one in names_in(dim)):
            _refuse_apart(
                field.lengths, lengths_of(dim, known, len(field)), f"`{name}`", f"`{dim}`", model.declared[name]
            )
    for equal in model.equal:
        if all(one in known for dim in (equal.one, equal.other) for one in names_in(dim)):
            count = len(next(iter(known.values())))
            one, other = (lengths_of(dim, known, count) for dim in (equal.one, equal.other))
            _refuse_apart(one, other, f"`{equal.one}`", f"`{equal.other}`", equal.span)


def _refuse_apart(lengths: Array, others: Array, one: str, other: str, span: Span) -> None:
    apart = np.flatnonzero(lengths != others)
    if len(apart):
        at = int(apart[0])
        told = f"in sample {at + 1} {one} has {lengths[at]} steps, {other} {others[at]}"
        fault("E0804", f"{one} is not as long as {other}", span, told)
