"""Operations along a varying dimension. Each is a gather or a sum by an index table (rows.py), so its gradient is one too.

What belongs to a sample is a value with the batch in front, what belongs to a step one with a row for each step; these functions take one to the other.
A value with two varying dimensions is `held`: each at its bound, behind the batch (types.Bounded). Beyond a sample's end it repeats its last step, so that
nothing there is worse than what is real; whatever goes along such an axis leaves those elements out.
"""

import math
from collections.abc import Callable, Sequence

from netc.compiler.dims import at_most, bound_of, divided, names_in, plus, times
from netc.compiler.graph import Graph
from netc.compiler.operations.reduce import Axes, as_float, restore
from netc.compiler.operations.scan import part, scan, to_steps
from netc.compiler.rows import Other, table
from netc.compiler.types import BATCH, Bounded, Dim, Mismatch, Type
from netc.compiler.value import Builder, Value, apply

SAME = -1  # as a border: as many steps as strides fit into a sequence, the odd one at its end


def spread(x: Value, dim: str) -> Value:
    """A sample's value at each of its steps."""
    return apply("gather", x, table(x.graph, "sample", dim))


def _dim(x: Value) -> str:
    assert x.type.rows is not None
    return x.type.rows


def lengths(graph: Builder, dim: str) -> Value:
    """How many steps each sample has along a dimension, i32[batch]."""
    if isinstance(graph, Graph) and dim in graph.lengths:
        return graph.local(graph.lengths[dim])
    return table(graph, "length", dim)


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
    return apply("scatter_add", _others("sum", x, others), table(x.graph, "sample", _dim(x)), rows=BATCH)


def mean_over_steps(x: Value, others: Axes = ()) -> Value:
    total = sum_over_steps(_others("mean", as_float(x), others))
    return total / _beside(length(x.graph, _dim(x)), total)


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
    reach, dim = dilation * (size - 1), _dim(x)
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
    return _to(x, plus(_dim(x), -first - last), Other(_dim(x), offset=first))


def begin(x: Value, most: int) -> Value:
    """The first steps of each sample, so many at most."""
    return _to(x, at_most(_dim(x), most), Other(_dim(x)))


def end(x: Value, most: int) -> Value:
    """The last steps of each sample, so many at most."""
    return _to(x, at_most(_dim(x), most), Other(_dim(x), shift="end"))


def repeated(x: Value, times_each: int) -> Value:
    """Each step so many times."""
    return _to(x, times(_dim(x), times_each), Other(_dim(x), 1, times_each))


def renamed(x: Value, dim: str) -> Value:
    """The same steps by another name, in whose order samples may stand otherwise."""
    return _to(x, dim, Other(_dim(x)))


def joined(values: Sequence[Value]) -> Value:
    """The steps of values with a row a step, those of each sample one value's after the other's."""
    dims = [_dim(one) for one in values]
    whole = plus(dims[0], *dims[1:])
    result = _to(values[0], whole, Other(dims[0]))
    for i, one in enumerate(values[1:], 1):
        before = plus(dims[0], *dims[1:i])
        which = Other(dims[i], shift=f"less {before}")
        is_there = apply("equal", table(one.graph, which.kind("in"), whole), 1)
        is_there = apply("reshape", is_there, dims=(whole, *(1,) * (one.type.rank - 1)))
        made = apply("where", is_there, _to(one, whole, which), result)
        result = made.graph.add(made.operation, made.operands, made.attributes, result.type)  # a class stays one
    return result


def cumsum_over_steps(x: Value, others: Axes = ()) -> Value:
    """The running sum: a scan whose carry is what was summed so far."""
    assert isinstance(x.graph, Graph)
    body, row = Graph(), x.type.with_dims((BATCH, *x.type.dims[1:]))
    body.precision = x.graph.precision
    total = body.leaf("given", "c0", row) + body.leaf("given", "x0", row)
    body.results.update({"next.0": total, "yield.0": total})
    begin = apply("broadcast", x.graph.constant(0.0, row), dims=row.dims)
    return part(scan(x.graph, body, _dim(x), [x], [begin], []), "yield.0")


def steps(graph: Builder, dim: str) -> Value:
    """The number of each step, from 0."""
    return apply("cast", table(graph, "step", dim), dtype=graph.precision)


# ------------------------------------------------------------------ several varying dimensions in one value


def bounded(x: Value, name: str) -> Bounded:
    """A varying dimension of the graph at its bound. Raises Mismatch where nobody said what that is."""
    assert isinstance(x.graph, Graph)
    most = bound_of(name, x.graph.bounds)
    if most is None:
        raise Mismatch(
            f"how long `{name}` is at most must be known here",
            f"{names_in(name)[0]} <= 100, where it is declared",
            "E0406",
            names_in(name)[0],
        )
    return Bounded(most, name)


def hold(x: Value) -> Value:
    """A row for each step -> [batch, name <= most, ...]; anything else as it is."""
    if not x.type.is_varying:
        return x
    return apply("gather", x, table(x.graph, f"held{bounded(x, _dim(x))}", _dim(x)))


def pack(x: Value) -> Value:
    """A held value as rows, if its one varying dimension is its first and the data gives the lengths; anything else, and in the body of a scan, as it is."""
    names = [dim for dim in x.type.dims if isinstance(dim, Bounded)]
    if not isinstance(x.graph, Graph) or not x.graph.has_rows or len(names) != 1 or x.type.dims[1] is not names[0]:
        return x
    if names[0].name in x.graph.lengths:
        return x
    return to_steps(x, names[0].name)


def is_along_steps(x: Value, axis: int) -> bool:
    """Whether an axis is a varying dimension."""
    return isinstance(x.type.dims[axis], Bounded) or (x.type.is_varying and axis == 0)


def _inside(x: Value, axis: int) -> Value:
    """Where a sample still has a step along an axis of a held value."""
    dim = x.type.dims[axis]
    assert isinstance(dim, Bounded)
    at = x.graph.add("arange", (), {"n": int(dim)}, Type("i32", (dim,)))
    ends = apply("reshape", lengths(x.graph, dim.name), dims=(BATCH, *(1,) * (x.type.rank - 1)))
    return apply("less", apply("reshape", at, dims=(dim, *(1,) * (x.type.rank - 1 - axis))), ends)


def without_beyond(x: Value, axes: Axes, beyond: float = 0.0) -> Value:
    """x with one number wherever a sample has no step along one of the axes."""
    for axis in axes:
        if isinstance(x.type.dims[axis], Bounded):
            x = apply("where", _inside(x, axis), x, beyond)
    return x


def _count(x: Value, over: Axes) -> Value:
    """How many elements some axes hold together, ready to broadcast against what they are reduced to."""
    total: Value | None = None
    static = 1
    for axis in over:
        dim = x.type.dims[axis]
        if isinstance(dim, Bounded):
            steps = length(x.graph, dim.name)
            total = steps if total is None else total * steps
        else:
            assert isinstance(dim, int)
            static *= dim
    assert total is not None
    return apply("reshape", total * float(static), dims=(BATCH, *(1,) * (x.type.rank - len(over) - 1)))


def is_step(x: Value, n: int) -> Value:
    """Whether a sample has a step of this number along the first axis of a held value, bool[batch]."""
    dim = x.type.dims[1]
    assert isinstance(dim, Bounded)
    return apply("greater", lengths(x.graph, dim.name), n)


def held_step(x: Value, n: int) -> Value:
    """The step of this number along the first axis behind the batch."""
    one = apply("slice", x, axis=1, start=n, stop=n + 1)
    return apply("reshape", one, dims=(BATCH, *x.type.dims[2:]))


def stacked(steps: Sequence[Value], dim: Dim | None) -> Value:
    """Values of each sample along a new first axis, which is a dimension if one is given."""
    parts = [apply("reshape", one, dims=(BATCH, 1, *one.type.dims[1:])) for one in steps]
    made = apply("concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    size = dim if isinstance(dim, Bounded) else len(steps)
    return made.graph.add(
        made.operation, made.operands, made.attributes, made.type.with_dims((BATCH, size, *made.type.dims[2:]))
    )


def last_held(x: Value) -> Value:
    """What a held value has at each sample's last step along its first axis."""
    dim = x.type.dims[1]
    assert isinstance(dim, Bounded)
    at = apply("reshape", x.graph.add("arange", (), {"n": int(dim)}, Type("i32", (dim,))), dims=(1, dim))
    ends = apply("reshape", lengths(x.graph, dim.name), dims=(BATCH, 1))
    is_last = apply("reshape", apply("equal", at + 1, ends), dims=(BATCH, dim, *(1,) * (x.type.rank - 2)))
    return apply("sum", apply("where", is_last, x, 0), over=(1,))


def _held_sum(x: Value, over: Axes) -> Value:
    return apply("sum", without_beyond(x, over), over=over)


def _held_mean(x: Value, over: Axes) -> Value:
    return _held_sum(as_float(x), over) / _count(x, over)


def _held_max(x: Value, over: Axes) -> Value:
    return apply("max", without_beyond(x, over, -math.inf), over=over)


def _held_variance(x: Value, over: Axes) -> Value:
    number = as_float(x)
    return _held_mean(apply("square", number - restore(_held_mean(number, over), number, over)), over)


def _held_logsumexp(x: Value, over: Axes) -> Value:
    return apply("logsumexp", without_beyond(x, over, -math.inf), over=over)


def ended(parts: Sequence[Value], ends: Value, name: str) -> list[Value]:
    """Stacks of steps, each [batch, n, ...], as a dimension of its own whose last step is the first at which `ends` [batch, n] is true, or the last there is."""
    graph = ends.graph
    assert isinstance(graph, Graph)
    before = ends.type.dims[1]
    assert isinstance(before, int)
    number = graph.add("arange", (), {"n": int(before)}, Type("i32", (int(before),)))
    known = apply("cast", number, dtype=graph.precision) + 1.0
    whole = length(graph, before.name) if isinstance(before, Bounded) else graph.constant(float(before), known.type)
    limit = apply("reshape", whole, dims=(BATCH, 1)) if whole.type.dims else whole
    first = apply("min", apply("minimum", apply("where", ends, known, float(before)), limit), over=(1,))
    graph.lengths[name] = apply("cast", first, dtype="i32")
    return [
        graph.add("reshape", (one,), {"dims": dims}, one.type.with_dims(dims))
        for one in parts
        for dims in [(BATCH, Bounded(before, name), *one.type.dims[2:])]
    ]


# what an operation of a name is along axes of a held value
ALONG_HELD: dict[str, Callable[[Value, Axes], Value]] = {
    "sum": _held_sum,
    "mean": _held_mean,
    "max": _held_max,
    "min": lambda x, over: -_held_max(-x, over),
    "variance": _held_variance,
    "norm": lambda x, over: apply("sqrt", _held_sum(x * x, over)),
    "logsumexp": _held_logsumexp,
    "softmax": lambda x, over: apply("softmax", without_beyond(x, over, -math.inf), over=over),
    "log_softmax": lambda x, over: x - restore(_held_logsumexp(x, over), x, over),
    "argmax": lambda x, over: apply("argmax", without_beyond(x, over, -math.inf), over=over),
    "cumsum": lambda x, over: apply("cumsum", x, over=over),
}
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
    "argmax": lambda x, others: ALONG_HELD["argmax"](hold(x), (1,)),
}
