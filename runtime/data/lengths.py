"""Reads sequences of different lengths from cells, and compares their lengths with the model's dimensions."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.types import Type
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.data.tables.cells import CellKind, Index, Location, is_missing, refuse_missing
from netc.runtime.data.tables.table import Table

if TYPE_CHECKING:
    from netc.compiler.model import Model


def listed(sequences: Any) -> Array:
    """A column with a cell for each array, which may have different lengths."""
    column = np.empty(len(sequences), object)
    for i, sequence in enumerate(sequences):
        column[i] = np.asarray(sequence).tolist()
    return column


def cells_of(array: Array, location: Location, takes_text: bool = False) -> Array | Ragged:
    """The cells of a column as sequences; a column of texts is returned as it is, missing ones among them.

    Where a step `takes_text`, all cells are texts if one is. Raises E0803 for the rows whose sequence is missing, E0804
    for those whose cell is not a sequence.
    """
    if array.dtype != object:
        if array.ndim < 2:
            fault("E0804", "this holds no sequences", location.span, location.cell([0]))
        return Ragged(array.reshape(-1, *array.shape[2:]), np.full(len(array), array.shape[1], np.int64))
    is_text, missing = np.array([isinstance(cell, str) for cell in array], bool), is_missing(array)
    if (is_text | missing).all() and (takes_text or is_text.any()):
        return array
    if takes_text and is_text.any():
        location.refuse(~(is_text | missing), "E0804", "this is not text, and other rows have texts")
    refuse_missing(array, location, CellKind.SEQUENCE)
    _refuse_no_sequences(array, location)
    sequences = _sequences(array, location)
    return Ragged(np.concatenate(sequences), np.array([len(sequence) for sequence in sequences], np.int64))


def _refuse_no_sequences(array: Array, location: Location) -> None:
    """Raises E0804 for the rows whose cell is not a list, or an empty one."""
    is_list = np.array([isinstance(cell, list) for cell in array], bool)
    location.refuse(
        np.array([not isinstance(cell, list) or not cell for cell in array], bool),
        "E0804",
        lambda index: "an empty sequence" if is_list[index] else "this is not a sequence",
        hint="a sequence has at least one step",
    )


def _sequences(array: Array, location: Location) -> list[Array]:
    """The cells as arrays with a row for each step: numbers, or texts as objects.

    Raises E0804 for the rows whose steps are not numbers, or of another shape than in the first row.
    """
    sequences: list[Array] = []
    is_bad = np.zeros(len(array), bool)
    for row, cell in enumerate(array):
        try:
            sequences.append(np.array(cell, object if isinstance(cell[0], str) else np.float64))
        except (ValueError, TypeError, OverflowError):
            is_bad[row] = True
    location.refuse(is_bad, "E0804", "the steps of a sequence are of one shape, and numbers")
    shapes = [sequence.shape[1:] for sequence in sequences]
    usual = Counter(shapes).most_common(1)[0][0]
    usual_row = location.rows[shapes.index(usual)]
    location.refuse(
        np.array([shape != usual for shape in shapes], bool),
        "E0804",
        "the steps of sequences are of one shape",
        lambda index: f"{location.cell(index)} has {list(shapes[index[0]])}, row {usual_row} has {list(usual)}",
    )
    return sequences


def _fields_of(model: "Model") -> dict[str, Type]:
    return {**model.inputs, **model.targets}


class Samples(Struct, frozen=True):
    """The samples of fields: the rows of a table, by their positions in it."""

    table: Table
    rows: Array


class _Declaration(Struct, frozen=True):
    """A field or dimensions, declared at `span`, with which samples are compared."""

    samples: Samples
    names: tuple[str, ...]
    span: Span

    def refuse(
        self,
        mask: Array,
        fact: str,
        label: Callable[[Index], str],
        hint: str | None = None,
        others: Sequence[Label] = (),
    ) -> None:
        """Raises E0804 for the samples of which `mask` is true. `label` says more about one of them."""
        table, rows = self.samples.table, self.samples.rows
        location = Location(table.name, self.names, table.numbers(rows), self.span)

        def placed(index: Index) -> str:
            return f"{table.words_for_row(int(rows[index[0]]))}: {label(index)}"

        location.refuse(mask, "E0804", fact, placed, hint=hint, others=others)


def long_enough(model: "Model", fields: Mapping[str, Field], samples: Samples) -> None:
    """Raises E0804 for the samples that are longer than their dimension's bound, or too short for what the model
    does.
    """
    for name, type_ in _fields_of(model).items():
        field, bound = fields.get(name), model.bounds.get(str(type_.rows))
        if isinstance(field, Ragged) and bound is not None:
            _refuse_too_long(field, bound, str(type_.rows), _Declaration(samples, (name,), model.declared[name]))
    lengths = declared_lengths(model, fields)
    for value in model.graph.values():
        dim = str(value.type.rows)
        names = names_in(dim) if value.type.is_varying else ()
        if not names or names == (dim,) or any(name not in lengths for name in names):
            continue
        counts = lengths_of(dim, lengths, len(samples.rows))
        declared = {name: lengths[name] for name in names}
        _refuse_too_short(counts, dim, declared, _Declaration(samples, names, value.span))


def _refuse_too_long(field: Ragged, bound: int, dim: str, declaration: _Declaration) -> None:
    """Raises E0804 for the samples that have more steps than the bound of their dimension."""
    (name,) = declaration.names
    declaration.refuse(
        field.lengths > bound,
        f"a sample has more steps than {dim} <= {bound}",
        lambda index: f"`{name}` has {field.lengths[index]}",
        hint=f"{dim} <= {int(field.lengths.max())}",
    )


def _refuse_too_short(counts: Array, dim: str, lengths: Mapping[str, Array], declaration: _Declaration) -> None:
    """Raises E0804 for the samples of which a computed dimension has no step; `counts` are its steps."""

    def label(index: Index) -> str:
        declared = " and ".join(f"{name} is {length[index]}" for name, length in lengths.items())
        return f"{declared}, and {dim} is at least 1"

    declaration.refuse(counts < 1, "a sample has too few steps", label)


def declared_lengths(model: "Model", fields: Mapping[str, Field]) -> dict[str, Array]:
    """The lengths of all samples by declared dimension, for each dimension that is the first of some field."""
    lengths: dict[str, Array] = {}
    for name, type_ in _fields_of(model).items():
        if isinstance(field := fields.get(name), Ragged) and names_in(str(type_.rows)) == (type_.rows,):
            lengths.setdefault(str(type_.rows), field.lengths)
    return lengths


def same_lengths(model: "Model", fields: Mapping[str, Field], samples: Samples) -> None:
    """Raises E0804 for the samples whose lengths contradict the model.

    Two fields with the same dimension have the same lengths; a dimension that is computed from others has the lengths
    that these give; dimensions that are declared to be equal are equal.
    """
    first: dict[str, tuple[str, Ragged]] = {}  # by dimension: the first field that has it
    for name, type_ in _fields_of(model).items():
        field = fields.get(name)
        if isinstance(field, Ragged) and type_.rows is not None:
            other_name, other = first.setdefault(type_.rows, (name, field))
            names = (f"`{name}`", f"`{other_name}`")
            fact = f"two fields of the dimension `{type_.rows}` differ in length"
            declaration = _Declaration(samples, (name,), model.declared[name])
            others = [Label(model.declared[other_name], "the other one")]
            _refuse_difference(field.lengths, other.lengths, names, declaration, fact, others)
    lengths = declared_lengths(model, fields)
    for name, type_ in _fields_of(model).items():
        field, dim = fields.get(name), str(type_.rows)
        if isinstance(field, Ragged) and dim not in lengths and all(part in lengths for part in names_in(dim)):
            computed = lengths_of(dim, lengths, len(field))
            declaration = _Declaration(samples, (name,), model.declared[name])
            fact = f"`{name}` is not as long as `{dim}`"
            _refuse_difference(field.lengths, computed, (f"`{name}`", f"`{dim}`"), declaration, fact)
    for equal in model.equal:
        dims = (equal.first, equal.other)
        if all(part in lengths for dim in dims for part in names_in(dim)):
            count = len(next(iter(lengths.values())))
            left, right = (lengths_of(dim, lengths, count) for dim in dims)
            names = (f"`{equal.first}`", f"`{equal.other}`")
            declaration = _Declaration(samples, dims, equal.span)
            _refuse_difference(left, right, names, declaration, f"{names[0]} is not as long as {names[1]}")


def _refuse_difference(
    left: Array,
    right: Array,
    names: tuple[str, str],
    declaration: _Declaration,
    fact: str,
    others: Sequence[Label] = (),
) -> None:
    """Raises E0804 for the samples in which two lengths differ; `names` are what the message calls them."""
    declaration.refuse(
        left != right,
        fact,
        lambda index: f"{names[0]} has {left[index]} steps, {names[1]} has {right[index]}",
        others=others,
    )
