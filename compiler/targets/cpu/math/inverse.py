"""atan, atan2, asin and acos.

atan(q) is a polynomial for |q| <= 1; beyond, atan(x) = pi/2 - atan(1 / x). asin(s) is a polynomial for |s| <= 1/2;
beyond, asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)). pi has two parts, and the larger terms are added first.
"""

from netc.compiler.targets.cpu.math.terms import Term, absolute, fma, polynomial, select, square_root, with_sign

_ATAN = {  # (atan(q) - q) / q**3 over q**2
    "f32": (
        *(-0.333332986, 0.199985474, -0.142642409, 0.109521799, -0.0840343609, 0.0579573847, -0.031177666),
        *(0.0109145232, -0.00179360562),
    ),
    "f64": (
        *(-0.33333333333333287, 0.19999999999990448, -0.14285714285036633, 0.11111111086447675),
        *(-0.090909085472650142, 0.076922997119205028, -0.066665837241108458, 0.058817161622856599),
        *(-0.052594338272588345, 0.047449262562022289, -0.042863913156093093, 0.038210072932231436),
        *(-0.0327854450832833, 0.026151691399586594, -0.018614229680912416, 0.011317680926152009),
        *(-0.0056124101243583803, 0.0021516003807262735, -0.0005928978008614492, 0.00010387291732523949),
        *(-8.6543114836083464e-06,),
    ),
}
_ALTERNATING = 9  # of its coefficients are added one by one: with 5, errors in f64 reach 1.6 to 1.8 units
_ASIN = {  # (asin(s) - s) / s**3 over s**2
    "f32": (0.166667521, 0.0749529749, 0.0454703569, 0.0241796207, 0.0421661213),
    "f64": (
        *(0.16666666666665408, 0.07500000000337044, 0.044642856828313024, 0.030381959137350208),
        *(0.02237175804551381, 0.017359704787725843, 0.013885235623844418, 0.012169208440128825),
        *(0.0065279968345253302, 0.01952818877548643, -0.016224110140465972, 0.031912158878222435),
    ),
}
_PI = {"f32": (3.1415927410125732, -8.742277657347586e-08), "f64": (3.141592653589793, 1.2246467991473532e-16)}


def atan(x: Term) -> Term:
    """The angle whose tangent is x, from -pi/2 to pi/2."""
    size = absolute(x)
    is_steep = size > 1
    quotient = select(is_steep, 1 / size, size)
    half = select(is_steep, 1.0, x.like(0.0))
    return with_sign(_angle(select(is_steep, -quotient, quotient), half), x)


def atan2(y: Term, x: Term) -> Term:
    """The angle of the point (x, y), from -pi to pi. A NaN reaches the quotient, and so the result."""
    height, width = absolute(y), absolute(x)
    is_steep, is_left = height > width, x.bits() < 0
    above, below = select(is_steep, width, height), select(is_steep, height, width)
    below = select(below < x.format.tiny, x.format.tiny, below)  # 0 / 0
    quotient = select(above.equals(below), 1.0, above / below)  # infinities
    half = select(is_steep, 1.0, select(is_left, x.like(2.0), 0.0))
    return with_sign(_angle(select(is_steep ^ is_left, -quotient, quotient), half), y)


def _angle(quotient: Term, halves: Term) -> Term:
    """atan(quotient) + halves * pi/2."""
    high, low = _PI[quotient.dtype]
    z = quotient * quotient
    rest = quotient * z * polynomial(z, _ATAN[quotient.dtype], _ALTERNATING)
    return (halves * (high / 2) + quotient) + fma(halves, low / 2, rest)


def asin(x: Term) -> Term:
    """The angle whose sine is x, from -pi/2 to pi/2; NaN beyond -1 and 1."""
    high, low = _PI[x.dtype]
    size, is_steep, s, rest = _sine_parts(x)
    flat = fma(size, rest, size)
    steep = fma(s, -2, high / 2)
    lost = fma(s, -2, high / 2 - steep)
    steep = steep + (fma(s * rest, -2, low / 2) + lost)
    return with_sign(select(is_steep, steep, flat), x)


def acos(x: Term) -> Term:
    """The angle whose cosine is x, from 0 to pi; NaN beyond -1 and 1."""
    high, low = _PI[x.dtype]
    _, is_steep, s, rest = _sine_parts(x)
    flat = (high / 2 - x) + fma(-x, rest, low / 2)
    right = fma(s, rest, s) * 2
    left = fma(s, -2, high) + fma(s * rest, -2, low)
    return select(is_steep, select(x > 0, right, left), flat)


def _sine_parts(x: Term) -> tuple[Term, Term, Term, Term]:
    """|x|, whether it is above 1/2, the argument s of the polynomial, and asin(s) / s - 1."""
    size = absolute(x)
    is_steep = size > 0.5
    z = select(is_steep, fma(size, -0.5, 0.5), size * size)
    return size, is_steep, square_root(z), z * polynomial(z, _ASIN[x.dtype])
