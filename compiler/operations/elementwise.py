"""Operations that work element by element: arithmetic, comparisons, choices, casts. One short definition each.

elementwise_definition.py says how they are defined; functions.py has the functions of one number.
"""

import numpy as np

from netc.compiler.ir import bf16
from netc.compiler.ir.attributes import Attributes, Constant, ElementType
from netc.compiler.ir.dims import Array
from netc.compiler.ir.forms import Expansion, Scalar
from netc.compiler.ir.types import DTYPES, Type, broadcast_dims
from netc.compiler.ir.value import Operation, Value, apply, register
from netc.compiler.operations.elementwise_definition import bool_type, choose, elementwise, result_type

copied = elementwise(
    "copied",
    "A copy of x, contiguous in memory.",
    scalar="x",
    reference=np.array,
    gradient=lambda g, r, x: g,
    is_callable=False,
)
paired = elementwise(
    "paired",
    "A copy of x [..., 2, n]. In 16 bits, its two rows are stored as n pairs, as products of pairs read them.",
    scalar="x",
    reference=np.array,
    is_callable=False,  # the pass `hoist` adds it after all gradients have been taken, so it has none
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
    gradient=lambda g, r, x, y: (to_x := g / y, -(to_x * r)),
)
floor_divide = elementwise(
    "floor_divide",
    "x / y, rounded down to a whole number.",
    scalar="floor(x / y)",
    operands=2,
    reference=lambda x, y: np.floor(x / y),
    domain=(0.5, 2.0),
)
remainder = elementwise(
    "remainder",
    "The remainder of x // y, with the sign of y.",
    scalar="x - floor(x / y) * y",
    operands=2,
    reference=lambda x, y: x - np.floor(x / y) * y,
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
        to_x = choose(apply("equal", y, 0.0), 0.0, g * y * apply("power", x, y - 1))
    return to_x, choose(apply("equal", x, 0.0), 0.0, g * r * apply("log", x))


def _power(x: Array, y: Array) -> Array:
    """x ** y. NumPy takes the square root for an exponent of 0.5, which differs at -inf and at -0."""
    powers: Array = np.power(x, y)
    return np.where(np.equal(y, 0.5), np.where(np.equal(x, -np.inf), np.inf, powers + 0), powers)


power = elementwise(
    "power",
    "x ** y.",
    scalar="pow(x, y)",
    operands=2,
    reference=_power,
    domain=(0.5, 2.0),
    gradient=_power_gradient,
)
neg = elementwise("neg", "-x.", scalar="-x", reference=np.negative, type=result_type, gradient=lambda g, r, x: -g)
abs_ = elementwise(
    "abs", "The absolute value.", scalar="abs(x)", reference=np.abs, gradient=lambda g, r, x: g * apply("sign", x)
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
    gradient=lambda g, r, x, y: (choose(x <= y, g, 0.0), choose(x <= y, 0.0, g)),
)
maximum = elementwise(
    "maximum",
    "The larger of x and y.",
    scalar="x if x >= y or x != x else y",
    operands=2,
    reference=np.maximum,
    gradient=lambda g, r, x, y: (choose(x >= y, g, 0.0), choose(x >= y, 0.0, g)),
)


def _clip_gradient(g: Value, r: Value, x: Value, low: Value, high: Value) -> tuple[Value, ...]:
    """The gradient goes to the operand that the result is equal to."""
    is_low, is_high = x < low, apply("maximum", x, low) > high
    return (
        choose(is_high, 0.0, choose(is_low, 0.0, g)),
        choose(is_high, 0.0, choose(is_low, g, 0.0)),
        choose(is_high, g, 0.0),
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
    "y where x is true, or a number other than 0, else z, element by element.",
    scalar="y if x else z",
    operands=3,
    reference=np.where,
    type=lambda c, x, y: result_type(x, y).with_dims(broadcast_dims(c.dims, x.dims, y.dims)),
    gradient=lambda g, r, c, x, y: (None, choose(c, g, 0.0), choose(c, 0.0, g)),
    shapes=[("bool[3, 4]", "f64[3, 4]", "f64[4]")],
)
as_bf16 = elementwise(
    "as_bf16",
    "x, rounded to the nearest number of bf16, halves to the even one. Subnormal numbers become 0.",
    scalar="as_bf16(x)",
    reference=bf16.as_bf16,
    is_callable=False,  # the pass `narrow` adds it after all gradients have been taken, so it has none
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


COMPARISONS = {  # the sign of each in the language, which is that of Python
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
}


def _comparison(name: str) -> Operation:
    """Registers an operation of COMPARISONS."""
    sign = COMPARISONS[name]
    return elementwise(
        name,
        f"Whether x {sign} y.",
        scalar=f"x {sign} y",
        operands=2,
        reference=getattr(np, name),
        type=bool_type,
        is_callable=False,
    )


less = _comparison("less")
less_equal = _comparison("less_equal")
greater = _comparison("greater")
greater_equal = _comparison("greater_equal")
equal = _comparison("equal")
not_equal = _comparison("not_equal")
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
