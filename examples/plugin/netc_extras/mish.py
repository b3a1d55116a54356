"""mish(x) = x * tanh(softplus(x)) (Misra 2019): an example of a new element-wise operation with its gradient."""

import numpy as np

from netc.extend import Value, apply, elementwise


def _slope(x: Value) -> Value:
    """The derivative: tanh(s) + x * (1 - tanh(s) ** 2) * sigmoid(x) with s = softplus(x).

    It is made of operations, so it can be differentiated too.
    """
    t = apply("tanh", apply("softplus", x))
    return t + x * (1 - t * t) * apply("sigmoid", x)


mish = elementwise(
    "mish",
    "x * tanh(softplus(x)), smooth and not monotone (Misra 2019).",
    scalar="x * tanh(max(x, T(0)) + log1p(exp(-abs(x))))",
    reference=lambda x: x * np.tanh(np.logaddexp(0, x)),
    gradient=lambda g, r, x: g * _slope(x),
)
