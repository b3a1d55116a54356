"""Productions that apply the library's plain layers: dense, shared instances, normalisation, embeddings."""

from collections.abc import Iterator

from tests.programs.growth import IN_BLOCKS, Growth, Production
from tests.programs.program import Statement
from tests.programs.values import floats

ACTIVATIONS = ("", "", " -> relu", " -> tanh", " -> gelu", " -> sigmoid")


def dense(g: Growth) -> bool:
    x = g.pick_float(
        lambda value: value.type.rank > 0 and isinstance(value.type.dims[-1], int) and not value.type.is_held, 8
    )
    if x is None:
        return False
    width = g.size()
    dims = (*x.type.dims[:-1], width)
    if not g.fits(*dims) or x.type.dims[-1] * width > g.profile.parameters:  # type: ignore[operator]
        return False
    after = g.draw.choice(ACTIVATIONS)
    g.assign(
        f"{{0}} -> dense({width}){after}",
        (x,),
        floats(*dims),
        scale=1.0 if "tanh" in after or "sig" in after else 1.5 * x.scale,
        is_trained=True,
    )
    return True


def shared_layer(g: Growth) -> bool:
    """A layer that is applied to two values, or twice in a row. In a scan it is one from outside."""
    names = [
        name
        for name, (takes, _) in g.layers.items()
        if g.pick(lambda value, t=takes: value.type == t and value.is_batched)
    ]
    if names and (g.where == "scan" or g.chance(0.6)):
        name = g.draw.choice(names)
        takes, gives = g.layers[name]
        x = g.pick(lambda value: value.type == takes and value.is_batched)
        assert x is not None
        g.assign(
            g.draw.choice((f"{name}({{0}})", f"{{0}} -> {name}")), (x,), gives, scale=1.5 * x.scale, is_trained=True
        )
        g.feature("shared layer")
        return True
    if g.where == "scan":
        return False
    x = g.pick_float(lambda value: value.type.rank == 1 and value.type.is_fixed, 8)
    if x is None:
        return False
    width = g.draw.choice((x.type.dims[0], g.size(17)))
    name = g.new_name("f")
    kind = g.draw.choice(("dense", "dense", "dense", "layernorm"))
    gives = floats(width) if kind == "dense" else x.type
    g.add(Statement("layer", (name,), f" = dense({width})" if kind == "dense" else f" = {kind}"))
    g.layers[name] = (x.type, gives)
    g.assign(f"{name}({{0}})", (x,), gives, scale=1.5 * x.scale, is_trained=True)
    return True


def layernorm(g: Growth) -> bool:
    """A layer norm, or a group norm of rows, sequences and images. A group has more than two channels."""
    x = g.pick_float(
        lambda value: (
            value.type.rank > 0
            and isinstance(value.type.dims[-1], int)
            and value.type.dims[-1] > 2
            and not value.type.is_held
        )
    )
    if x is None:
        return False
    channels = int(x.type.dims[-1])
    groups = [count for count in range(1, channels) if not channels % count and channels // count > 2]
    layers = ["layernorm", *(f"groupnorm({count})" for count in groups if x.type.rank < 4)]
    layer = layers[0] if g.draw.random() < 0.5 else g.draw.choice(layers)
    g.assign(f"{{0}} -> {layer}", (x,), x.type, scale=3.0, is_trained=True)
    return True


def batchnorm(g: Growth) -> bool:
    x = g.pick_float(
        lambda value: value.type.rank > 0 and isinstance(value.type.dims[-1], int) and not value.type.is_held
    )
    if x is None:
        return False
    option = g.draw.choice(("", "", "(momentum = 0.5)"))
    g.assign(f"{{0}} -> batchnorm{option}", (x,), x.type, scale=3.0, is_trained=True, mixed=x.ancestors)
    g.feature("mixes_samples", "batchnorm")
    return True


def embed(g: Growth) -> bool:
    x = g.pick(lambda value: value.type.kind == "class" and value.is_batched and not value.type.is_held)
    if x is None:
        return False
    width = g.size(17)
    if not g.fits(*x.type.dims, width):
        return False
    g.assign(f"{{0}} -> embed({width})", (x,), floats(*x.type.dims, width), scale=2.5, is_trained=True)
    return True


def lookup(g: Growth) -> bool:
    """Rows of a parameter, which may have been read before. Few classes give a dense gradient, many one by rows."""
    x = g.pick(lambda value: value.type.kind == "class" and value.is_batched and not value.type.is_held)
    if x is None:
        return False
    dims = g.draw.choice(((), (3,), (3,), (2, 2)))
    table = g.parameter(x.type.classes, *dims) if g.fits(*x.type.dims, *dims) else None
    if table is None:
        return False
    g.assign("{1}[{0}]", (x, table), floats(*x.type.dims, *dims), is_trained=True)
    g.feature("lookup")
    return True


def productions() -> Iterator[Production]:
    yield Production("dense", 4, dense, IN_BLOCKS)
    yield Production("layer", 4, shared_layer)
    yield Production("layernorm", 1.2, layernorm, IN_BLOCKS)
    yield Production("batchnorm", 1.5, batchnorm, IN_BLOCKS)
    yield Production("embed", 4, embed, IN_BLOCKS)
    yield Production("lookup", 6, lookup)
