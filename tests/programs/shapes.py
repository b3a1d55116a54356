"""Productions that move elements: views, slices, joins, and indices that depend on data."""

from collections.abc import Iterator
from math import prod

from tests.programs.growth import IN_BLOCKS, Growth, Production
from tests.programs.values import Dim, Value, floats


def fixed(value: Value) -> bool:
    return value.type.is_fixed and value.type.rank > 0


def _trailing(x: Value) -> tuple[tuple[Dim, ...], tuple[int, ...]]:
    """The varying dimension in front, if there is one, and the numbers behind it."""
    lead = x.type.dims[:1] if x.type.steps else ()
    return lead, x.type.numbers


def reshape(g: Growth) -> bool:
    x = g.pick(lambda value: value.type.rank > 0 and not value.type.is_held and value.type.count > 1)
    if x is None:
        return False
    lead, numbers = _trailing(x)
    total = prod(numbers)
    first = g.draw.choice([n for n in range(1, total + 1) if total % n == 0])
    dims: tuple[Dim, ...] = g.draw.choice(((total,), (first, total // first), (1, total), (first, total // first, 1)))
    if lead and g.where == "scan":
        return False
    texts = ", ".join(dim.name if not isinstance(dim, int) else str(dim) for dim in (*lead, *dims))
    if lead and (lead[0].name != lead[0].base or g.where != "model"):  # type: ignore[union-attr]
        return False
    g.assign(f"reshape({{0}}, {texts})", (x,), x.type.of(*lead, *dims))
    return True


def as_image(g: Growth) -> bool:
    """A vector or a matrix as an image."""
    x = g.pick_float(lambda value: fixed(value) and value.type.count >= 12 and value.type.rank < 3)
    if x is None:
        return False
    total = x.type.count
    h = g.draw.choice([n for n in range(1, total + 1) if total % n == 0])
    w = g.draw.choice([n for n in range(1, total // h + 1) if total // h % n == 0])
    if min(h, w) < 2:
        return False
    g.assign(f"reshape({{0}}, {h}, {w}, {total // h // w})", (x,), floats(h, w, total // h // w))
    return True


def flatten(g: Growth) -> bool:
    x = g.pick(lambda value: value.type.is_fixed and value.type.rank > 1)
    if x is None:
        return False
    g.assign(g.draw.choice(("flatten({0})", "{0} -> flatten")), (x,), x.type.of(prod(x.type.numbers)))
    return True


def transpose(g: Growth) -> bool:
    x = g.pick(lambda value: value.type.rank > 1 and value.type.is_fixed)
    if x is None:
        return False
    if x.type.rank == 2 or g.chance(0.4):
        dims = (*x.type.dims[:-2], x.type.dims[-1], x.type.dims[-2])
        g.assign("transpose({0})", (x,), x.type.of(*dims))
        return True
    order = list(range(x.type.rank))
    g.draw.shuffle(order)
    dims = tuple(x.type.dims[axis] for axis in order)
    g.assign(f"transpose({{0}}, {', '.join(map(str, order))})", (x,), x.type.of(*dims))
    return True


def unsqueeze(g: Growth) -> bool:
    x = g.pick(lambda value: value.type.rank < 4 and not value.type.is_varying)
    if x is None:
        return False
    axis = g.draw.randrange(x.type.rank + 1)
    dims = (*x.type.dims[:axis], 1, *x.type.dims[axis:])
    text = "" if axis == x.type.rank else f", {axis}"
    g.assign(f"unsqueeze({{0}}{text})", (x,), x.type.of(*dims))
    return True


def squeeze(g: Growth) -> bool:
    x = g.pick(lambda value: 1 in value.type.dims and not value.type.is_held)
    if x is None:
        return False
    g.assign(
        g.draw.choice(("squeeze({0})", "{0} -> squeeze")), (x,), x.type.of(*(dim for dim in x.type.dims if dim != 1))
    )
    return True


def index(g: Growth) -> bool:
    """`x[2]`, `x[1:4]`, `x[:, -1]`, `x[0, 1:3]`: along fixed axes."""
    x = g.pick(lambda value: value.type.rank > 0 and not value.type.is_held and bool(value.type.numbers))
    if x is None:
        return False
    parts, dims = [], []
    for dim in x.type.dims:
        if not isinstance(dim, int):
            parts.append(":")
            dims.append(dim)
            continue
        kind = g.draw.choice(("all", "all", "at", "from", "to", "between"))
        start = g.draw.randrange(dim)
        stop = g.draw.randrange(start + 1, dim + 1)
        match kind:
            case "all":
                parts.append(":")
                dims.append(dim)
            case "at":
                parts.append(str(g.draw.choice((start, start - dim))))
            case "from":
                parts.append(f"{start}:")
                dims.append(dim - start)
            case "to":
                parts.append(f":{stop}")
                dims.append(stop)
            case "between":
                parts.append(f"{start}:{stop}")
                dims.append(stop - start)
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    g.assign(f"{{0}}[{', '.join(parts)}]", (x,), x.type.of(*dims))
    g.feature("slice")
    return True


def split(g: Growth) -> bool:
    x = g.pick_float(lambda value: bool(value.type.numbers) and not value.type.is_held)
    if x is None:
        return False
    axis = g.draw.choice([axis for axis, dim in enumerate(x.type.dims) if isinstance(dim, int)])
    size = x.type.dims[axis]
    assert isinstance(size, int)
    parts = g.draw.choice([n for n in (2, 3, 4, 5) if size % n == 0] or [0])
    if not parts:
        return False
    type_ = floats(*x.type.dims[:axis], size // parts, *x.type.dims[axis + 1 :])
    over = "" if axis == x.type.rank - 1 else f", over = {axis}"
    g.assign(f"split({{0}}, {parts}{over})", (x,), *[type_] * parts)
    return True


def concat(g: Growth) -> bool:
    x = g.pick_float(lambda value: bool(value.type.numbers) and not value.type.is_held)
    if x is None:
        return False
    axis = g.draw.choice([axis for axis, dim in enumerate(x.type.dims) if isinstance(dim, int)])

    def joins(y: Value) -> bool:
        dims = y.type.dims
        return (
            y.type.is_float
            and y.type.rank == x.type.rank
            and isinstance(dims[axis], int)
            and dims[:axis] + dims[axis + 1 :] == x.type.dims[:axis] + x.type.dims[axis + 1 :]
        )

    parts = [x]
    for _ in range(g.draw.choice((1, 1, 2))):
        y = g.pick(joins)
        assert y is not None
        parts.append(y)
    g.draw.shuffle(parts)
    size = sum(part.type.dims[axis] for part in parts)  # type: ignore[misc]
    dims = (*x.type.dims[:axis], size, *x.type.dims[axis + 1 :])
    if not g.fits(*dims):
        return False
    over = "" if axis == x.type.rank - 1 and g.chance(0.6) else f", over = {axis}"
    slots = ", ".join(f"{{{n}}}" for n in range(len(parts)))
    g.assign(f"concat({slots}{over})", tuple(parts), floats(*dims))
    return True


def stack(g: Growth) -> bool:
    x = g.pick_float(lambda value: value.type.is_fixed)
    y = x and g.pick(lambda value: value.type == x.type)
    if not x or not y or not g.fits(2, *x.type.dims):
        return False
    g.assign("stack({0}, {1})", (x, y), floats(2, *x.type.dims))
    return True


def expand(g: Growth) -> bool:
    """`broadcast(x, ...)` along axes of size 1."""
    x = g.pick_float(lambda value: fixed(value) and 1 in value.type.dims)
    if x is None:
        return False
    dims = tuple(g.size(9) if dim == 1 else dim for dim in x.type.numbers)
    if not g.fits(*dims):
        return False
    g.assign(f"broadcast({{0}}, {', '.join(map(str, dims))})", (x,), floats(*dims))
    return True


def gather(g: Growth) -> bool:
    """A row of a table for each label; the table is a parameter, or a value of the sample."""
    label = g.pick(lambda value: value.type.kind == "class" and value.is_batched and not value.type.is_held)
    if label is None:
        return False
    of_sample = g.pick_float(lambda value: value.type.is_fixed and value.type.dims[:1] == (label.type.classes,))
    if of_sample is not None and label.type.rank == 0 and g.chance(0.5):
        g.assign("{0}[{1}]", (of_sample, label), floats(*of_sample.type.dims[1:]))
        g.feature("pick")
        return True
    dims = (label.type.classes, *((g.size(17),) if g.chance(0.8) else ()))
    if not g.fits(*label.type.dims, *dims[1:]):
        return False
    table = g.parameter(*dims)
    if table is None:
        return False
    template = g.draw.choice(("{0}[{1}]", "gather({0}, {1})"))
    g.assign(template, (table, label), floats(*label.type.dims, *dims[1:]))
    return True


def one_hot(g: Growth) -> bool:
    label = g.pick(lambda value: value.type.kind == "class" and value.is_batched and not value.type.is_held)
    if label is None or not g.fits(*label.type.dims, label.type.classes):
        return False
    size = g.draw.choice(("", "", f", {label.type.classes}", ", size({0})"))
    g.assign(f"one_hot({{0}}{size})", (label,), floats(*label.type.dims, label.type.classes), scale=1.0)
    return True


def productions() -> Iterator[Production]:
    yield Production("reshape", 1.5, reshape)
    yield Production("reshape to an image", 1.5, as_image, IN_BLOCKS)
    yield Production("flatten", 1, flatten)
    yield Production("transpose", 1.2, transpose)
    yield Production("unsqueeze", 0.8, unsqueeze)
    yield Production("squeeze", 1, squeeze)
    yield Production("index", 2, index)
    yield Production("split", 1.2, split)
    yield Production("concat", 1.5, concat)
    yield Production("stack", 0.8, stack)
    yield Production("broadcast", 2, expand)
    yield Production("gather", 4, gather)
    yield Production("one_hot", 2, one_hot)
