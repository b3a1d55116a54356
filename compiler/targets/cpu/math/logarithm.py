"""log, log1p and softplus.

x = 2**e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), so that e is 0 near 1 and nothing cancels. In f32, log(1 + f) is a
minimax polynomial; in f64 it is a series in s = f / (2 + f) (the method of fdlibm), because a polynomial in f would
have 20 terms.
"""

import math

from netc.compiler.targets.cpu.math.exponential import LN2, exp_of_negative
from netc.compiler.targets.cpu.math.terms import Term, absolute, fma, polynomial, power_of_two, select

_REST_F32 = (
    *(0.333333135, -0.250000089, 0.200021192, -0.166679963, 0.142195523, -0.124055795, 0.118881457, -0.11675708),
    *(0.0674675927,),
)  # (log(1 + f) - f + f**2 / 2) / f**3
_RATIO_F64 = (
    *(0.6666666666666734, 0.39999999999414437, 0.28571428742447136, 0.22222198566477888, 0.18183564703796073),
    *(0.15314040186536956, 0.14796060106167669),
)  # (log(1 + f) - 2 s) / s**3 over s**2


def log(x: Term) -> Term:
    """The natural logarithm; -inf at 0 (and at subnormal numbers, which are 0 to a worker), NaN below 0."""
    e, _, m = split(x)
    return _edges(x, of_parts(m - 1, e))


def log1p(x: Term) -> Term:
    """log(1 + x): the part of x that 1 + x rounds away is added to f, which is then x itself for small x."""
    total = 1 + x
    e, n, m = split(total)
    lost = select(x < 1, x - (total - 1), 1 - (total - x))
    f = (m - 1) + select(x < 2.0**x.format.fraction, lost * power_of_two(-n, x.dtype), 0.0)
    result = of_parts(f, e)
    return select(total.equals(1), x, _edges(total, result))


def softplus(x: Term) -> Term:
    """log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|), which is at most 1: half of 1 + e is close to 1 if
    e is not small."""
    e = exp_of_negative(-absolute(x))
    is_small = e < 2**0.5 - 1
    f = select(is_small, e, fma(e, 0.5, -0.5))
    positive = select(x < 0, 0.0, x)  # NaN for NaN
    return positive + of_parts(f, select(is_small, f.like(0.0), 1.0))


def split(x: Term) -> tuple[Term, Term, Term]:
    """e as a float, e as an integer, and 1 + f, for a positive normal number."""
    form = x.format
    start = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}[x.dtype]  # the bits of sqrt(1/2)
    bits = x.bits() - start
    m = ((bits & ((1 << form.fraction) - 1)) + start).as_float(x.dtype)
    n = bits >> form.fraction if x.dtype == "f32" else None
    if n is not None:
        return n.to(x.dtype), n, m
    # in f64: CPUs before AVX-512 cannot convert integers of 64 bits, nor shift them and keep the sign
    biased = (x.bits() + (0x3FF0000000000000 - start)).unsigned_shift(form.fraction)
    shifted = biased | 0x4330000000000000  # the bits of 2**52 + biased
    return shifted.as_float(x.dtype) - (2.0**52 + form.bias), biased - form.bias, m


def of_parts(f: Term, e: Term) -> Term:
    """log(1 + f) + e ln 2.

    In f64, log(1 + f) = f - s (f - ratio). fdlibm takes f**2 / 2 out of the product where f is between -0.29 and 0.41,
    which has errors of up to 0.86 units in the last place, not 0.90 (0.98 without fused multiply-adds), and takes 1.05
    to 1.15 times as long.
    """
    high, low = LN2[f.dtype]
    if f.dtype == "f32":
        square = f * f
        rest = fma(square, -0.5, fma(e, low, f * square * polynomial(f, _REST_F32)))
        return fma(e, high, f + rest)
    s = f / (f + 2)
    square = s * s
    return fma(e, high, f - fma(s, f - square * polynomial(square, _RATIO_F64), e * -low))


def _edges(x: Term, result: Term) -> Term:
    """The result for positive normal numbers, and what is right for others."""
    edge = select(x < x.format.tiny, select(x < 0, x.like(math.nan), -math.inf), x)
    is_normal = (x.bits() - (1 << x.format.fraction)).is_below((2 * x.format.bias) << x.format.fraction)
    return select(is_normal, result, edge)
