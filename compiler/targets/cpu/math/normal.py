"""erf and the cumulative normal distribution, which is in gelu.

Below 1, erf is x times a polynomial over x**2; above, 1 - exp(-q(x)) with a polynomial q. The normal distribution
has the tail exp(-t**2 / 2) S(u) / (1 + t) with t = |x| and u = (t - a) / (t + a): S stays between 0.39 and 0.53, so
the tail keeps its relative precision as far as numbers reach.
"""

from netc.compiler.targets.cpu.math.exponential import reduced, reduced_sum
from netc.compiler.targets.cpu.math.pairs import halves, product
from netc.compiler.targets.cpu.math.terms import (
    Term,
    absolute,
    fma,
    polynomial,
    power_of_two,
    select,
    with_sign,
)

_SMALL = {  # erf(x) / x - 1 over x**2, up to 1
    "f32": (0.128379166, -0.37612626, 0.112835839, -0.0268537663, 0.00518823182, -0.000800927053, 7.85054362e-05),
    "f64": (
        *(0.12837916709551259, -0.37612638903183748, 0.11283791670954854, -0.026866170645072331),
        *(0.0052239776247751477, -0.00085483269784006387, 0.0001205533102399654, -1.4925593186689095e-05),
        *(1.646096752649906e-06, -1.6349967588983563e-07, 1.4657482336348619e-08, -1.1364093364107129e-09),
        *(5.9425436237793356e-11,),
    ),
}
_LARGE = {  # -log(1 - erf(x)), from 1
    "f32": (
        *(-0.000188034232, 1.12957835, 0.633219957, 0.108418524, -0.0252082236, 0.00420455029, -0.000441334094),
        *(2.16866629e-05,),
    ),
    "f64": (
        *(-2.6963569152388841e-08, 1.1283795106785139, 0.63661770167011222, 0.1027804563854917),
        *(-0.019149479911014431, -0.00016687958863491299, 0.001629818933683887, -0.00050693525691298787),
        *(-5.8653549020895257e-05, 0.000134716567070871, -7.7482932509508902e-05, 2.979352582892548e-05),
        *(-8.728571913963089e-06, 2.0247265960569928e-06, -3.7510676559920677e-07, 5.5114291967687182e-08),
        *(-6.2964376536683693e-09, 5.3991981438682935e-10, -3.2707301535252072e-11, 1.2478667742680142e-12),
        *(-2.2540940126744129e-14,),
    ),
}
_SATURATED = {"f32": 3.95, "f64": 5.95}  # erf is 1 from here
_TAIL = {  # S over u; the first coefficient has two parts
    "f32": (
        *(0.4720532, 6.88745327e-09, -0.0967034698, 0.0139995916, 0.0285999961, -0.0321971811, 0.017940158),
        *(-0.00500489911, -0.000304093381, 0.00069367612, -5.93699915e-05, -7.11720349e-05),
    ),
    "f64": (
        *(0.46151582985003775, 2.4801310433312703e-17, -0.091552281834008931, 0.031030368425962893),
        *(0.010002352385218009, -0.026401042966270053, 0.024536963244032563, -0.015170415403209127),
        *(0.0065220006626697073, -0.001676072338145089, 7.7916388368717866e-06, 0.00018233411112483357),
        *(-5.3607788613930543e-05, -9.8959889784390843e-06, 9.0605025982406999e-06, -7.0553212180565889e-08),
        *(-1.3089295791479603e-06, 1.280760973720288e-07, 1.9844257066633578e-07, -2.6275649451442843e-08),
        *(-3.301016183787096e-08, 3.3868773310834437e-09, 5.5835413815519326e-09, -4.5635198410486366e-11),
        *(-7.2402341698015361e-10, -7.9008337801707065e-11, 2.6912149442995527e-11),
    ),
}
_INVERSE = (6.59, -13.57, 8.82)  # 1 / x within 3%, from 0.27 to 0.75
_MIDDLE = {"f32": 4.0, "f64": 5.0}  # a
_LAST = {"f32": 13.19, "f64": 37.62}  # x times the tail is 0 from here: it would be subnormal


def erf(x: Term) -> Term:
    """The error function."""
    magnitude, most = absolute(x), _SATURATED[x.dtype]
    small = fma(x, polynomial(x * x, _SMALL[x.dtype]), x)
    limited = select(magnitude > most, most, magnitude)
    n, p = reduced(-polynomial(limited, _LARGE[x.dtype]))
    large = with_sign(1 - power_of_two(n, x.dtype) * (1 + p), x)
    return select(magnitude < 1, small, large)


def normal_cdf(x: Term) -> Term:
    """The probability that a standard normal variable is below x."""
    _, tail, rest, scale = _tail(x)
    tail = (tail + rest) * scale
    return select(x > 0, 1 - tail, tail)


def gelu(x: Term) -> Term:
    """x times the probability that a standard normal variable is below x.

    The tail is multiplied by x before its power of two, so that it does not vanish too early.
    """
    t, tail, rest, scale = _tail(x)
    high, low = product(-t, tail)
    result = high + fma(-t, rest, low)
    return select(x >= 0, fma(result, scale, x), result * scale)


def _tail(x: Term) -> tuple[Term, Term, Term, Term]:
    """t, limited, and the probability of being above t: a number in two parts, and the power of two of both.

    t**2 = high**2 + (t - high) (t + high), where high has so few bits that its square is exact.
    """
    dtype, magnitude = x.dtype, absolute(x)
    is_last = magnitude > _LAST[dtype]
    t = select(is_last, _LAST[dtype], magnitude)
    high, low = halves(t)
    n, p, unreduced = reduced_sum(high * high * -0.5, low * (t + high) * -0.5)
    first, *varying = _TAIL[dtype]
    u = fma(t / (t + _MIDDLE[dtype]), 2, -1)  # the quotient is small where S is steep
    rest = polynomial(u, varying)
    scaled, scaled_rest = product(p, first + rest)
    added = fma(p, first + rest, rest) if x.scope.has_fma else scaled + rest
    numerator, denominator = first + added, t + 1
    # what the sums and the division lost is made up for; 1 / denominator is about quotient times the polynomial
    quotient = numerator / denominator
    high, low = product(quotient, denominator)
    lost = (numerator - high) - low + (added - (numerator - first)) - quotient * (t - (denominator - 1))
    if not x.scope.has_fma:  # two more roundings
        lost = lost + numerator * unreduced + scaled_rest
    rest = lost * quotient * polynomial(numerator, _INVERSE)
    return t, quotient, rest, select(is_last, 0.0, power_of_two(n, dtype))
