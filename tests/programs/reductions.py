"""Productions along axes: sums and their kin over every kind of axes, softmax and its kin, ranks and running sums."""

from collections.abc import Iterator
from functools import partial
from math import sqrt

from tests.programs.growth import IN_BLOCKS, Growth, Production
from tests.programs.values import USUAL_STEPS, Dim, Type, Value, floats


def axes_of(g: Growth, x: Value) -> tuple[str, tuple[Dim, ...], tuple[Dim, ...]] | None:
    """Some axes of a sample as `over = ...`, the dimensions that stay, and those that go."""
    rank = x.type.rank
    if rank == 0:
        return None
    if g.chance(0.25):
        return "", (), x.type.dims
    if x.type.steps is not None and rank > 1 and g.chance(0.3):
        return ", over = fixed", x.type.dims[:1], x.type.dims[1:]
    axes = sorted(g.draw.sample(range(rank), g.draw.choice([n for n in (1, 1, 1, 2) if n <= rank])))
    texts = [_axis_text(g, x, axis) for axis in axes]
    over = texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
    stay = tuple(dim for axis, dim in enumerate(x.type.dims) if axis not in axes)
    return f", over = {over}", stay, tuple(x.type.dims[axis] for axis in axes)


def _axis_text(g: Growth, x: Value, axis: int) -> str:
    dim = x.type.dims[axis]
    if not isinstance(dim, int) and dim.name == dim.base and g.where == "model" and g.chance(0.7):
        return dim.name
    return str(axis if g.chance(0.5) else axis - x.type.rank)


def count_of(dims: tuple[Dim, ...]) -> int:
    return floats(*(USUAL_STEPS if not isinstance(dim, int) else dim for dim in dims)).count


REDUCTIONS = {  # by name: weight, and the scale of the result from that of an element and how many there are
    "sum": (2.0, lambda s, n: s * sqrt(n)),
    "mean": (2.0, lambda s, n: s),
    "max": (1.5, lambda s, n: s),
    "min": (1.0, lambda s, n: s),
    "variance": (0.8, lambda s, n: s * s),
    "norm": (0.6, lambda s, n: s * sqrt(n)),
}


def reduction(name: str, g: Growth) -> bool:
    x = g.pick_float(lambda value: value.type.rank > 0 and not (name in ("max", "min", "norm") and value.is_discrete))
    axes = x and axes_of(g, x)
    if not x or not axes:
        return False
    over, stay, gone = axes
    if x.type.is_held and not over:
        return False
    scale = REDUCTIONS[name][1](x.scale, count_of(gone))
    inner = "1 + square({0})" if name == "norm" and x.scale <= 4 else "{0}"
    g.assign(f"{name}({inner}{over})", (x,), floats(*stay), scale=min(scale, 30))
    return True


def batch_reduction(name: str, g: Growth) -> bool:
    """Over the batch, and over axes of the sample with it: one value for all samples."""
    x = g.pick_float(
        lambda value: not value.type.is_held and not (name in ("max", "min", "norm") and value.is_discrete)
    )
    if x is None:
        return False
    if x.type.is_varying or (x.type.rank and g.chance(0.4)):
        axis = 0 if x.type.is_varying else g.draw.randrange(x.type.rank)
        over, stay = f"(batch, {axis})", x.type.dims[:axis] + x.type.dims[axis + 1 :]
    else:
        over, stay = "batch", x.type.dims
    inner = "1 + square({0})" if name == "norm" else "{0}"
    outer = f"0.1 * {name}" if name in ("sum", "norm") else name
    g.assign(f"{outer}({inner}, over = {over})", (x,), floats(*stay), scale=x.scale, mixes=True)
    g.feature("mixes_samples", "over batch")
    return True


def moments(g: Growth) -> bool:
    x = g.pick_float(lambda value: value.type.rank > 0 and not value.type.is_held)
    if x is None or not isinstance(x.type.dims[-1], int):
        return False
    type_ = floats(x.type.dims[-1])
    g.assign("moments({0})", (x,), type_, type_, scale=x.scale**2 + 1, mixes=True)
    g.feature("mixes_samples", "over batch")
    return True


NORMALISED = {  # same shape, along an axis: weight and scale
    "softmax": (2.0, lambda s: 1.0),
    "log_softmax": (1.0, lambda s: s + 4),
    "cumsum": (0.8, lambda s: s * 3),
    "reverse": (0.8, lambda s: s),
}


def along(name: str, g: Growth) -> bool:
    """An operation along one axis that keeps the shape."""
    x = g.pick_float(lambda value: value.type.rank > 0)
    if x is None:
        return False
    axis = g.draw.randrange(x.type.rank)
    if x.type.is_held and name in ("cumsum", "reverse"):
        return False
    over = f", over = {_axis_text(g, x, axis)}"
    if axis == x.type.rank - 1 and name != "reverse" and g.chance(0.5):
        over = ""
    g.assign(f"{name}({{0}}{over})", (x,), x.type, scale=NORMALISED[name][1](x.scale))
    return True


def logsumexp(g: Growth) -> bool:
    x = g.pick_float(lambda value: value.type.rank > 0)
    if x is None:
        return False
    axis = g.draw.randrange(x.type.rank)
    stay = x.type.dims[:axis] + x.type.dims[axis + 1 :]
    g.assign(f"logsumexp({{0}}, over = {axis})", (x,), floats(*stay), scale=x.scale + 3)
    return True


def argmax(g: Growth) -> bool:
    """Where the largest element stands: a class, if there are two or more."""
    x = g.pick_float(lambda value: value.type.rank > 0 and not value.is_discrete and not value.type.is_held)
    if x is None:
        return False
    axis = g.draw.randrange(x.type.rank)
    size = x.type.dims[axis]
    if not isinstance(size, int) or size < 2:
        return False
    stay = x.type.dims[:axis] + x.type.dims[axis + 1 :]
    g.assign(f"argmax({{0}}, over = {axis})", (x,), Type("class", stay, size), is_discrete=True, is_trained=False)
    return True


def standardised(g: Growth) -> bool:
    """A value less its mean, by its spread: readers of one value on both sides of a reduction."""
    x = g.pick_float(lambda value: value.type.rank > 0 and value.type.is_fixed)
    if x is None or x.type.dims[-1] == 1:
        return False
    g.assign(
        "({0} - (mean({0}, over = -1) -> unsqueeze)) * rsqrt((variance({0}, over = -1) -> unsqueeze) + 0.01)",
        (x,),
        x.type,
        scale=3.0,
    )
    return True


def productions() -> Iterator[Production]:
    for name, (weight, _) in REDUCTIONS.items():
        yield Production(name, weight, partial(reduction, name))
        yield Production(f"{name} over batch", 0.25 * weight, partial(batch_reduction, name), IN_BLOCKS)
    for name, (weight, _) in NORMALISED.items():
        yield Production(name, weight, partial(along, name))
    yield Production("logsumexp", 1, logsumexp)
    yield Production("argmax", 0.8, argmax)
    yield Production("moments", 0.6, moments, IN_BLOCKS)
    yield Production("standardised", 0.6, standardised)
