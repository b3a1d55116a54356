"""Operations along a varying dimension. Each is a gather or a sum by an index table (rows.py), so its gradient is one too.

What belongs to a sample is a value with the batch in front, what belongs to a step one with a row for each step; these functions take one to the other.
"""

from collections.abc import Callable

from netc.compiler.graph import Graph
from netc.compiler.operations.reduce import Axes, as_float, restore
from netc.compiler.operations.scan import part, scan
from netc.compiler.rows import shorter, table
from netc.compiler.types import BATCH
from netc.compiler.value import Value, apply


def spread(x: Value, dim: str) -> Value:
    """A sample's value at each of its steps."""
    return apply("gather", x, table(x.graph, "sample", dim))


def _dim(x: Value) -> str:
    assert x.type.rows is not None
    return x.type.rows


def length(x: Value) -> Value:
    """How many steps each sample has, as a float."""
    return apply("cast", table(x.graph, "length", _dim(x)), dtype=x.graph.precision)


def _beside(x: Value, like: Value) -> Value:
    """A number a sample, ready to broadcast against what each sample has."""
    return apply("reshape", x, dims=(BATCH, *(1,) * (like.type.rank - 1)))


def _others(name: str, x: Value, others: Axes) -> Value:
    """The reduction of the axes that are no varying one, which comes first."""
    return apply(name, x, over=others) if others else x


def sum_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("scatter_add", _others("sum", x, others), table(x.graph, "sample", _dim(x)), rows=BATCH)


def mean_over_steps(x: Value, others: Axes = ()) -> Value:
    total = sum_over_steps(_others("mean", as_float(x), others))
    return total / _beside(length(x), total)


def max_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("segment_max", _others("max", x, others), table(x.graph, "sample", _dim(x)), rows=BATCH)


def min_over_steps(x: Value, others: Axes = ()) -> Value:
    return -max_over_steps(-x, others)


def variance_over_steps(x: Value, others: Axes = ()) -> Value:
    number = as_float(x)
    centre = restore(spread(mean_over_steps(number, others), _dim(x)), number, others)
    return mean_over_steps(apply("square", number - centre), others)


def norm_over_steps(x: Value, others: Axes = ()) -> Value:
    return apply("sqrt", sum_over_steps(x * x, others))


def logsumexp_over_steps(x: Value, others: Axes = ()) -> Value:
    top = max_over_steps(x)
    return apply("log", sum_over_steps(apply("exp", x - spread(top, _dim(x))))) + top


def softmax_over_steps(x: Value, others: Axes = ()) -> Value:
    powers = apply("exp", x - spread(max_over_steps(x), _dim(x)))
    return powers / spread(sum_over_steps(powers), _dim(x))


def log_softmax_over_steps(x: Value, others: Axes = ()) -> Value:
    return x - spread(logsumexp_over_steps(x), _dim(x))


def at_end(x: Value, kind: str) -> Value:
    """The `first` or the `last` step of each sample."""
    return apply("gather", x, table(x.graph, kind, _dim(x)))


def reverse(x: Value, others: Axes = ()) -> Value:
    """The steps of each sample from its last to its first."""
    return apply("gather", x, table(x.graph, "reverse", _dim(x)))


def shift(x: Value, first: Value) -> Value:
    """Each step's value one step later; `first`, a sample's own or the same for all, stands at the beginning."""
    dim = _dim(x)
    before = apply("gather", x, table(x.graph, "previous", dim))
    if first.type.rows == BATCH:
        first = spread(first, dim)
    begins = apply("equal", table(x.graph, "step", dim), 0)
    begins = apply("reshape", begins, dims=(dim, *(1,) * (x.type.rank - 1)))
    moved = apply("where", begins, first, before)
    return x.graph.add(moved.operation, moved.operands, moved.attributes, x.type)  # a class stays one


def moved(x: Value, by: int) -> Value:
    """At each step what the sample has `by` steps later (earlier, if that is negative), and zeros beyond its ends."""
    if not by:
        return x
    dim = _dim(x)
    there = apply("gather", x, table(x.graph, f"moved{by}", dim))
    at = apply("cast", table(x.graph, "step", dim), dtype=x.graph.precision) + by
    inside = (at >= 0) if by < 0 else (at < spread(length(x), dim))
    return apply("where", apply("reshape", inside, dims=(dim, *(1,) * (x.type.rank - 1))), there, 0.0)


def between(x: Value, first: int, last: int) -> Value:
    """The steps of each sample but the `first` ones and the `last` ones: a dimension that is shorter by as many."""
    dim = shorter(_dim(x), first + last)
    return apply("gather", x, table(x.graph, f"after{first}of{first + last}", dim))


def cumsum_over_steps(x: Value, others: Axes = ()) -> Value:
    """The running sum: a scan whose carry is what was summed so far."""
    assert isinstance(x.graph, Graph)
    body, row = Graph(), x.type.with_dims((BATCH, *x.type.dims[1:]))
    body.precision = x.graph.precision
    total = body.leaf("given", "c0", row) + body.leaf("given", "x0", row)
    body.results.update({"next.0": total, "yield.0": total})
    begin = apply("broadcast", x.graph.constant(0.0, row), dims=row.dims)
    return part(scan(x.graph, body, _dim(x), [x], [begin], []), "yield.0")


def steps(x: Value) -> Value:
    """The number of each step, from 0."""
    return apply("cast", table(x.graph, "step", _dim(x)), dtype=x.graph.precision)


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
