"""Productions with products: `@`, einsum and outer products of values with parameters and with each other."""

from collections.abc import Iterator

from tests.programs.growth import IN_BLOCKS, Growth, Production
from tests.programs.values import Dim, Value, floats


def _narrow(value: Value, most: float = 6) -> bool:
    return value.type.is_float and value.scale <= most and value.type.rank > 0


def by_parameter(g: Growth) -> bool:
    """`x @ W + b`, or the product with a vector."""
    x = g.pick_float(
        lambda value: value.type.rank > 0 and isinstance(value.type.dims[-1], int) and not value.type.is_held, 8
    )
    if x is None:
        return False
    depth, lead = x.type.dims[-1], x.type.dims[:-1]
    assert isinstance(depth, int)
    if g.chance(0.2):
        w = g.parameter(depth)
        if w is None:
            return False
        g.assign(g.draw.choice(("{0} @ {1}", "matmul({0}, {1})")), (x, w), floats(*lead), scale=1.5 * x.scale)
        return True
    tied = g.pick(lambda value: value.is_parameter and value.type.rank == 2 and value.type.dims[1] == depth)
    if tied is not None and g.chance(0.4):
        width = tied.type.dims[0]
        if g.fits(*lead, width):
            g.assign("{0} @ transpose({1})", (x, tied), floats(*lead, width), scale=1.5 * x.scale)
            g.feature("tied parameter")
            return True
    width = g.size()
    w = g.parameter(depth, width) if g.fits(*lead, width) else None
    if w is None:
        return False
    b = g.parameter(width) if g.chance(0.4) else None
    if b is not None:
        g.assign("{0} @ {1} + {2}", (x, w, b), floats(*lead, width), scale=1.5 * x.scale)
    else:
        g.assign("{0} @ {1}", (x, w), floats(*lead, width), scale=1.5 * x.scale)
    return True


def of_samples(g: Growth) -> bool:
    """A product of two values of the sample: matrices, or a vector and a matrix."""
    x = g.pick(lambda value: _narrow(value) and value.type.is_fixed and value.is_batched)
    if x is None:
        return False
    depth = x.type.dims[-1]
    y = g.pick(
        lambda value: (
            _narrow(value)
            and value.type.is_fixed
            and value.type.rank <= 2
            and (value.type.dims[0] == depth or value.type.dims[-1] == depth)
        )
    )
    if y is None:
        return False
    scale = 2 * x.scale * y.scale
    if y.type.dims[0] == depth:
        dims: tuple[Dim, ...] = (*x.type.dims[:-1], *y.type.dims[1:])
        template = "{0} @ {1}"
    else:
        dims = (*x.type.dims[:-1], y.type.dims[0])
        template = "{0} @ transpose({1})"
    if not g.fits(*dims):
        return False
    g.assign(template, (x, y), floats(*dims), scale=scale)
    g.feature("product of samples")
    return True


def outer(g: Growth) -> bool:
    x = g.pick(lambda value: _narrow(value) and value.type.rank == 1 and value.type.is_fixed)
    y = x and g.pick(lambda value: _narrow(value) and value.type.rank == 1 and value.type.is_fixed)
    if not x or not y or not (x.is_batched or y.is_batched):
        return False
    dims = (*x.type.dims, *y.type.dims)
    if not g.fits(*dims):
        return False
    g.assign("outer({0}, {1})", (x, y), floats(*dims), scale=x.scale * y.scale)
    return True


def einsum_of_one(g: Growth) -> bool:
    """An einsum of one value, which sums or reorders its axes."""
    x = g.pick_float(lambda value: 1 <= value.type.rank <= 4 and value.type.is_fixed)
    if x is None:
        return False
    letters = "ijkl"[: x.type.rank]
    out = g.draw.sample(letters, g.draw.randrange(0, x.type.rank + 1))
    dims = tuple(x.type.dims[letters.index(letter)] for letter in out)
    g.assign(f'einsum({{0}}, "{letters}->{"".join(out)}")', (x,), floats(*dims), scale=2 * x.scale)
    return True


def einsum(g: Growth) -> bool:
    """An einsum of two values. Axes of equal size may get one letter, which is summed or kept."""
    x = g.pick(lambda value: _narrow(value) and 1 <= value.type.rank <= 3 and value.type.is_fixed and value.is_batched)
    y = x and g.pick(lambda value: _narrow(value) and 1 <= value.type.rank <= 3 and value.type.is_fixed)
    if not x or not y:
        return False
    sizes: dict[str, Dim] = {}
    first = "ijk"[: x.type.rank]
    sizes.update(zip(first, x.type.dims, strict=True))
    second = ""
    for dim, new in zip(y.type.dims, "abc", strict=False):
        same = [letter for letter in first if sizes[letter] == dim and letter not in second]
        letter = g.draw.choice(same) if same and g.chance(0.85) else new
        sizes[letter] = dim
        second += letter
    letters = list(sizes)
    kept = [letter for letter in letters if g.chance(0.3 if letter in first and letter in second else 0.75)]
    g.draw.shuffle(kept)
    dims = tuple(sizes[letter] for letter in kept)
    if not g.fits(*dims) or not g.fits(*sizes.values()):
        return False
    g.assign(
        f'einsum({{0}}, {{1}}, "{first},{second}->{"".join(kept)}")', (x, y), floats(*dims), scale=3 * x.scale * y.scale
    )
    return True


def einsum_with_parameter(g: Growth) -> bool:
    """A parameter of two or three axes that shares one or two axes with a value."""
    x = g.pick_float(lambda value: 1 <= value.type.rank <= 3 and value.type.is_fixed, 6)
    if x is None:
        return False
    letters = "ijk"[: x.type.rank]
    shared = g.draw.sample(letters, g.draw.choice([n for n in (1, 1, 2) if n <= x.type.rank]))
    size = g.size(17)
    order = [*shared, "n"]
    g.draw.shuffle(order)
    dims = [size if letter == "n" else x.type.dims[letters.index(letter)] for letter in order]
    kept = [letter for letter in letters if letter not in shared or g.chance(0.15)] + ["n"]
    result = tuple(size if letter == "n" else x.type.dims[letters.index(letter)] for letter in kept)
    if not g.fits(*result):
        return False
    w = g.parameter(*dims)  # type: ignore[arg-type]
    if w is None:
        return False
    g.assign(
        f'einsum({{0}}, {{1}}, "{letters},{"".join(order)}->{"".join(kept)}")',
        (x, w),
        floats(*result),
        scale=2 * x.scale,
    )
    return True


def two_sequences(g: Growth) -> bool:
    """The products of all steps of one sequence with all of another (or itself), softmax, and back."""

    def is_sequence(value: Value) -> bool:
        return value.type.is_float and value.type.steps is not None and value.type.rank == 2 and value.scale <= 4

    x = g.pick(is_sequence)
    y = x and g.pick(lambda value: is_sequence(value) and value.type.dims[1] == x.type.dims[1])
    if not x or not y or g.where == "scan":
        return False
    t, s = x.type.dims[0], y.type.dims[0]
    (scores,) = g.assign("{0} @ transpose({1})", (x, y), floats(t, s), scale=4.0)
    g.feature("two varying dimensions")
    if g.chance(0.6):
        (weights,) = g.assign("softmax({0})", (scores,), floats(t, s), scale=1.0)
        g.assign("{0} @ {1}", (weights, y), floats(t, y.type.dims[1]), scale=y.scale)
        g.feature("softmax")
    elif g.chance(0.5):
        name = g.draw.choice(("mean", "max", "sum"))
        g.assign(f"{name}({{0}}, over = 1)", (scores,), floats(t), scale=5.0)
    return True


def productions() -> Iterator[Production]:
    yield Production("product with a parameter", 3, by_parameter)
    yield Production("product of samples", 2, of_samples)
    yield Production("outer", 0.7, outer)
    yield Production("einsum of one", 0.7, einsum_of_one)
    yield Production("einsum", 1.5, einsum)
    yield Production("einsum with a parameter", 1.2, einsum_with_parameter)
    yield Production("product of two sequences", 6, two_sequences, IN_BLOCKS)
