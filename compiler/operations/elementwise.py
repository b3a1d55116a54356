"""Operations that work element by element, with NumPy's broadcasting: one short definition each.

A gradient is written as if all shapes were equal. `elementwise` then sums it to the shape of each operand.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict, Unpack

import numpy as np

from netc.compiler.ir.attributes import Attributes, Constant, ElementType, attributes_class
from netc.compiler.ir.types import DTYPES, Mismatch, Type, broadcast_dims
from netc.compiler.ir.value import Expansion, Operation, Scalar, Value, apply, register

Gradient = Callable[..., "Value | float | tuple[Value | float | None, ...] | None"]


def result_type(*types: Type, **_: Any) -> Type:
    """The broadcast type of the operands, with the element type of the floats among them, or else of the first operand.

    Raises Mismatch if both f32 and f64 occur.
    """
    dims = broadcast_dims(*(type_.dims for type_ in types))
    floats = {type_.dtype for type_ in types if type_.is_float}
    if len(floats) > 1:
        raise Mismatch("f32 and f64 do not mix without a cast", code="E0402")
    return Type(floats.pop() if floats else types[0].dtype, dims)


def float_type(*types: Type, **_: Any) -> Type:
    """The same as `result_type`; raises Mismatch if no operand is a float."""
    if not any(type_.is_float for type_ in types):
        raise Mismatch("needs a float", code="E0402")
    return result_type(*types)


def bool_type(*types: Type, **_: Any) -> Type:
    """A bool of the broadcast dimensions of the operands."""
    return Type("bool", broadcast_dims(*(type_.dims for type_ in types)))


def unbroadcast(gradient: "Value", like: Type) -> "Value":
    """Sums a gradient over the axes along which broadcasting repeated the operand, whose type is `like`."""
    rank, lead = gradient.type.rank, gradient.type.rank - like.rank
    repeated = tuple(
        axis for axis in range(rank) if axis < lead or (like.dims[axis - lead] == 1 and gradient.type.dims[axis] != 1)
    )
    summed = apply("sum", gradient, over=repeated) if repeated else gradient
    return summed if summed.type.dims == like.dims else apply("reshape", summed, dims=like.dims)


class Options(TypedDict, total=False):
    """The less common keyword arguments of an element-wise operation.

    `numbers` are its attributes with their defaults, `arguments` the names of its operands in the language (x, y, z),
    `flops` the floating-point operations per element (1). It cannot be called in a file unless `is_callable` (the
    default). Tests feed it elements of the type `dtype` (f64) from `domain` (-2 to 2).
    """

    numbers: Mapping[str, float] | None
    arguments: tuple[str, ...]
    flops: int
    is_callable: bool
    dtype: str
    domain: tuple[float, float]


def defined(
    name: str,
    doc: str,
    *,
    scalar: str,
    reference: Callable[..., Any],
    gradient: Gradient | None = None,
    operands: int = 1,
    type: Callable[..., Type] = float_type,
    **options: Unpack[Options],
) -> Operation:
    """Returns the definition of an element-wise operation of up to three operands x, y and z.

    `scalar` is a Python expression of x, y, z and the names of `numbers` (an option), with the functions of
    targets/cpu/math.py. `reference` and `gradient` take the numbers by name; `gradient(g, result, x, y, z)` is written
    as if all shapes were equal. Raises TypeError if there is no such option.
    """
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"an element-wise operation has no option {', '.join(sorted(unknown))}")
    attributes = dict(options.get("numbers") or {})
    dtype, flops = options.get("dtype", "f64"), options.get("flops", 1)

    def full_gradient(g: Value, result: Value, *values: Value, **keywords: float) -> tuple[Value | None, ...]:
        assert gradient is not None
        parts = gradient(g, result, *values, **keywords)
        parts = parts if isinstance(parts, tuple) else (parts,)
        return tuple(
            unbroadcast(part, value.type) if isinstance(part, Value) and value.type.is_float else None
            for part, value in zip(parts, values, strict=True)
        )

    names = options.get("arguments", ("x", "y", "z"))[:operands]
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
        domain=options.get("domain", (-2.0, 2.0)),
        is_callable=options.get("is_callable", True),
        attributes=attributes_class(tuple(attributes)),
    )


def elementwise(name: str, doc: str, **definition: Any) -> Operation:
    """Defines an element-wise operation (see `defined`) and registers it, so that it is part of the language."""
    return register(defined(name, doc, **definition))


def _choose(condition: Value, yes: "Value | float", no: "Value | float") -> Value:
    return apply("where", condition, yes, no)


copied = elementwise(
    "copied",
    "A copy of x, contiguous in memory.",
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
    "x / y, rounded down to a whole number.",
    scalar="floor(x / y)",
    operands=2,
    reference=np.floor_divide,
    domain=(0.5, 2.0),
)
remainder = elementwise(
    "remainder",
    "The remainder of x // y, with the sign of y.",
    scalar="x - floor(x / y) * y",
    operands=2,
    reference=np.mod,
    gradient=lambda g, r, x, y: (g, -g * apply("floor", x / y)),
    domain=(0.5, 2.0),
)


def _power_gradient(g: Value, r: Value, x: Value, y: Value) -> tuple[Value, Value]:
    """y * x ** (y - 1) for x, and r * log x for y, where r is the result.

    The first is 0 where y is 0, for any x. The second is 0 where x is 0, because r is 0 there for all positive y.
    """
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
    """g / (2 sqrt x). The gradient of a vector's length, the root of a sum of squares, is 0 where the vector is 0.

    A length has no derivative there; 0 is one of its subgradients.
    """
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
    "x where x is positive, else 0.",
    scalar="T(0) if x < 0 else x",
    reference=lambda x: np.maximum(x, 0),
    gradient=lambda g, r, x: _choose(r > 0, g, 0.0),
)
leaky_relu = elementwise(
    "leaky_relu",
    "x where x is positive, else 0.01 x.",
    scalar="x * 0.01 if x < 0 else x",
    reference=lambda x: np.where(x < 0, 0.01 * x, x),
    gradient=lambda g, r, x: _choose(x > 0, g, g * 0.01),
)
elu = elementwise(
    "elu",
    "x where x is positive, else exp(x) - 1.",
    scalar="expm1(x) if x < 0 else x",
    reference=lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    flops=12,
    gradient=lambda g, r, x: _choose(x > 0, g, g * (r + 1)),
)
gelu = elementwise(
    "gelu",
    "x times the cumulative probability of x in the standard normal distribution (the exact form).",
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
sign = elementwise(
    "sign", "The sign of x: -1, 0 or 1.", scalar="T(1) if x > 0 else (T(-1) if x < 0 else x)", reference=np.sign
)
floor = elementwise("floor", "x, rounded down to a whole number.", scalar="floor(x)", reference=np.floor)
round_ = elementwise(
    "round", "x, rounded to the nearest whole number; halves to the even one.", scalar="rint(x)", reference=np.rint
)
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
    """The gradient goes to the operand that the result is equal to."""
    is_low, is_high = x < low, apply("maximum", x, low) > high
    return (
        _choose(is_high, 0.0, _choose(is_low, 0.0, g)),
        _choose(is_high, 0.0, _choose(is_low, g, 0.0)),
        _choose(is_high, g, 0.0),
    )


_ABOVE = "(x if x >= y or x != x else y)"  # the result is NaN if any of the three is
clip = elementwise(
    "clip",
    "x, limited to the range from low to high.",
    scalar=f"{_ABOVE} if {_ABOVE} <= z or {_ABOVE} != {_ABOVE} else z",
    operands=3,
    reference=lambda x, low, high: np.minimum(np.maximum(x, low), high),
    gradient=_clip_gradient,
    arguments=("x", "low", "high"),
)
where = elementwise(
    "where",
    "y where x is true, else z, element by element.",
    scalar="y if x else z",
    operands=3,
    reference=np.where,
    type=lambda c, x, y: result_type(x, y).with_dims(broadcast_dims(c.dims, x.dims, y.dims)),
    gradient=lambda g, r, c, x, y: (None, _choose(c, g, 0.0), _choose(c, 0.0, g)),
)
stop_gradient = register(
    Operation(
        "stop_gradient",
        "x, but no gradient flows through it.",
        attributes=Attributes,
        type=result_type,
        reference=lambda x: x,
        lower=Expansion(lambda x: x),  # `expand` removes it, after all gradients have been taken
        arguments={"x": "value"},
        gradient=lambda g, r, x: (None,),  # no examples, because finite differences would find a gradient
    )
)

for _name, _sign, _function in (
    ("less", "<", np.less),
    ("less_equal", "<=", np.less_equal),
    ("greater", ">", np.greater),
    ("greater_equal", ">=", np.greater_equal),
    ("equal", "==", np.equal),
    ("not_equal", "!=", np.not_equal),
):
    elementwise(
        _name,
        f"Whether x {_sign} y.",
        scalar=f"x {_sign} y",
        operands=2,
        reference=_function,
        type=bool_type,
        is_callable=False,
    )
elementwise(
    "logical_and",
    "True where both x and y are.",
    scalar="x and y",
    operands=2,
    reference=np.logical_and,
    type=bool_type,
    is_callable=False,
)
elementwise(
    "logical_or",
    "True where x or y is.",
    scalar="x or y",
    operands=2,
    reference=np.logical_or,
    type=bool_type,
    is_callable=False,
)
elementwise(
    "logical_not", "True where x is false.", scalar="not x", reference=np.logical_not, type=bool_type, is_callable=False
)

cast = register(
    Operation(
        "cast",
        "x, converted to another element type.",
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
