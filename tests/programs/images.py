"""Productions on images and sequences: convolutions of every kind, pools, padding, residual blocks."""

from collections.abc import Iterator

from tests.programs.growth import IN_BLOCKS, Growth, Production
from tests.programs.layers import ACTIVATIONS
from tests.programs.values import OPAQUE, Dim, Steps, Value, floats


def _kernel(g: Growth, size: Dim, most: int = 5) -> int:
    least = size if isinstance(size, int) else 3
    return g.draw.choice([k for k in (1, 2, 3, 3, 4, 5) if k <= min(least, most)])


def _window_counts(size: int, kernel: int, stride: int, dilation: int, pad: str | int | tuple[int, int]) -> int:
    if pad == "same":
        return -(-size // stride)
    around = 0 if pad == "valid" else 2 * pad if isinstance(pad, int) else sum(pad)  # type: ignore[arg-type]
    return (size + around - dilation * (kernel - 1) - 1) // stride + 1


def _options(**options: tuple[tuple[int, int], tuple[int, int]]) -> str:
    """The options that are not the default, such as `kernel = 2, stride = (1, 2)`.

    A pair of equal numbers is one number.
    """
    text = ""
    for name, (pair, default) in options.items():
        if pair != default:
            equal = f"pair({pair[0]})" if name == "kernel" and pair[0] == 4 else f"{pair[0]}"
            text += f", {name} = {equal if pair[0] == pair[1] else pair}"
    return text


def image_of(g: Growth, most: float = 6) -> Value | None:
    return g.pick_float(lambda value: value.type.rank == 3 and value.type.is_fixed, most)


def line_of(g: Growth, most: float = 6) -> Value | None:
    """A random value float[t, c], whose first dimension may vary."""
    return g.pick_float(lambda value: value.type.rank == 2 and not value.type.is_held, most)


def _along_line(g: Growth, size: Dim, kernel: int, stride: int, dilation: int, pad: str | int) -> Dim | None:
    """The number of windows along a sequence, or None if none fits."""
    if isinstance(size, int):
        count = _window_counts(size, kernel, stride, dilation, pad)
        return count if count > 0 else None
    if pad == "same":
        return size if stride == 1 else size.divided(stride)
    spread = dilation * (kernel - 1)
    if pad != "valid" or not g.require(size, spread + stride):
        return None
    g.feature("another dimension")
    shorter = size.shortened(spread) if spread else size
    return shorter if stride == 1 else Steps(f"{OPAQUE} {g.new_name('d')}", size.base, 1, size.needs(spread + 3))


def conv_image(g: Growth) -> bool:
    x = image_of(g)
    if x is None:
        return False
    h, w, c = x.type.numbers
    kernels = (_kernel(g, h), _kernel(g, w))
    if g.chance(0.7):
        kernels = (min(kernels),) * 2
    strides = g.draw.choice(((1, 1), (1, 1), (1, 1), (2, 2), (2, 1), (3, 3), (1, 2)))
    dilations = g.draw.choice(((1, 1),) * 4 + ((2, 2), (1, 2)))
    groups = g.draw.choice([n for n in (1, 1, 1, 2, 3, c) if c % n == 0])
    units = groups * g.draw.choice((1, 1, 2, 3, 4, 5, 7, 8)) if groups > 1 else g.size(17)
    pad = g.draw.choice(("same", "same", "valid", 1, 2, (1, 0, 2, 1)))
    sides = (pad, pad) if not isinstance(pad, tuple) else (pad[:2], pad[2:])
    out = [
        _window_counts(n, *rest)
        for n, rest in zip((h, w), zip(kernels, strides, dilations, sides, strict=True), strict=True)
    ]
    if min(out) < 1 or not g.fits(*out, units):
        return False
    options = _options(kernel=(kernels, (3, 3)), stride=(strides, (1, 1)), dilation=(dilations, (1, 1)))
    options += f", pad = {pad}" if pad != "same" or g.chance(0.2) else ""
    options += f", groups = {groups}" if groups > 1 else ""
    after = g.draw.choice(ACTIVATIONS)
    g.assign(f"{{0}} -> conv({units}{options}){after}", (x,), floats(*out, units), scale=2 * x.scale, is_trained=True)
    g.feature(
        *(["groups"] if groups > 1 else []),
        *(["dilation"] if dilations != (1, 1) else []),
        *(["stride"] if strides != (1, 1) else []),
    )
    return True


def custom_kernel(g: Growth) -> bool:
    """A convolution with a parameter of the file."""
    x = image_of(g) or line_of(g)
    if x is None or x.type.is_varying:
        return False
    *sizes, c = x.type.numbers
    kernel = min(_kernel(g, size) for size in sizes)
    of_images = ("conv2d", "depthwise_conv2d", "conv_transpose2d")
    name = g.draw.choice(of_images if len(sizes) == 2 else ("conv1d", "conv_transpose1d"))
    is_transposed = name.startswith("conv_transpose")
    stride = g.draw.choice((1, 2)) if not is_transposed else min(2, kernel)
    units = g.draw.choice((1, 2, 3)) if name == "depthwise_conv2d" else g.size(9)
    pad = "same" if is_transposed else g.draw.choice(("same", "valid"))
    if is_transposed:
        out = [size * stride for size in sizes]
    else:
        out = [_window_counts(size, kernel, stride, 1, pad) for size in sizes]
    channels = c * units if name == "depthwise_conv2d" else units
    w = g.parameter(*[kernel] * len(sizes), c, units) if g.fits(*out, channels) else None
    if w is None:
        return False
    g.assign(f"{name}({{0}}, {{1}}, stride = {stride}, pad = {pad})", (x, w), floats(*out, channels), scale=2 * x.scale)
    g.feature(name)
    return True


def conv_line(g: Growth) -> bool:
    x = line_of(g)
    if x is None:
        return False
    t, c = x.type.dims
    assert isinstance(c, int)
    kernel = _kernel(g, t)
    stride = g.draw.choice((1, 1, 2, 3))
    dilation = g.draw.choice((1, 1, 1, 2))
    groups = g.draw.choice([n for n in (1, 1, 1, 2, c) if c % n == 0])
    units = groups * g.draw.choice((1, 2, 3, 5)) if groups > 1 else g.size(17)
    pad: str | int = (
        g.draw.choice(("same", "same", "valid", 1)) if isinstance(t, int) else g.draw.choice(("same", "valid"))
    )
    out = _along_line(g, t, kernel, stride, dilation, pad)
    if out is None or not g.fits(out, units):
        return False
    options = f", kernel = {kernel}" if kernel != 3 else ""
    options += f", stride = {stride}" if stride > 1 else ""
    options += f", dilation = {dilation}" if dilation > 1 else ""
    options += f", pad = {pad}" if pad != "same" else ""
    options += f", groups = {groups}" if groups > 1 else ""
    g.assign(f"{{0}} -> conv({units}{options})", (x,), floats(out, units), scale=2 * x.scale, is_trained=True)
    g.feature("conv of a line")
    return True


def depthwise(g: Growth) -> bool:
    x = image_of(g)
    if x is None:
        return False
    h, w, c = x.type.numbers
    kernel = min(_kernel(g, h), _kernel(g, w))
    stride = g.draw.choice((1, 1, 2))
    m = g.draw.choice((1, 1, 2, 3))
    pad = g.draw.choice(("same", "same", "valid", 1))
    out = [_window_counts(n, kernel, stride, 1, pad) for n in (h, w)]
    if min(out) < 1 or not g.fits(*out, c * m):
        return False
    options = f"{kernel}" + (f", stride = {stride}" if stride > 1 else "") + (f", pad = {pad}" if pad != "same" else "")
    options += f", m = {m}" if m > 1 else ""
    g.assign(f"{{0}} -> depthwise({options})", (x,), floats(*out, c * m), scale=2 * x.scale, is_trained=True)
    return True


def conv_transpose(g: Growth) -> bool:
    x = image_of(g)
    if x is None:
        return False
    h, w, _ = x.type.numbers
    stride = g.draw.choice((1, 2, 2, 3))
    kernel = g.draw.choice([k for k in (1, 2, 3, 4) if k >= stride])
    units = g.size(9)
    if not g.fits(h * stride, w * stride, units):
        return False
    options = (f", kernel = {kernel}" if kernel != 3 else "") + (f", stride = {stride}" if stride != 2 else "")
    g.assign(
        f"{{0}} -> conv_transpose({units}{options})",
        (x,),
        floats(h * stride, w * stride, units),
        scale=2 * x.scale,
        is_trained=True,
    )
    return True


def upsample(g: Growth) -> bool:
    x = g.draw.choice((image_of, line_of))(g, 20)
    if x is None:
        return False
    size = g.draw.choice((2, 2, 3))
    if x.type.rank == 3:
        dims: tuple[Dim, ...] = tuple(n * size for n in x.type.numbers[:2]) + x.type.dims[2:]
    else:
        first = x.type.dims[0]
        if not isinstance(first, int):
            return False
        dims = (first * size, x.type.dims[1])
    if not g.fits(*dims):
        return False
    name = g.draw.choice(("upsample", "upsample_bilinear")) if x.type.rank == 3 else "upsample"
    g.assign(f"{{0}} -> {name}({size})", (x,), floats(*dims), scale=x.scale)
    return True


def depth_to_space(g: Growth) -> bool:
    """Each pixel of an image with 4 or 9 times some channels becomes 2 x 2 or 3 x 3 pixels."""
    x = image_of(g, 20)
    if x is None:
        return False
    h, w, c = x.type.numbers
    r = next((r for r in (3, 2) if c % (r * r) == 0), 0)
    if not r or not g.fits(h * r, w * r, c // (r * r)):
        return False
    g.assign(f"{{0}} -> depth_to_space({r})", (x,), floats(h * r, w * r, c // (r * r)), scale=x.scale)
    return True


def pool(g: Growth) -> bool:
    kind = g.draw.choice(("maxpool", "avgpool"))
    x = g.draw.choice((image_of, line_of))(g, 20)
    if x is None or (kind == "maxpool" and x.is_discrete):
        return False
    sizes = x.type.dims[:-1]
    window = min(_kernel(g, size, 3) for size in sizes)
    stride = g.draw.choice((window, window, 1, 2))
    pads: tuple[str | int, ...] = ("valid", "valid", "same") if x.type.steps is None else ("same",)
    pad = g.draw.choice(pads)
    options = (
        f"{window}"
        + (f", stride = {stride}" if stride != window else "")
        + (f", pad = {pad}" if pad != "valid" else "")
    )
    out = tuple(_along_line(g, size, window, stride, 1, pad) for size in sizes)
    if None in out or not g.fits(*out, x.type.dims[-1]):  # type: ignore[arg-type]
        return False
    g.assign(f"{{0}} -> {kind}({options})", (x,), floats(*out, x.type.dims[-1]))  # type: ignore[arg-type]
    g.feature(kind)
    return True


def pad(g: Growth) -> bool:
    x = image_of(g, 20)
    if x is None:
        return False
    h, w, c = x.type.numbers
    by = g.draw.choice((1, 2, (1, 0, 0, 2), (0, 0, 1, 1)))
    top, bottom, left, right = by if isinstance(by, tuple) else (by,) * 4
    dims = (h + top + bottom, w + left + right, c)
    if not g.fits(*dims):
        return False
    g.assign(f"pad({{0}}, {by})", (x,), floats(*dims))
    return True


def global_avgpool(g: Growth) -> bool:
    x = g.draw.choice((image_of, line_of))(g, 20)
    if x is None:
        return False
    g.assign("{0} -> global_avgpool", (x,), floats(x.type.dims[-1]))
    return True


def residual(g: Growth) -> bool:
    x = image_of(g, 4)
    if x is None:
        return False
    h, w, c = x.type.numbers
    units = g.draw.choice((c, g.size(9)))
    stride = g.draw.choice((1, 1, 2))
    dims = (-(-h // stride), -(-w // stride), units)
    if not g.fits(*dims):
        return False
    g.assign(
        f"{{0}} -> residual({units}{', stride = 2' if stride == 2 else ''})",
        (x,),
        floats(*dims),
        scale=4.0,
        is_trained=True,
        mixed=x.ancestors,
    )
    g.feature("mixes_samples", "batchnorm")
    return True


def convolution_block(g: Growth) -> bool:
    """The usual block: convolution, batch normalisation, activation, pool. Its gradient sums interleaved images."""
    x = image_of(g)
    if x is None:
        return False
    h, w, _ = x.type.numbers
    units = g.draw.choice((8, 9, 16, 17))  # at least 8, because `lift` does not change images with fewer channels
    window = g.draw.choice([size for size in (2, 2, 3) if size <= min(h, w)] or [1])
    dims = (h // window, w // window, units)
    if window == 1 or not g.fits(h, w, units):
        return False
    pool = g.draw.choice(("maxpool", "avgpool"))
    g.assign(
        f"{{0}} -> conv({units}) -> batchnorm{g.draw.choice(ACTIVATIONS)} -> {pool}({window})",
        (x,),
        floats(*dims),
        scale=3.0,
        is_trained=True,
        mixed=x.ancestors,
    )
    g.feature("mixes_samples", "batchnorm", pool)
    return True


def productions() -> Iterator[Production]:
    yield Production("conv", 9, conv_image, IN_BLOCKS)
    yield Production("convolution with a parameter", 4, custom_kernel, IN_BLOCKS)
    yield Production("conv of a line", 4, conv_line, IN_BLOCKS)
    yield Production("depthwise", 3, depthwise, IN_BLOCKS)
    yield Production("conv_transpose", 3, conv_transpose, IN_BLOCKS)
    yield Production("upsample", 3, upsample, IN_BLOCKS)
    yield Production("depth_to_space", 1.5, depth_to_space, IN_BLOCKS)
    yield Production("pool", 4, pool, IN_BLOCKS)
    yield Production("pad", 2.5, pad, IN_BLOCKS)
    yield Production("global_avgpool", 1.5, global_avgpool, IN_BLOCKS)
    yield Production("residual", 1.5, residual, IN_BLOCKS)
    yield Production("convolution block", 8, convolution_block, IN_BLOCKS)
