"""Gradients that are zero in all rows of a parameter except those that lookups read.

The gradient of `table[index]` scatters its rows into zeros of the table's size. If only the rows of a batch have a
gradient, an optimizer gets these rows with the sum of their gradients, and needs no memory of the table's size:

    gradient of the table   ->   rows of the table (gather), their gradients (sum_at), their new values (put)

All other rows are computed with the number 0 as their gradient, or stay as they are.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from netc.compiler.ir.types import BATCH, Dim, fixed_size
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.elementwise import add
from netc.compiler.operations.gathering import RowCount, scatter_add

_STEPS = 32  # the assumed steps of a sample along a dimension without a bound
_COST = 4  # of a lookup, in rows of the table that are updated in order: one worker adds and stores the rows one by one


class Touched(Protocol):
    """The rows of a parameter that a batch touches."""

    def rows_of(self, table: Value) -> Value:
        """The touched rows of a value of the parameter's type."""

    def put(self, table: Value, rows: Value) -> Value:
        """The table with new values in its touched rows."""


class TouchedRows(Struct, frozen=True):
    """The rows that an index names, a row for each of its elements. `first` numbers the first of equal elements."""

    index: Value
    first: Value

    def rows_of(self, table: Value) -> Value:
        return apply("gather", table, self.index)

    def put(self, table: Value, rows: Value) -> Value:
        return apply("put", table, self.index, rows, self.first)


class TouchedMask(Struct, frozen=True):
    """All rows of the table, of which `is_touched` says in its type which are touched."""

    is_touched: Value

    def rows_of(self, table: Value) -> Value:
        return table

    def put(self, table: Value, rows: Value) -> Value:
        return apply("where", self.is_touched, rows, table)


class Gradient(Struct, frozen=True):
    """The gradient of a parameter.

    `value` has the parameter's type if `touched` is None or a mask. With `TouchedRows` it has the sum of a row's
    gradients at the first lookup of the row, and zeros at later ones.
    """

    value: Value
    touched: Touched | None = None


class _Lookup(Struct, frozen=True):
    """The rows of a gradient, and the rows of the table that they belong to."""

    index: Value
    rows: Value


def gradient_of(
    parameter: Value, gradient: Value, batch: int, bounds: Mapping[str, int], is_lazy: bool = False
) -> Gradient:
    """Returns a gradient by its touched rows if it is a sum of scattered rows, and if these are few.

    `batch` and `bounds`, the most steps of varying dimensions, say how many there are. If `is_lazy`, the touched rows
    of every sum of scattered rows are marked at least.
    """
    lookups = _lookups(gradient)
    if lookups is None:
        return Gradient(gradient)
    sizes = {BATCH: batch, **{dim: batch * bounds.get(dim, _STEPS) for dim in _varying(lookups)}}
    count = sum(lookup.index.type.size(sizes) for lookup in lookups)
    joined = _joined(lookups)
    if joined is not None and count * _COST <= fixed_size(parameter.type.dims[0]):
        first = apply("first_equal", joined.index)
        return Gradient(apply("sum_at", joined.rows, first), TouchedRows(joined.index, first))
    return Gradient(gradient, _mask(parameter, lookups)) if is_lazy else Gradient(gradient)


def _lookups(gradient: Value) -> list[_Lookup] | None:
    """The lookups whose scattered rows add up to a gradient; None if it has other terms."""
    lookups, pending = list[_Lookup](), [gradient]
    while pending:
        term = pending.pop()
        if term.definition is add and all(operand.type == gradient.type for operand in term.operands):
            pending += reversed(term.operands)
        elif term.definition is scatter_add and isinstance(term.attributes_as(RowCount).rows, int):
            rows, index = term.operands
            lookups.append(_Lookup(index, rows))
        else:
            return None
    return lookups


def _varying(lookups: list[_Lookup]) -> Iterator[str]:
    return (str(lookup.index.type.rows) for lookup in lookups if lookup.index.type.is_varying)


def _joined(lookups: list[_Lookup]) -> _Lookup | None:
    """Several lookups as a single one, side by side; None if they run along different dimensions."""
    if len(lookups) == 1:
        return lookups[0]
    if len({lookup.index.type.rows for lookup in lookups}) > 1:
        return None
    flat = [_flat(lookup) for lookup in lookups]
    axis = int(flat[0].index.type.is_batched)
    index = apply("concat", *(lookup.index for lookup in flat), axis=axis)
    return _Lookup(index, apply("concat", *(lookup.rows for lookup in flat), axis=axis))


def _flat(lookup: _Lookup) -> _Lookup:
    """A lookup whose index has one axis besides the batch or the varying dimension."""
    type_ = lookup.index.type
    lead: tuple[Dim, ...] = (type_.dims[0],) if type_.is_batched else ()
    dims = (*lead, type_.size(1))
    rest = lookup.rows.type.dims[type_.rank :]
    return _Lookup(apply("reshape", lookup.index, dims=dims), apply("reshape", lookup.rows, dims=(*dims, *rest)))


def _mask(parameter: Value, lookups: list[_Lookup]) -> TouchedMask:
    """Marks the rows of a table that at least one lookup names."""
    graph, type_ = parameter.graph, parameter.type
    count: Value | None = None
    for lookup in lookups:
        marks = graph.constant(1.0, type_)
        if lookup.index.type.dims:
            marks = apply("broadcast", marks, dims=lookup.index.type.dims)
        counts = apply("scatter_add", marks, lookup.index, rows=type_.dims[0])
        count = counts if count is None else count + counts
    assert count is not None
    rows = apply("reshape", count > 0.0, dims=(type_.dims[0], *(1 for _ in type_.dims[1:])))
    return TouchedMask(apply("broadcast", rows, dims=type_.dims))
