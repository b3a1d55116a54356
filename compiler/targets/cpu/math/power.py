"""pow: 2 ** (y log2 |x|) in f32, computed in f64; exp(y log |x|) in f64, where the logarithm has two parts."""

import math

from netc.compiler.targets.cpu.math.exponential import LN2, reduced
from netc.compiler.targets.cpu.math.logarithm import split
from netc.compiler.targets.cpu.math.pairs import add_smaller, product
from netc.compiler.targets.cpu.math.terms import (
    Term,
    absolute,
    fma,
    polynomial,
    polynomial_in_halves,
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
_LEAST_F64, _MOST_F64 = -708.3964185322641, 709.782712893384  # exp is 0 below, because subnormal, and infinite above


def pow(x: Term, y: Term) -> Term:
    """x ** y, with the special cases of IEEE 754."""
    return _signed(x, y, (_of_f32 if x.dtype == "f32" else _of_f64)(absolute(x), y))


def _of_f32(x: Term, y: Term) -> Term:
    """x ** y for x >= 0 or NaN. The logarithm has 35 bits, so the error is below 1 unit."""
    wide, exponent = x.to("f64"), y.to("f64")
    e, _, m = split(wide)
    f = m - 1
    logarithm = _with_ends(wide, f * polynomial(f, _LOG2) + e)
    power = select(wide.equals(1) | exponent.equals(0), 0.0, exponent * logarithm)
    power = select(power > _MOST, _MOST, power)
    power = select(power < -_MOST, -_MOST, power)
    integer, n = rounded(power)
    return (polynomial(power - integer, _EXP2) * power_of_two(n, "f64")).to("f32")


def _of_f64(x: Term, y: Term) -> Term:
    """x ** y for x >= 0 or NaN."""
    high, low = _logarithm(x)
    power, rest = product(_with_ends(x, high), y)
    is_one = x.equals(1) | y.equals(0)
    power, rest = select(is_one, 0.0, power), select(is_one, 0.0, fma(low, y, rest))
    n, p = reduced(power, rest)  # arbitrary if the power is infinite
    result = select(power < _LEAST_F64, 0.0, scaled(1 + p, n))
    return select(power <= _MOST_F64, result, power + math.inf)  # NaN for NaN


def _with_ends(x: Term, logarithm: Term) -> Term:
    """The logarithm of x >= 0, also where x is 0, infinite or NaN."""
    largest = float.fromhex("0x1.fffffffffffffp1023") if x.dtype == "f64" else 3.4028234e38
    return select(x.equals(0), -math.inf, select(x <= largest, logarithm, x))


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
    w = z * polynomial_in_halves(z, _RATIO)
    factor, factor_low = add_smaller(w.like(_TWO_THIRDS[0]), w)
    factor_low = factor_low + _TWO_THIRDS[1]
    cube, cube_low = product(s, z)
    cube_low = cube_low + fma(s, z_low, s_low * z)
    rest, rest_low = product(cube, factor)
    rest_low = rest_low + fma(cube, factor_low, cube_low * factor)
    high, low = add_smaller(s * 2, rest)
    low = low + (s_low * 2 + rest_low)
    total, total_low = add_smaller(e * LN2["f64"][0], high)
    total_low = total_low + fma(e, LN2["f64"][1], low)
    return add_smaller(total, total_low)


def _signed(x: Term, y: Term, result: Term) -> Term:
    """x ** y from |x| ** y: its sign, and NaN where it has no value."""
    last, largest = 31 if x.dtype == "f32" else 63, 2.0 ** (x.format.fraction + 1)
    size = absolute(y)
    size = select(size > largest, largest, size)  # larger numbers are even, as this one is; NaN is not an integer
    if x.dtype == "f32":
        number = size.to("i32")
        is_whole = number.to("f32").equals(size)
    else:  # no conversion of vectors before AVX-512
        least = largest / 2  # from here on numbers have no fraction, and their last bit counts ones
        has_fraction = size < least
        counted = select(has_fraction, size + least, size)
        number, is_whole = counted.bits(), select(has_fraction, counted - least, size).equals(size)
    sign = select(is_whole, number << last, 0) & x.bits()
    result = (result.bits() ^ sign).as_float(x.dtype)
    smallest, infinity = x.like(-0.0).bits() + 1, x.like(-math.inf).bits()
    is_negative = (x.bits() - smallest).is_below(infinity - smallest)  # and finite: LLVM compares floats for it twice
    return select(is_negative & ~is_whole, math.nan, result)
