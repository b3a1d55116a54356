"""Productions of blocks, states and their updates, `grad`, loops and constants.

Blocks of a file may have parameters, states and blocks as arguments.
"""

from collections.abc import Iterator

from tests.programs.growth import IN_BLOCKS, IN_MODEL, Growth, Production
from tests.programs.program import Statement
from tests.programs.values import Value, floats


def block(g: Growth) -> bool:
    """A new block, and one or two applications of it."""
    from tests.programs.generator import grow

    if g.depth:
        return False
    x = g.pick_float(lambda value: not value.type.is_held, 6)
    y = x and g.pick_float(lambda value: value.number != x.number and value.type.is_fixed, 6)
    if not x:
        return False
    operands = (x, y) if y and g.chance(0.4) else (x,)
    if any(dim.name != dim.base for operand in operands for dim in operand.type.dims if not isinstance(dim, int)):
        return False
    inner = g.child("block")
    names = [inner.new_name("x") for _ in operands]
    for name, value in zip(names, operands, strict=True):
        inner.define(name, value.type, (value,), is_batched=value.is_batched, is_parameter=False)
    inner.reserved = set(names)
    grow(inner, g.draw.choice((1, 2, 3, 4)))
    results = [
        value for value in inner.values.values() if value.type.is_float and value.is_batched and value.name not in names
    ]
    if not results:
        return False
    chosen = g.draw.sample(results[-3:], g.draw.choice([n for n in (1, 1, 2) if n <= len(results[-3:])]))
    inner.add(
        Statement(
            "return", (), ", ".join(f"{{{n}}}" for n in range(len(chosen))), tuple(value.name for value in chosen)
        )
    )
    name = g.new_name("block")
    parameters = ", ".join(
        f"{parameter}: {value.type.text()}" for parameter, value in zip(names, operands, strict=True)
    )
    g.definition("block", name, f"({parameters})", tuple(inner.statements))
    traits = {"is_trained": any(value.is_trained for value in chosen), "scale": max(value.scale for value in chosen)}
    mixed = frozenset[int]().union(*(value.mixed for value in chosen))
    traits |= {"mixed": mixed, "is_discrete": any(value.is_discrete for value in chosen), "is_batched": True}
    types = tuple(value.type for value in chosen)
    slots = ", ".join(f"{{{n}}}" for n in range(len(operands)))
    call = f"{name}({slots})" if len(operands) > 1 or g.chance(0.5) else f"{{0}} -> {name}"
    g.assign(call, operands, *types, **traits)
    if g.chance(0.25):
        others = [
            g.pick(lambda candidate, t=value.type: candidate.type == t and candidate.is_batched) for value in operands
        ]
        again = tuple(other for other in others if other is not None)
        if len(again) == len(operands):  # the results may have taken an operand's name
            g.assign(f"{name}({slots})", again, *types, **traits)
    g.feature("block")
    return True


TAKING_BLOCKS = (  # the number of blocks that they take, and their text
    (1, "(x: float[n], f) {{ x -> f -> f"),
    (1, "(x: float[n], f) {{ x + 0.5 * f(x)"),
    (2, "(x: float[n], f, g) {{ f(x) * g(x)"),
    (2, "(x: float[n], f, g) {{ x -> f -> tanh -> g"),
)


def block_of_blocks(g: Growth) -> bool:
    x = g.pick_float(lambda value: value.type.rank == 1 and value.type.is_fixed, 6)
    if x is None:
        return False
    n = x.type.dims[0]
    count, text = g.draw.choice(TAKING_BLOCKS)
    signature, _, body = text.partition(" {{ ")
    name = g.new_name("block")
    g.definition("block", name, signature, (Statement("return", (), body),))
    candidates = [f"dense({n})", f"dense({n})", *(["layernorm"] if n > 2 else [])]  # type: ignore[operator]
    arguments = ", ".join(g.draw.choice(candidates) for _ in range(count))
    g.assign(f"{{0}} -> {name}({arguments})", (x,), x.type, scale=2 * x.scale + 1, is_trained=True)
    g.feature("block as an argument")
    return True


def state(g: Growth) -> bool:
    """A state with the shape of a value without its batch, an update of some kind, and mostly a reader."""
    x = g.pick_float(lambda value: value.type.is_fixed and value.type.rank <= 2 and not value.is_parameter)
    if x is None:
        return False
    name = g.new_name("q")
    initial = g.draw.choice(("zeros", "ones", "uniform(-0.5, 0.5)", "normal(0.3)"))
    g.add(Statement("state", (name,), f": {x.type.text()} = {initial}", (), (x.type,)))
    state = g.define(name, x.type, is_batched=False, scale=1.0)
    g.reserved.add(name)
    g.feature("state")
    _update(g, state, x)
    if g.chance(0.8):
        template = g.draw.choice(
            (
                "{0} - 0.3 * {1}",
                "{0} + {1}",
                "{0} * (1 + 0.2 * {1})",
                "(mean({0}, over = batch) if training else {1}) + {0}",
            )
        )
        traits = {"mixed": x.ancestors} if "batch" in template else {}
        if traits:
            g.feature("mixes_samples")
        g.assign(template, (x, state), x.type, scale=x.scale + 1, **traits)
    return True


def _update(g: Growth, state: Value, x: Value) -> None:
    """Adds `update q = ...` of some kind, or none.

    The next value is a running mean, the batch's mean, another state, a view of the state, a parameter or a count.
    """
    other = g.pick(
        lambda value: (
            value.type == state.type and not value.is_batched and value.number != state.number and value.scale <= 3
        )
    )
    choices: list[tuple[str, tuple[Value, ...], str]] = [
        ("0.9 * {0} + 0.1 * mean({1}, over = batch)", (state, x), "running mean"),
        ("{0} + 0.1 * batch_share() * (mean({1}, over = batch) - {0})", (state, x), "running mean by a batch's size"),
        ("mean({1}, over = batch)", (state, x), "state of the batch"),
        ("max({1}, over = batch)", (state, x), "state of the batch"),
        ("0.5 * {0}", (state,), "state of itself"),
        ("stop_gradient(0.7 * mean({1}, over = batch)) + 0.1 * {0}", (state, x), "running mean"),
    ]
    if state.type.rank:
        choices.append(("reverse({0})", (state,), "state that is a view of itself"))
    if other is not None:
        choices += [
            ("{1}", (state, other), "state that is another value"),
            ("0.5 * {0} + 0.5 * {1}", (state, other), "state of another value"),
        ] * 2
    if g.chance(0.1):
        g.feature("state without an update")
        return
    template, operands, feature = g.draw.choice(choices)
    names = (state.name, *(operand.name for operand in operands))
    template = template.replace("{1}", "{2}").replace("{0}", "{1}")
    g.add(Statement("update", (), f"{{0}} = {template}", names))
    g.feature("update", feature)
    if other is not None and feature == "state that is another value" and other.name.startswith("q") and g.chance(0.5):
        g.feature("swapped states")


def swapped_states(g: Growth) -> bool:
    """Two states that are swapped at each step."""
    x = g.pick_float(lambda value: value.type.is_fixed and value.type.rank <= 2)
    if x is None:
        return False
    names = [g.new_name("q") for _ in range(2)]
    for name in names:
        g.add(
            Statement(
                "state",
                (name,),
                f": {x.type.text()} = {g.draw.choice(('normal(0.3)', 'uniform(-1, 1)', 'zeros'))}",
                (),
                (x.type,),
            )
        )
    first, second = (g.define(name, x.type, is_batched=False) for name in names)
    g.reserved.update(names)
    g.add(Statement("update", (), "{0} = {1}", (names[0], names[1])))
    g.add(
        Statement(
            "update",
            (),
            g.draw.choice(("{0} = {1}", "{0} = {1} + 0.1 * mean({2}, over = batch)")),
            (names[1], names[0], x.name),
        )
    )
    g.assign("{0} + 0.2 * {1} - 0.1 * {2}", (x, first, second), x.type, scale=x.scale + 0.3)
    g.feature("state", "update", "swapped states")
    return True


def derivative(g: Growth) -> bool:
    """`grad(y, x)`: y is a number of each sample, and nothing between x and y mixes samples."""
    y = g.pick_float(
        lambda value: (
            (value.type.rank == 0 or (value.type.steps is not None and value.type.rank == 1))
            and len(value.ancestors) > 1
        ),
        6,
    )
    x = y and g.pick_float(
        lambda value: (
            value.number in y.ancestors
            and value.number not in y.mixed
            and value.number != y.number
            and not value.type.is_held
            and value.is_batched
        )
    )
    if not y or not x:
        return False
    g.assign(g.draw.choice(("grad({0}, {1})", "tanh(grad({0}, {1}))")), (y, x), x.type, scale=2.0, mixed=between(y, x))
    g.feature("grad")
    return True


def between(y: Value, x: Value) -> frozenset[int]:
    """Terms whose derivative of y by x is not defined: values that mix samples, and values on the way from x to y."""
    return y.mixed | x.mixed | (y.ancestors - x.ancestors)


def derivative_of_sum(g: Growth) -> bool:
    """`grad(sum(v), x)`, with the sum written in the call."""
    y = g.pick_float(lambda value: value.type.is_fixed and value.type.rank > 0 and len(value.ancestors) > 1, 6)
    x = y and g.pick_float(
        lambda value: (
            value.number in y.ancestors
            and value.number not in y.mixed
            and value.number != y.number
            and not value.type.is_held
        )
    )
    if not y or not x:
        return False
    g.assign("grad(sum(0.3 * square({0})), {1})", (y, x), x.type, scale=2.0, mixed=between(y, x))
    g.feature("grad")
    return True


def loop(g: Growth) -> bool:
    """`for i in 0..2 { h = ... }`, which is unrolled when the file is compiled."""
    x = g.pick_float(lambda value: value.type.rank >= 1 and value.type.is_fixed, 4)
    if x is None:
        return False
    n = x.type.dims[-1]
    name = g.new_name("h")
    body = g.draw.choice((f"{{0}} -> dense({n}) -> tanh", "tanh({0} + 0.1 * i)", "{0} + 0.1 * sin({0})"))
    g.add(Statement("", (name,), " = {0}", (x.name,), (x.type,)))
    inner = Statement("", (name,), f" = {body}", (name,), (x.type,))
    g.add(Statement("for", ("i",), f" in 0..{g.draw.choice((1, 2, 3))}", body=(inner,)))
    g.define(name, x.type, (x,), scale=x.scale + 0.5, is_trained=x.is_trained or "dense" in body)
    g.feature("for")
    return True


def constant(g: Growth) -> bool:
    """`let` before the model, and a choice that is made when the file is compiled."""
    x = g.pick_float(lambda value: value.type.rank >= 1 and value.type.is_fixed, 4)
    if x is None:
        return False
    name = g.new_name("k")
    width = g.size(9)
    g.shared.definitions.append(Statement("let", (name,), f" = {width}"))
    dims = (*x.type.dims[:-1], width)
    if not g.fits(*dims):
        return False
    after = g.draw.choice((f"tanh if {name} > 3 else relu", "relu", "tanh"))
    if " if " in after:
        (h,) = g.assign(f"{{0}} -> dense({name})", (x,), floats(*dims), scale=1.5 * x.scale, is_trained=True)
        g.assign(f"tanh({{0}}) if {name} > 3 else relu({{0}})", (h,), floats(*dims), scale=1.5 * x.scale)
    else:
        g.assign(f"{{0}} -> dense({name}) -> {after}", (x,), floats(*dims), scale=1.5 * x.scale, is_trained=True)
    g.feature("let")
    return True


def fitted(g: Growth) -> bool:
    """A metric of the training split, which is 0 before the first epoch has ended."""
    x = g.pick_float(lambda value: value.type.is_fixed and value.type.rank <= 1)
    if x is None:
        return False
    g.assign("{0} - fitted(mean({0}, over = batch))", (x,), x.type)
    g.feature("fitted")
    return True


def productions() -> Iterator[Production]:
    yield Production("block", 2, block, IN_MODEL)
    yield Production("block of blocks", 0.6, block_of_blocks, IN_BLOCKS)
    yield Production("state", 2, state, IN_BLOCKS)
    yield Production("swapped states", 0.7, swapped_states, IN_BLOCKS)
    yield Production("grad", 3, derivative, IN_BLOCKS)
    yield Production("grad of a sum", 1.2, derivative_of_sum, IN_BLOCKS)
    yield Production("for", 0.5, loop, IN_BLOCKS)
    yield Production("let", 0.5, constant, IN_MODEL)
    yield Production("fitted", 0.3, fitted, IN_MODEL)
