"""Values with two varying dimensions, or one that does not stand first: each is `held` at its bound, behind the batch (types.Bounded).

Beyond a sample's end a held value repeats its last step, so that nothing there is worse than what is real; whatever goes along such an axis leaves those
elements out. `hold` takes rows to it, `pack` back.
"""

import math
from collections.abc import Callable, Sequence

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.rows import table
from netc.compiler.ir.types import BATCH, Bounded, Dim, Mismatch, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.reduce import Axes, as_float, restore
from netc.compiler.operations.scan import to_steps
from netc.compiler.operations.sequence import length, lengths, rows_of


def at_bound(x: Value, name: str) -> Bounded:
    """A varying dimension of the graph at its bound. Raises Mismatch where nobody said what that is."""
    most = x.graph.surroundings.bound(name)
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
    return apply("gather", x, table(x.graph, f"held{at_bound(x, rows_of(x))}", rows_of(x)))


def pack(x: Value) -> Value:
    """A held value as rows, if its one varying dimension is its first and the data gives the lengths; anything else, and in the body of a scan, as it is."""
    names = [dim for dim in x.type.dims if isinstance(dim, Bounded)]
    if len(names) != 1 or x.type.dims[1] is not names[0] or not x.graph.surroundings.has_rows(names[0].name):
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
    return made.graph.add_copy(made, made.operands, type_=made.type.with_dims((BATCH, size, *made.type.dims[2:])))


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


def ended(parts: Sequence[Value], ends: Value, name: str) -> tuple[list[Value], Value]:
    """Stacks of steps, each [batch, n, ...], as a dimension of its own whose last step is the first at which `ends` [batch, n] is true, or the last there is;
    and how many steps each sample has along it, i32[batch]."""
    graph = ends.graph
    before = ends.type.dims[1]
    assert isinstance(before, int)
    number = graph.add("arange", (), {"n": int(before)}, Type("i32", (int(before),)))
    known = apply("cast", number, dtype=graph.precision) + 1.0
    whole = length(graph, before.name) if isinstance(before, Bounded) else graph.constant(float(before), known.type)
    limit = apply("reshape", whole, dims=(BATCH, 1)) if whole.type.dims else whole
    first = apply("min", apply("minimum", apply("where", ends, known, float(before)), limit), over=(1,))
    steps = apply("cast", first, dtype="i32")
    shaped = [
        graph.add("reshape", (one,), {"dims": dims}, one.type.with_dims(dims))
        for one in parts
        for dims in [(BATCH, Bounded(before, name), *one.type.dims[2:])]
    ]
    return shaped, steps


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
