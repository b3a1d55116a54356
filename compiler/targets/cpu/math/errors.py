"""The largest error of each function, as docs/kernels.md states it and tests check it.

`python -m tests.math_errors` measures them.
"""

# in units in the last place, in f32 and in f64
ERRORS: dict[str, tuple[float, float]] = {
    "exp": (1.5, 1.0),
    "log": (1.0, 1.0),
    "log1p": (1.5, 1.0),
    "softplus": (2.0, 2.0),
    "expm1": (1.5, 1.5),
    "tanh": (2.0, 2.0),
    "sigmoid": (2.0, 2.0),
    "sinh": (2.0, 2.0),
    "cosh": (1.5, 1.5),
    "erf": (1.5, 1.5),
    "normal_cdf": (2.0, 2.0),
    "gelu": (2.0, 2.0),
    "pow": (1.0, 1.5),
    "sin": (2.0, 2.0),
    "cos": (2.0, 2.0),
    "tan": (2.0, 2.0),
    "asin": (2.0, 2.0),
    "acos": (1.5, 1.5),
    "atan": (1.5, 1.5),
    "atan2": (2.0, 2.0),
    "sqrt": (0.5, 0.5),
    "floor": (0.0, 0.0),
    "rint": (0.0, 0.0),
}
