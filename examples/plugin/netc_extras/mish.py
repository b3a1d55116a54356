"""mish(x) = x * tanh(softplus(x)) (Misra 2019), with a gradient of its own: what a new element-wise operation takes."""

import numpy as np

from netc.extend import Value, apply, elementwise


def _slope(x: Value) -> Value:
    """d/dx: tanh(s) + x * (1 - tanh(s) ** 2) * sigmoid(x), s = softplus(x). Made of operations, so it has a derivative as well."""
    t = apply("tanh", apply("softplus", x))
    return t + x * (1 - t * t) * apply("sigmoid", x)


mish = elementwise(
    "mish",
    "x * tanh(softplus(x)), smooth and not monotone (Misra 2019).",
    scalar="x * tanh(max(x, T(0)) + log1p(exp(-abs(x))))",
    reference=lambda x: x * np.tanh(np.logaddexp(0, x)),
    gradient=lambda g, r, x: g * _slope(x),
    flops=40,
)
