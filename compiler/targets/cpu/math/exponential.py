"""exp and what is made of it: expm1, tanh, sigmoid, sinh, cosh.

x = n ln 2 + r with a whole number n and |r| <= ln(2) / 2, where ln 2 is taken in two parts (Cody and Waite), and
exp(r) = 1 + r + r**2 Q(r) with a minimax polynomial Q. Functions near 0 or 1 use p = exp(r) - 1, which has no
cancellation, and add powers of two, which are exact.
"""

import math

from msgspec import Struct

from netc.compiler.targets.cpu.math.terms import (
    Term,
    absolute,
    fma,
    polynomial,
    power_of_two,
    rounded,
    scaled,
    select,
    with_sign,
)


class _Table(Struct, frozen=True):
    """Constants of a format."""

    rest: tuple[float, ...]  # Q
    least: float  # below it, exp is 0: the result would be subnormal
    most: float  # above it, exp is infinite
    most_half: float  # above it, exp / 2 is infinite, and so are sinh and cosh
    minus_one: float  # below it, expm1 is -1
    saturated: float  # above it, tanh is 1
    sinh: tuple[float, ...]  # (sinh(x) - x) / x**3 over x**2, |x| <= 1


# ln 2 in two parts; whole numbers up to 2**11 times the first are exact
LN2 = {"f32": (0.693359375, -0.000212194440), "f64": (0.6931471804855391, 7.440617110012397e-11)}
_TABLES = {
    "f32": _Table(
        (0.49999997, 0.166665435, 0.0416672006, 0.00836653821, 0.00138825201),
        -87.3365402,
        88.7228317,
        89.4159851,
        -17.5,
        9.02,
        (0.166666672, 0.0083333496, 0.000198361595, 2.81695065e-06),
    ),
    "f64": _Table(
        (
            *(0.5, 0.16666666666666677, 0.041666666666666512, 0.0083333333333216689, 0.0013888888888962589),
            *(0.00019841269886031984, 2.4801587172141684e-05, 2.7557244299654483e-06, 2.755740293806632e-07),
            *(2.510900741153538e-08, 2.0875255573777607e-09),
        ),
        -708.3964185322641,
        709.782712893384,
        710.4758600739439,
        -37.5,
        19.1,
        (
            *(0.16666666666666666, 0.0083333333333333332, 0.000198412698412696, 2.7557319224116285e-06),
            *(2.5052108346510564e-08, 1.6059050601067712e-10, 7.6464829082487257e-13, 2.8482326825424932e-15),
        ),
    ),
}


def reduced(x: Term, rest: Term | None = None) -> tuple[Term, Term]:
    """n as an integer and exp(r) - 1, for x or the sum of x and a small rest."""
    n, r = _parts(x, rest)
    return n, fma(r * r, polynomial(r, _TABLES[x.dtype].rest), r)


def reduced_sum(x: Term, rest: Term) -> tuple[Term, Term, Term]:
    """n as an integer and exp(r) - 1, for the sum of x and a small rest, and what r lost when it was rounded."""
    high, low = LN2[x.dtype]
    n, bits = rounded(x, 1 / math.log(2))
    first, second = fma(n, -high, x), fma(n, -low, rest)
    r = first + second
    return bits, fma(r * r, polynomial(r, _TABLES[x.dtype].rest), r), second - (r - first)


def _parts(x: Term, rest: Term | None = None) -> tuple[Term, Term]:
    """n as an integer, and r, for x or the sum of x and a small rest."""
    high, low = LN2[x.dtype]
    n, bits = rounded(x, 1 / math.log(2))
    first = fma(n, -high, x)
    return bits, fma(n, -low, first) if rest is None else first + fma(n, -low, rest)


def exp(x: Term) -> Term:
    """e ** x, at most 1 unit in the last place from the exact result; 0 where that is subnormal."""
    return select(x <= _TABLES[x.dtype].most, exp_of_negative(x), x + math.inf)  # infinity, or NaN for NaN


def exp_of_negative(x: Term) -> Term:
    """e ** x of a number that is not above 0; arbitrary for NaN."""
    n, p = reduced(x)
    return select(x < _TABLES[x.dtype].least, 0.0, scaled(p + 1, n))


def expm1(x: Term) -> Term:
    """exp(x) - 1 = 2 (s r + (s - 1/2) + s r**2 Q(r)) with s = 2**(n - 1), which is finite for every x."""
    table = _TABLES[x.dtype]
    n, r = _parts(x)
    s = power_of_two(n - 1, x.dtype)
    rest = r * r * polynomial(r, table.rest)
    result = fma(s, rest, fma(s, r, s - 0.5)) * 2
    result = select(x < table.minus_one, -1.0, result)
    result = select(x <= table.most, result, x + math.inf)
    return select(absolute(x) < 2.0 ** -(x.format.fraction + 2), x, result)


def tanh(x: Term) -> Term:
    """(1 - e) / (1 + e) with e = exp(-2 |x|) = s + s p."""
    magnitude = absolute(x)
    most = _TABLES[x.dtype].saturated
    n, p = reduced(select(magnitude > most, most, magnitude) * -2)
    s = power_of_two(n, x.dtype)
    return with_sign(fma(-s, p, 1 - s) / fma(s, p, 1 + s), x)


def sigmoid(x: Term) -> Term:
    """1 / (1 + exp(-x)) = i / (1 + p + i) with i = 2**-n."""
    table = _TABLES[x.dtype]
    n, p = reduced(-x)
    inverse = power_of_two(-n, x.dtype)
    result = select(x < table.least, 0.0, inverse / (1 + (p + inverse)))
    return select(x > -table.least, 1.0, result)


def _half_exp(x: Term) -> Term:
    """exp(x) / 2 for x >= 0."""
    n, p = reduced(x)
    return scaled(p + 1, n - 1)


def sinh(x: Term) -> Term:
    """A polynomial up to 1, beyond it exp(|x|) / 2 - exp(-|x|) / 2."""
    table = _TABLES[x.dtype]
    magnitude, half = absolute(x), _half_exp(absolute(x))
    large = with_sign(half - 0.25 / half, x)
    small = fma(x * x * x, polynomial(x * x, table.sinh), x)
    result = select(magnitude < 1, small, large)
    return select(magnitude <= table.most_half, result, x * math.inf)


def cosh(x: Term) -> Term:
    """exp(|x|) / 2 + exp(-|x|) / 2."""
    magnitude = absolute(x)
    half = _half_exp(magnitude)
    return select(magnitude <= _TABLES[x.dtype].most_half, half + 0.25 / half, magnitude + math.inf)
