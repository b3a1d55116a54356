"""Productions along the steps of sequences: a step, some of them, one later, one sequence behind another, lengths as numbers."""

from collections.abc import Iterator

from tests.programs.growth import IN_BLOCKS, IN_MODEL, Growth, Production
from tests.programs.values import Steps, floats


def shift(g: Growth) -> bool:
    x = g.pick(
        lambda value: value.type.rank > 0 and value.is_batched and not value.type.is_held and value.type.kind != "bool"
    )
    if x is None:
        return False
    first = "" if x.type.kind == "class" or g.chance(0.6) else ", first = 0.5"
    if x.type.kind == "class" and g.chance(0.3):
        first = ", first = 1"
    g.assign(f"shift({{0}}{first})", (x,), x.type)
    return True


def last(g: Growth) -> bool:
    x = g.pick(
        lambda value: value.type.rank > 0 and value.is_batched and not value.type.is_held and value.type.kind != "bool"
    )
    if x is None:
        return False
    g.assign(g.draw.choice(("last({0})", "{0} -> last", "{0}[-1]")), (x,), x.type.of(*x.type.dims[1:]))
    return True


def some_steps(g: Growth) -> bool:
    """A step of a sequence, or some of its steps, counted from either end."""
    x = g.pick(lambda value: value.type.steps is not None and value.type.kind != "bool")
    if x is None:
        return False
    steps = x.type.steps
    assert steps is not None
    n = g.draw.choice((1, 2, 3))
    if g.chance(0.5):
        text, needed = g.draw.choice(((f"{n - 1}", n), (f"-{n}", n)))
        if not g.require(steps, needed):
            return False
        g.assign(f"{{0}}[{text}]", (x,), x.type.of(*x.type.dims[1:]))
        return True
    if not g.require(steps, n + 1):
        return False
    text = g.draw.choice((f"{n}:", f":-{n}"))
    g.assign(f"{{0}}[{text}]", (x,), x.type.of(steps.shortened(n), *x.type.dims[1:]))
    g.feature("another dimension")
    return True


def join_steps(g: Growth) -> bool:
    """One sequence behind another."""
    x = g.pick(lambda value: value.type.steps is not None and value.type.is_float)
    y = x and g.pick(
        lambda value: value.type.steps is not None and value.type.is_float and value.type.dims[1:] == x.type.dims[1:]
    )
    if not x or not y:
        return False
    a, b = x.type.steps, y.type.steps
    assert a is not None
    assert b is not None
    joined = Steps(f"{a.name} + {b.name}", a.base, a.times, a.plus)
    g.assign("concat({0}, {1}, over = 0)", (x, y), floats(joined, *x.type.dims[1:]))
    g.feature("another dimension", "sequence behind another")
    return True


def same_length(g: Growth) -> bool:
    """`same_length(x, y)`: y, whose dimension is that of x from here on."""
    sequences = [
        (value, value.type.steps)
        for value in g.values.values()
        if value.type.steps is not None and value.type.steps.name == value.type.steps.base
    ]
    pairs = [(x, y, steps, other) for x, steps in sequences for y, other in sequences if steps != other]
    if not pairs or g.shared.equal:
        return False
    x, y, steps, other = g.draw.choice(pairs)
    g.shared.equal[other.name] = steps.name
    g.assign("same_length({0}, {1})", (x, y), y.type.of(steps, *y.type.dims[1:]))
    g.feature("same_length")
    return True


def lengths(g: Growth) -> bool:
    """A dimension as a number, and the numbers of its steps."""
    x = g.pick_float(
        lambda value: (
            value.type.steps is not None and value.type.steps.name == value.type.steps.base and value.type.rank < 3
        )
    )
    if x is None or g.where != "model":
        return False
    steps = x.type.steps
    assert steps is not None
    if g.chance(0.5):
        rest = x.type.dims[1:]
        g.assign(f"sum({{0}}, over = {steps.name}) / {steps.name}", (x,), floats(*rest))
    elif x.type.rank == 1:
        g.assign(f"{{0}} + 0.1 * arange({steps.name})", (x,), x.type, scale=x.scale + 1)
    else:
        g.assign(f"{{0}} + 0.1 * unsqueeze(arange({steps.name}))", (x,), x.type, scale=x.scale + 1)
    g.feature("length as a number")
    return True


def productions() -> Iterator[Production]:
    yield Production("shift", 0.7, shift, IN_BLOCKS)
    yield Production("last", 1.2, last, IN_BLOCKS)
    yield Production("steps", 3, some_steps, IN_BLOCKS)
    yield Production("join of sequences", 2, join_steps, IN_BLOCKS)
    yield Production("same length", 3, same_length, IN_MODEL)
    yield Production("lengths", 1.5, lengths, IN_BLOCKS)
