"""Element-wise productions: functions, operators, comparisons, `where`, constants, and operations of a file."""

from collections.abc import Callable, Iterator
from functools import partial
from math import exp

from msgspec import Struct

from tests.programs.growth import Growth, Production
from tests.programs.values import Type, Value, broadcast, floats


class Function(Struct, frozen=True):
    """A function of one float: its text, the largest magnitude of its operand, and that of the result."""

    name: str
    weight: float
    template: str
    most: float = 20
    scale: Callable[[float], float] = lambda scale: scale
    is_discrete: bool = False  # a function with jumps, which is not applied to values that are discrete


UNARY = (
    Function("tanh", 3, "tanh({0})", 50, lambda s: min(s, 1)),
    Function("sigmoid", 2, "sigmoid({0})", 50, lambda s: 1),
    Function("relu", 3, "relu({0})"),
    Function("elu", 1, "elu({0})"),
    Function("gelu", 1, "gelu({0})"),
    Function("silu", 1, "silu({0})"),
    Function("softplus", 1, "softplus({0})", scale=lambda s: s + 0.7),
    Function("leaky_relu", 1, "leaky_relu({0})"),
    Function("erf", 1, "erf({0})", scale=lambda s: 1),
    Function("sin", 1, "sin({0})", scale=lambda s: 1),
    Function("cos", 1, "cos({0})", scale=lambda s: 1),
    Function("tan", 0.4, "tan(tanh({0}))", scale=lambda s: 1.6),
    Function("asin", 0.4, "asin(0.9 * tanh({0}))", scale=lambda s: 1.2),
    Function("acos", 0.4, "acos(0.9 * tanh({0}))", scale=lambda s: 2.7),
    Function("atan", 0.4, "atan({0})", scale=lambda s: 1.6),
    Function("sinh", 0.4, "sinh({0})", 2, exp),
    Function("cosh", 0.4, "cosh({0})", 2, exp),
    Function("normal_cdf", 0.4, "normal_cdf({0})", scale=lambda s: 1),
    Function("abs", 1, "abs({0})"),
    Function("neg", 1, "-{0}"),
    Function("neg in other words", 0.5, "neg({0})"),
    Function("square", 1.5, "square({0})", 4, lambda s: s * s),
    Function("power", 1, "{0} ** 2", 4, lambda s: s * s),
    Function("cube", 0.5, "{0} ** 3", 2.5, lambda s: s**3),
    Function("power of a positive number", 0.5, "(0.5 + abs({0})) ** 1.5", 4, lambda s: (s + 0.5) ** 1.5),
    Function("exp", 1.5, "exp({0})", 2, exp),
    Function("expm1", 0.7, "expm1({0})", 2, exp),
    Function("log", 0.7, "log(0.5 + abs({0}))", scale=lambda s: 2),
    Function("log1p", 0.7, "log1p(square({0}))", scale=lambda s: s),
    Function("sqrt", 0.7, "sqrt(0.3 + square({0}))", scale=lambda s: s + 0.6),
    Function("rsqrt", 0.7, "rsqrt(0.3 + square({0}))", scale=lambda s: 2),
    Function("reciprocal", 0.7, "1 / (1 + square({0}))", scale=lambda s: 1),
    Function("clip", 0.7, "clip({0}, -0.7, 0.9)", scale=lambda s: 0.9),
    Function("scaled", 2, "0.5 * {0} + 0.1", 100, lambda s: s / 2 + 0.1),
    Function("subtracted", 1, "1 - {0}", 20, lambda s: s + 1),
    Function("subtracted from nothing", 0.5, "0 - {0}"),
    Function("added to nothing", 0.3, "0 + {0}"),
    Function("times one", 0.3, "1 * {0} / 1"),
    Function("to the first power", 0.3, "{0} ** 1"),
    Function("maximum of a number", 0.5, "maximum({0}, -0.3)"),
    Function("floor", 0.4, "floor(2 * {0})", is_discrete=True),
    Function("round", 0.4, "round(3 * {0}) / 3", is_discrete=True),
    Function("sign", 0.4, "sign({0})", scale=lambda s: 1, is_discrete=True),
    Function("floor_divide", 0.4, "{0} // 0.7", is_discrete=True),
    Function("floor_divide in other words", 0.3, "floor_divide({0}, 0.6)", is_discrete=True),
    Function("remainder in other words", 0.3, "remainder({0}, 1.1)", scale=lambda s: 1.1, is_discrete=True),
    Function("remainder", 0.4, "{0} % 1.3", scale=lambda s: 1.3, is_discrete=True),
    Function("stop_gradient", 1, "stop_gradient({0})"),
)


class Operator(Struct, frozen=True):
    """A function of two floats that broadcast."""

    name: str
    weight: float
    template: str
    most: float = 20
    scale: Callable[[float, float], float] = lambda a, b: a + b


BINARY = (
    Operator("add", 4, "{0} + {1}"),
    Operator("subtract", 3, "{0} - {1}"),
    Operator("multiply", 4, "{0} * {1}", 5, lambda a, b: a * b),
    Operator("divide", 1, "{0} / (0.5 + square({1}))", 5, lambda a, b: 2 * a),
    Operator("maximum", 1, "maximum({0}, {1})", 20, max),
    Operator("minimum", 1, "minimum({0}, {1})", 20, max),
    Operator("power of two values", 0.5, "(0.5 + abs({0})) ** tanh({1})", 5, lambda a, b: a + 2),
    Operator("difference squared", 1, "square({0} - {1})", 2, lambda a, b: (a + b) ** 2),
    Operator("angle", 0.4, "atan2({0}, 1 + square({1}))", 5, lambda a, b: 1.6),
    Operator("gate", 1, "sigmoid({0}) * {1}", 20, lambda a, b: b),
    Operator("add in other words", 0.5, "add({0}, multiply({1}, 0.5))", 20),
    Operator("subtract in other words", 0.5, "subtract({0}, divide({1}, 2))", 20),
    Operator("power in other words", 0.3, "power(1 + abs({0}), 0.5) + {1}", 20, lambda a, b: a + b + 1),
)
COMPARISONS = ("<", "<=", ">", ">=")


def unary(function: Function, g: Growth) -> bool:
    x = g.pick(
        lambda value: (
            value.type.is_float
            and value.scale <= function.most
            and not (function.is_discrete and value.is_discrete)
            and (value.is_batched or g.where != "scan" or value.is_parameter)
        )
    )
    if x is None:
        return False
    g.assign(
        function.template,
        (x,),
        x.type,
        scale=function.scale(x.scale),
        is_discrete=x.is_discrete or function.is_discrete,
    )
    return True


def partner(g: Growth, x: Value, most: float = 20.0, kind: str = "float") -> tuple[Value, Type] | None:
    """A value that broadcasts with another one, and their broadcast type."""

    def meets(y: Value) -> bool:
        dims = broadcast(x.type, y.type)
        return y.type.kind == kind and y.scale <= most and dims is not None and g.fits(*dims)

    y = g.pick(meets)
    if y is None:
        return None
    dims = broadcast(x.type, y.type)
    assert dims is not None
    return y, floats(*dims)


def binary(operator: Operator, g: Growth) -> bool:
    x = g.pick(lambda value: value.type.is_float and value.scale <= operator.most)
    other = x and partner(g, x, operator.most)
    if not x or not other:
        return False
    y, type_ = other
    operands, swapped = ((x, y), False) if g.chance(0.5) else ((y, x), True)
    if type_.dims != x.type.dims:
        g.feature("broadcast")
    if type_.is_held and not (x.type.is_held or y.type.is_held):
        g.feature("two varying dimensions")
    scales = (y.scale, x.scale) if swapped else (x.scale, y.scale)
    g.assign(operator.template, operands, type_, scale=operator.scale(*scales))
    return True


def steps_of(type_: Type) -> list[str]:
    return [dim.name for dim in type_.dims if not isinstance(dim, int)]


def comparison(g: Growth) -> bool:
    """`a < b` of two different values, which is a bool."""
    x = g.pick_float(lambda value: not value.is_discrete and not value.type.is_held)
    if x is None:
        return False
    symbol = g.draw.choice(COMPARISONS)
    other = partner(g, x)
    if (
        other
        and other[0].number != x.number
        and not other[0].is_discrete
        and not other[1].is_held
        and other[0].number not in x.ancestors
        and x.number not in other[0].ancestors
        and g.chance(0.6)
    ):
        y, type_ = other
        g.assign(f"{{0}} {symbol} {{1}}", (x, y), Type("bool", type_.dims), is_discrete=True)
    else:
        g.assign(
            f"{{0}} {symbol} {g.draw.choice(('0', '0.3', '-0.2'))}", (x,), Type("bool", x.type.dims), is_discrete=True
        )
    return True


def class_comparison(g: Growth) -> bool:
    """`label == 2`, or the comparison of two labels with the same classes."""
    x = g.pick(lambda value: value.type.kind == "class" and not value.type.is_held)
    if x is None:
        return False
    y = g.pick(lambda value: value.type == x.type and value.number != x.number)
    symbol = g.draw.choice(("==", "!="))
    if y is not None:
        g.assign(f"{{0}} {symbol} {{1}}", (x, y), Type("bool", x.type.dims), is_discrete=True)
    else:
        g.assign(
            f"{{0}} {symbol} {g.draw.randrange(x.type.classes)}", (x,), Type("bool", x.type.dims), is_discrete=True
        )
    return True


def logical(g: Growth) -> bool:
    x = g.pick(lambda value: value.type.kind == "bool")
    if x is None:
        return False
    y = g.pick(lambda value: value.type == x.type)
    template = g.draw.choice(("{0} and {1}", "{0} or not {1}", "not {0}"))
    assert y is not None
    operands = (x, y) if "{1}" in template else (x,)
    g.assign(template, operands, x.type)
    return True


def where(g: Growth) -> bool:
    condition = g.pick(lambda value: value.type.kind == "bool")
    if condition is None:
        return False
    x = g.pick_float(lambda value: broadcast(condition.type, value.type) is not None)
    if x is None:
        return False
    dims = broadcast(condition.type, x.type)
    y = g.pick(
        lambda value: (
            value.type.is_float
            and dims is not None
            and (met := broadcast(floats(*dims), value.type)) is not None
            and g.fits(*met)
            and len([dim for dim in met if not isinstance(dim, int)]) < 2
        )
    )
    if dims is None or y is None or not g.fits(*dims) or floats(*dims).is_held:
        return False
    if g.chance(0.3):
        g.assign(
            g.draw.choice(("where({0}, {1}, 0)", "where({0}, 0.5, {1})")),
            (condition, x),
            floats(*dims),
            is_discrete=False,
        )
    else:
        met = broadcast(floats(*dims), y.type)
        assert met is not None
        g.assign("where({0}, {1}, {2})", (condition, x, y), floats(*met), is_discrete=False)
    return True


def as_number(g: Growth) -> bool:
    """A bool or a label in arithmetic."""
    x = g.pick(lambda value: value.type.kind == "bool")
    if x is None:
        return False
    y = g.pick_float(lambda value: value.type == floats(*x.type.dims))
    if y is not None:
        g.assign("{0} * {1}", (x, y), y.type, scale=y.scale)
    else:
        g.assign("where({0}, 1, -0.5)", (x,), floats(*x.type.dims), scale=1.0)
    return True


def constants(g: Growth) -> bool:
    """`zeros`, `ones` and `arange` beside a value."""
    x = g.pick_float(lambda value: bool(value.type.dims) and isinstance(value.type.dims[-1], int))
    if x is None:
        return False
    n = x.type.dims[-1]
    name, template = g.draw.choice(
        (
            ("zeros", f"{{0}} + zeros({n})"),
            ("ones", f"{{0}} * ones({n})"),
            ("arange", f"{{0}} + 0.1 * arange({n})"),
            ("arange", f"{{0}} * (arange({n}) / {n})"),
        )
    )
    g.assign(template, (x,), x.type, scale=x.scale + 1)
    g.feature(name)
    return True


def custom_operation(g: Growth) -> bool:
    """`op name(x, y) = ...` before the model, and its use."""
    x = g.pick_float(most=4)
    if x is None:
        return False
    name = g.new_name("op")
    y = g.pick_float(lambda value: value.type == x.type, most=4)
    if y is not None and g.chance(0.5):
        body = g.draw.choice(("x * sigmoid(y)", "x * y + x", "tanh(x) - 0.5 * y", "where(x > 0, x, 0.2 * y)"))
        g.definition("op", name, f"(x, y) = {body}")
        g.assign(f"{name}({{0}}, {{1}})", (x, y), x.type, scale=x.scale * (1 + y.scale))
    else:
        body = g.draw.choice(("x * sigmoid(x)", "x * x / (1 + x * x)", "exp(-x * x)", "where(x > 0, x, 0.1 * x)"))
        g.definition("op", name, f"(x) = {body}")
        g.assign(g.draw.choice((f"{name}({{0}})", f"{{0}} -> {name}")), (x,), x.type, scale=x.scale + 1)
    return True


def productions() -> Iterator[Production]:
    for function in UNARY:
        yield Production(function.name, 0.5 * function.weight, partial(unary, function))
    for operator in BINARY:
        yield Production(operator.name, operator.weight, partial(binary, operator))
    yield Production("comparison", 1.5, comparison)
    yield Production("comparison of classes", 1.5, class_comparison)
    yield Production("logical", 3, logical)
    yield Production("where", 4, where)
    yield Production("bool as a number", 2, as_number)
    yield Production("constants", 0.8, constants)
    yield Production("op", 0.6, custom_operation)
