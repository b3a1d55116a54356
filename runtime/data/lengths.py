"""Reads sequences of different lengths from cells, and compares their lengths with the model's dimensions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.types import Type
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span
from netc.runtime.data.cells import Location, refuse_missing
from netc.runtime.data.stored import Array, Field, Ragged

if TYPE_CHECKING:
    from netc.compiler.model import Model


def listed(sequences: Any) -> Array:
    """A column with a cell for each array, which may have different lengths."""
    column = np.empty(len(sequences), object)
    for i, sequence in enumerate(sequences):
        column[i] = np.asarray(sequence).tolist()
    return column


def cells_of(array: Array, location: Location) -> Array | Ragged:
    """The cells of a column as sequences; a column of texts is returned as it is.

    Faults E0803 at the first cell that is missing, E0804 at the first that is no sequence.
    """
    if array.dtype != object:
        if array.ndim < 2:
            fault("E0804", "this holds no sequences", location.span, location.cell([0]))
        return Ragged(array.reshape(-1, *array.shape[2:]), np.full(len(array), array.shape[1], np.int64))
    refuse_missing(array, location)
    if all(isinstance(cell, str) for cell in array):
        return array
    sequences: list[Array] = []
    for row, cell in enumerate(array):
        sequences.append(_sequence(cell, location, row))
        shape, first_shape = sequences[-1].shape[1:], sequences[0].shape[1:]
        if shape != first_shape:
            note = f"{location.cell([row])} has {list(shape)}, row {location.rows[0]} has {list(first_shape)}"
            fault("E0804", "the steps of sequences are of one shape", location.span, note)
    return Ragged(np.concatenate(sequences), np.array([len(sequence) for sequence in sequences], np.int64))


def _sequence(cell: Any, location: Location, row: int) -> Array:
    """A cell as an array with a row for each step: numbers, or texts as objects."""
    if not isinstance(cell, list) or not cell:
        fact = "an empty sequence" if isinstance(cell, list) else "this is no sequence"
        fault("E0804", fact, location.span, location.cell([row]), hint="a sequence has at least one step")
    try:
        return np.array(cell, object if isinstance(cell[0], str) else np.float64)
    except (ValueError, TypeError, OverflowError):
        fact = "the steps of a sequence are of one shape, and numbers"
        fault("E0804", fact, location.span, location.cell([row]))


def _fields_of(model: "Model") -> dict[str, Type]:
    return {**model.inputs, **model.targets}


def long_enough(model: "Model", fields: Mapping[str, Field], rows: Array, shown: str) -> None:
    """Faults E0804 at the first sample that is longer than its dimension's bound, or too short for what the model does.

    `rows` are the numbers of the samples in the file, `shown` its name in messages.
    """
    for name, type_ in _fields_of(model).items():
        field, bound = fields.get(name), model.bounds.get(str(type_.rows))
        if isinstance(field, Ragged) and bound is not None and (field.lengths > bound).any():
            i = int(np.argmax(field.lengths > bound))
            fact = f"a sample has more steps than {type_.rows} <= {bound}"
            note = f"`{shown}`, row {rows[i]}: `{name}` has {field.lengths[i]}"
            hint = f"{type_.rows} <= {int(field.lengths.max())}"
            fault("E0804", fact, model.declared[name], note, hint=hint)
    lengths = declared_lengths(model, fields)
    for value in model.graph.values():
        dim = str(value.type.rows)
        names = names_in(dim) if value.type.is_varying else ()
        if not names or names == (dim,) or any(name not in lengths for name in names):
            continue
        counts = lengths_of(dim, lengths, len(rows))
        if (counts < 1).any():
            i = int(np.argmin(counts))
            declared = " and ".join(f"{name} is {lengths[name][i]}" for name in names)
            note = f"`{shown}`, row {rows[i]}: {declared}, and {dim} is at least 1"
            fault("E0804", "a sample has too few steps", value.span, note)


def declared_lengths(model: "Model", fields: Mapping[str, Field]) -> dict[str, Array]:
    """The lengths of all samples by declared dimension, for each dimension that is the first of some field."""
    lengths: dict[str, Array] = {}
    for name, type_ in _fields_of(model).items():
        if isinstance(field := fields.get(name), Ragged) and names_in(str(type_.rows)) == (type_.rows,):
            lengths.setdefault(str(type_.rows), field.lengths)
    return lengths


def same_lengths(model: "Model", fields: Mapping[str, Field]) -> None:
    """Faults E0804 where lengths contradict the model.

    Two fields with the same dimension have the same lengths; a dimension that is computed from others has the lengths
    that these give; dimensions that are declared to be equal are equal.
    """
    first: dict[str, tuple[str, Ragged]] = {}  # by dimension: the first field that has it
    for name, type_ in _fields_of(model).items():
        field = fields.get(name)
        if isinstance(field, Ragged) and type_.rows is not None:
            other_name, other = first.setdefault(type_.rows, (name, field))
            _refuse_other_lengths(model, str(type_.rows), (name, field), (other_name, other))
    lengths = declared_lengths(model, fields)
    for name, type_ in _fields_of(model).items():
        field, dim = fields.get(name), str(type_.rows)
        if isinstance(field, Ragged) and dim not in lengths and all(part in lengths for part in names_in(dim)):
            computed = lengths_of(dim, lengths, len(field))
            _refuse_difference(field.lengths, computed, (f"`{name}`", f"`{dim}`"), model.declared[name])
    for equal in model.equal:
        dims = (equal.one, equal.other)
        if all(part in lengths for dim in dims for part in names_in(dim)):
            count = len(next(iter(lengths.values())))
            left, right = (lengths_of(dim, lengths, count) for dim in dims)
            _refuse_difference(left, right, (f"`{equal.one}`", f"`{equal.other}`"), equal.span)


def _refuse_other_lengths(model: "Model", dim: str, named: tuple[str, Ragged], first: tuple[str, Ragged]) -> None:
    """Faults E0804 at the first sample in which two fields of a dimension have different lengths."""
    (name, field), (other_name, other) = named, first
    differing = np.flatnonzero(field.lengths != other.lengths)
    if len(differing):
        i = int(differing[0])
        note = f"sample {i + 1} has {field.lengths[i]} steps of `{name}`, {other.lengths[i]} of `{other_name}`"
        others = [Label(model.declared[other_name], "the other one")]
        fact = f"two fields of the dimension `{dim}` differ in length"
        fault("E0804", fact, model.declared[name], note, others=others)


def _refuse_difference(left: Array, right: Array, names: tuple[str, str], span: Span) -> None:
    """Faults E0804 at the first sample in which two lengths differ; `names` are what the message calls them."""
    differing = np.flatnonzero(left != right)
    if len(differing):
        i = int(differing[0])
        note = f"in sample {i + 1} {names[0]} has {left[i]} steps, {names[1]} {right[i]}"
        fault("E0804", f"{names[0]} is not as long as {names[1]}", span, note)
