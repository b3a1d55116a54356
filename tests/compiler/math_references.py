"""The functions of kernels in NumPy's long double, which has 11 bits more than f64 on x86, as references for their
errors. Also the operands that tests take."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Wide = np.longdouble
_ROOT = np.sqrt(Wide(2))


def _erf(x: Array) -> Array:
    """2 / sqrt(pi) exp(-x**2) (x + 2 x**3 / 3 + 4 x**5 / 15 + ...), without cancellation; 1 from 7."""
    limited = np.clip(x, -7, 7)
    term, total = limited, limited
    for k in range(1, 160):
        term = term * 2 * limited * limited / (2 * k + 1)
        total = total + term
    return total * np.exp(-limited * limited) / np.sqrt(np.arctan(Wide(1)))


def _erfc_above_2(x: Array) -> Array:
    """1 - erf(x) as a continued fraction (Laplace)."""
    rest = x
    for k in range(120, 0, -1):
        rest = x + Wide(k) / 2 / rest
    return np.exp(-x * x) / rest / np.sqrt(4 * np.arctan(Wide(1)))


def _normal_cdf(x: Array) -> Array:
    scaled = -x / _ROOT
    return np.where(scaled > 2, _erfc_above_2(np.maximum(scaled, 2)), 1 - _erf(scaled)) / 2


REFERENCES: dict[str, Callable[..., Array]] = {
    **{name: getattr(np, name) for name in ("exp", "log", "log1p", "expm1", "tanh", "sinh", "cosh")},
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sqrt", "floor", "rint")},
    **{"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "pow": np.power},
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "erf": _erf,
    "normal_cdf": _normal_cdf,
    "gelu": lambda x: x * _normal_cdf(x),
}
# where operands are drawn from: the limits for f32 and those for f64; of two operands, the second is drawn as the first
_ANY = ((-3e38, 3e38), (-1e308, 1e308))
DOMAINS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "exp": ((-87.3, 88.7), (-708.3, 709.7)),
    "expm1": ((-90, 88.7), (-708, 709.7)),
    "sinh": ((-89, 89), (-710, 710)),
    "cosh": ((-89, 89), (-710, 710)),
    "tanh": ((-20, 20), (-40, 40)),
    "sigmoid": ((-87.3, 90), (-708.3, 710)),
    "softplus": ((-87.3, 90), (-708.3, 710)),
    "erf": ((-5, 5), (-7, 7)),
    "normal_cdf": ((-12.9, 9), (-37.5, 12)),
    "gelu": ((-13, 9), (-37.5, 12)),
    "log": ((0, 3e38), (0, 1e308)),
    "log1p": ((-1, 3e38), (-1, 1e308)),
    "sqrt": ((0, 3e38), (0, 1e308)),
    "asin": ((-1, 1), (-1, 1)),
    "acos": ((-1, 1), (-1, 1)),
    "pow": ((0, 80), (0, 130)),
    **dict.fromkeys(("sin", "cos", "tan", "atan", "atan2", "floor", "rint"), _ANY),
}


# where `python -m tests.math_errors --all` found the largest errors of f32, before and after a function was mended; for
# atan, where errors of f64 are beyond what is stated if even and odd powers of all coefficients are added side by side
HARDEST: dict[str, tuple[float, ...]] = {
    "exp": (-59.916298,),
    "log": (1.4120755,),
    "erf": (1.0722132,),
    "gelu": (-1.8593023, -1.8511372, -1.857272, -13.035075),
    "normal_cdf": (-12.491942, -12.038802, -12.210643, -9.6749935),
    "sin": (8233.3281,),
    "atan": (-1.0004415109076152, -0.9767817933334415),
    "sinh": (89.4159851,),
    "cosh": (89.4159851,),
}


def operands(name: str, dtype: str, count: int, seed: int = 1) -> Array:
    """Operands of a word: the hardest ones, then random ones.

    Of these a third lie evenly in its domain, a third near 0, and a third have any magnitude.
    """
    rng, kind = np.random.default_rng(seed), {"f32": np.float32, "f64": np.float64}[dtype]
    low, high = DOMAINS[name][dtype == "f64"]
    near, exponents = min(high, 4.0), (-37, 38) if dtype == "f32" else (-300, 308)
    far = 10 ** rng.uniform(*exponents, count) * rng.choice((-1, 1), count)
    choices = [rng.uniform(low, min(high, 1e6), count), rng.uniform(max(low, -near), near, count), far]
    x = np.choose(np.arange(count) % 3, choices)
    x = np.where((x > low) & (x < high), x, choices[1])
    hardest = HARDEST.get(name, ())[:count]
    x[: len(hardest)] = hardest
    return x.astype(kind)


def errors(name: str, results: Array, *arrays: Array) -> Array:
    """The distance of each result from the exact one, in units in the last place of the result's type.

    A subnormal result may be 0, because workers write it so.
    """
    kind = results.dtype.type
    with np.errstate(all="ignore"):
        exact = REFERENCES[name](*(array.astype(Wide) for array in arrays))
        size = np.maximum(np.abs(exact), Wide(np.finfo(kind).tiny))
        units = np.abs(results.astype(Wide) - exact) / np.exp2(np.floor(np.log2(size)) - np.finfo(kind).nmant)
        is_right = (results == exact.astype(kind)) & ~np.isfinite(results) | (np.isnan(results) & np.isnan(exact))
        is_flushed = (np.abs(exact) < np.finfo(kind).tiny) & (np.abs(results) <= np.finfo(kind).tiny)
    return np.where(is_right | is_flushed, 0, np.nan_to_num(units, nan=np.inf)).astype(np.float64)
