"""Scans: carries that are updated, swapped, delayed, constant or never read; captured values; nested scans; `until`."""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from tests.programs.growth import Growth, Production
from tests.programs.program import Statement
from tests.programs.values import Dim, Steps, Type, Value, floats

MOST_STEPS = 9


def _walked(g: Growth) -> list[Value]:
    """One or two values whose steps a scan walks together."""
    most = 4 if g.where == "scan" else MOST_STEPS

    def walks(value: Value) -> bool:
        first = value.type.dims[0] if value.type.dims else None
        is_short = first <= most if isinstance(first, int) else first is not None and g.where != "scan"
        return (
            value.type.kind in ("float", "class")
            and is_short
            and not value.type.is_held
            and value.scale <= 6
            and value.is_batched
        )

    x = g.pick(walks)
    if x is None:
        return []
    y = g.pick(lambda value: walks(value) and value.type.dims[0] == x.type.dims[0] and value.number != x.number)
    return [x, y] if y is not None and g.chance(0.35) else [x]


def _captures(g: Growth, inner: Growth) -> None:
    """Captured values for the body: values of a sample, and parameters."""
    for name, value in g.values.items():
        if value.type.is_fixed and (value.is_batched or value.is_parameter):
            inner.values[name] = value


def _captured_product(g: Growth) -> tuple[Value, Value] | None:
    """A captured value and a parameter that it is multiplied with at each step.

    The gradient of the parameter is a sum over steps in which the value does not change.
    """
    x = g.pick_float(lambda value: value.type.is_fixed and 1 <= value.type.rank <= 2, 8)
    depth = x.type.dims[-1] if x is not None else None
    if x is None or not isinstance(depth, int):
        return None
    width = g.size()
    w = g.parameter(depth, width) if g.fits(*x.type.dims[:-1], width) else None
    return None if w is None else (x, w)


def _begin(g: Growth, inner: Growth, steps: Sequence[Value]) -> tuple[str, tuple[Value, ...], Type, float]:
    """The initial value of a carry: a captured value, a parameter, zeros, or a number."""
    kind = g.draw.choice(("value", "value", "zeros", "zeros", "number"))
    if kind == "value":
        value = g.pick(
            lambda value: (
                value.type.is_float
                and value.type.is_fixed
                and value.scale <= 3
                and value.type.rank <= 2
                and (g.where != "scan" or value.is_batched or value.is_parameter)
            )
        )
        if value is not None:
            return "{}", (value,), value.type, value.scale
    if kind == "number":
        return g.draw.choice(("0.5", "0", "1")), (), floats(), 1.0
    shapes = [step.type.dims for step in steps if step.type.is_float and step.type.is_fixed and step.type.dims]
    dims: tuple[Dim, ...] = g.draw.choice(shapes) if shapes and g.chance(0.8) else (g.size(17),)
    name = g.draw.choice(("zeros", "zeros", "ones"))
    return f"{name}({', '.join(map(str, dims))})", (), floats(*dims), 1.0


def _updated(inner: Growth, name: str, carry: Value) -> bool:
    """The usual next value, computed from the carry and a value of the step."""
    value = inner.pick(
        lambda candidate: candidate.type.is_float and candidate.type == carry.type and candidate.number != carry.number
    )
    trained = carry.is_trained
    if value is None:
        number = inner.pick(lambda value: value.type == floats() and value.number != carry.number)
        if number is None:
            template, operands = inner.draw.choice(("tanh(0.7 * {0} + 0.2)", "0.9 * {0} + 0.1")), (carry,)
        else:
            template, operands = "tanh(0.7 * {0} + {1})", (carry, number)
    else:
        template = inner.draw.choice(
            (
                "tanh({0} + {1})",
                "0.5 * {0} + 0.5 * tanh({1})",
                "sigmoid({1}) * {0} + 0.3 * tanh({1})",
                "tanh({1})",
                "{0} + 0.1 * tanh({1})",
            )
        )
        operands = (carry, value)
        trained = trained or value.is_trained
    used = operands if "{0}" in template else operands[1:]
    if "{0}" not in template:
        template = template.replace("{1}", "{0}")
    inner.add(Statement("", (name,), f" = {template}", tuple(operand.name for operand in used), (carry.type,)))
    inner.define(name, carry.type, used, scale=2.0, is_trained=trained)
    return True


def _delayed(inner: Growth, name: str, carry: Value) -> bool:
    """The value of another name, often a carry's. The order of the statements makes it delayed or swapped."""
    value = inner.pick(
        lambda value: (
            value.type == carry.type and value.number != carry.number and value.is_batched and value.scale <= 3
        )
    )
    if value is None:
        return _updated(inner, name, carry)
    inner.add(Statement("", (name,), " = {0}", (value.name,), (carry.type,)))
    inner.define(name, carry.type, (value,))
    inner.feature("delayed carry")
    return True


def _constant(inner: Growth, name: str, carry: Value) -> bool:
    dims = ", ".join(map(str, carry.type.dims))
    inner.add(
        Statement("", (name,), f" = {'zeros' if dims else '0.25'}{f'({dims})' if dims else ''}", (), (carry.type,))
    )
    inner.define(name, carry.type, scale=1.0, is_batched=True)
    inner.feature("constant carry")
    return True


def _kept(inner: Growth, name: str, carry: Value) -> bool:
    """A next value that is the same at every step."""
    inner.add(Statement("", (name,), " = {0}", (name,), (carry.type,)))
    inner.define(name, carry.type, (carry,))
    inner.feature("kept carry")
    return True


NEXT: dict[Callable[[Growth, str, Value], bool], float] = {_updated: 6, _delayed: 2.5, _constant: 0.5, _kept: 0.3}


def _swap(inner: Growth, a: str, b: str) -> None:
    """Swaps two carries through a name in between."""
    first, second = inner.values[a], inner.values[b]
    name = inner.new_name("t")
    for target, source in ((name, first), (a, second), (b, inner.values.get(name) or first)):
        operand = name if target == b else source.name
        inner.add(Statement("", (target,), " = {0}", (operand,), (source.type,)))
    inner.define(a, first.type, (first, second), scale=max(first.scale, second.scale))
    inner.define(b, first.type, (first, second), scale=max(first.scale, second.scale))
    inner.feature("swapped carries")


def _body(g: Growth, inner: Growth, carries: list[str], count: int) -> None:
    from tests.programs.generator import grow

    grow(inner, count)
    pending = list(carries)
    g.draw.shuffle(pending)
    same = [(a, b) for a in pending for b in pending if a < b and inner.values[a].type == inner.values[b].type]
    if same and g.chance(0.25):
        a, b = g.draw.choice(same)
        _swap(inner, a, b)
        pending = [name for name in pending if name not in (a, b)]
    for name in pending:
        rule = g.draw.choices(list(NEXT), list(NEXT.values()))[0]
        rule(inner, name, inner.values[name])
        if g.chance(0.2):
            grow(inner, 1)


class _Head(Struct, frozen=True):
    """The beginning of a scan: the names of a step's values, the text behind `in`, the values that it walks (none if it
    counts), and the dimension that results get."""

    names: list[str]
    text: str
    walked: list[Value]
    dim: Dim


def _counting_head(g: Growth, inner: Growth) -> _Head:
    """`scan i in 1..4`."""
    stop = g.draw.choice((1, 2, 3, 4))
    start = g.draw.choice((0, 0, 1))
    name = inner.new_name("i")
    inner.define(name, floats(), scale=4.0, is_batched=True)
    return _Head([name], f"{start}..{start + stop}", [], stop)


def _walking_head(inner: Growth, walked: list[Value]) -> _Head:
    """`scan s, t in x, y`."""
    names = [inner.new_name("s") for _ in walked]
    for name, value in zip(names, walked, strict=True):
        inner.define(name, value.type.of(*value.type.dims[1:]), (value,), is_batched=True, is_parameter=False)
    text = ", ".join(f"{{{number}}}" for number in range(len(walked)))
    return _Head(names, text, walked, walked[0].type.dims[0])


def _add_carries(g: Growth, inner: Growth, head: _Head) -> tuple[list[str], list[str], list[Value]]:
    """The names of new carries, their texts behind `with`, and the operands of the scan with those of the carries."""
    steps = [inner.values[name] for name in head.names]
    operands, texts = list(head.walked), list[str]()
    carries = []
    for _ in range(g.draw.choice((1, 1, 2, 2, 3)) if g.chance(0.93) else 0):
        text, values, type_, scale = _begin(g, inner, steps)
        name = inner.new_name("c")
        texts.append(f"{name} = {text.format(f'{{{len(operands)}}}') if values else text}")
        operands += values
        carries.append((name, type_, scale, values))
    for name, type_, scale, values in carries:
        inner.define(name, type_, values, scale=max(scale, 2.0), is_batched=True, is_parameter=False)
    return [name for name, *_ in carries], texts, operands


def _add_product(inner: Growth, factors: tuple[Value, Value]) -> None:
    """Multiplies a captured value with a parameter."""
    x, w = factors
    dims = (*x.type.dims[:-1], w.type.dims[-1])
    inner.assign("{0} @ {1}", factors, floats(*dims), scale=1.5 * x.scale)
    inner.feature("captured value times a parameter")


def _until(values: list[Value], head: _Head) -> str:
    """` until z > 0.4` for the last number of the body that may end the scan; empty if it has none."""
    for value in reversed(values):
        if value.type == floats() and value.name not in head.names and not value.is_discrete:
            return f" until {value.name} > 0.4"
    return ""


def scan(g: Growth) -> bool:
    """`a, b = scan xt in x with c = ... { ...; yield ... }`."""
    if g.depth >= (3 if g.where == "scan" else 2) or (g.where == "scan" and g.depth > 2):
        return False
    walked = _walked(g)
    is_counting = not walked or g.chance(0.25)
    factors = _captured_product(g) if g.chance(0.2) else None
    inner = g.child("scan")
    _captures(g, inner)
    head = _counting_head(g, inner) if is_counting else _walking_head(inner, walked)
    carries, texts, operands = _add_carries(g, inner, head)
    inner.reserved = set(inner.values)
    if factors is not None:
        _add_product(inner, factors)
    _body(g, inner, carries, g.draw.choice((0, 1, 1, 2, 3)))
    values = [
        value for name, value in inner.values.items() if name not in g.values or g.values[name].number != value.number
    ]
    yielded = [
        value for value in values if value.type.is_float and value.is_batched and g.fits(head.dim, *value.type.dims)
    ]
    if not yielded:
        return False
    results = g.draw.sample(yielded[-4:], g.draw.choice([n for n in (1, 1, 2) if n <= len(yielded[-4:])]))
    until = _until(values, head) if is_counting and g.where == "model" and g.chance(0.5) else ""
    text = ", ".join(f"{{{number}}}" for number in range(len(results)))
    inner.add(Statement("yield", (), text, tuple(result.name for result in results)))
    begins = " with " + ", ".join(texts) if texts else ""
    used = tuple(operands) + tuple(
        value for value in g.values.values() if any(value.number in result.ancestors for result in results)
    )
    return _finish(
        g,
        f"scan {', '.join(head.names)} in {head.text}{until}{begins}",
        tuple(operands),
        used,
        inner,
        [(result.type.of(head.dim, *result.type.dims), result.scale) for result in results],
        any(value.is_trained for value in (*operands, *results)),
        bool(until),
        head.names[0],
    )


def _finish(
    g: Growth,
    line: str,
    operands: tuple[Value, ...],
    used: tuple[Value, ...],
    inner: Growth,
    results: list[tuple[Type, float]],
    trained: bool,
    ends: bool,
    counter: str,
) -> bool:
    names: list[str] = []
    while len(names) < len(results):
        name = g.fresh()
        names += [name] if name not in names else []
    if ends:
        results = [(type_.of(Steps(counter, ""), *type_.dims[1:]), scale) for type_, scale in results]
    types = tuple(type_ for type_, _ in results)
    g.add(
        Statement(
            "", tuple(names), f" = {line}", tuple(operand.name for operand in operands), types, tuple(inner.statements)
        )
    )
    mixed = frozenset[int]().union(*(value.mixed for value in used))
    for name, (type_, scale) in zip(names, results, strict=True):
        g.define(name, type_, used, scale=scale, is_trained=trained, is_batched=True, is_parameter=False, mixed=mixed)
    g.feature("scan", *(["scan in a scan"] if g.where == "scan" else []))
    if ends:
        g.feature("until")
        for name, (type_, scale) in zip(list(names), results, strict=True):
            value = g.values.pop(name)
            other = g.new_name("m")
            g.add(Statement("", (other,), " = mean({0}, over = 0)", (name,), (floats(*type_.dims[1:]),)))
            g.define(other, floats(*type_.dims[1:]), (value,), scale=scale)
    return True


def productions() -> Iterator[Production]:
    yield Production("scan", 5, scan)
