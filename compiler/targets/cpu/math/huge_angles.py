"""The reduction of any angle by pi/2 in integers, one number at a time (Payne and Hanek).

x = m 2**e with a whole number m of 53 bits. In x 2/pi, the bits of 2/pi that give multiples of 4 are left out; 192
bits behind them are enough, because no number of f64 is closer to a multiple of pi/2 than 2**-62.
"""

from itertools import pairwise

from llvmlite import ir

from netc.compiler.targets.cpu.math.pairs import product
from netc.compiler.targets.cpu.math.terms import Term, fma, select

_ZEROS = 64  # bits in front of 2/pi, for angles with bits behind the binary point
_WORDS = 22  # of 64 bits, for the largest exponent
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)


def reduced(x: Term) -> tuple[Term, Term, Term]:
    """n modulo 4, and r in two parts, of a finite f64 with a magnitude of at least 2**8 (see trigonometry.py)."""
    bits = x.bits()
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    exponent = (bits.unsigned_shift(52) & 0x7FF) - 1075
    product_bits = _product(m, exponent - 2 + _ZEROS)
    n = (product_bits + (1 << 125)).unsigned_shift(126)
    r, low = _angle(product_bits << 2)
    is_negative = bits < 0
    n = n.to("i64")
    return select(is_negative, -n, n), select(is_negative, -r, r), select(is_negative, -low, low)


def _product(m: Term, position: Term) -> Term:
    """m times the bits from a position, modulo 4, as an integer of 128 bits of which 126 are behind the point."""
    first, shift = position.unsigned_shift(6), position & 63
    words = [_load(first + i) for i in range(4)]
    top, middle, low = (_joined(a, b, shift) for a, b in pairwise(words))
    m = m.zero_extended("i128")
    rest = (m * low.zero_extended("i128")).unsigned_shift(64)
    return ((m * top.zero_extended("i128")) << 64) + m * middle.zero_extended("i128") + rest


def _joined(first: Term, second: Term, shift: Term) -> Term:
    """The 64 bits that begin `shift` bits behind the start of two words."""
    both = (first.zero_extended("i128") << 64) | second.zero_extended("i128")
    return (both.unsigned_shift((64 - shift).zero_extended("i128"))).to("i64")


def _angle(fraction: Term) -> tuple[Term, Term]:
    """A signed fraction of 128 bits times pi/2, in two parts."""
    size = select(fraction < 0, -fraction, fraction)
    zeros = _leading_zeros(size)
    size = size << zeros
    high = size.unsigned_shift(75).to("i64").to("f64")
    low = (size.unsigned_shift(22).to("i64") & ((1 << 53) - 1)).to("f64") * 2.0**-53
    result, error = product(high, high.like(_HALF_PI[0]))
    rest = fma(high, _HALF_PI[1], fma(low, _HALF_PI[0], error))
    total = result + rest
    scale = ((1023 - 53 - zeros.to("i64")) << 52).as_float("f64")
    scale = select(fraction < 0, -scale, scale)
    return total * scale, ((result - total) + rest) * scale


def _leading_zeros(x: Term) -> Term:
    builder = x.scope.builder
    return Term(x.scope, x.dtype, builder.ctlz(x.value, ir.Constant(ir.IntType(1), 0)))


def _load(index: Term) -> Term:
    """A word of the bits of 2/pi."""
    builder = index.scope.builder
    name = "netc_two_over_pi"
    type_ = ir.ArrayType(ir.IntType(64), _WORDS)
    table = builder.module.globals.get(name)
    if table is None:
        table = ir.GlobalVariable(builder.module, type_, name)
        table.linkage, table.global_constant = "internal", True
        bits = _two_over_pi(64 * _WORDS - _ZEROS)
        table.initializer = ir.Constant(
            type_, [ir.Constant(ir.IntType(64), (bits >> (64 * i)) & (2**64 - 1)) for i in reversed(range(_WORDS))]
        )
    address = builder.gep(table, [ir.Constant(ir.IntType(64), 0), index.value])
    return Term(index.scope, "i64", builder.load(address))


def _two_over_pi(bits: int) -> int:
    """2/pi times 2**bits, rounded down. pi by Machin's formula."""
    scale = 1 << (2 * bits)

    def arccot(x: int) -> int:
        total, term, k = 0, scale // x, 0
        while term:
            total += term // (2 * k + 1) * (-1) ** k
            term, k = term // (x * x), k + 1
        return total

    pi = 4 * (4 * arccot(5) - arccot(239))
    return (2 * scale << bits) // pi
