"""Numbers in two parts, high and low: the exact error of a sum or a product (Dekker, Knuth)."""

from netc.compiler.targets.cpu.math.terms import Term, fma


def add_smaller(x: Term, y: Term) -> tuple[Term, Term]:
    """x + y, and what it rounds away, where y is not larger than x, or x is 0."""
    total = x + y
    return total, y - (total - x)


def product(x: Term, y: Term) -> tuple[Term, Term]:
    """x * y, and what it rounds away."""
    result = x * y
    if x.scope.has_fma:
        return result, fma(x, y, -result)
    (a, b), (c, d) = halves(x), halves(y)
    return result, ((a * c - result) + a * d + b * c) + b * d


def halves(x: Term) -> tuple[Term, Term]:
    """x as the sum of two numbers. The first has at most half of the bits, so that its square is exact."""
    form = x.format
    high = (x.bits() & -(1 << (form.fraction // 2 + 1))).as_float(x.dtype)
    return high, x - high
