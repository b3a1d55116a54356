"""Functions of a number, element by element: exponentials, roots, activations. One definition each."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.elementwise_definition import choose, elementwise

exp = elementwise("exp", "e ** x.", scalar="exp(x)", reference=np.exp, gradient=lambda g, r, x: g * r)
log = elementwise(
    "log",
    "The natural logarithm.",
    scalar="log(x)",
    reference=np.log,
    domain=(0.2, 3.0),
    gradient=lambda g, r, x: g / x,
)
log1p = elementwise(
    "log1p",
    "log(1 + x), exact near 0.",
    scalar="log1p(x)",
    reference=np.log1p,
    domain=(-0.5, 3.0),
    gradient=lambda g, r, x: g / (1 + x),
)
expm1 = elementwise(
    "expm1",
    "exp(x) - 1, exact near 0.",
    scalar="expm1(x)",
    reference=np.expm1,
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
    return choose(apply("equal", r, 0.0), 0.0, g / (2 * r)) if is_length else g / (2 * r)


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
    gradient=lambda g, r, x: g * (1 - r * r),
)
sigmoid = elementwise(
    "sigmoid",
    "1 / (1 + exp(-x)), between 0 and 1.",
    scalar="sigmoid(x)",
    reference=lambda x: _sigmoid(x),
    gradient=lambda g, r, x: g * r * (1 - r),
)
relu = elementwise(
    "relu",
    "x where x is positive, else 0.",
    scalar="T(0) if x < 0 else x",
    reference=lambda x: np.maximum(x, 0),
    gradient=lambda g, r, x: choose(r > 0, g, 0.0),
)
leaky_relu = elementwise(
    "leaky_relu",
    "x where x is positive, else 0.01 x.",
    scalar="x * 0.01 if x < 0 else x",
    reference=lambda x: np.where(x < 0, 0.01 * x, x),
    gradient=lambda g, r, x: choose(x > 0, g, g * 0.01),
)
elu = elementwise(
    "elu",
    "x where x is positive, else exp(x) - 1.",
    scalar="expm1(x) if x < 0 else x",
    reference=lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    gradient=lambda g, r, x: choose(x > 0, g, g * (r + 1)),
)
gelu = elementwise(
    "gelu",
    "x times the cumulative probability of x in the standard normal distribution (the exact form).",
    scalar="gelu(x)",
    reference=lambda x: x * _normal_cdf(x),
    gradient=lambda g, r, x: g * (apply("normal_cdf", x) + x * _normal_density(x)),
)
silu = elementwise(
    "silu",
    "x * sigmoid(x).",
    scalar="x * sigmoid(x)",
    reference=lambda x: x * _sigmoid(x),
    gradient=lambda g, r, x: g * apply("sigmoid", x) * (1 + x - r),
)
softplus = elementwise(
    "softplus",
    "log(1 + exp(x)), stable for large x.",
    scalar="softplus(x)",
    reference=lambda x: np.logaddexp(x, 0),
    gradient=lambda g, r, x: g * apply("sigmoid", x),
)
erf = elementwise(
    "erf",
    "The error function.",
    scalar="erf(x)",
    reference=lambda x: _each(math.erf, x),
    gradient=lambda g, r, x: g * 1.1283791670955126 * apply("exp", -x * x),
)
normal_cdf = elementwise(
    "normal_cdf",
    "The probability that a standard normal variable is below x. It keeps its precision where it is small.",
    scalar="normal_cdf(x)",
    reference=lambda x: _normal_cdf(x),
    gradient=lambda g, r, x: g * _normal_density(x),
)


def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), with all digits where it is small, and without an overflow."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def _normal_density(x: Value) -> Value:
    return apply("exp", x * x * -0.5) * 0.3989422804014327


def _normal_cdf(x: Any) -> Any:
    return 0.5 * _each(math.erfc, np.asarray(x) * -0.7071067811865476)


def _each(function: Callable[[float], float], x: Any) -> Any:
    """A function of Python for each element."""
    return np.vectorize(function, otypes=[np.asarray(x).dtype])(x)
