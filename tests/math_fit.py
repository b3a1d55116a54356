"""Fits the polynomials of compiler/targets/cpu/math/: `python -m tests.math_fit NAME` prints a table of coefficients.

Each fit minimises the largest relative error of a function by the exchange algorithm of Remez, in mpmath. Coefficients
are then rounded to the type. mpmath comes with PyTorch; netc does not need it.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpmath import mp, mpf

mp.dps = 50
_GRID = 400  # points at which the error is examined
_TURNS = 12


@dataclass(frozen=True)
class Fit:
    """`target(x)` is approximated by the sum of c[k] * x**powers[k] for x in `interval`; `weight(x)` turns an error of
    the sum into the relative error that counts. `kind` is the type to which coefficients are rounded."""

    target: Callable[[Any], Any]
    powers: Sequence[int]
    interval: tuple[Any, Any]
    weight: Callable[[Any], Any]
    kind: type[np.floating[Any]]
    has_two_parts: bool = False  # whether the first coefficient is written as a number and its rest

    def coefficients(self) -> tuple[list[float], float]:
        """The rounded coefficients in the order of `powers`, and the largest weighted error."""
        low, high = map(mpf, self.interval)
        middle, half = (low + high) / 2, (high - low) / 2
        points = [middle - half * mp.cos(mp.pi * (i + mpf("0.37")) / _GRID) for i in range(_GRID)]
        weights = [abs(self.weight(x)) for x in points]
        columns = [[x**power * w for x, w in zip(points, weights, strict=True)] for power in self.powers]
        rest = [self.target(x) * w for x, w in zip(points, weights, strict=True)]
        solution = _remez(rest, columns)
        result = [float(self.kind(float(c))) for c in solution]
        rests = [float(self.kind(float(c - r))) for c, r in zip(solution, result, strict=True)]
        if self.has_two_parts:
            result, columns = [result[0], rests[0], *result[1:]], [columns[0], *columns]
        errors = (
            abs(value - mp.fdot(result, terms)) for value, terms in zip(rest, zip(*columns, strict=True), strict=True)
        )
        return result, float(max(errors))


def _remez(values: Sequence[Any], columns: Sequence[Sequence[Any]]) -> list[Any]:
    """The factors of the columns whose sum has the least largest distance from the values."""
    count = len(columns)
    indices = [int(_GRID * (i + 0.5) / (count + 1)) for i in range(count + 1)]
    solution: list[Any] = []
    for _ in range(_TURNS):
        rows = [[column[index] for column in columns] + [(-1) ** i] for i, index in enumerate(indices)]
        solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix([values[index] for index in indices])))
        errors = [
            value - mp.fdot(solution[:-1], terms)
            for value, terms in zip(values, zip(*columns, strict=True), strict=True)
        ]
        extremes: list[int] = []
        for i, error in enumerate(errors):
            if extremes and (error > 0) == (errors[extremes[-1]] > 0):
                if abs(error) > abs(errors[extremes[-1]]):
                    extremes[-1] = i
            else:
                extremes.append(i)
        while len(extremes) > count + 1:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if len(extremes) < count + 1 or extremes == indices:
            break
        indices = extremes
    return solution[:-1]


F32, F64 = np.float32, np.float64
_ROOT = mp.sqrt(mpf(2))
_PI = mp.pi


def _exp_rest(x: Any) -> Any:
    return (mp.expm1(x) - x) / x**2


def _log_rest(f: Any) -> Any:
    return (mp.log1p(f) - f + f * f / 2) / f**3


def _log_ratio(z: Any) -> Any:
    """For z = s * s, s = f / (2 + f): log(1 + f) = 2 s + s * z * R(z)."""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z)


def _pow_ratio(z: Any) -> Any:
    """For z = s * s, s = f / (2 + f): log(1 + f) = 2 s + s * z * (2 / 3 + z * W(z))."""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s - s * z * 2 / 3) / (s * z * z)


def _phi(t: Any) -> Any:
    """The probability that a normal variable is above t, over the density's exponential: exp(t**2 / 2) Q(t)."""
    return mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2


def _scaled_tail(c: Any, a: Any) -> Any:
    """(1 + c t) exp(t**2 / 2) Q(t) over u = (t - a) / (t + a)."""

    def target(u: Any) -> Any:
        t = a * (1 + u) / (1 - u)
        return _phi(t) * (1 + c * t)

    return target


def _odd(function: Any) -> Any:
    """(function(x) - x) / x**3 over z = x * x."""

    def target(z: Any) -> Any:
        x = mp.sqrt(z)
        return (function(x) - x) / (x * z)

    return target


def _odd_weight(function: Any) -> Any:
    def weight(z: Any) -> Any:
        x = mp.sqrt(z)
        return x * z / function(x)

    return weight


def _relative(function: Any) -> Any:
    return lambda x: 1 / function(x)


def _tail(count: int, kind: Any, most: float, c: float, a: float) -> Fit:
    target = _scaled_tail(mpf(c), mpf(a))
    return Fit(target, range(count), (-1, (mpf(most) - a) / (mpf(most) + a)), _relative(target), kind, True)


def _fit_odd(function: Any, count: int, most: Any, kind: Any) -> Fit:
    return Fit(_odd(function), range(count), (0, mpf(most) ** 2), _odd_weight(function), kind)


def _erf_near_0(count: int, kind: Any) -> Fit:
    """erf(x) / x - 1 over x**2."""

    def target(z: Any) -> Any:
        x = mp.sqrt(z)
        return mp.erf(x) / x - 1

    return Fit(target, range(count), (0, mpf("1.001")), lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)), kind)


def _erf_far_from_0(count: int, most: float, kind: Any) -> Fit:
    """-log(1 - erf(x)), with the error that it makes in erf(x)."""
    return Fit(lambda x: -mp.log(mp.erfc(x)), range(count), (mpf("0.99"), most), mp.erfc, kind)


_LN2_HALF = 0.3467
FITS: dict[str, Fit] = {
    "exp_f32": Fit(_exp_rest, range(5), (-_LN2_HALF, _LN2_HALF), lambda x: x * x / mp.expm1(x), F32),
    "exp_f64": Fit(_exp_rest, range(11), (-_LN2_HALF, _LN2_HALF), lambda x: x * x / mp.expm1(x), F64),
    "exp2_pow_f32": Fit(lambda x: mpf(2) ** x, range(7), (-0.5, 0.5), lambda x: mpf(2) ** -x, F64),
    "log_f32": Fit(_log_rest, range(9), (1 / _ROOT - 1, _ROOT - 1), lambda f: f**3 / mp.log1p(f), F32),
    "log2_pow_f32": Fit(
        lambda f: mp.log1p(f) / f / mp.log(2), range(13), (1 / _ROOT - 1, _ROOT - 1), lambda f: f / mp.log1p(f), F64
    ),
    "pow_f64": Fit(_pow_ratio, range(8), (0, mpf("0.17158") ** 2), lambda z: z * z / 2, F64),
    "log_f64": Fit(_log_ratio, range(7), (0, mpf("0.17158") ** 2), lambda z: z / 2, F64),
    "tail_f32": _tail(11, F32, 14, 1, 4),
    "tail_f64": _tail(26, F64, 38.6, 1, 5),
    "sin_f32": _fit_odd(mp.sin, 4, 0.7855, F32),
    "sin_f64": _fit_odd(mp.sin, 6, 0.7855, F64),
    "cos_f32": Fit(
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, range(3), (0, mpf("0.7855") ** 2), lambda z: z**2, F32
    ),
    "cos_f64": Fit(
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, range(6), (0, mpf("0.7855") ** 2), lambda z: z**2, F64
    ),
    "erf_small_f32": _erf_near_0(7, F32),
    "erf_small_f64": _erf_near_0(13, F64),
    "erf_large_f32": _erf_far_from_0(8, 3.95, F32),
    "erf_large_f64": _erf_far_from_0(21, 5.95, F64),
    "sinh_f32": _fit_odd(mp.sinh, 4, 1, F32),
    "sinh_f64": _fit_odd(mp.sinh, 8, 1, F64),
    "atan_f32": _fit_odd(mp.atan, 9, 1, F32),
    "atan_f64": _fit_odd(mp.atan, 21, 1, F64),
    "asin_f32": _fit_odd(mp.asin, 5, 0.5, F32),
    "asin_f64": _fit_odd(mp.asin, 12, 0.5, F64),
}


def main(names: Sequence[str]) -> None:
    for name in names or FITS:
        fit = FITS[name]
        coefficients, error = fit.coefficients()
        digits = 9 if fit.kind is F32 else 17
        print(f"{name}: 2^{math.log2(error):.1f}")
        print("    " + ", ".join(f"{c:.{digits}g}" for c in coefficients))


if __name__ == "__main__":
    main(sys.argv[1:])
