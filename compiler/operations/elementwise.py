"""Operations that work element by element, with NumPy's broadcasting. One definition each, at most five lines.

A gradient is written as if all shapes were equal; `elementwise` sums it back to each operand's shape.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes, Constant, ElementType, attributes_class
from netc.compiler.ir.types import DTYPES, Mismatch, Type, broadcast_dims
from netc.compiler.ir.value import Expansion, Operation, Scalar, Value, apply, register

Gradient = Callable[..., "Value | float | tuple[Value | float | None, ...] | None"]


def result_type(*types: Type, **_: Any) -> Type:
    """Float with float stays; whole numbers and bools beside a float become that float."""
    dims = broadcast_dims(*(type_.dims for type_ in types))
    floats = {type_.dtype for type_ in types if type_.is_float}
    if len(floats) > 1:
        raise Mismatch("f32 and f64 do not mix without a cast", code="E0402")
    return Type(floats.pop() if floats else types[0].dtype, dims)


def float_type(*types: Type, **_: Any) -> Type:
    if not any(type_.is_float for type_ in types):
        raise Mismatch("needs a float", code="E0402")
    return result_type(*types)


def bool_type(*types: Type, **_: Any) -> Type:
    return Type("bool", broadcast_dims(*(type_.dims for type_ in types)))


def unbroadcast(gradient: "Value", like: Type) -> "Value":
    """Sum a gradient over the axes along which the operand was repeated."""
    rank, lead = gradient.type.rank, gradient.type.rank - like.rank
    repeated = tuple(
        axis for axis in range(rank) if axis < lead or (like.dims[axis - lead] == 1 and gradient.type.dims[axis] != 1)
    )
    summed = apply("sum", gradient, over=repeated) if repeated else gradient
    return summed if summed.type.dims == like.dims else apply("reshape", summed, dims=like.dims)


def defined(
    name: str,
    doc: str,
    *,
    scalar: str,
    reference: Callable[..., Any],
    gradient: Gradient | None = None,
    operands: int = 1,
    type: Callable[..., Type] = float_type,
    flops: int = 1,
    dtype: str = "f64",
    domain: tuple[float, float] = (-2.0, 2.0),
    is_callable: bool = True,
    arguments: tuple[str, ...] = ("x", "y", "z"),
    numbers: Mapping[str, float] | None = None,
) -> Operation:
    """An element-wise operation of up to three operands x, y, z (the language calls them `arguments`).

    `scalar` is a Python expression of x, y, z and `numbers`, attributes with their defaults, in the words of kernels/math.py. `reference` and `gradient` take
    the numbers by name; `gradient(g, result, x, y, z)` is written as if all shapes were equal. `dtype` and `domain` are what tests feed it.
    """
    attributes = dict(numbers or {})

    def full_gradient(g: Value, result: Value, *values: Value, **given: float) -> tuple[Value | None, ...]:
        assert gradient is not None
        parts = gradient(g, result, *values, **given)
        parts = parts if isinstance(parts, tuple) else (parts,)
        return tuple(
            unbroadcast(part, value.type) if isinstance(part, Value) and value.type.is_float else None
            for part, value in zip(parts, values, strict=True)
        )

    names = arguments[:operands]
    shapes = [(f"{dtype}[3, 4]",) * operands] + (
        [(f"{dtype}[batch, 3, 1]", f"{dtype}[4]", f"{dtype}[1, 4]")[:operands]] if operands > 1 else []
    )
    if name == "where":
        shapes = [("bool[3, 4]", "f64[3, 4]", "f64[4]")]
    return Operation(
        name=name,
        doc=doc,
        type=type,
        reference=reference,
        lower=Scalar(scalar),
        arguments=dict.fromkeys(names, "value") | {key: f"real = {value!r}" for key, value in attributes.items()},
        gradient=full_gradient if gradient else None,
        flops=lambda out: flops,
        examples=tuple((shape, dict(attributes)) for shape in shapes),
        domain=domain,
        is_callable=is_callable,
        attributes=attributes_class(tuple(attributes)),
    )


def elementwise(name: str, doc: str, **definition: Any) -> Operation:
    """As `defined`, and part of the language from here on."""
    return register(defined(name, doc, **definition))


def _choose(condition: Value, yes: "Value | float", no: "Value | float") -> Value:
    return apply("where", condition, yes, no)


copied = elementwise(
    "copied",
    "x in memory of its own, in order.",
    scalar="x",
    reference=np.array,
    gradient=lambda g, r, x: g,
    is_callable=False,
)
add = elementwise(
    "add", "x + y.", scalar="x + y", operands=2, reference=np.add, type=result_type, gradient=lambda g, r, x, y: (g, g)
)
subtract = elementwise(
    "subtract",
    "x - y.",
    scalar="x - y",
    operands=2,
    reference=np.subtract,
    type=result_type,
    gradient=lambda g, r, x, y: (g, -g),
)
multiply = elementwise(
    "multiply",
    "x * y.",
    scalar="x * y",
    operands=2,
    reference=np.multiply,
    type=result_type,
    gradient=lambda g, r, x, y: (g * y, g * x),
)
divide = elementwise(
    "divide",
    "x / y.",
    scalar="x / y",
    operands=2,
    reference=np.divide,
    domain=(0.5, 2.0),
    gradient=lambda g, r, x, y: (g / y, -g * r / y),
)
floor_divide = elementwise(
    "floor_divide",
    "The whole part of x / y, rounded down.",
    scalar="floor(x / y)",
    operands=2,
    reference=np.floor_divide,
    domain=(0.5, 2.0),
)
remainder = elementwise(
    "remainder",
    "What x // y leaves, with the sign of y.",
    scalar="x - floor(x / y) * y",
    operands=2,
    reference=np.mod,
    gradient=lambda g, r, x, y: (g, -g * apply("floor", x / y)),
    domain=(0.5, 2.0),
)


def _power_gradient(g: Value, r: Value, x: Value, y: Value) -> tuple[Value, Value]:
    """y * x ** (y - 1), and 0 where y is 0, whatever x is; r * log x, and 0 where x is 0, as r is there for every y above 0."""
    if y.operation == "constant":
        exponent = float(y.attributes_as(Constant).value)
        to_x = g * 0.0 if exponent == 0 else g * exponent * (x if exponent == 2 else apply("power", x, exponent - 1))
    else:
        to_x = _choose(apply("equal", y, 0.0), 0.0, g * y * apply("power", x, y - 1))
    return to_x, _choose(apply("equal", x, 0.0), 0.0, g * r * apply("log", x))


power = elementwise(
    "power",
    "x ** y.",
    scalar="pow(x, y)",
    operands=2,
    reference=np.power,
    domain=(0.5, 2.0),
    flops=20,
    gradient=_power_gradient,
)
neg = elementwise("neg", "-x.", scalar="-x", reference=np.negative, type=result_type, gradient=lambda g, r, x: -g)
abs_ = elementwise(
    "abs", "The absolute value.", scalar="abs(x)", reference=np.abs, gradient=lambda g, r, x: g * apply("sign", x)
)
exp = elementwise("exp", "e ** x.", scalar="exp(x)", reference=np.exp, flops=10, gradient=lambda g, r, x: g * r)
log = elementwise(
    "log",
    "The natural logarithm.",
    scalar="log(x)",
    reference=np.log,
    flops=10,
    domain=(0.2, 3.0),
    gradient=lambda g, r, x: g / x,
)
log1p = elementwise(
    "log1p",
    "log(1 + x), exact near 0.",
    scalar="log1p(x)",
    reference=np.log1p,
    flops=10,
    domain=(-0.5, 3.0),
    gradient=lambda g, r, x: g / (1 + x),
)
expm1 = elementwise(
    "expm1",
    "exp(x) - 1, exact near 0.",
    scalar="expm1(x)",
    reference=np.expm1,
    flops=12,
    gradient=lambda g, r, x: g * (r + 1),
)


def _sqrt_gradient(g: Value, r: Value, x: Value) -> Value:
    """g / (2 sqrt x); of the root of a sum of squares, 0 where all are 0: a length has no direction there, and 0 is one of its slopes."""
    summed = x.operands[0] if x.operation == "sum" else None
    is_length = summed is not None and (
        summed.operation == "square" or (summed.operation == "multiply" and summed.operands[0] is summed.operands[1])
    )
    return _choose(apply("equal", r, 0.0), 0.0, g / (2 * r)) if is_length else g / (2 * r)


sqrt = elementwise(
    "sqrt",
    "The square root.",
    scalar="sqrt(x)",
    reference=np.sqrt,
    domain=(0.2, 3.0),
    gradient=_sqrt_gradient,
)
rsqrt = elementwise(
    "rsqrt",
    "1 / sqrt(x).",
    scalar="1 / sqrt(x)",
    reference=lambda x: 1 / np.sqrt(x),
    domain=(0.2, 3.0),
    gradient=lambda g, r, x: g * r * r * r * -0.5,
)
square = elementwise("square", "x * x.", scalar="x * x", reference=np.square, gradient=lambda g, r, x: g * x * 2)
tanh = elementwise(
    "tanh",
    "The hyperbolic tangent, between -1 and 1.",
    scalar="tanh(x)",
    reference=np.tanh,
    flops=15,
    gradient=lambda g, r, x: g * (1 - r * r),
)
sigmoid = elementwise(
    "sigmoid",
    "1 / (1 + exp(-x)), between 0 and 1.",
    scalar="sigmoid(x)",
    reference=lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
    flops=12,
    gradient=lambda g, r, x: g * r * (1 - r),
)
relu = elementwise(
    "relu",
    "x where it is positive, else 0.",
    scalar="T(0) if x < 0 else x",
    reference=lambda x: np.maximum(x, 0),
    gradient=lambda g, r, x: _choose(r > 0, g, 0.0),
)
leaky_relu = elementwise(
    "leaky_relu",
    "x where it is positive, else 0.01 x.",
    scalar="x * 0.01 if x < 0 else x",
    reference=lambda x: np.where(x < 0, 0.01 * x, x),
    gradient=lambda g, r, x: _choose(x > 0, g, g * 0.01),
)
elu = elementwise(
    "elu",
    "x where it is positive, else exp(x) - 1.",
    scalar="expm1(x) if x < 0 else x",
    reference=lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    flops=12,
    gradient=lambda g, r, x: _choose(x > 0, g, g * (r + 1)),
)
gelu = elementwise(
    "gelu",
    "x times the normal distribution's cumulative probability of x (the exact form).",
    scalar="x * 0.5 * (1 + erf(x * 0.7071067811865476))",
    reference=lambda x: x * 0.5 * (1 + _erf(x * 0.7071067811865476)),
    flops=20,
    gradient=lambda g, r, x: (
        g * (0.5 * (1 + apply("erf", x * 0.7071067811865476)) + x * 0.3989422804014327 * apply("exp", x * x * -0.5))
    ),
)
silu = elementwise(
    "silu",
    "x * sigmoid(x).",
    scalar="x * sigmoid(x)",
    reference=lambda x: x * 0.5 * (1 + np.tanh(0.5 * x)),
    flops=13,
    gradient=lambda g, r, x: g * apply("sigmoid", x) * (1 + x - r),
)
softplus = elementwise(
    "softplus",
    "log(1 + exp(x)), stable for large x.",
    scalar="max(x, T(0)) + log1p(exp(-abs(x)))",
    reference=lambda x: np.logaddexp(x, 0),
    flops=20,
    gradient=lambda g, r, x: g * apply("sigmoid", x),
)
sin = elementwise(
    "sin",
    "The sine of an angle in radians.",
    scalar="sin(x)",
    reference=np.sin,
    flops=15,
    gradient=lambda g, r, x: g * apply("cos", x),
)
cos = elementwise(
    "cos",
    "The cosine of an angle in radians.",
    scalar="cos(x)",
    reference=np.cos,
    flops=15,
    gradient=lambda g, r, x: -g * apply("sin", x),
)
erf = elementwise(
    "erf",
    "The error function.",
    scalar="erf(x)",
    reference=lambda x: _erf(x),
    flops=20,
    gradient=lambda g, r, x: g * 1.1283791670955126 * apply("exp", -x * x),
)
sign = elementwise("sign", "-1, 0 or 1.", scalar="T(1) if x > 0 else (T(-1) if x < 0 else x)", reference=np.sign)
floor = elementwise("floor", "The largest whole number that is not above x.", scalar="floor(x)", reference=np.floor)
round_ = elementwise("round", "The nearest whole number, halves to the even one.", scalar="rint(x)", reference=np.rint)
minimum = elementwise(
    "minimum",
    "The smaller of x and y.",
    scalar="x if x <= y or x != x else y",
    operands=2,
    reference=np.minimum,
    gradient=lambda g, r, x, y: (_choose(x <= y, g, 0.0), _choose(x <= y, 0.0, g)),
)
maximum = elementwise(
    "maximum",
    "The larger of x and y.",
    scalar="x if x >= y or x != x else y",
    operands=2,
    reference=np.maximum,
    gradient=lambda g, r, x, y: (_choose(x >= y, g, 0.0), _choose(x >= y, 0.0, g)),
)


def _clip_gradient(g: Value, r: Value, x: Value, low: Value, high: Value) -> tuple[Value, ...]:
    """To whichever of the three the result is."""
    is_low, is_high = x < low, apply("maximum", x, low) > high
    return (
        _choose(is_high, 0.0, _choose(is_low, 0.0, g)),
        _choose(is_high, 0.0, _choose(is_low, g, 0.0)),
        _choose(is_high, g, 0.0),
    )


_ABOVE = "(x if x >= y or x != x else y)"  # a NaN in any of the three stays one
clip = elementwise(
    "clip",
    "x, but no less than low and no more than high.",
    scalar=f"{_ABOVE} if {_ABOVE} <= z or {_ABOVE} != {_ABOVE} else z",
    operands=3,
    reference=lambda x, low, high: np.minimum(np.maximum(x, low), high),
    gradient=_clip_gradient,
    arguments=("x", "low", "high"),
)
where = elementwise(
    "where",
    "x ? y : z, element by element.",
    scalar="y if x else z",
    operands=3,
    reference=np.where,
    type=lambda c, x, y: result_type(x, y).with_dims(broadcast_dims(c.dims, x.dims, y.dims)),
    gradient=lambda g, r, c, x, y: (None, _choose(c, g, 0.0), _choose(c, 0.0, g)),
)
stop_gradient = register(
    Operation(
        "stop_gradient",
        "x, through which no gradient flows.",
        attributes=Attributes,
        type=result_type,
        reference=lambda x: x,
        lower=Expansion(lambda x: x),  # it stays until `expand`, which runs when all gradients have been taken
        arguments={"x": "value"},
        gradient=lambda g, r, x: (None,),  # no examples: differences would say that there is one
    )
)


def _comparison(name: str, sign: str, function: Any) -> Operation:
    """Registers a comparison, which the language writes as `sign`."""
    return elementwise(
        name,
        f"Whether x {sign} y.",
        scalar=f"x {sign} y",
        operands=2,
        reference=function,
        type=bool_type,
        is_callable=False,
    )


less = _comparison("less", "<", np.less)
less_equal = _comparison("less_equal", "<=", np.less_equal)
greater = _comparison("greater", ">", np.greater)
greater_equal = _comparison("greater_equal", ">=", np.greater_equal)
equal = _comparison("equal", "==", np.equal)
not_equal = _comparison("not_equal", "!=", np.not_equal)
elementwise(
    "logical_and", "x and y.", scalar="x and y", operands=2, reference=np.logical_and, type=bool_type, is_callable=False
)
elementwise(
    "logical_or", "x or y.", scalar="x or y", operands=2, reference=np.logical_or, type=bool_type, is_callable=False
)
elementwise("logical_not", "not x.", scalar="not x", reference=np.logical_not, type=bool_type, is_callable=False)

cast = register(
    Operation(
        "cast",
        "x as another element type.",
        attributes=ElementType,
        type=lambda x, dtype: Type(dtype, x.dims),
        lower=Scalar("T(x)"),
        is_callable=False,
        reference=lambda x, dtype: np.asarray(x).astype(DTYPES[dtype].numpy),
        gradient=lambda g, r, x, dtype: (apply("cast", g, dtype=x.type.dtype) if x.type.is_float else None,),
        examples=((("f64[3]",), {"dtype": "f32"}), (("bool[3]",), {"dtype": "f64"})),
    )
)


def _erf(x: Any) -> Any:
    from math import erf as scalar_erf

    return np.vectorize(scalar_erf, otypes=[np.asarray(x).dtype])(x)
