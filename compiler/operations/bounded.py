"""Values with two varying dimensions, or one that is not the first: these are `held` at their bounds (types.Bounded).

Beyond a sample's end, a held value repeats the sample's last step, so that these elements are ordinary numbers.
Operations along such an axis leave them out. `hold` turns rows into a held value, and `pack` turns a held value into
rows.
"""

import math
from collections.abc import Callable, Sequence

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.index_tables import TableKind, table
from netc.compiler.ir.types import BATCH, UNDECLARED, Bounded, Dim, Mismatch, Type, fixed_size, is_undeclared
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.reduce import Axes, as_float, restore
from netc.compiler.operations.scan import to_steps
from netc.compiler.operations.sequence import length, lengths, rows_of


def most_steps(x: Value) -> int:
    """The largest number of steps of the first axis behind the batch, for a loop that is written out step by step.

    Raises Mismatch if that is a varying dimension whose bound is not declared.
    """
    dim = x.type.dims[1]
    if isinstance(dim, Bounded) and is_undeclared(dim):
        name = names_in(dim.name)[0]
        message = f"how long `{dim.name}` is at most must be known here"
        raise Mismatch(message, f"{name} <= 100, where it is declared", "E0406", name)
    return fixed_size(dim)


def at_bound(x: Value, name: str) -> Bounded:
    """A varying dimension of the graph at its bound, which may be UNDECLARED."""
    most = x.graph.surroundings.bound(name)
    return Bounded(UNDECLARED if most is None else most, name)


def hold(x: Value) -> Value:
    """Turns rows of steps into [batch, name <= most, ...]; returns other values unchanged."""
    if not x.type.is_varying:
        return x
    return apply("gather", x, table(x.graph, TableKind.PADDED, rows_of(x), size=at_bound(x, rows_of(x))))


def pack(x: Value) -> Value:
    """Turns a held value into rows if its only varying dimension is the first one and the data gives its lengths.

    Returns other values, and values in the body of a scan, unchanged.
    """
    names = [dim for dim in x.type.dims if isinstance(dim, Bounded)]
    if len(names) != 1 or x.type.dims[1] is not names[0] or not x.graph.surroundings.has_rows(names[0].name):
        return x
    return to_steps(x, names[0].name)


def is_along_steps(x: Value, axis: int) -> bool:
    """Whether an axis is a varying dimension."""
    return isinstance(x.type.dims[axis], Bounded) or (x.type.is_varying and axis == 0)


def _bounded(x: Value, axis: int) -> Bounded:
    """The varying dimension along an axis of a held value."""
    dim = x.type.dims[axis]
    assert isinstance(dim, Bounded), f"the dimension `{dim}` of {x} is not held at a bound"
    return dim


def _inside(x: Value, axis: int) -> Value:
    """Whether a sample has a step there, for each step along an axis of a held value."""
    dim = _bounded(x, axis)
    at = x.graph.add("arange", (), {"n": int(dim)}, Type("i32", (dim,)))
    ends = apply("reshape", lengths(x.graph, dim.name), dims=(BATCH, *(1,) * (x.type.rank - 1)))
    return apply("less", apply("reshape", at, dims=(dim, *(1,) * (x.type.rank - 1 - axis))), ends)


def without_beyond(x: Value, axes: Axes, beyond: float = 0.0) -> Value:
    """Replaces the elements beyond a sample's end along any of the axes by the number `beyond`."""
    for axis in axes:
        if isinstance(x.type.dims[axis], Bounded):
            x = apply("where", _inside(x, axis), x, beyond)
    return x


def _count(x: Value, over: Axes) -> Value:
    """The number of elements along some axes, in a shape that broadcasts against the reduction over them."""
    total: Value | None = None
    static = 1
    for axis in over:
        dim = x.type.dims[axis]
        if isinstance(dim, Bounded):
            steps = length(x.graph, dim.name)
            total = steps if total is None else total * steps
        else:
            static *= fixed_size(dim)
    assert total is not None
    return apply("reshape", total * float(static), dims=(BATCH, *(1,) * (x.type.rank - len(over) - 1)))


def is_step(x: Value, n: int) -> Value:
    """Whether a sample has a step with this number along the first axis of a held value, bool[batch]."""
    return apply("greater", lengths(x.graph, _bounded(x, 1).name), n)


def held_step(x: Value, n: int) -> Value:
    """The step with this number along the first axis after the batch."""
    step = apply("slice", x, axis=1, start=n, stop=n + 1)
    return apply("reshape", step, dims=(BATCH, *x.type.dims[2:]))


def stacked(steps: Sequence[Value], dim: Dim | None) -> Value:
    """Stacks values of each sample along a new first axis, which becomes the dimension `dim` if that is bounded."""
    parts = [apply("reshape", step, dims=(BATCH, 1, *step.type.dims[1:])) for step in steps]
    stack = apply("concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    size = dim if isinstance(dim, Bounded) else len(steps)
    return stack.graph.add_copy(stack, stack.operands, type_=stack.type.with_dims((BATCH, size, *stack.type.dims[2:])))


def last_held(x: Value) -> Value:
    """The elements of a held value at each sample's last step along its first axis."""
    dim = _bounded(x, 1)
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
    """Makes the second axis of `parts`, each [batch, n, ...], a new varying dimension that ends where `ends` is true.

    The last step of a sample is the first one at which `ends` [batch, n] is true, or else its last step. Returns the
    values with the new dimension, and the number of each sample's steps along it, i32[batch].
    """
    graph = ends.graph
    before = fixed_size(ends.type.dims[1])
    number = graph.add("arange", (), {"n": int(before)}, Type("i32", (int(before),)))
    count = apply("cast", number, dtype=graph.precision) + 1.0
    longest = length(graph, before.name) if isinstance(before, Bounded) else graph.constant(float(before), count.type)
    limit = apply("reshape", longest, dims=(BATCH, 1)) if longest.type.dims else longest
    first = apply("min", apply("minimum", apply("where", ends, count, float(before)), limit), over=(1,))
    steps = apply("cast", first, dtype="i32")
    shaped = [
        graph.add("reshape", (part,), {"dims": dims}, part.type.with_dims(dims))
        for part in parts
        for dims in [(BATCH, Bounded(before, name), *part.type.dims[2:])]
    ]
    return shaped, steps


# the operations along axes of a held value, by name
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
