"""sin, cos and tan.

x = n pi/2 + r with a whole number n and |r| <= pi/4, where pi/2 is taken in parts (Cody and Waite), and polynomials
of r. That holds up to a limit. A larger angle is reduced by `huge_angles.py`, which is slow and cannot be
vectorised: loops call functions that correct the results of large angles (calls.py).
"""

import math

from netc.compiler.targets.cpu.math.pairs import add_smaller, product
from netc.compiler.targets.cpu.math.terms import Term, fma, polynomial, rounded, select

_SIN = {  # (sin(r) - r) / r**3 over r**2
    "f32": (-0.166666672, 0.00833332911, -0.000198393114, 2.71811223e-06),
    "f64": (
        *(-0.1666666666666663, 0.0083333333333221044, -0.00019841269829577632, 2.7557313617129229e-06),
        *(-2.5050747076765053e-08, 1.5896189268377546e-10),
    ),
}
_COS = {  # (cos(r) - 1 + r**2 / 2) / r**4 over r**2
    "f32": (0.0416666456, -0.00138873665, 2.44383591e-05),
    "f64": (
        *(0.041666666666666602, -0.001388888888887412, 2.4801587289479359e-05, -2.7557314351484038e-07),
        *(2.0875723153778467e-09, -1.1359641420566199e-11),
    ),
}
# pi/2 in parts; without a fused multiply-add, n times each part but the last must be exact
_PARTS = {
    ("f32", True): (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    ("f32", False): (1.5706787109375, 0.00011761486530303955, 9.920313459588215e-10, 6.223371969669989e-14),
    ("f64", True): (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    ("f64", False): (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32),
}
_LIMITS = {("f32", True): 32768.0, ("f32", False): 1000.0, ("f64", True): 1e8, ("f64", False): 1e6}


def limit(x: Term) -> float:
    """The largest angle that `reduced` takes."""
    return _LIMITS[x.dtype, x.scope.has_fma]


def reduced(x: Term) -> tuple[Term, Term, Term]:
    """n as an integer, and r in two parts. The second part is 0 with a fused multiply-add, where r is exact enough for
    sin and cos."""
    if not x.scope.has_fma:
        return reduced_to_two_parts(x)
    n, bits = rounded(x, 2 / math.pi)
    r = x
    for part in _PARTS[x.dtype, True]:
        r = fma(n, -part, r)
    return bits, r, x.like(0.0)


def reduced_to_two_parts(x: Term) -> tuple[Term, Term, Term]:
    """n as an integer, and r in two parts."""
    n, bits = rounded(x, 2 / math.pi)
    first, second, *rest = _PARTS[x.dtype, x.scope.has_fma]
    r = fma(n, -first, x)  # exact
    step, step_lost = product(n, n.like(-second)) if x.scope.has_fma else (n * -second, n.like(0.0))
    total, low = add_smaller(r, step)  # exact though r may be smaller, because it is a multiple of step's last digit
    low = low + step_lost
    for part in rest[:-1]:  # beside a multiple of pi/2 it cancels most of the total
        total, lost = add_smaller(total, n * -part)
        low = low + lost
    low = fma(n, -rest[-1], low)
    r = total + low
    return bits, r, (total - r) + low


def sin(n: Term, r: Term, low: Term) -> Term:
    """sin(n pi/2 + r)."""
    square = r * r
    return _turned(n, select(_is_odd(n), _cos(square), _sin(r, square)))


def cos(n: Term, r: Term, low: Term) -> Term:
    """cos(n pi/2 + r)."""
    square = r * r
    return _turned(n + 1, select(_is_odd(n), _sin(r, square), _cos(square)))


def tan(n: Term, r: Term, low: Term) -> Term:
    """tan(n pi/2 + r): sin / cos or -(cos / sin), where both are sums of which the lost part is kept."""
    square = r * r
    sine_rest, cosine_rest = _sin_rest(r, square), _cos_rest(square)
    sine, cosine, is_odd = r + sine_rest, 1 + cosine_rest, _is_odd(n)
    sine_lost = (sine_rest - (sine - r)) + low * cosine
    cosine_lost = (cosine_rest - (cosine - 1)) - low * sine
    quotient = select(is_odd, cosine, sine) / select(is_odd, sine, cosine)
    lost = fma(-quotient, select(is_odd, sine_lost, cosine_lost), select(is_odd, cosine_lost, sine_lost))
    inverse = select(is_odd, quotient, 1.0) * (2 - cosine)  # about 1 / below
    return _turned(n << 1, fma(lost, inverse, quotient))


def _sin_rest(r: Term, square: Term) -> Term:
    """sin(r) - r."""
    return r * square * polynomial(square, _SIN[r.dtype])


def _cos_rest(square: Term) -> Term:
    """cos(r) - 1."""
    return fma(square * square, polynomial(square, _COS[square.dtype]), square * -0.5)


def _sin(r: Term, square: Term) -> Term:
    """sin(r)."""
    return fma(r * square, polynomial(square, _SIN[r.dtype]), r)


def _cos(square: Term) -> Term:
    return fma(square * square, polynomial(square, _COS[square.dtype]), fma(square, -0.5, 1))


def _is_odd(n: Term) -> Term:
    return ~(n & 1).equals(0)


def _turned(n: Term, value: Term) -> Term:
    """The value, with its sign changed if n is 2 or 3 (modulo 4)."""
    form = value.format
    width = form.fraction + (9 if value.dtype == "f32" else 12)
    return (value.bits() ^ ((n & 2) << (width - 2))).as_float(value.dtype)
