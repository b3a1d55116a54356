"""Operations along a varying dimension. Each is a gather or a sum by an index table (rows.py), so its gradient is one too.

What belongs to a sample is a value with the batch in front, what belongs to a step one with a row for each step; these functions take one to the other.
"""

from collections.abc import Callable, Sequence

from netc.compiler.ir.dims import at_most, divided, plus, times
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.rows import Other, table
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Builder, Value, apply
from netc.compiler.operations.reduce import Axes, as_float, restore
from netc.compiler.operations.scan import part, scan

SAME = -1  # as a border: as many steps as strides fit into a sequence, the odd one at its end


def spread(x: Value, dim: str) -> Value:
    """A sample's value at each of its steps."""
    return apply("gather", x, table(x.graph, "sample", dim))


def rows_of(x: Value) -> str:
    """The dimension that a value has a row for each step of."""
    assert x.type.rows is not None
    return x.type.rows


def lengths(graph: Builder, dim: str) -> Value:
    """How many steps each sample has along a dimension, i32[batch]."""
    computed = graph.surroundings.length(dim)
    return table(graph, "length", dim) if computed is None else computed


def length(graph: Builder, dim: str) -> Value:
    """How many steps each sample has, as a float."""
    return apply("cast", lengths(graph, dim), dtype=graph.precision)


def _beside(x: Value, like: Value) -> Value:
    """A number a sample, ready to broadcast against what each sample has."""
    return apply("reshape", x, dims=(BATCH, *(1,) * (like.type.rank - 1)))


def _others(name: str, x: Value, others: Axes) -> Value:
    """The reduction of the axes that are no varying one, which comes first."""
    return apply(name, x, over=others) if others else x


def sum_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("scatter_add", _others("sum", x, others), table(x.graph, "sample", rows_of(x)), rows=BATCH)


def mean_over_steps(x: Value, others: Axes = ()) -> Value:
    total = sum_over_steps(_others("mean", as_float(x), others))
    return total / _beside(length(x.graph, rows_of(x)), total)


def max_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("segment_max", _others("max", x, others), table(x.graph, "sample", rows_of(x)), rows=BATCH)


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


def at_end(x: Value, kind: str) -> Value:
    """The `first` or the `last` step of each sample."""
    return apply("gather", x, table(x.graph, kind, rows_of(x)))


def reverse(x: Value, others: Axes = ()) -> Value:
    """The steps of each sample from its last to its first."""
    return apply("gather", x, table(x.graph, "reverse", rows_of(x)))


def shift(x: Value, first: Value) -> Value:
    """Each step's value one step later; `first`, a sample's own or the same for all, stands at the beginning."""
    dim = rows_of(x)
    before = apply("gather", x, table(x.graph, "previous", dim))
    if first.type.rows == BATCH:
        first = spread(first, dim)
    begins = apply("equal", table(x.graph, "step", dim), 0)
    begins = apply("reshape", begins, dims=(dim, *(1,) * (x.type.rank - 1)))
    moved = apply("where", begins, first, before)
    return x.graph.add_copy(moved, moved.operands, type_=x.type)  # a class stays one


def _to(x: Value, dim: str, which: Other) -> Value:
    """At each step of a dimension what x has at the step of its own that belongs to it, or at the nearest that there is."""
    return apply("gather", x, table(x.graph, which.kind("to"), dim))


def seen(x: Value, dim: str, which: Other, beyond: float = 0.0) -> Value:
    """As `_to`, with a number where x has no such step."""
    is_there = apply("equal", table(x.graph, which.kind("in"), dim), 1)
    return apply("where", apply("reshape", is_there, dims=(dim, *(1,) * (x.type.rank - 1))), _to(x, dim, which), beyond)


def taps(x: Value, size: int, stride: int, pad: tuple[int, int], dilation: int = 1, beyond: float = 0.0) -> list[Value]:
    """What a window of `size` sees of each sample's steps, an element after the other, with a number beyond the ends: a new dimension, as long as there are
    places for the window. `pad` steps are put before and after, or as many as strides fit in (SAME)."""
    reach, dim = dilation * (size - 1), rows_of(x)
    if SAME in pad and stride == 1:
        pad = (reach // 2, reach - reach // 2)
    if SAME in pad:
        length, shift, before = divided(dim, stride), f"same {reach + 1}", 0
    else:
        length, shift, before = divided(plus(dim, sum(pad) - reach), stride), "", pad[0]
    found = []
    for i in range(size):
        which = Other(dim, stride, 1, i * dilation - before, shift)
        is_inside = not shift and which.offset >= 0 and i * dilation <= reach - pad[1]
        found.append(
            x
            if which == Other(dim) and length == dim
            else _to(x, length, which)
            if is_inside
            else seen(x, length, which, beyond)
        )
    return found


def between(x: Value, first: int, last: int) -> Value:
    """The steps of each sample but the `first` ones and the `last` ones: a dimension that is shorter by as many."""
    return _to(x, plus(rows_of(x), -first - last), Other(rows_of(x), offset=first))


def begin(x: Value, most: int) -> Value:
    """The first steps of each sample, so many at most."""
    return _to(x, at_most(rows_of(x), most), Other(rows_of(x)))


def end(x: Value, most: int) -> Value:
    """The last steps of each sample, so many at most."""
    return _to(x, at_most(rows_of(x), most), Other(rows_of(x), shift="end"))


def repeated(x: Value, times_each: int) -> Value:
    """Each step so many times."""
    return _to(x, times(rows_of(x), times_each), Other(rows_of(x), 1, times_each))


def renamed(x: Value, dim: str) -> Value:
    """The same steps by another name, in whose order samples may stand otherwise."""
    return _to(x, dim, Other(rows_of(x)))


def joined(values: Sequence[Value]) -> Value:
    """The steps of values with a row a step, those of each sample one value's after the other's."""
    dims = [rows_of(one) for one in values]
    whole = plus(dims[0], *dims[1:])
    result = _to(values[0], whole, Other(dims[0]))
    for i, one in enumerate(values[1:], 1):
        before = plus(dims[0], *dims[1:i])
        which = Other(dims[i], shift=f"less {before}")
        is_there = apply("equal", table(one.graph, which.kind("in"), whole), 1)
        is_there = apply("reshape", is_there, dims=(whole, *(1,) * (one.type.rank - 1)))
        made = apply("where", is_there, _to(one, whole, which), result)
        result = made.graph.add_copy(made, made.operands, type_=result.type)  # a class stays one
    return result


def cumsum_over_steps(x: Value, others: Axes = ()) -> Value:
    """The running sum: a scan whose carry is what was summed so far."""
    body, row = Graph(), x.type.with_dims((BATCH, *x.type.dims[1:]))
    body.precision = x.graph.precision
    total = body.leaf("given", "c0", row) + body.leaf("given", "x0", row)
    body.results.update({"next.0": total, "yield.0": total})
    begin = apply("broadcast", x.graph.constant(0.0, row), dims=row.dims)
    return part(scan(x.graph, body, rows_of(x), [x], [begin], []), "yield.0")


def steps(graph: Builder, dim: str) -> Value:
    """The number of each step, from 0."""
    return apply("cast", table(graph, "step", dim), dtype=graph.precision)


# what an operation of a name is along a varying dimension, and other axes
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
