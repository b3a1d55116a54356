"""Operations along a varying dimension. Each is a gather or a sum by an index table (rows.py), and so is its gradient.

A value of each sample has the batch as its first dimension; a value of each step has a row for each step. These
functions turn the one into the other.
"""

from collections.abc import Callable, Sequence

from netc.compiler.ir.dims import at_most, divided, plus, times
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import Centred, FromEnd, Less, Other, TableKind, table
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Builder, Value, apply
from netc.compiler.operations.reduce import Axes, as_float, restore
from netc.compiler.operations.scan import ScanOperands, SlotKind, add_leaf, part, scan

SAME = -1  # as padding: the result has ceil(length / stride) steps; an odd step of padding goes to the end


def spread(x: Value, dim: str) -> Value:
    """Repeats a value of each sample at all of the sample's steps."""
    return apply("gather", x, table(x.graph, TableKind.SAMPLE, dim))


def rows_of(x: Value) -> str:
    """The dimension of a value's rows."""
    assert x.type.rows is not None
    return x.type.rows


def lengths(graph: Builder, dim: str) -> Value:
    """The number of each sample's steps along a dimension, i32[batch]."""
    computed = graph.surroundings.length(dim)
    return table(graph, TableKind.LENGTH, dim) if computed is None else computed


def length(graph: Builder, dim: str) -> Value:
    """The number of each sample's steps along a dimension, as a float."""
    return apply("cast", lengths(graph, dim), dtype=graph.precision)


def _beside(x: Value, like: Value) -> Value:
    """Reshapes one number per sample so that it broadcasts against `like`."""
    return apply("reshape", x, dims=(BATCH, *(1,) * (like.type.rank - 1)))


def _others(name: str, x: Value, others: Axes) -> Value:
    """Applies a reduction to the axes other than the varying one."""
    return apply(name, x, over=others) if others else x


def sum_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("scatter_add", _others("sum", x, others), table(x.graph, TableKind.SAMPLE, rows_of(x)), rows=BATCH)


def mean_over_steps(x: Value, others: Axes = ()) -> Value:
    total = sum_over_steps(_others("mean", as_float(x), others))
    return total / _beside(length(x.graph, rows_of(x)), total)


def max_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("segment_max", _others("max", x, others), table(x.graph, TableKind.SAMPLE, rows_of(x)), rows=BATCH)


def min_over_steps(x: Value, others: Axes = ()) -> Value:
    return -max_over_steps(-x, others)


def variance_over_steps(x: Value, others: Axes = ()) -> Value:
    number = as_float(x)
    centre = restore(spread(mean_over_steps(number, others), rows_of(x)), number, others)
    return mean_over_steps(apply("square", number - centre), others)


def norm_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("sqrt", sum_over_steps(x * x, others))


def logsumexp_over_steps(x: Value, others: Axes = ()) -> Value:
    top = max_over_steps(x)
    return apply("log", sum_over_steps(apply("exp", x - spread(top, rows_of(x))))) + top


def softmax_over_steps(x: Value, others: Axes = ()) -> Value:
    powers = apply("exp", x - spread(max_over_steps(x), rows_of(x)))
    return powers / spread(sum_over_steps(powers), rows_of(x))


def log_softmax_over_steps(x: Value, others: Axes = ()) -> Value:
    return x - spread(logsumexp_over_steps(x), rows_of(x))


def at_end(x: Value, kind: TableKind) -> Value:
    """The step of each sample that `kind` names: FIRST or LAST."""
    return apply("gather", x, table(x.graph, kind, rows_of(x)))


def reverse(x: Value, others: Axes = ()) -> Value:
    """Reverses the steps of each sample."""
    return apply("gather", x, table(x.graph, TableKind.REVERSE, rows_of(x)))


def shift(x: Value, first: Value) -> Value:
    """Moves each value one step later. `first`, one value per sample or one for all, fills the first step."""
    dim = rows_of(x)
    before = apply("gather", x, table(x.graph, TableKind.PREVIOUS, dim))
    if first.type.rows == BATCH:
        first = spread(first, dim)
    begins = apply("equal", table(x.graph, TableKind.STEP, dim), 0)
    begins = apply("reshape", begins, dims=(dim, *(1,) * (x.type.rank - 1)))
    moved = apply("where", begins, first, before)
    return x.graph.add_copy(moved, moved.operands, type_=x.type)  # a class remains a class


def _to(x: Value, dim: str, which: Other) -> Value:
    """The rows of x at the steps that `which` assigns to the steps of `dim`, or at the nearest steps that exist."""
    return apply("gather", x, table(x.graph, TableKind.TO, dim, other=which))


def seen(x: Value, dim: str, which: Other, beyond: float = 0.0) -> Value:
    """Does the same as `_to`, with the number `beyond` where x has no such step."""
    is_there = apply("equal", table(x.graph, TableKind.IN, dim, other=which), 1)
    return apply("where", apply("reshape", is_there, dims=(dim, *(1,) * (x.type.rank - 1))), _to(x, dim, which), beyond)


def taps(x: Value, size: int, stride: int, pad: tuple[int, int], dilation: int = 1, beyond: float = 0.0) -> list[Value]:
    """The elements of a window of `size` steps that moves over each sample: one value for each place in the window.

    The values have a new dimension, whose length is the number of windows. `pad` is the number of steps of padding
    before and after each sample, or SAME; these have the value `beyond`.
    """
    reach, dim = dilation * (size - 1), rows_of(x)
    shift: Centred | None = None
    if SAME in pad and stride == 1:
        pad = (reach // 2, reach - reach // 2)
    if SAME in pad:
        length, shift, before = divided(dim, stride), Centred(reach + 1), 0
    else:
        length, before = divided(plus(dim, sum(pad) - reach), stride), pad[0]
    elements = []
    for i in range(size):
        which = Other(dim, stride, 1, i * dilation - before, shift)
        is_inside = shift is None and which.offset >= 0 and i * dilation <= reach - pad[1]
        elements.append(
            x
            if which == Other(dim) and length == dim
            else _to(x, length, which)
            if is_inside
            else seen(x, length, which, beyond)
        )
    return elements


def between(x: Value, first: int, last: int) -> Value:
    """Drops the `first` and the `last` steps of each sample. The result has a dimension that is shorter by as many."""
    return _to(x, plus(rows_of(x), -first - last), Other(rows_of(x), offset=first))


def begin(x: Value, most: int) -> Value:
    """The first steps of each sample, at most `most` of them."""
    return _to(x, at_most(rows_of(x), most), Other(rows_of(x)))


def end(x: Value, most: int) -> Value:
    """The last steps of each sample, at most `most` of them."""
    return _to(x, at_most(rows_of(x), most), Other(rows_of(x), shift=FromEnd()))


def repeated(x: Value, times_each: int) -> Value:
    """Repeats each step `times_each` times."""
    return _to(x, times(rows_of(x), times_each), Other(rows_of(x), 1, times_each))


def renamed(x: Value, dim: str) -> Value:
    """The same steps along a dimension with another name, which may rank the samples in another order."""
    return _to(x, dim, Other(rows_of(x)))


def joined(values: Sequence[Value]) -> Value:
    """Concatenates the steps of each sample. All values have rows of steps."""
    dims = [rows_of(value) for value in values]
    total = plus(dims[0], *dims[1:])
    result = _to(values[0], total, Other(dims[0]))
    for i, value in enumerate(values[1:], 1):
        before = plus(dims[0], *dims[1:i])
        which = Other(dims[i], shift=Less(before))
        is_there = apply("equal", table(value.graph, TableKind.IN, total, other=which), 1)
        is_there = apply("reshape", is_there, dims=(total, *(1,) * (value.type.rank - 1)))
        extended = apply("where", is_there, _to(value, total, which), result)
        result = extended.graph.add_copy(extended, extended.operands, type_=result.type)  # a class remains a class
    return result


def cumsum_over_steps(x: Value, others: Axes = ()) -> Value:
    """The running sum, as a scan whose carry is the sum so far."""
    body, row = Graph(), x.type.with_dims((BATCH, *x.type.dims[1:]))
    body.precision = x.graph.precision
    total = add_leaf(body, SlotKind.CARRY.slot(0), row) + add_leaf(body, SlotKind.STEP_INPUT.slot(0), row)
    body.results.update({ResultKind.NEXT.named(0): total, ResultKind.YIELD.named(0): total})
    begin = apply("broadcast", x.graph.constant(0.0, row), dims=row.dims)
    return part(scan(x.graph, body, rows_of(x), ScanOperands([x], [begin])), ResultKind.YIELD.named(0))


def steps(graph: Builder, dim: str) -> Value:
    """The number of each step, from 0."""
    return apply("cast", table(graph, TableKind.STEP, dim), dtype=graph.precision)


# the operations along a varying dimension (and other axes), by name
ALONG_STEPS: dict[str, Callable[[Value, Axes], Value]] = {
    "sum": sum_over_steps,
    "mean": mean_over_steps,
    "max": max_over_steps,
    "min": min_over_steps,
    "variance": variance_over_steps,
    "norm": norm_over_steps,
    "logsumexp": logsumexp_over_steps,
    "softmax": softmax_over_steps,
    "log_softmax": log_softmax_over_steps,
    "reverse": reverse,
    "cumsum": cumsum_over_steps,
}
