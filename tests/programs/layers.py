"""Productions that apply the library's blocks: dense, images and lines, normalisation, recurrent layers, attention."""

from collections.abc import Iterator

from tests.programs.growth import Growth, Production
from tests.programs.values import OPAQUE, Dim, Steps, Value, floats

MODEL = frozenset({"model", "block"})
ACTIVATIONS = ("", "", " -> relu", " -> tanh", " -> gelu", " -> sigmoid")


def dense(g: Growth) -> bool:
    x = g.pick_float(lambda one: one.type.rank > 0 and isinstance(one.type.dims[-1], int) and not one.type.is_held, 8)
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
    """One instance of a layer, applied to two values or twice in a row; in a scan, one that stands outside."""
    known = [
        name for name, (takes, _) in g.layers.items() if g.pick(lambda one, t=takes: one.type == t and one.is_batched)
    ]
    if known and (g.where == "scan" or g.chance(0.6)):
        name = g.draw.choice(known)
        takes, gives = g.layers[name]
        x = g.pick(lambda one: one.type == takes and one.is_batched)
        assert x is not None
        g.assign(
            g.draw.choice((f"{name}({{0}})", f"{{0}} -> {name}")), (x,), gives, scale=1.5 * x.scale, is_trained=True
        )
        g.feature("shared layer")
        return True
    if g.where == "scan":
        return False
    x = g.pick_float(lambda one: one.type.rank == 1 and one.type.is_fixed, 8)
    if x is None:
        return False
    width = g.draw.choice((x.type.dims[0], g.size(17)))
    name = g.new_name("f")
    kind = g.draw.choice(("dense", "dense", "dense", "layernorm"))
    gives = floats(width) if kind == "dense" else x.type
    g.add(g_layer(name, f"dense({width})" if kind == "dense" else kind))
    g.layers[name] = (x.type, gives)
    g.assign(f"{name}({{0}})", (x,), gives, scale=1.5 * x.scale, is_trained=True)
    return True


def g_layer(name: str, text: str):
    from tests.programs.program import Statement

    return Statement("layer", (name,), f" = {text}")


def _kernel(g: Growth, size: Dim, most: int = 5) -> int:
    least = size if isinstance(size, int) else 3
    return g.draw.choice([k for k in (1, 2, 3, 3, 4, 5) if k <= min(least, most)])


def _places(size: int, kernel: int, stride: int, dilation: int, pad: str | int | tuple[int, int]) -> int:
    if pad == "same":
        return -(-size // stride)
    around = 0 if pad == "valid" else 2 * pad if isinstance(pad, int) else sum(pad)  # type: ignore[arg-type]
    return (size + around - dilation * (kernel - 1) - 1) // stride + 1


def conv_image(g: Growth) -> bool:
    x = _image(g)
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
        _places(n, *rest) for n, rest in zip((h, w), zip(kernels, strides, dilations, sides, strict=True), strict=True)
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


def _options(**options: tuple[tuple[int, int], tuple[int, int]]) -> str:
    """`kernel = 2, stride = (1, 2)`: those that are not the default, a pair of equal numbers as one."""
    text = ""
    for name, (pair, default) in options.items():
        if pair != default:
            equal = f"pair({pair[0]})" if name == "kernel" and pair[0] == 4 else f"{pair[0]}"
            text += f", {name} = {equal if pair[0] == pair[1] else pair}"
    return text


def _image(g: Growth, most: float = 6) -> Value | None:
    return g.pick_float(lambda one: one.type.rank == 3 and one.type.is_fixed, most)


def _line(g: Growth, most: float = 6) -> Value | None:
    """A value float[t, c], whose first dimension may vary."""
    return g.pick_float(lambda one: one.type.rank == 2 and not one.type.is_held, most)


def _along_line(g: Growth, size: Dim, kernel: int, stride: int, dilation: int, pad: str | int) -> Dim | None:
    """How many places there are along a line; None if that does not fit."""
    if isinstance(size, int):
        count = _places(size, kernel, stride, dilation, pad)
        return count if count > 0 else None
    if pad == "same":
        return size if stride == 1 else size.divided(stride)
    spread = dilation * (kernel - 1)
    if pad != "valid" or not g.require(size, spread + stride):
        return None
    g.feature("another dimension")
    shorter = size.shortened(spread) if spread else size
    return shorter if stride == 1 else Steps(f"{OPAQUE} {g.new_name('d')}", size.base, 1, size.needs(spread + 3))


def own_kernel(g: Growth) -> bool:
    """A convolution by a parameter of the file's own."""
    x = _image(g) or _line(g)
    if x is None or x.type.is_varying:
        return False
    *sizes, c = x.type.numbers
    kernel = min(_kernel(g, size) for size in sizes)
    name = g.draw.choice(("conv2d", "depthwise_conv2d", "conv_transpose2d") if len(sizes) == 2 else ("conv1d",))
    stride = g.draw.choice((1, 2)) if name != "conv_transpose2d" else min(2, kernel)
    units = g.draw.choice((1, 2, 3)) if name == "depthwise_conv2d" else g.size(9)
    pad = "same" if name == "conv_transpose2d" else g.draw.choice(("same", "valid"))
    if name == "conv_transpose2d":
        out = [size * stride for size in sizes]
    else:
        out = [_places(size, kernel, stride, 1, pad) for size in sizes]
    channels = c * units if name == "depthwise_conv2d" else units
    w = g.parameter(*[kernel] * len(sizes), c, units) if g.fits(*out, channels) else None
    if w is None:
        return False
    g.assign(f"{name}({{0}}, {{1}}, stride = {stride}, pad = {pad})", (x, w), floats(*out, channels), scale=2 * x.scale)
    g.feature(name)
    return True


def conv_line(g: Growth) -> bool:
    x = _line(g)
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
    x = _image(g)
    if x is None:
        return False
    h, w, c = x.type.numbers
    kernel = min(_kernel(g, h), _kernel(g, w))
    stride = g.draw.choice((1, 1, 2))
    m = g.draw.choice((1, 1, 2, 3))
    pad = g.draw.choice(("same", "same", "valid", 1))
    out = [_places(n, kernel, stride, 1, pad) for n in (h, w)]
    if min(out) < 1 or not g.fits(*out, c * m):
        return False
    options = f"{kernel}" + (f", stride = {stride}" if stride > 1 else "") + (f", pad = {pad}" if pad != "same" else "")
    options += f", m = {m}" if m > 1 else ""
    g.assign(f"{{0}} -> depthwise({options})", (x,), floats(*out, c * m), scale=2 * x.scale, is_trained=True)
    return True


def conv_transpose(g: Growth) -> bool:
    x = _image(g)
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
    x = g.draw.choice((_image, _line))(g, 20)
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
    g.assign(f"{{0}} -> upsample({size})", (x,), floats(*dims))
    return True


def pool(g: Growth) -> bool:
    kind = g.draw.choice(("maxpool", "avgpool"))
    x = g.draw.choice((_image, _line))(g, 20)
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
    x = _image(g, 20)
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
    x = g.draw.choice((_image, _line))(g, 20)
    if x is None:
        return False
    g.assign("{0} -> global_avgpool", (x,), floats(x.type.dims[-1]))
    return True


def residual(g: Growth) -> bool:
    x = _image(g, 4)
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


def layernorm(g: Growth) -> bool:
    x = g.pick_float(
        lambda one: (
            one.type.rank > 0 and isinstance(one.type.dims[-1], int) and one.type.dims[-1] > 2 and not one.type.is_held
        )
    )
    if x is None:
        return False
    g.assign("{0} -> layernorm", (x,), x.type, scale=3.0, is_trained=True)
    return True


def batchnorm(g: Growth) -> bool:
    x = g.pick_float(lambda one: one.type.rank > 0 and isinstance(one.type.dims[-1], int) and not one.type.is_held)
    if x is None:
        return False
    option = g.draw.choice(("", "", "(momentum = 0.5)"))
    g.assign(f"{{0}} -> batchnorm{option}", (x,), x.type, scale=3.0, is_trained=True, mixed=x.ancestors)
    g.feature("mixes_samples", "batchnorm")
    return True


def embed(g: Growth) -> bool:
    x = g.pick(lambda one: one.type.kind == "class" and one.is_batched and not one.type.is_held)
    if x is None:
        return False
    width = g.size(17)
    if not g.fits(*x.type.dims, width):
        return False
    g.assign(f"{{0}} -> embed({width})", (x,), floats(*x.type.dims, width), scale=2.5, is_trained=True)
    return True


# -------------------------------------------------------------------- sequences

CELLS = {"rnn": (1.0, 1), "gru": (1.0, 1), "lstm": (1.2, 2), "lstm_peephole": (0.8, 2), "lstm_layernorm": (0.8, 2)}


def recurrent(g: Growth) -> bool:
    """A recurrent layer; its first state may be a value; an LSTM's cells may have a name too."""
    x = _line(g)
    if x is None or (isinstance(x.type.dims[0], int) and x.type.dims[0] > 17):
        return False
    name = g.draw.choices(list(CELLS), [weight for weight, _ in CELLS.values()])[0]
    units = g.size(17)
    if name == "lstm_layernorm" and units < 3:
        return False
    operands, options = [x], ""
    start = g.pick_float(lambda one: one.type == floats(units), 4)
    if start is not None and g.chance(0.6):
        operands.append(start)
        options = ", h0 = {1}"
    if CELLS[name][1] == 2 and g.chance(0.2):
        options += ", forget = 2"
    type_ = floats(x.type.dims[0], units)
    types = [type_] * (2 if CELLS[name][1] == 2 and g.chance(0.4) else 1)
    g.assign(
        f"{{0}} -> {name}({units}{options})",
        tuple(operands),
        *types,
        scale=1.0 if len(types) == 1 else 2.0,
        is_trained=True,
    )
    g.feature(name, "scan")
    return True


def bidirectional(g: Growth) -> bool:
    x = _line(g)
    if x is None or (isinstance(x.type.dims[0], int) and x.type.dims[0] > 17):
        return False
    name = g.draw.choice(("rnn", "gru", "lstm"))
    units = g.size(9)
    g.assign(
        f"{{0}} -> bidirectional({name}({units}))", (x,), floats(x.type.dims[0], 2 * units), scale=1.0, is_trained=True
    )
    g.feature(name, "scan", "block as an argument")
    return True


def attention(g: Growth) -> bool:
    keys = g.pick_float(lambda one: one.type.rank == 2 and not one.type.is_held and g.is_bounded(one.type), 4)
    if keys is None:
        return False
    n = keys.type.dims[1]
    assert isinstance(n, int)
    values = g.pick_float(lambda one: one.type.rank == 2 and one.type.dims[0] == keys.type.dims[0], 6)
    queries = g.pick_float(
        lambda one: (
            one.type.rank in (1, 2) and one.type.dims[-1] == n and not one.type.is_held and g.is_bounded(one.type)
        ),
        4,
    )
    if values is None or queries is None:
        return False
    m = values.type.dims[1]
    assert isinstance(m, int)
    if queries.number == keys.number and g.where != "model":
        return False
    heads = g.draw.choice([h for h in (1, 1, 2, 3) if n % h == 0 and m % h == 0])
    options = f", heads = {heads}" if heads > 1 else ""
    if queries.type.rank == 2 and queries.type.dims[0] == keys.type.dims[0] and g.chance(0.5):
        options += ", causal = true"
    g.assign(
        f"attention({{0}}, {{1}}, {{2}}{options})",
        (queries, keys, values),
        floats(*queries.type.dims[:-1], m),
        scale=values.scale,
    )
    return True


def self_attention(g: Growth) -> bool:
    x = g.pick_float(lambda one: one.type.rank == 2 and not one.type.is_held and g.is_bounded(one.type), 4)
    if x is None:
        return False
    n = x.type.dims[1]
    assert isinstance(n, int)
    heads = g.draw.choice([h for h in (1, 1, 2, 3) if n % h == 0])
    options = [*([f"heads = {heads}"] if heads > 1 else []), *(["causal = true"] if g.chance(0.5) else [])]
    call = f"self_attention({', '.join(options)})" if options else "self_attention"
    g.assign(f"{{0}} -> {call}", (x,), x.type, scale=2 * x.scale, is_trained=True)
    return True


def positions(g: Growth) -> bool:
    x = g.pick_float(
        lambda one: (
            one.type.rank == 2
            and not one.type.is_held
            and isinstance(one.type.dims[1], int)
            and one.type.dims[1] % 2 == 0
        )
    )
    if x is None:
        return False
    g.assign("{0} -> positions", (x,), x.type, scale=x.scale + 1)
    return True


def productions() -> Iterator[Production]:
    yield Production("dense", 4, dense, MODEL)
    yield Production("layer", 4, shared_layer)
    yield Production("conv", 9, conv_image, MODEL)
    yield Production("convolution with a parameter", 4, own_kernel, MODEL)
    yield Production("conv of a line", 4, conv_line, MODEL)
    yield Production("depthwise", 3, depthwise, MODEL)
    yield Production("conv_transpose", 3, conv_transpose, MODEL)
    yield Production("upsample", 3, upsample, MODEL)
    yield Production("pool", 4, pool, MODEL)
    yield Production("pad", 2.5, pad, MODEL)
    yield Production("global_avgpool", 1.5, global_avgpool, MODEL)
    yield Production("residual", 1.5, residual, MODEL)
    yield Production("layernorm", 1.2, layernorm, MODEL)
    yield Production("batchnorm", 1.5, batchnorm, MODEL)
    yield Production("embed", 4, embed, MODEL)
    yield Production("recurrent", 4, recurrent, MODEL)
    yield Production("bidirectional", 1.5, bidirectional, MODEL)
    yield Production("attention", 4, attention, MODEL)
    yield Production("self_attention", 3, self_attention, MODEL)
    yield Production("positions", 2, positions, MODEL)
