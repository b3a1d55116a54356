"""Roundings: rint, floor, bf16, and the integers that are ordered as floats are. Also sqrt, which is an instruction."""

import math

from llvmlite import ir

from netc.compiler.targets.cpu.llvm.bf16_pairs import BFloat
from netc.compiler.targets.cpu.math.terms import FORMATS, Format, Term, absolute, select, square_root, with_sign
from netc.compiler.targets.cpu.math.vector_versions import version

_SIGN, _EXPONENT, _UPPER, _QUIET = -(1 << 31), 0x7F800000, -(1 << 16), 0x00400000  # bits of an f32
_I16, _HALF = ir.IntType(16), 16  # a bf16 number is the upper half of an f32


def nearest(x: Term) -> Term:
    """The nearest whole number of x >= 0; halves go to the even one."""
    magic = 2.0**x.format.fraction  # the last bit of a sum with it counts ones
    return select(x < magic, (x + magic) - magic, x)


def rint(x: Term) -> Term:
    """The nearest whole number; halves go to the even one."""
    return with_sign(nearest(absolute(x)), x)


def floor(x: Term) -> Term:
    """The largest whole number that is not above x."""
    integer = rint(x)
    return select(integer > x, integer - 1, integer)


def sqrt(x: Term) -> Term:
    return square_root(x)


def as_bf16(x: Term) -> Term:
    """The nearest bf16 number; halves go to the one whose last bit is 0, and subnormal numbers become zeros."""
    narrow = x.to("f32")
    if x.scope.has_bf16 and x.scope.lanes:
        return by_instruction(narrow).to(x.dtype)
    if x.scope.has_bf16:  # LLVM would take the instruction for an expensive one, and choose short vectors for the loop
        function = version(x.scope.builder.module, "netc_as_bf16_f32", "f32", 1)
        return Term(x.scope, "f32", x.scope.builder.call(function, [narrow.value])).to(x.dtype)
    bits = narrow.bits()
    nearest_bits = bits + (bits.unsigned_shift(16) & 1) + 0x7FFF
    kept = select(narrow.is_nan(), bits | _QUIET, nearest_bits) & _UPPER
    kept = select((bits & _EXPONENT).equals(0), bits & _SIGN, kept)
    return kept.as_float("f32").to(x.dtype)


def by_instruction(x: Term) -> Term:
    """The same of an f32, by the instruction of AVX512_BF16: it treats subnormal numbers and NaN in this way."""
    builder, count = x.scope.builder, x.scope.lanes
    number, half = (ir.VectorType(kind, count) if count else kind for kind in (BFloat(), _I16))
    upper = builder.bitcast(builder.fptrunc(x.value, number), half)
    bits = Term(x.scope, "i32", builder.zext(upper, x.scope.type_of("i32")))
    return (bits << _HALF).as_float("f32")


def max_key(x: Term) -> Term:
    """An integer that is ordered as floats are; that of NaN is the largest, so that NaN always wins."""
    form = x.format
    return select(x.is_nan(), _most(form), _turned(x.bits(), form))


def min_key(x: Term) -> Term:
    """An integer that is ordered as floats are; that of NaN is the smallest."""
    form = x.format
    return select(x.is_nan(), -_most(form) - 1, _turned(x.bits(), form))


def of_key(n: Term) -> Term:
    """The float of a key."""
    form = FORMATS["f32" if n.dtype == "i32" else "f64"]
    return _turned(n, form).as_float(form.dtype)


def _most(form: Format) -> int:
    return (1 << (int(math.log2(form.bias + 1)) + form.fraction + 1)) - 1


def _turned(bits: Term, form: Format) -> Term:
    """All bits but the sign are turned if the sign is set."""
    most = _most(form)
    return bits ^ ((bits >> most.bit_length()) & most)
