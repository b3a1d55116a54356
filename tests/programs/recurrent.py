"""Productions that apply the library's recurrent layers and attention, on varying and on fixed sequences."""

from collections.abc import Iterator

from tests.programs.growth import IN_BLOCKS, Growth, Production
from tests.programs.images import line_of
from tests.programs.values import floats

CELLS = {"rnn": (1.0, 1), "gru": (1.0, 1), "lstm": (1.2, 2), "lstm_peephole": (0.8, 2), "lstm_layernorm": (0.8, 2)}


def recurrent(g: Growth) -> bool:
    """A recurrent layer. Its first state may be a value, and the cells of an LSTM may have a name."""
    x = line_of(g)
    if x is None or (isinstance(x.type.dims[0], int) and x.type.dims[0] > 17):
        return False
    name = g.draw.choices(list(CELLS), [weight for weight, _ in CELLS.values()])[0]
    units = g.size(17)
    if name == "lstm_layernorm" and units < 3:
        return False
    operands, options = [x], ""
    start = g.pick_float(lambda value: value.type == floats(units), 4)
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


def cell(g: Growth) -> bool:
    """One step of a recurrent layer, from a vector and a state."""
    x = g.pick_float(lambda value: value.type.rank == 1 and not value.type.is_held, 4)
    h = g.pick_float(lambda value: value.type.rank == 1 and not value.type.is_held, 4)
    if x is None or h is None or not isinstance(x.type.dims[0], int) or not isinstance(h.type.dims[0], int):
        return False
    name = g.draw.choice(("rnn_cell", "lstm_cell", "gru_cell"))
    if name == "lstm_cell":
        c = g.pick_float(lambda value: value.type == h.type and not value.type.is_held, 4)
        if c is None:
            return False
        g.assign("lstm_cell({0}, {1}, {2})", (x, h, c), h.type, h.type, scale=c.scale + 1, is_trained=True)
    else:
        g.assign(f"{name}({{0}}, {{1}})", (x, h), h.type, scale=h.scale + 1, is_trained=True)
    g.feature(name)
    return True


def bidirectional(g: Growth) -> bool:
    x = line_of(g)
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
    keys = g.pick_float(lambda value: value.type.rank == 2 and not value.type.is_held, 4)
    if keys is None:
        return False
    n = keys.type.dims[1]
    assert isinstance(n, int)
    values = g.pick_float(
        lambda value: value.type.rank == 2 and value.type.dims[0] == keys.type.dims[0] and not value.type.is_held, 6
    )
    queries = g.pick_float(
        lambda value: value.type.rank in (1, 2) and value.type.dims[-1] == n and not value.type.is_held,
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
    x = g.pick_float(lambda value: value.type.rank == 2 and not value.type.is_held, 4)
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
        lambda value: (
            value.type.rank == 2
            and not value.type.is_held
            and isinstance(value.type.dims[1], int)
            and value.type.dims[1] % 2 == 0
        )
    )
    if x is None:
        return False
    g.assign("{0} -> positions", (x,), x.type, scale=x.scale + 1)
    return True


def productions() -> Iterator[Production]:
    yield Production("recurrent", 4, recurrent, IN_BLOCKS)
    yield Production("cell", 1.5, cell, IN_BLOCKS)
    yield Production("bidirectional", 1.5, bidirectional, IN_BLOCKS)
    yield Production("attention", 4, attention, IN_BLOCKS)
    yield Production("self_attention", 3, self_attention, IN_BLOCKS)
    yield Production("positions", 2, positions, IN_BLOCKS)
