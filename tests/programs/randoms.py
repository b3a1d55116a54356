"""Productions that hold while training alone or draw random numbers: `if training`, dropout, noise."""

from collections.abc import Iterator

from tests.programs.growth import IN_BLOCKS, Growth, Production


def training(g: Growth) -> bool:
    """`x if training else y`."""
    x = g.pick_float(lambda value: not value.type.is_held)
    if x is None:
        return False
    y = g.pick_float(lambda value: value.type == x.type and value.number != x.number)
    if y is not None and g.chance(0.6):
        g.assign("{0} if training else {1}", (x, y), x.type)
    else:
        g.assign("0.8 * {0} if training else {0}", (x,), x.type)
    return True


def dropout(g: Growth) -> bool:
    x = g.pick_float(lambda value: not value.type.is_held)
    if x is None:
        return False
    rate = g.draw.choice(("", ", 0.2", ", rate = 0.7", ", 0"))
    g.assign(f"dropout({{0}}{rate})", (x,), x.type, scale=3 * x.scale)
    g.feature("random")
    return True


def noise(g: Growth) -> bool:
    """A random value of the shape of another."""
    x = g.pick(lambda value: value.type.is_float and value.is_batched and not value.type.is_held)
    if x is None:
        return False
    name = g.draw.choice(("normal_like", "uniform_like"))
    template = g.draw.choice(
        ("{0} + 0.1 * N({0})", "{0} * N({0})", "N({0})", "{0} + (0.3 * N({0}) if training else 0)")
    )
    g.assign(template.replace("N", name), (x,), x.type, scale=3 * x.scale)
    g.feature("random", name)
    return True


def shared_noise(g: Growth) -> bool:
    """A random value without a row for each sample."""
    x = g.pick_float(lambda value: value.type.is_fixed and value.type.rank > 0)
    if x is None or g.where == "scan":
        return False
    template = "{0} + 0.2 * normal_like(mean({0}, over = batch))"
    g.assign(template, (x,), x.type, scale=x.scale + 1, mixed=x.ancestors)
    g.feature("random", "noise of no sample", "mixes_samples")
    return True


def productions() -> Iterator[Production]:
    yield Production("training", 0.6, training)
    yield Production("dropout", 0.7, dropout)
    yield Production("noise", 0.8, noise)
    yield Production("noise of no sample", 0.3, shared_noise, IN_BLOCKS)
