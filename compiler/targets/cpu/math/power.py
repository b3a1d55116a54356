"""pow: 2 ** (y log2 |x|) in f32, computed in f64; exp(y log |x|) in f64, where the logarithm has two parts."""

import math

from netc.compiler.targets.cpu.math.exponential import LN2, reduced
from netc.compiler.targets.cpu.math.logarithm import split
from netc.compiler.targets.cpu.math.pairs import add, product
from netc.compiler.targets.cpu.math.rounding import nearest
from netc.compiler.targets.cpu.math.terms import (
    Term,
    absolute,
    fma,
    polynomial,
    power_of_two,
    rounded,
    scaled,
    select,
)

_LOG2 = (  # log2(1 + f) / f
    *(1.4426950408687065, -0.72134752086814025, 0.48089836139592085, -0.36067367492465491, 0.28853729337875733),
    *(-0.24045316065276834, 0.20617536105319006, -0.18030071202825404, 0.15876984282152232, -0.14315531971411785),
    *(0.14474732930632936, -0.14284375497289123, 0.077376899157680673),
)
_EXP2 = (  # 2**r for |r| <= 1/2
    *(1.0000000005539873, 0.69314720573635435, 0.24022646891855015, 0.05550328779385566, 0.0096184888455527855),
    *(0.0013399930213109574, 0.00015345835199727931),
)
_RATIO = (
    *(0.3999999999999998, 0.28571428571445107, 0.22222222217537119, 0.18181818870236657, 0.15384556876170935),
    *(0.13336317225132727, 0.11674822350697019, 0.11988981828442823),
)  # (log(1 + f) - 2 s - s**3 * 2 / 3) / s**5 over s**2
_TWO_THIRDS = (2 / 3, 3.700743415417188e-17)
_MOST = 200.0  # 2**200 is infinite in f32


def pow(x: Term, y: Term) -> Term:
    """x ** y, with the special cases of IEEE 754."""
    return _signed(x, y, (_of_f32 if x.dtype == "f32" else _of_f64)(absolute(x), y))


def _of_f32(x: Term, y: Term) -> Term:
    """x ** y for x >= 0, but for x = 1 and y = 0. The logarithm has 35 bits, so the error is below 1 unit."""
    wide, exponent = x.to("f64"), y.to("f64")
    e, _, m = split(wide)
    f = m - 1
    logarithm = _with_ends(wide, f * polynomial(f, _LOG2) + e)
    power = select(wide.equals(1), 0.0, exponent * logarithm)
    power = select(power > _MOST, _MOST, select(power < -_MOST, -_MOST, power))
    whole, n = rounded(power)
    return (polynomial(power - whole, _EXP2) * power_of_two(n, "f64")).to("f32")


def _of_f64(x: Term, y: Term) -> Term:
    """x ** y for x >= 0, but for x = 1 and y = 0."""
    high, low = _logarithm(x)
    power, rest = product(_with_ends(x, high), y)
    power = select(x.equals(1), 0.0, power)
    is_finite = (absolute(power) < 800) & ~x.equals(1)
    rest = select(is_finite, fma(low, y, rest), 0.0)
    limited = select(is_finite, power, 0.0)
    n, p = reduced(limited, rest)
    result = 1 + p
    result = select(limited > 709, scaled(result, n - 1) * 2, scaled(result, n))  # 2**1024 is infinite
    result = select(limited < -708.3964185322641, 0.0, result)
    ends = select(power > 709.8, math.inf, select(power < -709, 0.0, power))
    return select(absolute(power) <= 709.8, result, ends)


def _with_ends(x: Term, logarithm: Term) -> Term:
    """The logarithm of x >= 0, also where x is 0 or infinite."""
    largest = float.fromhex("0x1.fffffffffffffp1023") if x.dtype == "f64" else 3.4028234e38
    return select(x.equals(0), -math.inf, select(x <= largest, logarithm, math.inf))


def _logarithm(x: Term) -> tuple[Term, Term]:
    """log(x) in two parts, with an error below 2**-65 of it, for a positive normal number.

    log(1 + f) = 2 s + s**3 (2 / 3 + s**2 W(s**2)) with s = f / (2 + f), where all but W have two parts.
    """
    e, _, m = split(x)
    f = m - 1
    below = 1 + m
    lost = m - (below - 1)
    inverse = 1 / below
    s = f * inverse
    back, error = product(s, below)
    s_low = (((f - back) - error) - s * lost) * inverse
    z, z_low = product(s, s)
    z_low = z_low + s * s_low * 2
    w = z * polynomial(z, _RATIO)
    factor, factor_low = add(w.like(_TWO_THIRDS[0]), w)
    factor_low = factor_low + _TWO_THIRDS[1]
    cube, cube_low = product(s, z)
    cube_low = cube_low + fma(s, z_low, s_low * z)
    rest, rest_low = product(cube, factor)
    rest_low = rest_low + fma(cube, factor_low, cube_low * factor)
    high, low = add(s * 2, rest)
    low = low + (s_low * 2 + rest_low)
    total, total_low = add(e * LN2["f64"][0], high)
    total_low = total_low + fma(e, LN2["f64"][1], low)
    return add(total, total_low)


def _signed(x: Term, y: Term, result: Term) -> Term:
    """x ** y from |x| ** y: its sign, NaN where it has no value, and 1 where x is 1 or y is 0."""
    size = absolute(y)
    is_whole, half = nearest(size).equals(size), size * 0.5
    is_odd = is_whole & ~nearest(half).equals(half)
    result = select(is_odd & (x.bits() < 0), -result, result)
    result = select((x < 0) & (x > -math.inf) & ~is_whole, math.nan, result)
    result = select(x.is_nan() | y.is_nan(), x + y, result)
    return select(x.equals(1) | y.equals(0), 1.0, result)
