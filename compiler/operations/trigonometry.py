"""Trigonometric and hyperbolic functions and their inverses, element by element. One definition each."""

import numpy as np

from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.elementwise_definition import elementwise

sin = elementwise(
    "sin",
    "The sine of an angle in radians.",
    scalar="sin(x)",
    reference=np.sin,
    gradient=lambda g, r, x: g * apply("cos", x),
)
cos = elementwise(
    "cos",
    "The cosine of an angle in radians.",
    scalar="cos(x)",
    reference=np.cos,
    gradient=lambda g, r, x: -g * apply("sin", x),
)
tan = elementwise(
    "tan",
    "The tangent of an angle in radians.",
    scalar="tan(x)",
    reference=np.tan,
    domain=(-1.2, 1.2),
    gradient=lambda g, r, x: g * (1 + r * r),
)
asin = elementwise(
    "asin",
    "The angle whose sine is x, from -pi/2 to pi/2; NaN beyond -1 and 1.",
    scalar="asin(x)",
    reference=np.arcsin,
    domain=(-0.8, 0.8),
    gradient=lambda g, r, x: g * apply("rsqrt", 1 - x * x),
)
acos = elementwise(
    "acos",
    "The angle whose cosine is x, from 0 to pi; NaN beyond -1 and 1.",
    scalar="acos(x)",
    reference=np.arccos,
    domain=(-0.8, 0.8),
    gradient=lambda g, r, x: -g * apply("rsqrt", 1 - x * x),
)
atan = elementwise(
    "atan",
    "The angle whose tangent is x, from -pi/2 to pi/2.",
    scalar="atan(x)",
    reference=np.arctan,
    gradient=lambda g, r, x: g / (1 + x * x),
)


def _atan2_gradient(g: Value, r: Value, y: Value, x: Value) -> tuple[Value, Value]:
    scaled = g / (x * x + y * y)
    return scaled * x, -scaled * y


atan2 = elementwise(
    "atan2",
    "The angle of the point (x, y), from -pi to pi. The first argument is y, as in NumPy.",
    scalar="atan2(x, y)",
    operands=2,
    reference=np.arctan2,
    arguments=("y", "x"),
    domain=(0.3, 2.0),
    gradient=_atan2_gradient,
)
sinh = elementwise(
    "sinh",
    "The hyperbolic sine.",
    scalar="sinh(x)",
    reference=np.sinh,
    gradient=lambda g, r, x: g * apply("cosh", x),
)
cosh = elementwise(
    "cosh",
    "The hyperbolic cosine.",
    scalar="cosh(x)",
    reference=np.cosh,
    gradient=lambda g, r, x: g * apply("sinh", x),
)
